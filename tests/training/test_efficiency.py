"""Data efficiency: nested shares, both starts, going on after an interruption."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ergodica.errors import InputError
from ergodica.potentials.modelfile import save_model
from ergodica.training import efficiency
from ergodica.training.efficiency import EfficiencyOptions, data_efficiency
from tests.helpers.small import small_potential
from tests.training.conftest import toy

QUICK = EfficiencyOptions(fractions=(0.25, 1.0), steps=4, batch_size=2)


@pytest.fixture
def trunk(tmp_path):
    path = tmp_path / "trunk.safetensors"
    save_model(path, small_potential(hidden=8, layers=1, heads=2, num_rbf=4, max_z=10))
    return path


@pytest.mark.slow
def test_interrupted_curve_goes_on_where_it_stood(trunk, tmp_path, monkeypatch):
    arguments = (trunk, toy(16), toy(3, seed=1), tmp_path / "curve", QUICK)
    begun = []
    train = efficiency.train

    def interrupted(config, splits, **options):
        begun.append((config.info.name, len(splits.train), len(splits.validation)))
        if len(begun) == 3:
            raise KeyboardInterrupt
        return train(config, splits, **options)

    monkeypatch.setattr(efficiency, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        data_efficiency(*arguments)
    assert len(json.loads((tmp_path / "curve/efficiency.json").read_text())) == 2
    points = data_efficiency(*arguments)
    small, large = (
        [("fine-tuned-4", 3, 1), ("from-scratch-4", 3, 1)],
        [("fine-tuned-16", 14, 2), ("from-scratch-16", 14, 2)],
    )
    assert begun == [*small, large[0], *large]  # what was finished is not done again
    assert [(p.start, p.structures) for p in points] == [
        (start, count) for count in (4, 16) for start in ("fine-tuned", "from scratch")
    ]
    assert all(p.errors["n_structures"] == 3 and p.errors["forces_mae_eV_per_A"] > 0 for p in points)
    assert (tmp_path / "curve/efficiency.png").stat().st_size > 5000


@pytest.mark.slow
def test_what_another_model_or_other_options_gave_is_not_taken(trunk, tmp_path):
    structures, test, quick = toy(4), toy(3, seed=1), replace(QUICK, fractions=(1.0,), scratch=False)
    (first,) = data_efficiency(trunk, structures, test, tmp_path / "curve", quick)
    assert data_efficiency(trunk, structures, test, tmp_path / "curve", quick) == [first]
    for other, data in ((replace(quick, learning_rate=1e-5), structures), (quick, toy(4, seed=2))):
        with pytest.raises(InputError, match="another model, other options or other structures"):
            data_efficiency(trunk, data, test, tmp_path / "curve", other)
    (again,) = data_efficiency(trunk, toy(4, seed=2), test, tmp_path / "curve", quick, overwrite=True)
    assert again.errors != first.errors


def test_shares_that_can_t_be_trained_on(trunk, tmp_path):
    with pytest.raises(InputError, match="greater than 0 and up to 1"):
        replace(QUICK, fractions=(0.5, 1.5))
    with pytest.raises(InputError, match=r"smallest share of 8 structures is 1: 2 are needed"):
        data_efficiency(trunk, toy(8), toy(2), tmp_path / "run", replace(QUICK, fractions=(0.1, 1.0)))
    with pytest.raises(InputError, match="no test structures"):
        data_efficiency(trunk, toy(8), [], tmp_path / "run", QUICK)
