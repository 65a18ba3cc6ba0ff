"""M3GNet against MatterSim's: energies, forces and stresses computed by MatterSim (tests/reference/README.md)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ergodica.elements import SYMBOLS
from ergodica.potentials.potential import EnergyScale, Potential
from ergodica.potentials.upstream import translate_m3gnet
from ergodica.prediction import predict
from ergodica.system import System
from tests.helpers.golden import m3gnet_shapes, m3gnet_state

GOLDEN = json.loads((Path(__file__).parents[1] / "reference" / "m3gnet_golden.json").read_text())
CASES = ("Si2", "NaCl8", "H2O")
GPA = 160.21766208


def reference_potential() -> Potential:
    """Three blocks of 128 channels with the weights of the formula."""
    model = translate_m3gnet(m3gnet_state(), None)
    reference = dict(zip(SYMBOLS[1:], model.reference[1:].tolist(), strict=False))
    return Potential(model.config, model.params, EnergyScale(reference=reference))


@pytest.mark.parametrize("units, blocks, published", [(128, 3, 890_034), (256, 4, 4_548_930)])
def test_number_of_parameters_is_mattersims(units, blocks, published):
    assert sum(int(np.prod(shape)) for shape in m3gnet_shapes(units, blocks, 95).values()) == published


def test_energies_forces_and_stresses_are_mattersims():
    cases = [GOLDEN[name] for name in CASES]
    systems = [System(c["numbers"], c["positions"], c["cell"], [True] * 3) for c in cases]
    for case, found in zip(cases, predict(reference_potential(), systems, precision="float64"), strict=True):
        np.testing.assert_allclose(found.energy, case["energy"], rtol=0, atol=1e-9)
        np.testing.assert_allclose(found.forces, case["forces"], rtol=0, atol=1e-9)
        symmetric = 0.5 * (np.array(case["stress_GPa"]) + np.transpose(case["stress_GPa"]))
        np.testing.assert_allclose(found.stress * GPA, symmetric, rtol=0, atol=1e-8)
