"""`models`: list, show, import."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ergodica import load, predict
from ergodica.dft.learned.functional import shipped_functionals
from ergodica.potentials import shipped
from ergodica.potentials.importing import import_checkpoint
from ergodica.sampling.diffusion.sampler_file import shipped_samplers
from ergodica.system import System
from tests.cli.conftest import is_one_sentence
from tests.helpers.golden import m3gnet_state, visnet_state
from tests.helpers.torchzip import Call, Global, whole, write_zip

GOLDEN = json.loads((Path(__file__).parents[1] / "reference" / "visnet_golden.json").read_text())
CASE = GOLDEN["cases"][0]
HYPER = {
    "lmax": "lmax", "num_heads": "num_heads", "num_layers": "num_layers", "embedding_dimension": "hidden_channels",
    "num_rbf": "num_rbf", "trainable_rbf": "trainable_rbf", "trainable_vecnorm": "trainable_vecnorm", "max_z": "max_z",
    "cutoff": "cutoff",
}  # fmt: skip


def checkpoint(path: Path, prefix: str = "", extra: dict | None = None, wrap: bool = False) -> Path:
    """A torch file with the weights of the reference case."""
    state = visnet_state(CASE["kwargs"], CASE["gain"], CASE["emb"])
    state |= {"mean": np.array(CASE["mean"]), "std": np.array(CASE["std"])}
    tensors = {prefix + name: whole(str(i), value) for i, (name, value) in enumerate(state.items())}
    return write_zip(path, {"state_dict": tensors, **(extra or {})} if wrap else tensors)


def first_structure() -> System:
    numbers, positions, batch = (np.array(GOLDEN[key]) for key in ("z", "pos", "batch"))
    return System(numbers[batch == 0], positions[batch == 0])


@pytest.mark.parametrize("wrap", [False, True])
def test_import_gives_the_published_energies(ergodica, tmp_path, wrap):
    path = checkpoint(tmp_path / "upstream.pt", wrap=wrap)
    options = ["--kwargs", json.dumps(CASE["kwargs"]), "--name", "golden", "--json"]
    answer = ergodica("models", "import", path, "-o", "out.safetensors", *options, model=False)
    assert answer.code == 0 and answer.json["path"] == "out.safetensors"
    potential = load("out.safetensors")
    assert potential.info.name == "golden" and "neighbours" in potential.info.notes
    (one,) = predict(potential, [first_structure()], precision="float64")
    assert one.energy == pytest.approx(np.ravel(CASE["y"])[0], abs=1e-9)


def test_import_of_a_lightning_checkpoint(tmp_path):
    kwargs = CASE["kwargs"]
    hyper = {ours: kwargs[theirs] for ours, theirs in HYPER.items() if theirs in kwargs}
    defaults = {
        "lmax": 1,
        "num_heads": 8,
        "trainable_rbf": False,
        "trainable_vecnorm": False,
        "max_z": 100,
        "cutoff": 5.0,
    }
    hyper = {**defaults, **hyper, "activation": "silu", "attn_activation": "silu", "max_num_neighbors": 32}
    hyper |= {"vecnorm_type": kwargs.get("vecnorm_type"), "vertex_type": "Edge" if kwargs.get("vertex") else "None"}
    hyper |= {"reduce_op": kwargs.get("reduce_op", "add"), "output_model": "Scalar", "prior_model": "Atomref"}
    path = checkpoint(tmp_path / "a.ckpt", "model.", {"hyper_parameters": hyper, "epoch": 3}, wrap=True)
    potential = import_checkpoint(path)
    assert "Lightning" in potential.info.notes and potential.info.name == "a"
    (one,) = predict(potential, [first_structure()], precision="float64")
    assert one.energy == pytest.approx(np.ravel(CASE["y"])[0], abs=1e-9)


def test_import_with_wrong_arguments(ergodica, tmp_path):
    path = checkpoint(tmp_path / "upstream.pt")
    answer = ergodica(
        "models", "import", path, "-o", "out.safetensors", "--kwargs", '{"hiden_channels": 3}', model=False
    )
    assert answer.code == 2 and is_one_sentence(answer.err) and "hiden_channels" in answer.err


M3GNET = json.loads((Path(__file__).parents[1] / "reference" / "m3gnet_golden.json").read_text())


def mattersim_checkpoint(path: Path, arguments: dict | None = None) -> Path:
    """A file as MatterSim's program writes it, the buffers of its bases and a whole optimiser included."""
    state = m3gnet_state() | {name: np.asarray(value, np.float32) for name, value in M3GNET["_buffers"].items()}
    tensors = {name: whole(str(i), np.asarray(value)) for i, (name, value) in enumerate(state.items())}
    optimizer = Call(Global("torch.optim.adam", "Adam"), new=True, state={"param_groups": [{"lr": 1e-3}]})
    given = {"units": 128, "num_blocks": 3, "max_l": 4, "max_n": 4, "cutoff": 5.0, "max_z": 94}
    given |= {"threebody_cutoff": 4.0} | (arguments or {})
    tree = {"model_name": "m3gnet", "model": tensors, "model_args": given, "optimizer": optimizer, "last_epoch": 200}
    return write_zip(path, tree)


def test_import_of_a_mattersim_checkpoint(ergodica, tmp_path):
    path = mattersim_checkpoint(tmp_path / "mattersim.pth")
    answer = ergodica("models", "import", path, "-o", "out.safetensors", "--json", model=False)
    assert answer.code == 0 and answer.json["name"] == "mattersim"
    case = M3GNET["NaCl8"]
    system = System(case["numbers"], case["positions"], case["cell"], [True] * 3)
    (one,) = predict(load("out.safetensors"), [system], precision="float64")
    assert one.energy == pytest.approx(case["energy"], abs=1e-9)


def test_import_of_a_mattersim_checkpoint_that_contradicts_itself(ergodica, tmp_path):
    for arguments, words in (({"units": 64}, "128 units"), ({"max_n": 3}, "max_n = 4")):
        path = mattersim_checkpoint(tmp_path / "odd.pth", arguments)
        answer = ergodica("models", "import", path, "-o", "odd.safetensors", model=False)
        assert answer.code == 2 and is_one_sentence(answer.err) and words in answer.err
    answer = ergodica("models", "import", path, "-o", "odd.safetensors", "--kwargs", '{"units": 64}', model=False)
    assert answer.code == 2 and "leave --kwargs away" in answer.err


@pytest.mark.parametrize("tree", [[1, 2], {"epoch": 3}])
def test_import_of_something_else(ergodica, tmp_path, tree):
    write_zip(tmp_path / "other.pt", tree)
    answer = ergodica("models", "import", "other.pt", "-o", "out.safetensors", model=False)
    assert answer.code == 2 and is_one_sentence(answer.err)


def test_list_is_what_ships(ergodica):
    for arguments in (["models"], ["models", "list"]):
        answer = ergodica(*arguments, "--json", model=False)
        names = [*shipped(), *shipped_functionals(), *shipped_samplers()]
        assert answer.code == 0 and [record["name"] for record in answer.json] == names


def test_show(ergodica):
    card = ergodica("models", "show", "{f}/tiny.safetensors", "--json", model=False).json
    assert card["name"] == "tiny" and card["cutoff_A"] == 5.0 and card["config"]["hidden"] == 16
    assert "silu" in ergodica("models", "show", "{f}/tiny.safetensors", model=False).out
    sampler = ergodica("models", "show", "torsions-mmff94", "--json", model=False).json
    assert sampler["kind"] == "torsion-sampler" and sampler["temperatures"][0] == 300 and sampler["licence"] == "MIT"
    missing = ergodica("models", "show", "nothing", model=False)
    assert missing.code == 2 and is_one_sentence(missing.err)


@pytest.mark.slow
def test_add_writes_a_model_that_every_verb_takes(ergodica):
    options = ("--d3", "pbe", "--cutoff", "9", "--core", "--json")
    answer = ergodica("models", "add", "{f}/tiny.safetensors", *options, "-o", "sum.safetensors", model=False)
    assert answer.code == 0 and answer.json["name"] == "tiny+d3+zbl" and answer.json["cutoff_A"] == 9.0
    card = ergodica("models", "show", "sum.safetensors", "--json", model=False).json
    assert "D3(BJ)" in card["level_of_theory"] and card["config"]["terms"][0]["functional"] == "pbe"
    found = ergodica("predict", "{f}/ethanol.xyz", "-m", "sum.safetensors", "--json", model=False)
    assert found.code == 0 and np.isfinite(found.json[0]["energy_eV"])


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ([], "what to add"),
        (["--d3", "pbf"], "no parameters of 'pbf'"),
        (["--charges", "{"], "--charges"),
        (["--charges", '{"Xx": 1}'], "no element"),
    ],
)
def test_add_refuses_what_makes_no_sense(ergodica, arguments, hint):
    answer = ergodica("models", "add", "{f}/tiny.safetensors", *arguments, "-o", "sum.safetensors", model=False)
    assert answer.code == 2 and is_one_sentence(answer.err) and hint in answer.err
