"""A stream of structures in which number n is a function of the recipe and n alone, so that it restarts anywhere.

Every starting structure (a prototype with its elements, an alloy, a structure of the user) has a number; it comes with
its variants and with frames of its dynamics. Numbers are shuffled by the seed, so that any beginning of the stream is
as varied as the whole.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ergodica.datasets import compositions, variants
from ergodica.datasets.chemistry import ELEMENTS
from ergodica.datasets.journal import fingerprint
from ergodica.datasets.prototypes import PROTOTYPES, Prototype, build
from ergodica.datasets.recipe import Recipe
from ergodica.datasets.walks import walk
from ergodica.dynamics.options import MDOptions
from ergodica.elements import symbols_of
from ergodica.errors import InputError, WorkFailed
from ergodica.files import append_frames, append_line, atomic_write, read_lines, read_structures
from ergodica.system import Labels, System

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["Stream", "generate"]


@dataclass(frozen=True)
class Stream:
    """The structures of a recipe by number.

    Raises:
        InputError: an unknown prototype, a missing or damaged file, or nothing to make.
    """

    recipe: Recipe

    def __len__(self) -> int:
        return min(self.recipe.limit or len(self.order), len(self.order))

    @cached_property
    def _starts(self) -> list[tuple[str, Any]]:
        """Source and what it needs, for every starting structure."""
        recipe, options = self.recipe, self.recipe.prototypes
        chosen = [_prototype(name) for name in options.names] or list(PROTOTYPES.values())
        kinds = {kind: [p for p in chosen if p.kind == kind] for kind in ("element", "ionic", "metallic")}
        found: list[tuple[str, Any]] = []
        if options.elemental:
            found += [("element", (p, symbol)) for p in kinds["element"] for symbol in recipe.palette]
        for kind in ("ionic", "metallic"):
            found += [(kind, kinds[kind][k % len(kinds[kind])]) for k in range(getattr(options, kind)) if kinds[kind]]
        found += [("alloy", None)] * options.alloys
        for system in (system for file in recipe.structures.files for system in read_structures(file)):
            strange = set(symbols_of(system.numbers)) - set(ELEMENTS)
            if strange:
                raise InputError(f"{system.name} holds {', '.join(sorted(strange))}, whose size is not known here.")
            found += [("user", system)] + [("substituted", system)] * recipe.structures.substitutions
        if not found:
            raise InputError("The recipe makes nothing: ask for prototypes or name [structures] files.")
        return found

    @property
    def read(self) -> dict[str, str]:
        """Fingerprint of the user's structures, if there are some: files may change while their names don't."""
        found = [fingerprint(what) for source, what in self._starts if source == "user"]
        return {"own_structures": sha256("".join(found).encode()).hexdigest()} if found else {}

    @cached_property
    def order(self) -> np.ndarray:
        """Numbers of the starting structures as they come."""
        return np.random.default_rng(self.recipe.seed).permutation(len(self._starts))

    def __call__(self, place: int) -> list[System]:
        """Starting structure number `place` with its variants and frames; none where no composition fits."""
        number = int(self.order[place])
        rng = np.random.default_rng([self.recipe.seed, number])
        source, what = self._starts[number]
        atoms = self._start(source, what, rng)
        options = self.recipe.variants
        if atoms is None or not variants.acceptable(atoms, options.min_distance):
            return []
        known = {"source": source, "start": number}
        known |= {"prototype": _name(what)} if _name(what) else {}
        charge = float(atoms.info.get("charge", 0.0))
        found = [_system(atoms, charge, {**known, "kind": "start"})]
        for _ in range(options.number):
            kind, new, more = vary(atoms, self.recipe, rng)
            if variants.acceptable(new, options.min_distance):
                found.append(_system(new, charge, {**known, "kind": kind, **more}))
        if self.recipe.walks.teacher and rng.random() < self.recipe.walks.share:
            found += [_system(frame, charge, {**known, **more}) for frame, more in self._walk(atoms, rng)]
        return found

    def _start(self, source: str, what: Any, rng: np.random.Generator) -> Atoms | None:
        palette = self.recipe.palette
        if source == "element":
            return build(what[0], [what[1]])
        if source == "alloy":
            return compositions.alloy(palette, rng, self.recipe.variants.max_atoms)
        if source in ("user", "substituted"):
            atoms = replace(what, labels=Labels(), info={}).to_ase()
            return atoms if source == "user" else compositions.substituted(atoms, palette, rng)
        return {"ionic": compositions.ionic, "metallic": compositions.metallic}[source](what, palette, rng)

    def _walk(self, atoms: Atoms, rng: np.random.Generator) -> Iterator[tuple[Atoms, dict[str, Any]]]:
        walks, options = self.recipe.walks, self.recipe.variants
        temperature = float(rng.choice(walks.temperatures))
        pressure = float(rng.choice(walks.pressures)) if atoms.pbc.all() else 0.0
        cell = variants.supercell(atoms, rng, options.max_atoms)
        if pressure:
            cell = variants.compressed(cell, pressure)
        run = MDOptions(
            ensemble=walks.ensemble, temperature=temperature, timestep=walks.timestep, every=walks.every,
            steps=walks.frames * walks.every, seed=int(rng.integers(2**31)),
        )  # fmt: skip
        more = {"kind": "walk", "temperature_K": temperature, "nominal_pressure_GPa": pressure}
        with contextlib.redirect_stdout(sys.stderr):  # stdout belongs to --json
            frames = list(walk(cell, self._driver, run, options.min_distance))
        yield from ((frame, more) for frame in frames)

    @cached_property
    def _driver(self) -> Any:
        from ergodica.datasets.teachers import Teacher

        return Teacher.named(self.recipe.walks.teacher, self.recipe.walks.kwargs)()


def vary(atoms: Atoms, recipe: Recipe, rng: np.random.Generator) -> tuple[str, Atoms, dict[str, float]]:
    """One variant of a structure: its kind, the atoms, and the numbers that went into it."""
    options = recipe.variants
    bulk = bool(atoms.pbc.all())
    weights = {kind: w for kind, w in options.weights.items() if bulk or kind in ("rattled", "vacancy", "strained")}
    total = sum(weights.values())
    kind = str(rng.choice(list(weights), p=[w / total for w in weights.values()])) if total else "rattled"
    amplitude = _log_uniform(rng, options.rattle)
    more: dict[str, float] = {}
    new = atoms
    if kind == "strained":
        return kind, variants.strained(atoms, rng, options.strain), more
    if kind == "expanded":
        return kind, variants.expanded(atoms, rng, options.expansion), more
    if "compressed" in kind:
        more["nominal_pressure_GPa"] = _log_uniform(rng, options.pressure)
        new = variants.compressed(atoms, more["nominal_pressure_GPa"])
    if kind == "compressed":
        return kind, new, more
    new = variants.slab(new, rng, options.max_atoms) if kind == "slab" else variants.supercell(
        new, rng, options.max_atoms
    )  # fmt: skip
    new = variants.with_vacancy(new, rng) if kind == "vacancy" else new
    if kind.startswith("rattled"):
        more["rattle"] = amplitude
    else:
        amplitude = min(amplitude, 0.03)  # a defect's own relaxation is small
    if not variants.acceptable(new, options.min_distance):
        return kind, new, more  # which the caller drops
    return kind, variants.rattled(new, rng, amplitude, options.min_distance), more


def _log_uniform(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(limits))))


def _prototype(name: str) -> Prototype:
    if name not in PROTOTYPES:
        raise InputError(f"There is no prototype '{name}'; known: {', '.join(PROTOTYPES)}.")
    return PROTOTYPES[name]


def _name(what: Any) -> str:
    first = what[0] if isinstance(what, tuple) else what
    return first.name if isinstance(first, Prototype) else ""


def _system(atoms: Atoms, charge: float, info: dict[str, Any]) -> System:
    return System(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, charge=charge, info=info)


# ------------------------------------------------------------------------------------------------------------- to disk


def generate(recipe: Recipe, output: str | Path, report: Callable[[int, int], None] | None = None) -> int:
    """Write the structures of a recipe to an extxyz file; a run that was killed goes on where it stopped.

    A journal beside the file (`NAME.recipe.jsonl`) holds the recipe and, for every starting structure that is on disk,
    the size of the file after it.

    Args:
        recipe: what to make.
        output: the file, of a name that ends in .xyz or .extxyz.
        report: called after every starting structure with their number and that of the structures so far.

    Returns:
        how many structures the file holds.

    Raises:
        InputError: the recipe makes nothing, the file is of another format, or it holds another recipe's structures.
        WorkFailed: disk full or folder not writable.
    """
    path = Path(output)
    if path.suffix not in (".xyz", ".extxyz"):
        raise InputError(f"Structures are streamed to an .extxyz or .xyz file, not '{path}'.")
    stream = Stream(recipe)
    total = len(stream)
    journal = path.with_suffix(".recipe.jsonl")
    done, size, count = _resume(journal, path, {**asdict(recipe), **stream.read})
    for place in range(done, total):
        systems = stream(place)
        size = append_frames(path, systems, size)
        count += len(systems)
        append_line(journal, json.dumps({"done": place + 1, "bytes": size, "structures": count}))
        if report:
            report(place + 1, count)
    if not count:
        raise WorkFailed("No structure came out: no composition fits, or all were too dense for min_distance.")
    return count


def _resume(journal: Path, path: Path, recipe: dict[str, Any]) -> tuple[int, int, int]:
    """Starting structures done, bytes of the file that are good, structures in them."""
    head = json.dumps({"recipe": recipe})
    lines = read_lines(journal)
    if not lines:
        atomic_write(journal, f"{head}\n".encode())
        return 0, 0, 0
    if not _same_recipe(lines[0], head):
        raise InputError(f"'{path}' holds structures of another recipe: give another name or add --overwrite.")
    last = next((entry for entry in map(_entry, reversed(lines[1:])) if entry), None)
    if last is None or not path.exists() or path.stat().st_size < last["bytes"]:
        atomic_write(journal, f"{head}\n".encode())
        return 0, 0, 0
    # a torn last line must not stay, or the next one is glued to it
    good = [line for line in lines if _entry(line) or line == lines[0]]
    atomic_write(journal, "".join(f"{line}\n" for line in good).encode())
    return last["done"], last["bytes"], last["structures"]


def _same_recipe(line: str, head: str) -> bool:
    """Whether a journal belongs to the recipe; `limit` may grow."""
    try:
        old, new = json.loads(line)["recipe"], json.loads(head)["recipe"]
    except (ValueError, KeyError, TypeError):
        return False
    if "own_structures" not in old:  # journals of before there was this
        new.pop("own_structures", None)
    return {**old, "limit": 0} == {**new, "limit": 0}


def _entry(line: str) -> dict[str, int] | None:
    try:
        entry = json.loads(line)
        return entry if isinstance(entry, dict) and {"done", "bytes", "structures"} <= set(entry) else None
    except ValueError:
        return None
