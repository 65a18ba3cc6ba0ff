"""Every file in and out: structures, tables, atomic writes. Nothing else opens files."""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ergodica.archives import SLICE, full_stress, parse_slice, ragged_arrays, read_archive
from ergodica.elements import SYMBOLS
from ergodica.errors import InputError, WorkFailed
from ergodica.system import Labels, System, as_systems

if TYPE_CHECKING:
    from ase import Atoms

__all__ = [
    "append_frames",
    "append_line",
    "as_stem",
    "atomic_write",
    "read_atoms",
    "read_lines",
    "read_structures",
    "split_selection",
    "structure_format",
    "write_structures",
]


@contextmanager
def _replacing(path: str | Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place when the block ends well, and vanishes otherwise.

    Raises:
        WorkFailed: disk full or folder not writable; the old file is untouched.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # the name ends like the target's, because formats are told by it
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=f".{path.name}", delete=False) as file:
            temporary = Path(file.name)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        reason = error.strerror or error
        raise WorkFailed(f"Could not write '{path}' ({reason}): free space or choose another folder.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def atomic_write(path: str | Path, content: bytes) -> None:
    """Replace a file in one step: readers see the old or the new content, never a part, even after a crash.

    Raises:
        WorkFailed: disk full or folder not writable; the old file is untouched.
    """
    with _replacing(path) as temporary:
        temporary.write_bytes(content)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_structures(path: str | Path, structures: System | Atoms | Sequence[System | Atoms]) -> None:
    """Write structures with their labels, in the format the file's name tells ASE; `-` is stdout (extxyz).

    A name that ends in .npz gives one compressed archive of flat arrays, which reads a hundred times faster than text.

    Raises:
        InputError: unknown format, or one that cannot hold what was given.
        WorkFailed: disk full or folder not writable; an older file stays as it was.
    """
    import ase.io

    if Path(path).suffix == ".npz":
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **ragged_arrays(as_systems(structures)))  # type: ignore[arg-type]
        atomic_write(path, buffer.getvalue())
        return
    images = [system.to_ase() for system in as_systems(structures)]
    if str(path) == "-":
        ase.io.write(sys.stdout, images, format="extxyz")
        return
    kind = structure_format(path)
    with _replacing(path) as temporary:
        try:
            ase.io.write(temporary, images if len(images) != 1 else images[0], format=kind)
        except OSError:
            raise
        except Exception as error:  # ASE's eighty writers raise whatever they like
            raise InputError(
                f"Could not write '{path}' as {kind} ({_reason(error)}): choose another format."
            ) from error


LABELLED = ("npz", "extxyz", "traj")
"""Formats that hold energies, forces and stresses, and what else is known of a structure."""


def structure_format(path: str | Path, labels: bool = False) -> str:
    """The format that the name of a file of structures asks for, as ASE calls it, or "npz".

    Args:
        path: of the file.
        labels: it has to hold energies and forces as well.

    Raises:
        InputError: nothing writes such files, or they hold no labels.
    """
    from ase.io.formats import UnknownFileTypeError, filetype, ioformats

    path = Path(path)
    if path.suffix == ".npz":
        return "npz"
    try:
        kind = str(filetype(path.name, read=False))
    except UnknownFileTypeError:
        kind = ""
    if kind not in ioformats or not ioformats[kind].can_write:
        raise InputError(f"'{path}': ASE writes no format of this name; try one that ends in .xyz or .cif.")
    if labels and kind not in LABELLED:
        raise InputError(
            f"'{path}': files of this kind hold no energies and forces with their source; try .xyz or .npz."
        )
    return kind


def read_structures(
    path: str | Path,
    *,
    needs: Sequence[str] = (),
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
) -> list[System]:
    """All structures of a file: what ASE reads, HDF5 trajectories, npz archives of data sets; `-` is stdin (extxyz).

    A selection may follow the name: `run.xyz@0:10`, `all.db@formula=H2O`, `ethanol.npz@train1[0:950]`. Energies are
    taken as eV and lengths as Å, but for the MD17 and rMD17 archives, which are in kcal/mol and converted.

    Args:
        path: file name, with or without a selection.
        needs: labels that every structure must have, of "energy", "forces" and "stress".
        energy_key: where the energy stands in the file, when not under ASE's own name (extxyz: "REF_energy").
        forces_key: the same of the forces, eV/Å.
        stress_key: the same of the stress, eV/Å³, Voigt-6 or 3x3, tension positive.

    Raises:
        InputError: the file is missing, empty, damaged or of unknown format, nothing is selected, or a label is absent.
    """
    given = {"energy": energy_key, "forces": forces_key, "stress": stress_key}
    keys = {label: key for label, key in given.items() if key is not None}
    if str(path) == "-":
        frames = [(f"stdin frame {index}", atoms) for index, atoms in enumerate(_read_stdin())]
        systems = _from_atoms(frames, needs, keys)
    else:
        file, selection = split_selection(str(path))
        _check_file(file)
        if file.suffix == ".npz":
            systems = [_labelled(system, system.info, needs, keys) for system in _read_npz(file, selection)]
        elif file.suffix == ".h5":
            from ergodica.trajectories.hdf5 import read_hdf5

            recorded = [frame.system for frame in read_hdf5(file, parse_slice(selection or ":", file))]
            systems = [_labelled(system, system.info, needs, keys) for system in recorded]
        else:
            systems = _from_atoms(_read_ase(file, selection), needs, keys)
    if not systems:
        raise InputError(f"'{path}' holds no structure: check the file and the selection after '@'.")
    return systems


def read_atoms(path: str | Path) -> list[Atoms]:
    """All frames of a file as ASE has them, with the momenta and constraints that a `System` leaves away.

    Args:
        path: file name, with or without a selection; `-` is stdin (extxyz).

    Raises:
        InputError: the file is missing, empty, damaged or of unknown format, or nothing is selected.
    """
    if str(path) == "-":
        return _read_stdin()
    file, selection = split_selection(str(path))
    _check_file(file)
    if file.suffix == ".h5":
        from ergodica.trajectories.hdf5 import read_hdf5

        return [frame.to_ase() for frame in read_hdf5(file, parse_slice(selection or ":", file))]
    if file.suffix == ".npz":
        return [system.to_ase() for system in _read_npz(file, selection)]
    frames = [atoms for _, atoms in _read_ase(file, selection)]
    if not frames:
        raise InputError(f"'{path}' holds no structure: check the file and the selection after '@'.")
    return frames


def split_selection(path: str) -> tuple[Path, str | None]:
    """File and what follows the last @; a file that really has an @ in its name is taken as it is."""
    name, at, selection = path.rpartition("@")
    return (Path(path), None) if not at or not name or Path(path).exists() else (Path(name), selection)


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"'{path}' is a folder: name a file of structures in it.")
    if not path.exists():
        raise InputError(f"There is no file '{path}'.")
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"'{path}' is empty.")


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:200] or type(error).__name__


# ---------------------------------------------------------------------------------------------------------------- ASE


def _read_stdin() -> list[Atoms]:
    text = sys.stdin.read()
    if not text.strip():
        raise InputError("Nothing came through stdin: pipe structures in extxyz format into it.")
    return _guarded("stdin", ":", io.StringIO(text), "extxyz")


def _read_ase(path: Path, selection: str | None) -> list[tuple[str, Atoms]]:
    """Named frames; the number in the name counts from the start of the file, whatever the selection."""
    if path.suffix == ".db" and selection and not SLICE.fullmatch(selection):
        images = _guarded(str(path), selection, path)
        return [(f"{path.name}@{selection} frame {index}", atoms) for index, atoms in enumerate(images)]
    wanted = parse_slice(selection or ":", path)
    forward = (wanted.start or 0) >= 0 and (wanted.stop or 0) >= 0 and (wanted.step or 1) > 0
    images = _guarded(str(path), wanted if forward else slice(None), path)  # many readers stop early when told where to
    if forward:
        numbers = range(wanted.start or 0, sys.maxsize, wanted.step or 1)
    else:
        numbers, images = range(len(images))[wanted], images[wanted]
    return [(f"{path.name} frame {index}", atoms) for index, atoms in zip(numbers, images, strict=False)]


def _guarded(name: str, index: str | slice, source: Any, kind: str | None = None) -> list[Atoms]:
    """`ase.io.read` with one clear sentence for everything its readers raise."""
    import ase.io
    from ase.io.formats import UnknownFileTypeError

    try:
        images = ase.io.read(source, index=index, format=kind, do_not_split_by_at_sign=True)
    except UnknownFileTypeError as error:
        raise InputError(f"'{name}' is of a format that ASE does not know: convert it to extxyz, say.") from error
    except Exception as error:  # ASE's eighty readers raise whatever they like
        symbol = error.args[0].strip("'") if isinstance(error, KeyError) and isinstance(error.args[0], str) else ""
        if re.fullmatch("[A-Za-z]{1,3}", symbol) and symbol not in SYMBOLS:
            raise InputError(f"'{name}' holds the unknown element '{symbol}'.") from error
        raise InputError(f"'{name}' is damaged, incomplete or of another format ({_reason(error)}).") from error
    return images if isinstance(images, list) else [images]


def _from_atoms(frames: Sequence[tuple[str, Atoms]], needs: Sequence[str], keys: Mapping[str, str]) -> list[System]:
    """Systems with the labels of ASE's calculator and those under `keys`."""
    systems = []
    for name, atoms in frames:
        system = System.from_ase(atoms, name)
        here: dict[str, Any] = {**atoms.arrays, **atoms.info, **(atoms.calc.results if atoms.calc is not None else {})}
        systems.append(_labelled(system, here, needs, keys))
    return systems


def _labelled(system: System, here: Mapping[str, Any], needs: Sequence[str], keys: Mapping[str, str]) -> System:
    """A system with the labels under `keys`; all that are needed are there."""
    if keys:
        system = system.with_labels(_keyed_labels(system, here, keys))
    _require(system, needs, tuple(here))
    return system


def _keyed_labels(system: System, here: Mapping[str, Any], keys: Mapping[str, str]) -> Labels:
    values: dict[str, Any] = {}
    shapes: dict[str, list[tuple[int, ...]]] = {
        "energy": [()],
        "forces": [(len(system), 3)],
        "stress": [(6,), (9,), (3, 3)],
    }
    for label, key in keys.items():
        if key not in here:
            raise InputError(
                f"{system.name} has no '{key}' to take the {label} from; it holds {', '.join(here) or 'none'}."
            )
        try:
            values[label] = np.asarray(here[key], float)
        except (TypeError, ValueError) as error:
            raise InputError(f"{system.name}: '{key}' is not numeric, so it cannot be the {label}.") from error
        if values[label].shape not in shapes[label]:
            raise InputError(f"{system.name}: '{key}' has shape {values[label].shape}, which is not that of {label}.")
    if "energy" in values:
        values["energy"] = float(values["energy"])
    if "stress" in values:
        values["stress"] = full_stress(values["stress"])
    return replace(system.labels, **values)


def _require(system: System, needs: Sequence[str], here: Sequence[str]) -> None:
    """Raise `InputError` for a label that is absent: training on silent zeros is the classic accident."""
    for need in needs:
        if system.labels.value(need, system.name) is not None:
            continue
        stem = need.rstrip("s") if need == "forces" else need
        alike = [key for key in here if stem in key.lower() and key not in ("energy", "forces", "stress")]
        hint = f"; '{alike[0]}' looks like it: say {need}_key='{alike[0]}' (--{need}-key)" if alike else ""
        raise InputError(f"{system.name} has no {need}, which is needed here{hint}.")


def _read_npz(path: Path, selection: str | None) -> list[System]:
    """Systems of one of the known archives; pickled objects are refused."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return read_archive(archive, path, selection)
    except InputError:
        raise
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"'{path}' is damaged, incomplete or no npz archive ({_reason(error)}).") from error


def as_stem(text: str) -> str:
    """A text as a part of a file's name: what is no letter, digit, hyphen or underscore becomes a hyphen."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in text)


def append_line(path: str | Path, line: str) -> None:
    """Add a line to a text file.

    Raises:
        WorkFailed: disk full or folder not writable.
    """
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as error:
        raise WorkFailed(
            f"Could not write '{path}' ({error.strerror}): free space or choose another folder."
        ) from error


def append_frames(path: str | Path, systems: Sequence[System], start: int) -> int:
    """Write structures into an extxyz file from byte `start` on, cutting off what stood there; flushed to disk.

    Returns:
        the size of the file in bytes, from which the next call goes on.

    Raises:
        WorkFailed: disk full or folder not writable.
    """
    import ase.io

    text = io.StringIO()
    ase.io.write(text, [system.to_ase() for system in systems], format="extxyz")
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("r+b" if path.exists() else "w+b") as file:
            file.truncate(start)
            file.seek(start)
            file.write(text.getvalue().encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise WorkFailed(
            f"Could not write '{path}' ({error.strerror}): free space or choose another folder."
        ) from error
    return start + len(text.getvalue().encode())


def read_lines(path: str | Path) -> list[str]:
    """Lines of a text file; none when there is no such file."""
    path = Path(path)
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
