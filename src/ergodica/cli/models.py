"""`ergodica models`: what ships, its card, and conversion of upstream checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ergodica.cli.common import DEFAULTS, Common, Flag
from ergodica.cli.inputs import parse_kwargs
from ergodica.cli.output import emit, say
from ergodica.errors import InputError

if TYPE_CHECKING:
    from ergodica.potentials.potential import Potential

__all__ = ["add", "import_", "list_", "show"]


def list_(*, common: Common = DEFAULTS) -> None:
    """List the models that come with the package."""
    common.refuse_output()
    from ergodica.checkpoint import read_header
    from ergodica.dft.learned.functional import shipped_functionals
    from ergodica.potentials import shipped
    from ergodica.sampling.diffusion.sampler_file import shipped_samplers

    records = []
    for name, path in (shipped() | shipped_functionals() | shipped_samplers()).items():
        info = read_header(path)["info"]
        card = {key: info[key] for key in ("elements", "level_of_theory", "training_data", "licence")}
        records.append({"name": name, "path": path, **card})
    rows = [(r["name"], _brief(r["elements"]), r["level_of_theory"], r["training_data"]) for r in records]
    emit(common, records, ("name", "elements", "level of theory", "training data"), rows)
    if not records:
        say(common, "No model ships with this installation; train one, or convert one with 'ergodica models import'.")


def show(name: str, /, *, common: Common = DEFAULTS) -> None:
    """Print the card of a model: a potential, a density functional or a sampler.

    Parameters
    ----------
    name
        Name of a shipped model, or path of a model file.
    """
    common.refuse_output()
    from ergodica.checkpoint import read_header
    from ergodica.dft.learned.functional import FORMAT, shipped_functionals
    from ergodica.potentials import load
    from ergodica.sampling.diffusion.sampler_file import FORMAT as SAMPLER
    from ergodica.sampling.diffusion.sampler_file import shipped_samplers

    path = (shipped_functionals() | shipped_samplers()).get(name, Path(name))
    header = read_header(path) if path.is_file() else {}
    if header.get("format") == FORMAT:
        card = _functional_card(path)
    elif header.get("format") == SAMPLER:
        keys = [key for key in ("force_field", "temperatures", "target", "noise", "config") if key in header]
        card = {**header["info"], "kind": header["kind"], "path": path, **{key: header[key] for key in keys}}
    else:
        card = _card(load(name, **common.parameters()))
    emit(common, card, ("", card["name"]), _rows(card))


def import_(
    file: Path,
    /,
    *,
    name: str | None = None,
    common: Common = DEFAULTS,
) -> None:
    """Convert a checkpoint of MatterSim's M3GNet, AI2BMD's Geoformer or ViSNet, or PyG's ViSNet, to a model file.

    Nothing in the checkpoint is ever run.

    Parameters
    ----------
    file
        A checkpoint written by torch: a bare state dict, one that wraps it, or a Lightning checkpoint. For those that
        do not carry the constructor's keyword arguments, give them by --kwargs.
    name
        Name on the card; the file's own by default.
    """
    from ergodica.potentials.importing import import_checkpoint
    from ergodica.potentials.modelfile import save_model

    if common.output is None:
        raise InputError("Say where to write the model, for example -o model.safetensors.")
    output = common.claim(common.output)
    potential = import_checkpoint(file, parse_kwargs(common.kwargs), name)
    save_model(output, potential)
    result = {"path": str(output), "name": potential.info.name, "n_parameters": potential.n_parameters}
    emit(common, result, ("", potential.info.name), _rows(_card(potential) | {"path": output}))


def add(
    model: str,
    /,
    *,
    d3: str | None = None,
    cutoff: float | None = None,
    core: Flag = False,
    charges: str | None = None,
    name: str | None = None,
    common: Common = DEFAULTS,
) -> None:
    """Write a model with classical terms added to its energy, for every verb to use.

    Parameters
    ----------
    model
        Name of a shipped model, path of a model file, or a classical potential, its parameters by --kwargs.
    d3
        Density functional of the training data, such as pbe, whose D3(BJ) dispersion is added.
    cutoff
        Where the dispersion of a pair ends, Å; 15 by default.
    core
        Add the repulsion of the screened nuclei (ZBL) at distances shorter than any bond.
    charges
        JSON object of the charge of each element, e, such as '{"Na": 1, "Cl": -1}', for Coulomb forces (DSF).
    name
        Name on the card; by default the model's with what was added.
    """
    from dataclasses import replace

    from ergodica.potentials import add as add_terms
    from ergodica.potentials import load
    from ergodica.potentials.additions import CORE
    from ergodica.potentials.modelfile import save_model

    if common.output is None:
        raise InputError("Say where to write the model, for example -o model.safetensors.")
    output = common.claim(common.output)
    if cutoff is not None and d3 is None:
        raise InputError("--cutoff is where the dispersion ends: ask for it by --d3 FUNCTIONAL.")
    terms = [load("d3", functional=d3, cutoff=cutoff or 15.0)] if d3 is not None else []
    terms += [load("zbl", reach=CORE)] if core else []
    terms += [load("coulomb", charges=parse_kwargs(charges, "--charges"))] if charges is not None else []
    if not terms:
        raise InputError("Say what to add: --d3 FUNCTIONAL, --core or --charges JSON.")
    potential = add_terms(load(model, **common.parameters()), *terms)
    potential = replace(potential, info=replace(potential.info, name=name or potential.info.name))
    save_model(output, potential)
    result = {"path": str(output), "name": potential.info.name, "cutoff_A": potential.cutoff}
    emit(common, result, ("", potential.info.name), _rows(_card(potential) | {"path": output}))


def _card(potential: Potential) -> dict[str, Any]:
    calibration = {} if potential.calibration is None else {"calibration": asdict(potential.calibration)}
    return {
        **asdict(potential.info),
        **calibration,
        "cutoff_A": potential.cutoff,
        "n_parameters": potential.n_parameters,
        "predicts": potential.config.head,
        "config": asdict(potential.config),  # type: ignore[call-overload]
        "energy_scale": asdict(potential.energy_scale),
    }


def _functional_card(path: Path) -> dict[str, Any]:
    from ergodica.dft.learned.functional import load_functional

    functional, info = load_functional(path)
    config = asdict(functional.config)
    return {**asdict(info), "learns": config.pop("target"), "formulas": config.pop("formulas"), "config": config}


def _rows(card: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in card.items():
        if key == "elements":
            yield key, _brief(value)
        elif isinstance(value, dict):
            yield key.replace("_", " "), ", ".join(f"{name} {one}" for name, one in value.items()) or "-"
        elif key != "name":
            yield key.replace("_", " "), str(value) or "-"


def _brief(elements: Any) -> str:
    return " ".join(elements) if len(elements) <= 12 else f"{len(elements)} elements"
