"""jax-md's Lennard-Jones in its own dynamics (`pip install jax-md`)."""

from __future__ import annotations

import time
from importlib.metadata import version

import protocol  # first: it starts the clock
from ase import Atoms, units
from ase.calculators.calculator import Calculator

BLOCK = 20  # steps within a call of the device, as its examples have it; the list is renewed where an atom has moved
SKIN = 0.5  # Å
SIGMA, EPSILON = 3.405, 0.010341


def make_calculator(atoms: Atoms) -> tuple[Calculator, dict]:
    """jax-md has none."""
    raise RuntimeError("jax-md has no ASE calculator: use --md")


def dynamics(atoms: Atoms, timestep: float, steps: int, chunks: int) -> tuple[list[float], dict]:
    """Velocity Verlet with a cell-built neighbour list that the device renews; blocks are repeated on overflow."""
    import jax
    import jax.numpy as jnp
    from jax_md import energy, simulate, space

    displacement, shift = space.periodic(jnp.asarray(atoms.cell.lengths(), jnp.float32))
    neighbors, energy_of = energy.lennard_jones_neighbor_list(
        displacement, jnp.asarray(atoms.cell.lengths(), jnp.float32), sigma=SIGMA, epsilon=EPSILON,
        r_onset=2.0, r_cutoff=2.5, dr_threshold=SKIN,
    )  # fmt: skip
    positions = jnp.asarray(atoms.positions, jnp.float32)
    init, apply = simulate.nve(energy_of, shift, timestep * units.fs)
    listed = neighbors.allocate(positions)
    masses = jnp.asarray(atoms.get_masses(), jnp.float32)
    state = init(jax.random.key(0), positions, kT=300 * units.kB, mass=masses, neighbor=listed)

    @jax.jit
    def block(state, listed):
        def step(_, carry):
            state, listed = carry
            listed = listed.update(state.position)
            return apply(state, neighbor=listed), listed

        return jax.lax.fori_loop(0, BLOCK, step, (state, listed))

    ends = []
    for _ in range(chunks):
        for _ in range(steps // BLOCK):
            new, filled = block(state, listed)
            while bool(filled.did_buffer_overflow):
                listed = neighbors.allocate(state.position)
                new, filled = block(state, listed)
            state, listed = new, filled
        state.position.block_until_ready()
        ends.append(time.perf_counter())
    return ends, {"jax_md": version("jax-md"), "jax": jax.__version__, "engine": "jax-md"}


if __name__ == "__main__":
    protocol.main(make_calculator, dynamics)
