"""What ``import astune`` offers is the same for a program, an editor and a type checker, and costs no torch before it is used."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import astune

LAZY = sorted(astune._HOMES)


def imports_for_types() -> dict[str, str]:
    """Names that the package imports for type checkers alone, with their modules."""
    tree = ast.parse(Path(astune.__file__).read_text(encoding="utf-8"))
    guarded = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imports = [line for node in guarded for line in node.body]
    assert imports
    assert all(isinstance(line, ast.ImportFrom) for line in imports)
    return {
        alias.asname or alias.name: line.module or ""
        for line in imports
        if isinstance(line, ast.ImportFrom)
        for alias in line.names
    }


def in_a_fresh_process(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_lists_of_names_agree() -> None:
    assert sorted(astune.__all__) == sorted([*LAZY, "__version__"])
    assert len(astune.__all__) == len(set(astune.__all__))
    assert dir(astune) == sorted(astune.__all__)
    assert imports_for_types() == astune._HOMES


@pytest.mark.parametrize("name", LAZY)
def test_a_name_lives_where_its_home_says(name: str) -> None:
    home = importlib.import_module(astune._HOMES[name])
    value = getattr(home, name)
    assert getattr(astune, name) is value
    assert name in getattr(home, "__all__", ()) or value.__module__ == home.__name__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'astune' has no attribute 'trian'"):
        _ = astune.trian


def test_all_names_can_be_imported_at_once() -> None:
    in_a_fresh_process(
        "from astune import *\nimport astune\n"
        "assert all(globals()[name] is getattr(astune, name) for name in astune.__all__)"
    )


def test_importing_the_package_imports_no_torch() -> None:
    in_a_fresh_process(
        "import sys\nimport astune\nassert dir(astune) and astune.__version__\n"
        "assert not {'torch', 'transformers', 'sklearn', 'pydantic'} & set(sys.modules)"
    )
