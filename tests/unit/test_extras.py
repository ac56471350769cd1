"""Messages about missing packages name a command that works where astune runs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from astune import extras
from dependencies.lock import ROOT
from dependencies.packages import EXTRAS, user_extras


def test_a_checkout_installs_from_itself() -> None:
    assert extras.in_checkout()
    assert extras.install_command("plots") == "pip install -e '.[plots]'"


def test_an_installed_package_is_installed_again_by_its_name(tmp_path: Path) -> None:
    package = tmp_path / "src" / "astune"  # a folder of this name alone is no checkout
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "extras.py").write_bytes(Path(extras.__file__).read_bytes())
    code = "from astune.extras import install_command; print(install_command('plots'))"
    command = [sys.executable, "-c", code]
    environment = {"PYTHONPATH": str(tmp_path / "src")}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "pip install 'astune[plots]'\n"


def test_missing_packages_keep_their_order() -> None:
    assert extras.missing_packages("no_such_package", "numpy", "another_one") == ["no_such_package", "another_one"]
    assert extras.missing_packages("numpy", "torch") == []


def _written_out(tree: ast.AST) -> list[str]:
    """Commands that a string of the code writes out itself, docstrings left out."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docstrings]
    return [str(node.value) for node in texts if "pip install 'astune[" in str(node.value)]


def test_every_command_in_the_code_comes_from_one_place_and_names_an_extra() -> None:
    named: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        named |= set(re.findall(r"install_command\([\"'](\w+)[\"']\)", text))
        if path.name != "extras.py":
            assert _written_out(ast.parse(text)) == [], f"{path}: use astune.extras.install_command"
    assert named <= set(EXTRAS)
    assert named >= set(user_extras()) - {"tensorboard", "wandb"}  # these two are named by the setting's value


@pytest.mark.parametrize("extra", ["tensorboard", "wandb"])
def test_each_tracker_has_an_extra_of_its_name(extra: str) -> None:
    assert extra in user_extras()
