"""Does this machine compute right numbers? Versions, devices, a test of the compiler, the shipped weights, the cache.

Some releases of JAX compile wrong numbers without a word (jax#39103), so trust is checked, not assumed.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ergodica.errors import InputError
from ergodica.files import atomic_write
from ergodica.report.checks import Check, Report

if TYPE_CHECKING:
    from jax import Array

__all__ = ["WEIGHTS", "compiler_check", "examine", "weights_check", "write_checksums"]

WEIGHTS = Path(__file__).parent / "weights"
CHECKSUMS = "SHA256SUMS"

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "ase", "vesin", "e3nn-jax", "safetensors", "h5py")

BAD_JAX = {
    "0.10.2": "it computes wrong numbers on CPU (jax#39103)",
    "0.11.0": "it crashes on CPU (jax#39257)",
    "0.11.1": "it breaks flax and hangs in loops",
}
"""Releases of jax and jaxlib not to use, and why."""

SIZES = (16385, 32773)
"""Rows just above the sizes at which the compiler changes its way to cut up a loop."""
CHUNK = 500


def examine(cache: Path | None = None) -> Report:
    """Run every check.

    Args:
        cache: folder of the persistent compilation cache; not looked at when None.
    """
    checks = [python_check(), jax_check(), packages_check(), devices_check(), compiler_check(), weights_check()]
    if cache is not None:
        checks.append(cache_check(cache))
    return Report(tuple(checks))


def python_check() -> Check:
    """Python is one that Ergodica supports."""
    found = sys.version.split()[0]
    good = sys.version_info >= (3, 11)
    return Check("python", good, found, "" if good else "Use Python 3.11 or newer.")


def jax_check() -> Check:
    """Neither jax nor jaxlib is a release known to be broken."""
    found = {name: _version(name) for name in ("jax", "jaxlib")}
    figure = ", ".join(f"{name} {number}" for name, number in found.items())
    bad = next((number for number in found.values() if number in BAD_JAX), None)
    if bad is None:
        return Check("jax version", True, figure)
    mend = "pip install 'jax>=0.10.1,!=0.10.2,!=0.11.0,!=0.11.1'"
    return Check("jax version", False, figure, f"Do not use {bad}: {BAD_JAX[bad]}. Run: {mend}")


def packages_check() -> Check:
    """The packages that Ergodica stands on are there."""
    found = {name: _version(name) for name in PACKAGES[2:]}
    missing = [name for name, number in found.items() if number is None]
    figure = ", ".join(f"{name} {number or 'missing'}" for name, number in found.items())
    return Check("packages", not missing, figure, f"Run: pip install {' '.join(missing)}" if missing else "")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def devices_check() -> Check:
    """JAX finds a device to compute on."""
    import jax

    try:
        devices = jax.devices()
    except RuntimeError as error:
        return Check(
            "devices", False, str(error).partition("\n")[0], "Try --device cpu, or reinstall jax for this device."
        )
    kinds = [f"{device.platform}:{device.id} ({device.device_kind})" for device in devices]
    return Check("devices", True, f"{', '.join(kinds)}; {os.cpu_count()} processors")


def compiler_check() -> Check:
    """Compiled over many rows, row-wise kernels give what they give over few rows at a time, in both precisions."""
    import jax

    wrong, runs = [], 0
    for precision, limit in ((np.float32, 1e-3), (np.float64, 1e-9)):
        with jax.enable_x64(precision is np.float64):
            for kernel in (triclinic_distances, message_rows):
                expected = _in_chunks(kernel, _rows(max(SIZES), precision))
                for size in SIZES:
                    found = np.asarray(jax.jit(kernel)(_rows(size, precision)))
                    bad = ~np.isclose(found, expected[:size], rtol=limit, atol=limit)
                    runs += 1
                    if bad.any():
                        name = np.dtype(precision).name
                        wrong.append(f"{kernel.__name__} {name}: {int(bad.sum())} of {size} rows wrong")
    figure = "; ".join(wrong) or f"{runs} comparisons over {SIZES[0]} and {SIZES[1]} rows agree"
    advice = "This compiler gives wrong numbers: do not use Ergodica with it; install another version of jax."
    return Check("compiler", not wrong, figure, advice if wrong else "")


def _rows(count: int, dtype: type) -> np.ndarray:
    """Reproducible vectors; the first of a longer set are those of a shorter one."""
    return np.random.RandomState(0).normal(size=(count, 3)).astype(dtype)


def _in_chunks(kernel: Callable[[Array], Array], rows: np.ndarray) -> np.ndarray:
    import jax

    compiled = jax.jit(kernel)
    padded = np.resize(rows, (-(-len(rows) // CHUNK) * CHUNK, rows.shape[1]))
    parts = [np.asarray(compiled(padded[start : start + CHUNK])) for start in range(0, len(padded), CHUNK)]
    return np.concatenate(parts)[: len(rows)]


def triclinic_distances(rows: Array) -> Array:
    """|M r|² of every row: the very form that jax 0.10.2 gets wrong on CPU; do not tidy it up."""
    import jax
    import jax.numpy as jnp

    cell = jnp.asarray([[1.1, 0.2, -0.1], [0.05, 0.9, 0.15], [-0.2, 0.1, 1.2]], rows.dtype)
    return jax.vmap(lambda row: jnp.sum((cell @ row) ** 2))(rows)


def message_rows(rows: Array) -> Array:
    """A message of ViSNet on every row: radial basis, dense layer, activation, cut-off, harmonics, and its gradient."""
    import jax
    import jax.numpy as jnp

    from ergodica.nn.geometry import angular_features, safe_norm, unit_vectors
    from ergodica.nn.radial import cosine_cutoff, expnorm_basis, expnorm_constants

    means, betas = (jnp.asarray(values, rows.dtype) for values in expnorm_constants(5.0, 16))
    weights = jnp.sin(jnp.arange(16 * 8, dtype=rows.dtype)).reshape(16, 8)

    def energies(vectors: Array) -> Array:
        distance = safe_norm(vectors)
        radial = jax.nn.silu(expnorm_basis(distance, means, betas, 5.0) @ weights)
        angular = angular_features(unit_vectors(vectors, distance), 2)
        return jnp.sum(radial * angular, axis=-1) * cosine_cutoff(distance, 5.0)

    forces = jax.grad(lambda vectors: energies(vectors).sum())(rows)
    return jnp.concatenate([energies(rows)[:, None], forces], axis=-1)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_checksums(folder: Path = WEIGHTS) -> Path:
    """Write `SHA256SUMS` for the model files of a folder, in the format of the program sha256sum.

    Raises:
        InputError: the folder holds no model.
    """
    models = sorted(folder.rglob("*.safetensors"))
    if not models:
        raise InputError(f"There is no model file in '{folder}'.")
    lines = "".join(f"{_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in models)
    atomic_write(folder / CHECKSUMS, lines.encode())
    return folder / CHECKSUMS


def weights_check(folder: Path = WEIGHTS) -> Check:
    """The shipped model files are, bit for bit, those of the release."""
    models = {path.relative_to(folder).as_posix() for path in folder.rglob("*.safetensors")}
    listed = _checksums(folder / CHECKSUMS)
    if not models and not listed:
        return Check("weights", True, "no model ships with this installation")
    wrong = [f"{name} is missing" for name in sorted(set(listed) - models)]
    wrong += [f"{name} has no checksum" for name in sorted(models - set(listed))]
    wrong += [f"{name} differs" for name in sorted(models & set(listed)) if _sha256(folder / name) != listed[name]]
    figure = "; ".join(wrong) or f"{len(models)} model files as released"
    return Check("weights", not wrong, figure, "Install again: pip install --force-reinstall ergodica" if wrong else "")


def _checksums(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    lines = (line.split(maxsplit=1) for line in path.read_text().splitlines() if line.strip())
    return {name.lstrip("*"): digest for digest, name in lines}


def cache_check(folder: Path) -> Check:
    """Compiled programs can be kept on disk."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"test")
    except OSError as error:
        advice = "Every run compiles anew: set ERGODICA_CACHE to a folder that can be written."
        return Check("cache", False, f"{folder}: {error.strerror}", advice, required=False)
    used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Check("cache", True, f"{folder}, {used / 1e6:.0f} MB in use")
