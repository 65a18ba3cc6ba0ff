"""Numbers from PySCF, libcint and libxc (tests/reference/make_dft_reference.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

STORED = Path(__file__).parents[1] / "reference" / "dft_golden.npz"


@pytest.fixture(scope="session")
def golden() -> dict[str, np.ndarray]:
    with np.load(STORED) as stored:
        return dict(stored)
