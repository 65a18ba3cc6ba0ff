"""D3 dispersion with Becke-Johnson damping, as a classical potential of its own or added to a model.

Grimme, Antony, Ehrlich & Krieg, J. Chem. Phys. 132, 154104 (2010), doi:10.1063/1.3382344; Grimme, Ehrlich & Goerigk, J.
Comput. Chem. 32, 1456 (2011), doi:10.1002/jcc.21759. Two-body terms; distances and energies are in Bohr and Hartree
inside.

A coefficient between two atoms is a mean over reference systems, C6_ij = Σ_ab w_ia w_jb C6_ab. The table is stored as
factors (see `data/README.md`), C6_ab = Σ_r s_r F_ar F_br to 1e-6, so that C6_ij is one scalar product of the vectors
u_i = Σ_a w_ia F_a, and no table is looked up for a pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ergodica.errors import InputError
from ergodica.nn.geometry import safe_norm
from ergodica.nn.pairs import pair_dot, row_sum
from ergodica.nn.radial import polynomial_cutoff
from ergodica.potentials.architecture import Classical
from ergodica.potentials.heads import AtomOutput
from ergodica.system import Neighbors
from ergodica.units import BOHR, HARTREE

__all__ = ["FUNCTIONALS", "D3Config", "Damping"]

STEEPNESS, SCALE = 16.0, 4.0 / 3.0
"""k1 and k2 of the count of neighbours."""
SHARPNESS = 4.0
"""k3 of the weights of reference systems."""
ELEMENTS = 103


class Damping(NamedTuple):
    """Parameters of a functional: s8, a1, a2 (Bohr), where they are from, and s6."""

    s8: float
    a1: float
    a2: float
    source: str
    s6: float = 1.0


ORIGINAL, BENCHMARK = "doi:10.1002/jcc.21759", "doi:10.1039/c0cp02984j"
FUNCTIONALS: dict[str, Damping] = {
    "pbe": Damping(0.7875, 0.4289, 4.4407, ORIGINAL),
    "revpbe": Damping(2.3550, 0.5238, 3.5016, ORIGINAL),
    "rpbe": Damping(0.8318, 0.1820, 4.0094, "program dftd3 of Grimme's group"),
    "pbesol": Damping(2.9491, 0.4466, 6.1742, BENCHMARK),
    "pbe0": Damping(1.2177, 0.4145, 4.8593, ORIGINAL),
    "revpbe0": Damping(1.7588, 0.4679, 3.7619, BENCHMARK),
    "hse06": Damping(2.310, 0.383, 5.685, "doi:10.1021/jp501237c"),
    "blyp": Damping(2.6996, 0.4298, 4.2359, ORIGINAL),
    "b3lyp": Damping(1.9889, 0.3981, 4.4211, ORIGINAL),
    "cam-b3lyp": Damping(2.0674, 0.3708, 5.4743, BENCHMARK),
    "bp86": Damping(3.2822, 0.3946, 4.8516, ORIGINAL),
    "b97-d": Damping(2.2609, 0.5545, 3.2297, ORIGINAL),
    "tpss": Damping(1.9435, 0.4535, 4.4752, ORIGINAL),
    "tpssh": Damping(2.2382, 0.4529, 4.6550, BENCHMARK),
    "scan": Damping(0.0, 0.5380, 5.4200, "doi:10.1103/PhysRevB.94.115144"),
    "r2scan": Damping(0.78981345, 0.49484001, 5.73083694, "doi:10.1063/5.0041008"),
    "wb97x-d3bj": Damping(0.2641, 0.0, 5.4959, "doi:10.1021/acs.jctc.8b00842"),
    "wb97m-d3bj": Damping(0.3908, 0.5660, 3.1280, "doi:10.1021/acs.jctc.8b00842"),
    "hf": Damping(0.9171, 0.3385, 2.8830, ORIGINAL),
}
"""Damping by functional. ωB97X-D has a dispersion term of another form of its own; its successor is ωB97X-D3(BJ)."""


@dataclass(frozen=True)
class D3Config(Classical):
    """D3(BJ) of a functional.

    Attributes:
        functional: one of `FUNCTIONALS`.
        cutoff: where the energy of a pair ends, Å.
        cn_cutoff: where neighbours cease to count for the coordination number, Å.
        width: over which the last Å before both everything fades; 0 cuts it off, as other programs do.
        damping: s6, s8, a1 and a2 (Bohr) of a functional that is not there; they take the place of its own.
    """

    max_z: ClassVar[int] = ELEMENTS + 1

    functional: str = "pbe"
    cutoff: float = 15.0
    cn_cutoff: float = 8.0
    width: float = 2.0
    damping: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.damping and len(self.damping) != 4:
            raise InputError("d3: damping is s6, s8, a1 and a2: four numbers.")
        if not self.damping and self.functional not in FUNCTIONALS:
            raise InputError(
                f"d3: there are no parameters of '{self.functional}': choose one of {', '.join(FUNCTIONALS)}, or give "
                "damping as s6, s8, a1 and a2."
            )
        if not 0 <= self.width < self.cn_cutoff <= self.cutoff:
            raise InputError("d3: 0 <= width < cn_cutoff <= cutoff must hold.")

    @property
    def parameters(self) -> tuple[float, ...]:
        """s6, s8, a1 and a2 (Bohr)."""
        if self.damping:
            return self.damping
        known = FUNCTIONALS[self.functional]
        return known.s6, known.s8, known.a1, known.a2

    def build(self, recompute: bool = True) -> D3:
        """The module; there is nothing to recompute."""
        return D3(self)


class Reference(NamedTuple):
    """Reference data by atomic number, Z = 0 and what is not there all zeros.

    Attributes:
        cn: coordination numbers of the reference systems [Z, 7], -1 where there is none.
        factors: F [Z, 7, R].
        signs: s [R].
        radii: covalent radii (Pyykkö & Atsumi 2009, metals' less 10 %) [Z], Å.
        charges: √(½ √Z ⟨r⁴⟩/⟨r²⟩) [Z], Bohr.
    """

    cn: Float[np.ndarray, "Z 7"]
    factors: Float[np.ndarray, "Z 7 R"]
    signs: Float[np.ndarray, " R"]
    radii: Float[np.ndarray, " Z"]
    charges: Float[np.ndarray, " Z"]


@lru_cache(maxsize=1)
def reference() -> Reference:
    """What is stored."""
    with np.load(Path(__file__).parent / "data" / "d3.npz") as file:
        return Reference(**{key: file[key] for key in Reference._fields})


class D3(nn.Module):
    """Numbers and edge vectors in, atomic energies out, eV."""

    config: D3Config

    def __call__(self, numbers: Int[Array, " A"], vectors: Float[Array, "A K D"], neighbors: Neighbors) -> AtomOutput:
        """Half of each pair's energy goes to each of its atoms."""
        config, length = self.config, safe_norm(vectors)
        valid = neighbors.mask & (length > 0) & (length < config.cutoff)
        length = jnp.where(valid, length, config.cutoff)
        factors, signs = coefficients(numbers, self._count(numbers, length, valid, neighbors))
        c6 = pair_dot((factors * signs)[..., None], factors[..., None], neighbors)[..., 0]
        s6, s8, a1, a2 = config.parameters
        charges = jnp.asarray(reference().charges, length.dtype)
        ratio = 3 * charges[numbers][:, None] * charges[numbers[neighbors.index]]  # C8 / C6
        r, inner = length / BOHR, a1 * jnp.sqrt(ratio) + a2
        damped = s6 / (r**6 + inner**6) + s8 * ratio / (r**8 + inner**8)
        pair = c6 * damped * fade(length, config.cutoff, config.width)
        energies = -0.5 * HARTREE * row_sum(jnp.where(valid, pair, 0.0))
        return AtomOutput(energies, jnp.zeros((len(energies), 3), energies.dtype))

    def _count(
        self, numbers: Int[Array, " A"], length: Float[Array, "A K"], valid: Array, neighbors: Neighbors
    ) -> Float[Array, " A"]:
        """Coordination numbers (Grimme et al. 2010, eq. 15)."""
        config, radii = self.config, jnp.asarray(reference().radii, length.dtype)
        bond = SCALE * (radii[numbers][:, None] + radii[numbers[neighbors.index]])
        counted = jax.nn.sigmoid(STEEPNESS * (bond / length - 1)) * fade(length, config.cn_cutoff, config.width)
        return row_sum(jnp.where(valid & (length < config.cn_cutoff), counted, 0.0))


def fade(length: Float[Array, "*e"], cutoff: float, width: float) -> Float[Array, "*e"]:
    """1, falling to 0 over the last `width` before `cutoff`; Å."""
    if not width:
        return jnp.ones_like(length)
    return polynomial_cutoff(jnp.maximum(length - (cutoff - width), 0.0), width)


def coefficients(
    numbers: Int[Array, " A"], count: Float[Array, " A"]
) -> tuple[Float[Array, "A R"], Float[Array, " R"]]:
    """Vectors u and signs s with C6_ij = Σ_r s_r u_ir u_jr, Hartree Bohr⁶ (Grimme et al. 2010, eq. 16)."""
    known = reference()
    cn, factors, signs = (jnp.asarray(part, count.dtype) for part in (known.cn, known.factors, known.signs))
    there = cn[numbers] >= 0
    # the weights are divided by their sum, so a common factor may be taken off before they underflow
    exponent = jnp.where(there, -SHARPNESS * (count[:, None] - cn[numbers]) ** 2, -jnp.inf)
    exponent = exponent - jax.lax.stop_gradient(jnp.max(jnp.where(there, exponent, -1e30), axis=1, keepdims=True))
    weight = jnp.where(there, jnp.exp(jnp.where(there, exponent, 0.0)), 0.0)
    weight = weight / jnp.maximum(jnp.sum(weight, axis=1, keepdims=True), 1e-30)
    return jnp.einsum("ak,akr->ar", weight, factors[numbers]), signs
