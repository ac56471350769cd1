"""Tests with the lowest version of everything that pyproject.toml allows, in an environment of its own: `make lowest`.

What the packages themselves ask for is the newest that fits, as a user with old packages gets it. Tools of the tests have their pinned
versions. PyTorch comes from the default package index, on Linux with some gigabytes of CUDA libraries.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dependencies.lock import ROOT, UV, entries, pin
from dependencies.packages import EXTRAS, PROJECT, pinned, user_extras

TESTS = ("tests/conformance", "tests/parity", "tests/unit")
_NOT_OURS = ("DeprecationWarning", "PendingDeprecationWarning", "FutureWarning")  # of old packages about new ones


def declared() -> dict[str, str]:
    """The lowest version of each package that pyproject.toml names, those of the tools for developers left out.

    Raises:
        ValueError: a package has no lowest version.
    """
    asked = [*PROJECT["dependencies"], *(one for asked in user_extras().values() for one in asked)]
    found: dict[str, str] = {}
    for requirement in map(Requirement, asked):
        lowest = [one.version for one in requirement.specifier if one.operator == ">="]
        if len(lowest) != 1:
            raise ValueError(f"{requirement} needs one lowest version, as in {requirement.name}>=1.0")
        found[canonicalize_name(requirement.name)] = lowest[0]
    return found


def tools() -> list[str]:
    """The tools for developers, at the versions that CI has."""
    known = pinned()
    names = [canonicalize_name(Requirement(one).name) for one in (*EXTRAS["docs"], *EXTRAS["dev"])]
    return [f"{name}=={known[name]}" for name in names if name != PROJECT["name"]]


def resolved(python: str) -> str:
    """What is to be installed, as a requirements file.

    Raises:
        SystemExit: the versions do not fit together, or cannot be found.
    """
    command = [
        *UV, "pip", "compile", "pyproject.toml", "--extra", "dev", "--constraint", "-", "--resolution", "lowest-direct",
        "--python-version", python, "--no-annotate", "--no-header", "--quiet",
    ]  # fmt: skip
    done = subprocess.run(command, input="\n".join(tools()), capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def untrue(text: str) -> list[str]:
    """Lowest versions of pyproject.toml that nobody can install: other packages ask for more, or they do not exist."""
    found = dict(map(pin, entries(text)))
    return [
        f"{name}>={lowest} in pyproject.toml cannot be installed: {found[name]} is the lowest"
        for name, lowest in declared().items()
        if not Requirement(f"{name}=={lowest}").specifier.contains(found[name])
    ]


def main() -> int:
    """Install and test.

    Returns:
        pytest's exit code, or 1 where a lowest version of pyproject.toml cannot be installed.
    """
    parser = argparse.ArgumentParser(prog="python -m dependencies.lowest", description=__doc__)
    parser.add_argument(
        "--environment", type=Path, default=ROOT / ".venv-lowest", help="folder of the virtual environment"
    )
    parser.add_argument("--python", default="3.11", help="its version")
    parser.add_argument("tests", nargs="*", default=TESTS, help="what pytest is to run")
    chosen = parser.parse_args()
    text = resolved(chosen.python)
    faults = untrue(text)
    if faults:
        print("\n".join(faults), file=sys.stderr)
        return 1
    python = chosen.environment / "bin" / "python"
    if not python.exists():
        subprocess.run([*UV, "venv", "--quiet", "--python", chosen.python, chosen.environment], check=True)
    install = [*UV, "pip", "install", "--quiet", "--python", python]
    subprocess.run([*install, "--requirements", "-"], input=text, text=True, check=True)
    subprocess.run([*install, "--no-deps", "--editable", ROOT], check=True)
    warnings = [f"-Wignore::{name}" for name in _NOT_OURS]
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"  # the commands of the tests are those of this environment
    return subprocess.run(
        [python, "-m", "pytest", "-m", "not slow", *warnings, *chosen.tests],
        check=False,
        cwd=ROOT,
        env={**os.environ, "PATH": path},
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
