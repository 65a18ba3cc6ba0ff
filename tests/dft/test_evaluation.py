"""Errors of minimised densities against labels."""

from __future__ import annotations

import numpy as np
import pytest

from ergodica.dft.evaluation import functional_errors
from ergodica.errors import WorkFailed
from ergodica.units import HARTREE, KCAL_PER_MOL
from tests.dft.toy import conformers, minimum

KCAL = HARTREE / KCAL_PER_MOL


def test_what_did_not_converge_is_counted_and_else_left_out() -> None:
    labelled = conformers(3)
    wrong = (0.001, -0.003, 5.0)
    found = [minimum(one.system, one.energy + off, off < 1) for one, off in zip(labelled, wrong, strict=True)]
    errors = functional_errors(labelled, found)
    assert errors.conformers == 3 and errors.converged == pytest.approx(2 / 3) and errors.steps == 3
    assert errors.energy_mae == pytest.approx(0.002 * KCAL) and errors.energy_max == pytest.approx(0.003 * KCAL)
    assert errors.forces_mae == 0
    with pytest.raises(WorkFailed, match="None of 1 densities converged"):
        functional_errors(labelled[2:], found[2:])


def test_relative_energies_are_within_a_composition() -> None:
    """One kind off by 1 Hartree, the other right: no difference between molecules of a kind is wrong."""
    two_kinds = [*conformers(3), *conformers(2, numbers=(1, 8))]
    found = [minimum(one.system, one.energy + (len(set(one.system.numbers)) > 1)) for one in two_kinds]
    errors = functional_errors(two_kinds, found)
    assert errors.energy_mae == pytest.approx(0.4 * KCAL) and errors.relative_energy_mae < 1e-8
    energies = np.array([one.energy for one in two_kinds])
    spread = np.concatenate([part - part.mean() for part in (energies[:3], energies[3:])])
    assert errors.mean_predictor_mae == pytest.approx(KCAL * np.abs(spread).mean())
