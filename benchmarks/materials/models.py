"""What the benchmarks of materials share: their models, by name, and their table."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ergodica import load
from ergodica.datasets.teachers import Teacher

__all__ = ["model_of", "parser_of", "report"]


def parser_of(text: str | None) -> argparse.ArgumentParser:
    """A command line with the file, the models and the output."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "-m", "--model", action="append", default=[],
        help="model of Ergodica, chgnet, sevenn, or package.module:Class of an ASE calculator; may be repeated",
    )  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, help="JSON file")
    return parser


def model_of(name: str) -> Any:
    """A potential, which is fed batches, or an ASE calculator."""
    teacher = Teacher.named(name)
    return load(name) if teacher.is_own else teacher()


def report(results: Mapping[str, Any], rows: Sequence[Sequence[Any]], output: Path | None) -> None:
    """Print rows of text and numbers, and write the results."""
    for row in rows:
        print("  ".join(f"{cell:>12.4g}" if isinstance(cell, float) else f"{cell!s:>12}" for cell in row))
    if output is not None:
        output.write_text(json.dumps(results, indent=1) + "\n")
