"""Which packages are installed for astune and for each extra, from the metadata of what is installed."""

from __future__ import annotations

import tomllib
from importlib.metadata import distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dependencies.lock import CONSTRAINTS, ROOT, pin

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
GROUPS = ("all", "docs", "dev")
"""Extras that only name other extras, or that only people who change astune install."""


def user_extras() -> dict[str, list[str]]:
    """The requirements of each extra that adds something for users."""
    return {name: asked for name, asked in EXTRAS.items() if name not in GROUPS}


def pinned() -> dict[str, str]:
    """The version of each package in constraints.txt."""
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    return dict(pin(line) for line in lines if not line.startswith("#"))


def with_their_own(requirements: list[str]) -> set[str]:
    """The packages that requirements ask for, and what these ask for; only what is pinned, which leaves out PyTorch's CUDA libraries."""
    known = pinned()
    found: set[tuple[str, frozenset[str]]] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        one = waiting.pop()
        name, extras = canonicalize_name(one.name), frozenset(one.extras)
        if name not in known or (name, extras) in found:
            continue
        found.add((name, extras))
        for text in distribution(name).requires or []:
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in {"", *extras}):
                waiting.append(needed)
    return {name for name, _ in found}
