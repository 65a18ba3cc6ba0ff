"""ViSNet against PyG's: energies and forces computed by PyG itself (tests/reference/README.md)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from ergodica.elements import SYMBOLS
from ergodica.errors import InputError
from ergodica.neighbors import find_edges, pack
from ergodica.potentials.potential import EnergyScale, Potential
from ergodica.potentials.upstream import translate_visnet
from ergodica.system import System
from tests.helpers.golden import splitmix, visnet_shapes, visnet_state

pytestmark = pytest.mark.usefixtures("x64")

GOLDEN = json.loads((Path(__file__).parents[1] / "reference" / "visnet_golden.json").read_text())
CASES = range(len(GOLDEN["cases"]))


def structures() -> list[System]:
    """The molecules of the reference file."""
    numbers, positions, batch = (np.array(GOLDEN[key]) for key in ("z", "pos", "batch"))
    return [System(numbers[batch == row], positions[batch == row]) for row in range(batch.max() + 1)]


def potential_of(case: dict, prefix: str = "") -> Potential:
    """Our potential with the weights of a case."""
    state = visnet_state(case["kwargs"], case["gain"], case["emb"])
    buffers = {"mean": np.array(case["mean"]), "std": np.array(case["std"])}
    state = {prefix + name: value for name, value in (state | buffers).items()}
    upstream = translate_visnet(state, case["kwargs"], None)
    reference = dict(zip(SYMBOLS, upstream.reference.tolist(), strict=False))
    return Potential(
        upstream.config, upstream.params, EnergyScale(upstream.scale, upstream.shift, reference, upstream.reduce)
    )


def test_generator_gives_the_documented_numbers():
    expected = [0.7666216164272852, 0.1331231503445618, 0.18237946839615882, -0.7730993158856909]
    np.testing.assert_allclose(splitmix(4, 0), expected, rtol=0, atol=1e-16)


@pytest.mark.parametrize("index", CASES)
def test_number_of_parameters_is_pygs(index):
    case = GOLDEN["cases"][index]
    assert sum(int(np.prod(shape)) for shape in visnet_shapes(**case["kwargs"]).values()) == case["n_params"]


@pytest.mark.parametrize("index", CASES)
def test_energies_and_forces_are_pygs(index):
    case = GOLDEN["cases"][index]
    potential, systems = potential_of(case), structures()
    batch = pack(systems, [find_edges(s, potential.cutoff) for s in systems], dtype=np.float64)

    def total(positions):
        energies = potential.energy(potential.params, replace(batch, positions=positions))
        return energies.sum(), energies

    gradient, energies = jax.jit(jax.grad(total, has_aux=True))(batch.positions)
    np.testing.assert_allclose(np.asarray(energies), case["y"], rtol=0, atol=1e-10)
    np.testing.assert_allclose(-np.asarray(gradient), case["forces"], rtol=0, atol=1e-8)


def test_lightning_prefix_makes_no_difference():
    plain, prefixed = (potential_of(GOLDEN["cases"][0], prefix) for prefix in ("", "model."))
    jax.tree.map(np.testing.assert_array_equal, plain.params, prefixed.params)


def test_wrong_architecture_is_one_clear_sentence():
    case = GOLDEN["cases"][0]
    state = visnet_state(case["kwargs"], case["gain"], case["emb"])
    with pytest.raises(InputError, match=r"has no 'representation_model\.vis_mp_layers\.2\.f_proj"):
        translate_visnet(state, case["kwargs"] | {"num_layers": 4}, None)
    with pytest.raises(InputError, match="no use for"):
        translate_visnet(state | {"odd": np.zeros(1)}, case["kwargs"], None)
    with pytest.raises(InputError, match="Unknown ViSNet argument 'cut_off'"):
        translate_visnet(state, case["kwargs"] | {"cut_off": 3.0}, None)
