"""Ergodica's M3GNet."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import ergodica_worker  # first: it starts the clock

sys.path.insert(0, str(Path(__file__).parents[2]))


def make_potential() -> tuple[Any, dict]:
    """The architecture of mattersim-v1.0.0-1M with the weights of the parity tests' formula."""
    import jax

    import ergodica
    from ergodica.elements import SYMBOLS
    from ergodica.potentials.potential import EnergyScale, Potential
    from ergodica.potentials.upstream import translate_m3gnet
    from tests.helpers.golden import m3gnet_state

    model = translate_m3gnet(m3gnet_state(), None)
    reference = dict(zip(SYMBOLS[1:], model.reference[1:].tolist(), strict=False))
    potential = Potential(model.config, model.params, EnergyScale(reference=reference))
    facts = {"ergodica": ergodica.__version__, "jax": jax.__version__, "parameters": potential.n_parameters}
    return potential, facts


if __name__ == "__main__":
    ergodica_worker.run(make_potential)
