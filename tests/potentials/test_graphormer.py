"""Graphormer-3D against its equations on dense matrices, and its head of vectors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import erf, softmax

from ergodica.errors import InputError
from ergodica.potentials import GraphormerConfig, Potential
from ergodica.prediction import predict
from ergodica.system import System
from tests.helpers.small import random_molecule, random_rotation, small_potential

FAR = 60.0
"""Å; every atom sees every other."""


def gelu(x):
    return 0.5 * x * (1 + erf(x / np.sqrt(2)))


def layer_norm(p, x):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) * p["scale"] + p["bias"]


def dense(p, x):
    return x @ p["kernel"] + p["bias"]


def attention(p, x, bias, heads):
    q, k, v = (x @ p["proj"]["kernel"][:, i] + p["proj"]["bias"][i] for i in range(3))
    cut = [part.reshape(len(x), heads, -1).transpose(1, 0, 2) for part in (q / np.sqrt(x.shape[1] // heads), k, v)]
    weights = softmax(cut[0] @ cut[1].transpose(0, 2, 1) + bias.transpose(2, 0, 1), axis=-1)
    return weights, cut[2]


def dense_energies(potential: Potential, system: System) -> np.ndarray:
    """The published equations, all pairs at once."""
    c, p, z = potential.config, potential.params["params"], system.numbers
    distance = np.linalg.norm(system.positions[:, None] - system.positions, axis=-1)
    g = p["gaussians"]
    pair = z[:, None], z[None]
    widths = np.abs(g["widths"]) + 1e-5
    y = (g["stretch"][pair] * distance + g["shift"][pair])[..., None]
    basis = np.exp(-0.5 * ((y - g["centres"]) / widths) ** 2) / (np.sqrt(2 * np.pi) * widths)
    x = p["embedding"]["embedding"][z] + dense(p["neighborhood"], basis.sum(axis=1))
    bias = dense(p["bias_1"], gelu(dense(p["bias_0"], basis)))
    for _ in range(c.rounds):
        for layer in (p[f"layer_{i}"] for i in range(c.layers)):
            weights, v = attention(layer["attention"], layer_norm(layer["attention_norm"], x), bias, c.heads)
            x = x + dense(layer["attention_out"], (weights @ v).transpose(1, 0, 2).reshape(len(x), -1))
            x = x + dense(layer["ffn_1"], gelu(dense(layer["ffn_0"], layer_norm(layer["ffn_norm"], x))))
    x = layer_norm(p["final_norm"], x)
    return dense(p["energy_1"], gelu(dense(p["energy_0"], x)))[:, 0]


def test_without_a_cutoff_attention_is_the_published_dense_one():
    potential = small_potential(2, kind="graphormer", cutoff=FAR, smooth=False)
    system = random_molecule(np.random.default_rng(1))
    (found,) = predict(potential, [system], precision="float64")
    np.testing.assert_allclose(found.energies, dense_energies(potential, system), rtol=0, atol=1e-10)


def test_vectors_turn_with_the_structure():
    rng = np.random.default_rng(4)
    potential = small_potential(2, kind="graphormer", head="vector")
    system, turn = random_molecule(rng), random_rotation(rng, improper=True)
    turned = System(system.numbers, system.positions @ turn.T)
    plain, rotated = predict(potential, [system, turned], precision="float64")
    assert np.abs(plain.value).max() > 1e-3
    np.testing.assert_allclose(rotated.value, plain.value @ turn.T, rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", [{"hidden": 30, "heads": 4}, {"rounds": 0}, {"cutoff": 0.0}])
def test_impossible_sizes_are_one_clear_sentence(options):
    with pytest.raises(InputError, match="Graphormer: "):
        GraphormerConfig(**options)
