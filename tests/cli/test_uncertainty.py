"""`ensemble`, `calibrate`, and what other verbs say of a model that knows its uncertainty."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.io import read, write

from ergodica.potentials import EnergyScale, Info, Potential
from ergodica.potentials.modelfile import load_model, save_model
from tests.cli.conftest import is_one_sentence


@pytest.fixture(scope="module")
def extra(files):
    """A second tiny model, and labelled waters, beside the first."""
    first = load_model(files / "tiny.safetensors")
    other = Potential.create(first.config, seed=1, energy_scale=EnergyScale(scale=0.1), info=Info(name="tiny2"))
    save_model(files / "tiny2.safetensors", other)
    frames = []
    for seed in range(24):
        atoms = molecule("H2O")
        atoms.rattle(0.05, seed=seed)
        atoms.calc = EMT()
        atoms.get_forces()
        frames.append(atoms)
    write(files / "waters.xyz", frames, format="extxyz")
    return files


@pytest.fixture(scope="module")
def joined(extra):
    """The two models as one."""
    from ergodica.cli import main

    path = extra / "both.safetensors"
    members = [str(extra / f"{name}.safetensors") for name in ("tiny", "tiny2")]
    assert main(["ensemble", *members, "-o", str(path), "--quiet"]) == 0
    return path


@pytest.mark.slow
def test_ensemble_predicts_and_says_how_uncertain_it_is(ergodica, joined):
    answer = ergodica(
        "predict", "{f}/ethanol.xyz", "{f}/silicon.xyz", "-m", joined, "--uncertainty", "--json", model=False
    )
    assert answer.code == 0
    ethanol, silicon = answer.json
    assert ethanol["energy_std_eV"] > 0 and np.shape(ethanol["forces_std_eV_per_A"]) == (9,)
    assert ethanol["stress_std_eV_per_A3"] is None and silicon["stress_std_eV_per_A3"] > 0
    assert "confidence" not in ethanol
    table = ergodica("predict", "{f}/ethanol.xyz", "-m", joined, "--uncertainty", "-o", "said.xyz", model=False)
    carried = read("said.xyz").info
    assert carried["energy_std_eV"] == pytest.approx(ethanol["energy_std_eV"], rel=1e-4)
    assert carried["largest_force_std_eV_per_A"] == pytest.approx(max(ethanol["forces_std_eV_per_A"]), rel=1e-4)
    assert "energy spread / eV" in table.out
    plain = ergodica("predict", "{f}/ethanol.xyz", "-m", joined, "--json", model=False).json[0]
    assert "energy_std_eV" not in plain and plain["energy_eV"] == pytest.approx(ethanol["energy_eV"], abs=1e-5)
    assert ergodica("models", "show", joined, "--json", model=False).json["config"]["members"] == 2


def test_calibrated_ensemble_gives_bounds_and_evaluates_itself(ergodica, joined):
    answer = ergodica("calibrate", joined, "{f}/waters.xyz@0:12", "-o", "known.safetensors", "--json", model=False)
    assert answer.code == 0 and answer.json["n_structures"] == 12 and answer.json["energy_factor"] > 0
    found = ergodica("predict", "{f}/ethanol.xyz", "-m", "known.safetensors", "--uncertainty", "--json", model=False)
    record = found.json[0]
    assert record["confidence"] == 0.9 and np.shape(record["forces_bound_eV_per_A"]) == (9,)
    assert record["energy_bound_eV"] == pytest.approx(answer.json["energy_factor"] * record["energy_std_eV"])
    judged = ergodica(
        "evaluate", "{f}/waters.xyz@12:24", "-m", "known.safetensors", "--json", "-o", "parity.png", model=False
    ).json["uncertainty"]
    assert 0 <= judged["forces_coverage"] <= 1 and -1 <= judged["forces_spearman"] <= 1
    assert read_png("parity.png")


def read_png(path) -> bool:
    with open(path, "rb") as file:
        return file.read(4) == b"\x89PNG"


@pytest.mark.slow
def test_single_model_gets_a_posterior(ergodica, extra):
    words = ("calibrate", "{f}/tiny.safetensors", "{f}/waters.xyz", "-o", "known.safetensors", "--samples", "4")
    answer = ergodica(*words, "--json", model=False)
    assert answer.code == 0 and answer.json["n_structures"] == 12  # the other half made the posterior
    assert load_model("known.safetensors").config.members == 4
    both = [
        ergodica("predict", "{f}/ethanol.xyz", "-m", model, "--json", model=False).json[0]["energy_eV"]
        for model in ("known.safetensors", "{f}/tiny.safetensors")
    ]
    assert both[0] == pytest.approx(both[1], abs=1e-4)


@pytest.mark.slow
def test_md_stops_where_the_model_is_uncertain(ergodica, joined):
    arguments = ("md", "{f}/ethanol.xyz", "-m", joined, "--steps", "4", "--every", "2", "--max-uncertainty", "1e-6")
    answer = ergodica(*arguments, model=False)
    assert answer.code == 1 and "uncertain at step 0" in answer.err and "ethanol.md.uncertain.extxyz" in answer.err
    assert len(read("ethanol.md.traj", ":")) == len(read("ethanol.md.uncertain.extxyz", ":")) == 1
    again = ergodica(*arguments, "-o", "other.traj", "--on-uncertain", "collect", "--json", model=False)
    assert again.code == 0 and again.json["uncertain_frames"] == 3
    assert again.json["uncertain_file"] == "other.uncertain.extxyz"


TINY, BOTH, WATERS, ETHANOL = "{f}/tiny.safetensors", "{f}/both.safetensors", "{f}/waters.xyz", "{f}/ethanol.xyz"
OUT = ("-o", "new.safetensors")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["predict", ETHANOL, "--uncertainty", "-m", TINY], "single model and can't say"),
        (["md", ETHANOL, "--max-uncertainty", "0.1", "-m", TINY], "single model and can't say"),
        (["md", ETHANOL, "--max-uncertainty", "-1", "-m", BOTH], "must be positive"),
        (["md", ETHANOL, "--on-uncertain", "collect", "-m", BOTH], "--max-uncertainty"),
        (["ensemble", TINY, BOTH], "-o ensemble.safetensors"),
        (["ensemble", TINY, *OUT], "at least two"),
        (["ensemble", TINY, TINY, *OUT], "are the same model"),
        (["ensemble", TINY, BOTH, *OUT], "give those, not an ensemble"),
        (["ensemble", TINY, "visnet-rmd17-ethanol", *OUT], "differ in their architecture"),
        (["calibrate", BOTH, WATERS], "-o calibrated.safetensors"),
        (["calibrate", BOTH, *OUT], "at least one structure file"),
        (["calibrate", BOTH, ETHANOL, *OUT], "label the structures first"),
        (["calibrate", BOTH, WATERS + "@0:3", *OUT], "at least 9 labelled"),
        (["calibrate", BOTH, WATERS, "--train", WATERS, *OUT], "--train is for single models"),
        (["active", "nowhere.toml"], "no configuration 'nowhere.toml'"),
    ],
)
def test_bad_use_is_one_sentence(ergodica, joined, arguments, hint):
    answer = ergodica(*arguments, "--quiet", model=False)
    assert answer.code == 2 and is_one_sentence(answer.err) and hint in answer.err
