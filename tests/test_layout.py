"""The rooms of the package depend on each other one way."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import ergodica

ROOT = Path(ergodica.__file__).parent


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name(path): path for path in ROOT.rglob("*.py") if _name(path)}


def _imports(path: Path) -> set[str]:
    """Modules of the package that a file names in imports, those inside functions and for type checking among them."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ergodica":
            source = (node.module or "").removeprefix("ergodica").lstrip(".")
            for alias in node.names:
                whole = f"{source}.{alias.name}".lstrip(".")
                found.add(whole if whole in MODULES else source)
    return found - {""}


IMPORTS = {name: _imports(path) for name, path in MODULES.items()}


def _rooms(depth: int, inside: str = "") -> dict[str, set[str]]:
    """Which folders (and single files) use which, so many levels below the package or a folder of it."""
    graph: dict[str, set[str]] = {}
    for name, used in IMPORTS.items():
        if name.startswith(inside):
            own = ".".join(name.split(".")[:depth])
            others = {".".join(one.split(".")[:depth]) for one in used if one.startswith(inside)}
            graph[own] = graph.get(own, set()) | others - {own}
    return graph


@pytest.mark.parametrize(
    "graph",
    [
        pytest.param(IMPORTS, id="modules"),
        pytest.param(_rooms(1), id="rooms"),
        pytest.param(_rooms(2, "dft."), id="rooms of dft"),
        pytest.param(_rooms(2, "sampling."), id="rooms of sampling"),
        pytest.param(_rooms(3, "sampling.samplers."), id="samplers"),
    ],
)
def test_imports_run_one_way(graph):
    assert graph
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"imports in a circle: {' -> '.join(error.args[1])}")


def test_electrons_and_ensembles_do_not_know_each_other():
    graph = _rooms(1)
    assert "sampling" not in graph["dft"] and "dft" not in graph["sampling"]
