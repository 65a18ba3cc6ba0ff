"""Functionals of the density that were learnt: what they are, how they are evaluated, and their file.

E_θ[p, R] = reference(q, R) + scale · Σ_i network(q - q⁰, R)_i with natural coefficients q = S^(1/2) p. It stands for
T_S + E_XC, for T_S - T_APBE or for T_S, as its target says; the rest is computed. A functional is a pytree of
parameters: compiled programs depend on its configuration alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ergodica.checkpoint import load_shaped, read_header, save_tree
from ergodica.config import from_dict
from ergodica.dft.functionals import Semilocal
from ergodica.dft.learned.atomic_reference import AtomicReference, at_ground, mixed_shells, reference_energy
from ergodica.dft.learned.layout import Geometry, Layout, flattened, geometry, index_table, surroundings, tabulated
from ergodica.dft.learned.network import DensityNetwork, NetworkConfig
from ergodica.dft.molecule import Molecule
from ergodica.dft.natural import from_natural, to_natural
from ergodica.elements import SYMBOLS, formula, symbols_of
from ergodica.errors import InputError
from ergodica.potentials.potential import Info
from ergodica.system import System

__all__ = [
    "FunctionalConfig",
    "LearnedFunctional",
    "Target",
    "composition",
    "load_functional",
    "save_functional",
]

FORMAT, VERSION = "ergodica-functional", 1

Target = Literal["T_S+E_XC", "T_S-T_APBE", "T_S"]
"""What is learnt; the first needs no grid at run time."""

SEEN = 8
"""Numbers of atoms in sight are multiples of this."""


@dataclass(frozen=True)
class FunctionalConfig:
    """What defines the programs of a functional.

    Attributes:
        elements: symbols, by rising atomic number.
        target: what it stands for.
        network: architecture.
        formulas: compositions it is for, of ions with their charge ("H3O+"); none for all neutral ones of its elements.
    """

    elements: tuple[str, ...]
    target: Target = "T_S+E_XC"
    network: NetworkConfig = field(default_factory=NetworkConfig)
    formulas: tuple[str, ...] = ()

    @property
    def layout(self) -> Layout:
        """The table of coefficients."""
        return Layout(tuple(SYMBOLS.index(symbol) for symbol in self.elements))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LearnedFunctional:
    """A functional with its parameters.

    Attributes:
        network: parameters of the network.
        reference: the part that was fitted in closed form.
        scale: of the network's output, Hartree.
        config: what it is.
    """

    network: Any
    reference: AtomicReference
    scale: Float[Array, ""]
    config: FunctionalConfig = field(metadata={"static": True})

    @property
    def on_grid(self) -> bool:
        """Whether it needs a grid at run time."""
        return self.config.target != "T_S+E_XC"

    def terms(self, coefficients: Float[Array, " F"], molecule: Molecule) -> dict[str, Float[Array, ""]]:
        """Energies by name, Hartree."""
        index = index_table(self.config.layout, molecule.basis)
        species = jnp.asarray(self.config.layout.species(np.array(molecule.basis.numbers)))
        natural = tabulated(to_natural(molecule.natural, molecule.overlap, coefficients), index)
        everyone = jnp.ones(len(species))
        own = jnp.sum(self.atom_energies(species, everyone, molecule.positions, natural, molecule.others))
        if self.config.target == "T_S+E_XC":
            return {"kinetic+xc": own}
        rest = Semilocal("apbe", "pbe").terms(coefficients, molecule)
        return {"kinetic": own + rest["kinetic"] * (self.config.target == "T_S-T_APBE"), "xc": rest["xc"]}

    def atom_energies(
        self,
        species: Int[Array, " N"],
        valid: Float[Array, " N"],
        positions: Float[Array, "N 3"],
        natural: Float[Array, "N M K"],
        others: Int[Array, "N J"] | None = None,
    ) -> Float[Array, " N"]:
        """Energies of the atoms, Hartree.

        Args:
            species: place of each element in the layout.
            valid: 1 for an atom, 0 for padding.
            positions: Bohr.
            natural: coefficients q in the table.
            others: atoms that each can see, as `sight` finds them; None: all.
        """
        place, around, away = self._seen(species, valid, positions, natural, others)
        fitted = reference_energy(self.reference, self.config.layout, place.species, around, away)
        return fitted * place.valid + network_energies(self, place, around, away)

    def fitted(
        self,
        species: Int[Array, " N"],
        valid: Float[Array, " N"],
        positions: Float[Array, "N 3"],
        natural: Float[Array, "N M K"],
    ) -> Float[Array, " N"]:
        """The part of `atom_energies` that the reference gives."""
        place, around, away = self._seen(species, valid, positions, natural)
        return reference_energy(self.reference, self.config.layout, place.species, around, away) * place.valid

    def _seen(
        self,
        species: Any,
        valid: Any,
        positions: Float[Array, "N 3"],
        natural: Float[Array, "N M K"],
        others: Int[Array, "N J"] | None = None,
    ) -> tuple[Geometry, Float[Array, "N M C"], Float[Array, "N M K"]]:
        """Nuclei, surroundings, and deviations of the coefficients from what is expected there."""
        layout = self.config.layout
        place = self._place(species, valid, positions, others)
        around = surroundings(layout, place)
        return place, around, natural - at_ground(self.reference.coefficients, layout, place.species, around)

    def ground(self, molecule: Molecule) -> Float[Array, " F"]:
        """Coefficients p⁰ that the reference expects at the minimum: a start for the minimiser."""
        layout = self.config.layout
        index = index_table(layout, molecule.basis)
        species = layout.species(np.array(molecule.basis.numbers))
        place = self._place(species, jnp.ones(len(species)), molecule.positions, molecule.others)
        table = at_ground(self.reference.coefficients, layout, place.species, surroundings(layout, place))
        return from_natural(molecule.natural, flattened(table, index, molecule.basis.size))

    def softness(self, molecule: Molecule) -> Callable[[Float[Array, " F"]], Float[Array, " F"]]:
        """An estimate of the inverse Hessian of the whole energy in natural coordinates, positive, atom by atom.

        It is the inverse of the reference's curvature and the Coulomb repulsion within one degree of one atom.
        """
        layout, basis = self.config.layout, molecule.basis
        index = index_table(layout, basis)
        species = layout.species(np.array(basis.numbers))
        unused = jnp.asarray(1.0 - layout.present[:, layout.firsts])
        repulsion = jnp.zeros_like(self.reference.curvature)
        for element in np.unique(species):
            # the rows of one atom with m = -l; padding is a function of its own with overlap 1 and no repulsion
            rows = index[np.flatnonzero(species == element)[0], layout.firsts]
            repulsion = repulsion.at[element].set(jax.vmap(partial(_own_repulsion, molecule))(jnp.asarray(rows)))
        inverse = jnp.linalg.inv(self.reference.curvature + repulsion + unused[..., None] * jnp.eye(layout.width))

        def soften(gradient: Float[Array, " F"]) -> Float[Array, " F"]:
            table = mixed_shells(inverse, layout, jnp.asarray(species), tabulated(gradient, index))
            return flattened(table, index, basis.size)

        return soften

    def sight(self, positions: Float[np.ndarray, "N 3"]) -> Int[np.ndarray, "N J"]:
        """The atoms that each atom can see, itself among them; N stands for none. Positions in Bohr.

        What is seen of the rest is zero, so that the cost of large molecules is linear; J is rounded up, for compiled
        programs to serve other conformers.
        """
        near = np.linalg.norm(positions[:, None] - positions, axis=-1) < self.config.network.radial.cutoff
        width = min(-(-near.sum(axis=1).max() // SEEN) * SEEN, len(positions))
        order = np.argsort(~near, axis=1, kind="stable")[:, :width]
        return np.where(np.take_along_axis(near, order, axis=1), order, len(positions))

    def _place(self, species: Any, valid: Any, positions: Float[Array, "N 3"], others: Any = None) -> Geometry:
        layout, radial = self.config.layout, self.config.network.radial
        return geometry(layout, radial, jnp.asarray(species), jnp.asarray(valid, positions.dtype), positions, others)

    def is_strange(self, system: System, force: bool = False) -> bool:
        """Whether a molecule is an ion or of a composition that the functional is not for.

        Raises:
            InputError: it is, and that is not forced; or it holds an element of which the functional knows nothing.
        """
        unknown = {int(z) for z in system.numbers} - set(self.config.layout.elements)
        if unknown:
            raise InputError(
                f"{system.name} holds {symbols_of(unknown)[0]}, an element that this functional was not trained on "
                f"(it knows {' '.join(self.config.elements)}); train one, or use a classical functional."
            )
        known, kind = self.config.formulas, composition(system)
        if kind in known or (not known and not system.charge):
            return False
        if not force:
            trained = ", ".join(known) or "neutral molecules"
            raise InputError(
                f"{system.name} is {kind}, but this functional was trained on {trained}: use --force to try "
                "nevertheless, or a classical functional."
            )
        return True


def composition(system: System) -> str:
    """Formula and charge of a molecule: "H2O", "H3O+", "SO4 2-"."""
    size = abs(round(system.charge))
    sign = "+" if system.charge > 0 else "-"
    return formula(system.numbers) + (f" {size}{sign}" if size > 1 else sign if size else "")


def _own_repulsion(molecule: Molecule, rows: Int[Array, " K"]) -> Float[Array, "K K"]:
    """Coulomb repulsion in natural coordinates of a few functions by themselves; F stands for none."""
    there = jnp.asarray(rows < molecule.basis.size, molecule.overlap.dtype)
    pick = (jnp.minimum(rows, molecule.basis.size - 1)[:, None], jnp.minimum(rows, molecule.basis.size - 1))
    both = there[:, None] * there
    values, vectors = jnp.linalg.eigh(molecule.overlap[pick] * both + jnp.diag(1 - there))
    inverse_root = (vectors * values**-0.5) @ vectors.T
    return inverse_root @ (molecule.coulomb[pick] * both) @ inverse_root


def network_energies(
    functional: LearnedFunctional, place: Geometry, around: Float[Array, "N M C"], away: Float[Array, "N M K"]
) -> Float[Array, " N"]:
    """The network's share of the energies of the atoms, Hartree."""
    layout = functional.config.layout
    white = mixed_shells(functional.reference.whitening, layout, place.species, away)
    module = DensityNetwork(functional.config.network, layout)
    found: Any = module.apply(functional.network, place, around, white)
    return functional.scale * found


def save_functional(path: str | Path, functional: LearnedFunctional, info: Info) -> None:
    """Write a functional as one model file."""
    header = {"format": FORMAT, "version": VERSION, "kind": "density-functional",
              "config": asdict(functional.config), "info": asdict(info)}  # fmt: skip
    save_tree(path, functional, header)


def load_functional(name_or_path: str | Path) -> tuple[LearnedFunctional, Info]:
    """A functional by the name of a shipped one or the path of its file, and its card.

    Raises:
        InputError: there is none, or the file is damaged, of another kind or from a newer version.
    """
    shipped = shipped_functionals()
    path = shipped.get(str(name_or_path), Path(name_or_path))
    if not path.is_file():
        raise InputError(f"There is no functional '{name_or_path}': give a file or one of {', '.join(shipped)}.")
    header = read_header(path)
    if header.get("format") != FORMAT:
        raise InputError(f"'{path}' holds '{header.get('format')}', not a density functional.")
    if header.get("version", 0) > VERSION:
        raise InputError(f"'{path}' was written by a newer Ergodica: upgrade with 'pip install -U ergodica'.")
    config = from_dict(FunctionalConfig, header["config"], f"{path}: config")
    template = jax.eval_shape(lambda: fresh_functional(config, jax.random.key(0)))
    functional = load_shaped(path, template)
    return functional, from_dict(Info, header["info"], f"{path}: info")


def shipped_functionals() -> dict[str, Path]:
    """Functionals that come with the package, by name."""
    folder = Path(__file__).parents[2] / "weights" / "functionals"
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def fresh_functional(config: FunctionalConfig, key: Array) -> LearnedFunctional:
    """Random parameters and an empty reference."""
    layout, network = config.layout, config.network
    elements, degrees, width = *layout.shells.shape, layout.width
    channels = network.radial.size * elements + 1
    per_degree = jnp.zeros((elements, degrees, channels, width))
    reference = AtomicReference(
        energy=jnp.zeros((elements, channels)),
        coefficients=per_degree,
        gradient=per_degree,
        curvature=jnp.zeros((elements, degrees, width, width)),
        whitening=jnp.zeros((elements, degrees, width, width)),
    )
    params = jax.jit(_initial, static_argnums=(0, 1))(layout, network, key)
    return LearnedFunctional(params, reference, jnp.ones(()), config)


def _initial(layout: Layout, network: NetworkConfig, key: Array) -> Any:
    """Random parameters of the network, from a lone atom."""
    place = geometry(layout, network.radial, jnp.zeros(1, jnp.int32), jnp.ones(1), jnp.zeros((1, 3)))
    around, away = surroundings(layout, place), jnp.zeros((1, len(layout.degree), layout.width))
    return DensityNetwork(network, layout).init(key, place, around, away)
