"""What goes to a package index: its links work there, it is small, and it runs where it is installed."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

from dependencies.lock import ROOT
from dependencies.packages import PROJECT
from hatch_build import absolute

HOME = "https://repository.example/astune"


def test_the_build_hook_imports_what_pip_installs_for_it_alone() -> None:
    """Pip builds with the packages of build-system.requires and no others."""
    tree = ast.parse((ROOT / "hatch_build.py").read_text(encoding="utf-8"))
    imported = {one.name for node in ast.walk(tree) if isinstance(node, ast.Import) for one in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    required = set(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"])
    assert {name.partition(".")[0] for name in imported} - sys.stdlib_module_names <= required


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a](docs/a.md)", f"[a]({HOME}/blob/main/docs/a.md)"),
        ("[a](./docs/a.md#part)", f"[a]({HOME}/blob/main/docs/a.md#part)"),
        ("![a](docs/a.png)", f"![a]({HOME}/raw/main/docs/a.png)"),
        ("[![a](docs/a.svg)](LICENSE)", f"[![a]({HOME}/raw/main/docs/a.svg)]({HOME}/blob/main/LICENSE)"),
        ('<img src="docs/a.png" width="9">', f'<img src="{HOME}/raw/main/docs/a.png" width="9">'),
        ("[a]: docs/a.md", f"[a]: {HOME}/blob/main/docs/a.md"),
        (
            "[a](https://a.org/b.md) [b](#part) [c](mailto:a@b.c)",
            "[a](https://a.org/b.md) [b](#part) [c](mailto:a@b.c)",
        ),
        ("```python\nf[0](docs)\n```\n[a](b.md)", f"```python\nf[0](docs)\n```\n[a]({HOME}/blob/main/b.md)"),
    ],
)
def test_relative_links_become_addresses(text: str, expected: str) -> None:
    assert absolute(text, HOME) == expected


class Built(NamedTuple):
    """The two files that a release has."""

    wheel: Path
    source: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return Built(wheel, source)


@pytest.mark.slow
def test_the_description_has_no_relative_link(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as file:
        text = file.read("astune-0.1.0.dist-info/METADATA").decode()
    targets = re.findall(r"\]\(([^)\s]+)", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []
    ours = [target.partition("#")[0] for target in targets if target.startswith(HOME)]
    assert ours
    for target in ours:
        assert (ROOT / target.removeprefix(HOME).split("/main/")[1]).exists(), target
    for name, address in PROJECT["urls"].items():
        assert f"Project-URL: {name}, {address}\n" in text


@pytest.mark.slow
def test_the_source_archive_is_whole_and_has_no_results(built: Built, tmp_path: Path) -> None:
    with tarfile.open(built.source) as file:
        file.extractall(tmp_path, filter="data")
        names = {name.partition("/")[2] for name in file.getnames()}
    assert {"README.md", "LICENSE", "hatch_build.py", "src/astune/__init__.py", "tests/conftest.py"} <= names
    assert not [name for name in names if name.startswith("docs/results") or name.endswith(".jsonl")]
    weights = tmp_path / "astune-0.1.0" / "src/astune/backbone/bundled/model.safetensors"
    assert built.source.stat().st_size - weights.stat().st_size < 2e6  # weights hardly shrink


@pytest.mark.slow
def test_the_wheel_runs_where_it_is_installed(built: Built, tmp_path: Path) -> None:
    """In a new environment, which borrows the packages that astune needs and finds no astune among them."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*install, str(built.wheel)], check=True, capture_output=True)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*command: str) -> str:
        words = [str(python.parent / command[0]), *command[1:]]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("python", "-c", "import astune; print(astune.__file__)").strip() == str(site / "astune" / "__init__.py")
    assert "0.1.0" in run("astune", "--version")
    assert "lora" in run("astune", "methods")
    asked = "from astune.extras import install_command; print(install_command('plots'))"
    assert run("python", "-c", asked).strip() == "pip install 'astune[plots]'"
