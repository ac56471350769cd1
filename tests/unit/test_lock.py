"""The lock files hold the versions of constraints.txt, with hashes, and everything that pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement

from dependencies.lock import CONSTRAINTS, FOLDER, ROOT, cpu_build, entries, pin

FILES = ("demo.txt", "dev.txt", "cuda.txt", "torch-cpu.txt")


def _locked(file: str) -> dict[str, str]:
    """Version of each package in a lock file."""
    return dict(map(pin, entries((FOLDER / file).read_text(encoding="utf-8"))))


@pytest.mark.parametrize("file", FILES)
def test_every_package_has_hashes(file: str) -> None:
    found = entries((FOLDER / file).read_text(encoding="utf-8"))
    assert found
    for entry in found:
        first, *hashes = entry.split(" \\\n")
        pin(first)
        assert hashes, f"{first} has no hash"
        assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}", line) for line in hashes), first


def test_versions_are_those_of_the_constraints() -> None:
    pinned = dict(
        pin(line) for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    )
    assert _locked("dev.txt") == pinned
    assert _locked("demo.txt").items() < pinned.items()
    assert _locked("torch-cpu.txt") == {"torch": pinned["torch"] + "+cpu"}


def test_all_that_the_project_asks_for_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = {
        file: [*project["dependencies"], *extras[extra]] for file, extra in (("demo.txt", "plots"), ("dev.txt", "dev"))
    }
    asked["dev.txt"] += [one for extra, each in extras.items() if extra != "dev" for one in each]
    for file, requirements in asked.items():
        locked = _locked(file)
        for requirement in map(Requirement, requirements):
            name = re.sub(r"[-_.]+", "-", requirement.name).lower()
            if name != "astune":
                assert requirement.specifier.contains(locked[name]), f"{file}: {requirement}"


def test_libraries_of_the_cuda_build_are_apart() -> None:
    cuda = set(_locked("cuda.txt"))
    assert {"triton", "nvidia-cublas"} < cuda
    assert not cuda & set(_locked("dev.txt"))


def test_a_new_torch_needs_its_cpu_build() -> None:
    with pytest.raises(SystemExit, match=r"torch is pinned to 99.0; add its CPU build"):
        cpu_build("99.0")


@pytest.mark.parametrize("line", ["numpy>=2", "    --hash=sha256:00", ""])
def test_what_is_not_pinned_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="does not begin with NAME==VERSION"):
        pin(line)


def test_entries_keep_their_hashes() -> None:
    text = "# head\na==1 \\\n    --hash=sha256:0\nb==2 ; python_version < '4' \\\n    --hash=sha256:1 \\\n    --hash=sha256:2\n"
    first, second = entries(text)
    assert (pin(first), first.count("--hash")) == (("a", "1"), 1)
    assert (pin(second), second.count("--hash")) == (("b", "2"), 2)
