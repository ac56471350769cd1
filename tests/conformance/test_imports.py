"""Which module imports which: no circle, and no folder imports one above it. Imports for types and in functions count like any other."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

import astune

ROOT = Path(astune.__file__).parent
Graph = dict[str, set[str]]

LAYERS = (
    ("data",),
    ("features", "backbone"),
    ("methods",),
    ("training", "inference"),
    ("experiments",),
    ("reporting",),
    ("export", "serving"),
    ("cli",),
)
"""Folders from the lowest to the highest; docs/architecture.md states them."""


def import_graph(root: Path) -> Graph:
    """The modules that each module of a package imports from that package."""
    files = {}
    for path in root.rglob("*.py"):
        parts = (root.name, *path.relative_to(root).with_suffix("").parts)
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return {name: _imported(name, path, set(files)) for name, path in files.items()}


def _imported(name: str, path: Path, known: set[str]) -> set[str]:
    found = set()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                whole = f"{module}.{alias.name}"
                found.add(whole if whole in known else module)
    return found & known


def circles(graph: Graph) -> list[list[str]]:
    """At least one circle of each tangle; a circle begins and ends with the same module."""
    left = {name: set(others) for name, others in graph.items()}
    found = []
    while True:
        try:
            TopologicalSorter(left).prepare()
        except CycleError as fault:
            circle = fault.args[1][::-1]  # graphlib lists what is imported before what imports it
            found.append(circle)
            left[circle[0]].discard(circle[1])
        else:
            return found


def climbs(graph: Graph) -> list[str]:
    """Imports from a folder into one that stands above it."""
    height = {folder: number for number, folders in enumerate(LAYERS) for folder in folders}
    found = []
    for name, others in graph.items():
        for other in others:
            lower, higher = (height.get(module.split(".")[1]) if "." in module else None for module in (name, other))
            if lower is not None and higher is not None and lower < higher:
                found.append(f"{name} imports {other}")
    return sorted(found)


GRAPH = import_graph(ROOT)


def test_no_module_imports_itself_round_about() -> None:
    found = [" -> ".join(circle) for circle in circles(GRAPH)]
    assert not found, "\n".join(["circles of imports:", *found])


def test_no_folder_imports_one_above_it() -> None:
    assert climbs(GRAPH) == []
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} <= {name for layer in LAYERS for name in layer}


def test_nothing_but_the_command_imports_the_command_line() -> None:
    from_outside = {
        name for name, others in GRAPH.items() if any(other.startswith("astune.cli") for other in others)
    } - {name for name in GRAPH if name.startswith("astune.cli")}
    assert from_outside == {"astune.__main__"}


def test_the_layers_are_those_that_the_documentation_states() -> None:
    stated = " < ".join(", ".join(f"`{folder}`" for folder in layer) for layer in LAYERS)
    assert stated in (Path(__file__).parents[2] / "docs" / "architecture.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("import made.up.second", "from made.up.first import x"),
        ("from made.up import second", "from . import first"),
        ("from .second import x", "def f():\n    from made.up import first"),
        (
            "from made.up.second import x",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from made.up import first",
        ),
    ],
)
def test_a_circle_is_found_however_it_is_written(first: str, second: str, tmp_path: Path) -> None:
    root = _package(tmp_path, {"first": first, "second": second, "third": "from made.up.first import x"})
    (circle,) = circles(import_graph(root))
    assert set(pairwise(circle)) == {("made.up.first", "made.up.second"), ("made.up.second", "made.up.first")}


def test_a_package_is_the_module_that_its_init_file_is(tmp_path: Path) -> None:
    root = _package(tmp_path, {"__init__": "from made.up.first import x", "first": "from made.up import y"})
    assert len(circles(import_graph(root))) == 1
    root = _package(
        tmp_path, {"__init__": "from made.up.first import x", "first": "", "second": "from made.up import first"}
    )
    assert circles(import_graph(root)) == []
    assert import_graph(root)["made.up.second"] == {"made.up.first"}


def test_every_tangle_is_told(tmp_path: Path) -> None:
    ring = {"a": "import made.up.b", "b": "import made.up.c", "c": "import made.up.a"}
    root = _package(tmp_path, {**ring, "d": "import made.up.e", "e": "import made.up.d"})
    assert sorted(len(circle) - 1 for circle in circles(import_graph(root))) == [2, 3]


def test_an_import_of_what_is_above_is_found() -> None:
    assert climbs({"astune.data.audio": {"astune.training.config"}, "astune.training.loop": {"astune.data"}}) == [
        "astune.data.audio imports astune.training.config"
    ]


def _package(folder: Path, modules: dict[str, str]) -> Path:
    """``made.up`` and its modules."""
    root = folder / "made"
    (root / "up").mkdir(parents=True, exist_ok=True)
    for name, text in {"__init__": "", **modules}.items():
        (root / "up" / f"{name}.py").write_text(text)
    (root / "__init__.py").touch()
    return root
