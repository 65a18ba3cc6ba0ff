"""Teachers: whatever computes labels, named so that a run can be repeated. All are ASE calculators once made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ergodica.errors import InputError
from ergodica.files import as_stem

if TYPE_CHECKING:
    from ergodica.prediction import Precision

__all__ = ["TEACHERS", "Teacher"]

OWN = "ergodica.datasets.teachers:own_calculator"


@dataclass(frozen=True)
class Known:
    """A teacher with a name of its own.

    Attributes:
        target: where its class is, "package.module:Class".
        install: what pip has to be told.
        defaults: keyword arguments.
        level: level of theory; braces are filled from the keyword arguments.
    """

    target: str
    install: str
    defaults: Mapping[str, Any]
    level: str


TEACHERS: dict[str, Known] = {
    "chgnet": Known(
        "chgnet.model.dynamics:CHGNetCalculator",
        "chgnet",
        {"use_device": "cpu", "on_isolated_atoms": "ignore"},
        "PBE and PBE+U of the Materials Project, by a network",
    ),
    "sevenn": Known(
        "sevenn.calculator:SevenNetCalculator",
        "sevenn",
        {"model": "7net-0", "device": "cpu"},
        "PBE and PBE+U of the Materials Project, by the network {model}",
    ),
    "xtb": Known("tblite.ase:TBLite", "'ergodica[labels]'", {"method": "GFN2-xTB", "verbosity": 0}, "{method}"),
    "pyscf": Known(
        "ergodica.datasets.quantum:PySCF", "'ergodica[dft]'", {"xc": "pbe", "basis": "def2-svp"}, "{xc}/{basis}"
    ),
    "emt": Known("ase.calculators.emt:EMT", "ase", {}, "effective medium theory"),
}
"""Teachers by name; any other is a model of Ergodica or "package.module:Class"."""


@dataclass(frozen=True)
class Teacher:
    """A calculator that can be made anywhere: `teacher()` makes it. Hashable, so that a process makes it once.

    Attributes:
        name: as the user names it.
        target: where its class is.
        options: its keyword arguments, as JSON.
        version: of its package or model.
        level_of_theory: what it computes or was trained on; empty where unknown.
    """

    name: str
    target: str
    options: str = "{}"
    version: str = ""
    level_of_theory: str = ""

    @classmethod
    def named(cls, name: str, kwargs: Mapping[str, Any] | None = None, level_of_theory: str = "") -> Teacher:
        """A teacher by its name in `TEACHERS`, by the import path of a calculator, or by a model of Ergodica.

        Raises:
            InputError: no such teacher or model, or its package is not installed.
        """
        kwargs = dict(kwargs or {})
        if name in TEACHERS:
            known = TEACHERS[name]
            options = {**known.defaults, **kwargs}
            level = level_of_theory or known.level.format_map({key: str(value) for key, value in options.items()})
            teacher = cls(name, known.target, _as_json(options), _version(known.target), level)
            _find(known.target, f"Teacher '{name}' needs a package: pip install {known.install}")
            return teacher
        if ":" in name and not Path(name).exists():
            _find(name, f"Teacher '{name}' can't be imported: install its package or correct the path.")
            return cls(name, name, _as_json(kwargs), _version(name), level_of_theory)
        return _own(name, kwargs, level_of_theory)

    @property
    def is_own(self) -> bool:
        """Whether it is a model of Ergodica, which predicts many structures at once."""
        return self.target == OWN

    @property
    def signature(self) -> str:
        """Name and version, as labels carry it."""
        return f"{self.name} {self.version}".strip()

    @property
    def slug(self) -> str:
        """Its name in file names."""
        stem = Path(self.name).stem if self.is_own else self.name.rpartition(":")[2]
        return as_stem(stem)

    def __call__(self) -> Any:
        """Make the calculator.

        Raises:
            InputError: its package is missing, or it does not take the keyword arguments.
        """
        maker = _find(self.target, f"Teacher '{self.name}' can't be imported from '{self.target}'.")
        try:
            return maker(**json.loads(self.options))
        except TypeError as error:
            raise InputError(f"Teacher '{self.name}' does not take {self.options} ({error}).") from error


def _own(name: str, kwargs: Mapping[str, Any], level: str) -> Teacher:
    from ergodica.potentials import load, shipped

    if "model" in kwargs:
        raise InputError(f"'{name}' is a model itself: leave \"model\" out of its keyword arguments.")
    own = {key: value for key, value in kwargs.items() if key != "precision"}
    try:
        potential = load(name, **own)
    except InputError as error:
        if own or Path(name).suffix or Path(name).exists():
            raise
        raise InputError(
            f"There is no teacher '{name}': choose one of {', '.join((*TEACHERS, *shipped()))}, give a model file, or "
            "the import path of an ASE calculator as package.module:Class."
        ) from error
    if potential.config.head != "energy":
        raise InputError(f"Model '{name}' predicts '{potential.config.head}', not energies: it can't be a teacher.")
    # by content: a file of the same name may hold another model tomorrow
    precision = {"precision": kwargs["precision"]} if "precision" in kwargs else {}
    options = _as_json({"model": name, **precision, **({"kwargs": own} if own else {})})
    level = level or potential.info.level_of_theory
    return Teacher(name, OWN, options, potential.fingerprint, level)


def own_calculator(model: str, precision: Precision = "float32", kwargs: Mapping[str, Any] | None = None) -> Any:
    """The calculator of a model of Ergodica, with the keyword arguments of a classical one."""
    from ergodica.calculators import Calculator
    from ergodica.potentials import load

    return Calculator(load(model, **(kwargs or {})), precision=precision)


def _as_json(kwargs: Mapping[str, Any]) -> str:
    return json.dumps(dict(kwargs), sort_keys=True)


def _find(target: str, sentence: str) -> Any:
    """The class or function of an import path.

    Raises:
        InputError: with the sentence when the package is missing, with more when the name is not in it.
    """
    module, _, attribute = target.partition(":")
    try:
        found = import_module(module)
    except ModuleNotFoundError as error:
        missing = f" (no module '{error.name}')" if error.name != module.partition(".")[0] else ""
        raise InputError(f"{sentence}{missing}") from error
    except (ImportError, OSError, ValueError) as error:
        raise InputError(f"'{module}' can't be imported ({' '.join(str(error).split())[:200]}).") from error
    if not hasattr(found, attribute):
        raise InputError(f"Module '{module}' has no '{attribute}'.")
    return getattr(found, attribute)


def _version(target: str) -> str:
    try:
        return metadata.version(target.partition(".")[0].partition(":")[0])
    except metadata.PackageNotFoundError:
        return ""
