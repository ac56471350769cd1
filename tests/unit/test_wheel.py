"""The wheel has our files and nothing else, is the same bytes wherever it is built, and runs without the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dependencies.lock import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

SUFFIXES = {".py", ".typed", ".md", ".json", ".safetensors", ".yaml", ".html", ".js", ".css", ".svg"}
TIME = "1767225600"  # of every file inside, so that two builds can be compared


def _build(folder: Path) -> Path:
    """A wheel of a copy of what it is made from."""
    project = folder / "project"
    shutil.copytree(
        ROOT / "src", project / "src", ignore=shutil.ignore_patterns("__pycache__"), copy_function=shutil.copy
    )
    for name in ("pyproject.toml", "README.md", "LICENSE", "hatch_build.py"):
        shutil.copy(ROOT / name, project)
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=project, env={**os.environ, "SOURCE_DATE_EPOCH": TIME}, check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build(tmp_path_factory.mktemp("wheel"))


def test_it_has_our_files_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    ours = {path.relative_to(ROOT / "src") for path in (ROOT / "src").rglob("*") if path.is_file()}
    wanted = {path.as_posix() for path in ours if "__pycache__" not in path.parts}
    about = {
        f"astune-0.1.0.dist-info/{name}"
        for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
    }
    assert names == wanted | about
    assert {Path(name).suffix for name in wanted} <= SUFFIXES


def test_two_builds_are_the_same_bytes(wheel: Path, tmp_path: Path) -> None:
    assert _build(tmp_path).read_bytes() == wheel.read_bytes()


def _run(site: Path, folder: Path, arguments: Sequence[str]) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.slow
def test_it_runs_outside_of_the_repository(wheel: Path, generated: Path, tmp_path: Path) -> None:
    site, folder = tmp_path / "site", tmp_path / "elsewhere"
    folder.mkdir()
    with zipfile.ZipFile(wheel) as file:
        file.extractall(site)  # what pip does with it, but for the command
    assert _run(site, folder, ["-c", "import astune; print(astune.__file__)"]).strip() == str(
        site / "astune" / "__init__.py"
    )
    assert "Usage: " in _run(site, folder, ["-m", "astune", "demo", "--help"])
    _run(
        site,
        folder,
        [
            "-m",
            "astune",
            "train",
            str(generated),
            "--method",
            "linear",
            "--num-train-epochs",
            "1",
            "--output-dir",
            "adapter",
        ],
    )
    sound = next(generated.rglob("zip/*.wav"))
    assert "zip" in _run(site, folder, ["-m", "astune", "predict", "adapter", str(sound)])
