"""Options that every verb has, defined once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from cyclopts import Parameter

from ergodica.cli.inputs import STDIN, parse_kwargs
from ergodica.errors import InputError

if TYPE_CHECKING:
    from ergodica.potentials.potential import Potential

__all__ = ["DEFAULTS", "DEFAULT_MODEL", "RECIPE", "SHARED", "Common", "Flag", "Many", "Recipe", "Shared", "Words"]

DEFAULT_MODEL = "visnet-rmd17"
"""The model a verb takes when none is named."""

Flag = Annotated[bool, Parameter(negative="", show_default=False)]
"""A switch without its "--no-" twin."""

Many = Annotated[tuple[str, ...], Parameter(negative="", show_default=False)]
"""An option that may be given several times."""


Words = Annotated[tuple[str, ...], Parameter(negative="", show_default=False, consume_multiple=True)]
"""An option that takes all words up to the next option."""


Kind = Literal["structures", "labels", "picture"]
"""What an output holds: structures, also with energies and forces, or a picture."""


@Parameter(name="*")
@dataclass(frozen=True)
class Shared:
    """Options of every verb, with one model or with none."""

    output: Annotated[Path | None, Parameter(alias="-o")] = None
    """File to write; a folder where a verb makes several files."""

    json: Flag = False
    """Print the result as JSON on stdout, and nothing else there."""

    device: Literal["auto", "cpu", "gpu", "tpu"] = "auto"
    """Where to compute."""

    precision: Literal["float32", "float64"] = "float32"
    """Floating-point numbers of the network; total energies are always summed, densities minimised in float64."""

    seed: int = 0
    """Seed of everything random."""

    quiet: Flag = False
    """Print nothing but errors and the JSON result."""

    overwrite: Flag = False
    """Replace an output file that exists."""

    def start(self, check_output: bool = True, kind: Kind | None = None) -> None:
        """Check the output, choose the device, switch the compilation cache on; call before anything imports JAX.

        Args:
            check_output: whether the output is a file that must not exist yet.
            kind: what it holds, if its name must say in which format.

        Raises:
            InputError: the output exists or has no format, the device is absent, or the seed negative.
        """
        from ergodica.cli.session import start_jax

        if self.seed is not None and self.seed < 0:
            raise InputError(f"--seed {self.seed} must not be negative.")
        if self.output is not None and check_output:
            self.claim(self.output)
        start_jax(self.device)
        if self.output is not None and kind is not None:
            from ergodica.files import structure_format
            from ergodica.pictures import picture_format

            if kind == "picture":
                picture_format(self.output)
            else:
                structure_format(self.output, labels=kind == "labels")

    def refuse_output(self) -> None:
        """For verbs that write no file.

        Raises:
            InputError: one was asked for.
        """
        if self.output is not None:
            raise InputError("This verb writes no file: leave -o out and take the result from --json.")

    def claim(self, path: Path) -> Path:
        """A path that may be written.

        Raises:
            InputError: it exists and `--overwrite` was not given, or it is a folder.
        """
        if str(path) == STDIN:
            raise InputError("Output to '-' is not supported: name a file, or take the result from --json.")
        if path.is_dir():
            raise InputError(f"The output '{path}' is a folder: give the name of a file.")
        if path.exists() and not self.overwrite:
            raise InputError(f"The output '{path}' exists: give another name or add --overwrite.")
        return path

    def claim_folder(self, folder: Path) -> Path:
        """A folder that may be written to.

        Raises:
            InputError: it is a file, or it holds something and `--overwrite` was not given.
        """
        if folder.exists() and not folder.is_dir():
            raise InputError(f"The output '{folder}' is a file: give the name of a folder.")
        if folder.is_dir() and any(folder.iterdir()) and not self.overwrite:
            raise InputError(f"The output folder '{folder}' is not empty: give another name or add --overwrite.")
        return folder

    def with_default_output(self, path: Path) -> Self:
        """The same options, writing to `path` unless an output was named."""
        return self if self.output is not None else replace(self, output=path)


@Parameter(name="*")
@dataclass(frozen=True)
class Common(Shared):
    """Options of every verb that takes one model."""

    model: Annotated[str, Parameter(alias="-m")] = DEFAULT_MODEL
    """Name of a shipped model, path of a model file, or a classical potential: coulomb, d3, emt, lj, zbl."""

    kwargs: str | None = None
    """JSON object of a classical potential's parameters, or of an upstream constructor's keyword arguments."""

    def load(self) -> Potential:
        """The model.

        Raises:
            InputError: it does not exist, the file is damaged, or `--kwargs` does not fit it.
        """
        from ergodica.potentials import load

        return load(self.model, **self.parameters())

    def parameters(self) -> dict[str, Any]:
        """What `--kwargs` says.

        Raises:
            InputError: it is no JSON object.
        """
        return parse_kwargs(self.kwargs) or {}


@Parameter(name="*")
@dataclass(frozen=True)
class Recipe(Shared):
    """Options of the verbs that do what a file says."""

    precision: Literal["float32", "float64"] = "float32"
    """Floating-point numbers of the network when what was trained is tested; it is trained in float32."""

    seed: int | None = None  # type: ignore[assignment]
    """Seed of everything random, instead of the one in the file."""


DEFAULTS = Common()
"""The default of every verb's parameter `common`."""

SHARED = Shared()
"""The same of the verbs that take no model, or several."""

RECIPE = Recipe()
"""The same of the verbs that do what a file says."""
