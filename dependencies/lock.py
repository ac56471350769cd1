"""Writes the lock files: every pinned version with the SHA-256 of every file of it, so that nobody can put another file in its place.

The versions are those of constraints.txt. ``demo.txt`` is what `make demo` installs and ``dev.txt`` everything. ``torch-cpu.txt`` is tried
first: pip prefers files whose hash the index states, and a folder of wheels states none. ``cuda.txt`` has the libraries that PyTorch's CUDA
build asks for; its CPU build does without them.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from packaging.utils import canonicalize_name

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent
CONSTRAINTS = ROOT / "constraints.txt"

EXTRAS = {"demo.txt": "plots", "dev.txt": "dev"}
"""The extra of pyproject.toml that each file is made for."""

CPU_TORCH = {
    "2.13.0": (
        "sys_platform == 'linux' and platform_machine == 'x86_64' and python_version == '3.11'",
        "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",
    )
}
"""PyTorch's CPU build that CI uses: where it runs, and its SHA-256. It is not in the default package index."""

UV = (sys.executable, "-m", "uv")
_HEAD = "# Written by `make lock` from constraints.txt. Install with: pip install --require-hashes --no-deps -r FILE"
_BUILD = ("hatchling", "editables")  # what `pip install --no-build-isolation -e .` needs
_CUDA = re.compile(r"(nvidia|cuda)-|triton==")
_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;\\]+)")


def locked(extra: str) -> list[str]:
    """One entry for each package, hashes included, for every platform and every Python that astune runs on."""
    command = [
        *UV, "pip", "compile", "pyproject.toml", "-", "--extra", extra, "--constraint", str(CONSTRAINTS),
        "--universal", "--generate-hashes", "--python-version", "3.11", "--no-header", "--no-annotate", "--quiet",
    ]  # fmt: skip
    done = subprocess.run(command, input="\n".join(_BUILD), capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        sys.exit(done.stderr)
    return entries(done.stdout)


def entries(text: str) -> list[str]:
    """The entries of a lock file: the line of a package with the lines of its hashes."""
    return [entry.rstrip("\n") for entry in re.findall(r"^[A-Za-z0-9].*\n(?: .*\n)*", text, re.MULTILINE)]


def pin(entry: str) -> tuple[str, str]:
    """Name and version of an entry or of a line of constraints.txt. Names are spelled as package indexes spell them.

    Raises:
        ValueError: the entry does not begin with NAME==VERSION.
    """
    found = _PIN.match(entry)
    if found is None:
        raise ValueError(f"{entry[:80]!r} does not begin with NAME==VERSION")
    return canonicalize_name(found["name"]), found["version"]


def cpu_build(version: str) -> str:
    """The entry of torch's CPU build."""
    if version not in CPU_TORCH:
        sys.exit(f"torch is pinned to {version}; add its CPU build to CPU_TORCH in {Path(__file__).name}")
    marker, value = CPU_TORCH[version]
    return f"torch=={version}+cpu ; {marker} \\\n    --hash=sha256:{value}"


def main() -> None:
    """Write the four files."""
    found = {file: locked(extra) for file, extra in EXTRAS.items()}
    files = {file: [entry for entry in each if not _CUDA.match(entry)] for file, each in found.items()}
    files["cuda.txt"] = [entry for entry in found["dev.txt"] if _CUDA.match(entry)]
    files["torch-cpu.txt"] = [cpu_build(dict(map(pin, found["dev.txt"]))["torch"])]
    for file, each in files.items():
        (FOLDER / file).write_text("\n".join([_HEAD, *each, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
