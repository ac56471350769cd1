"""Readers and commands are found by their files: a new one is a file."""

from __future__ import annotations

import importlib
import pkgutil


def part_names(package: str) -> list[str]:
    """Modules of a package, in order.

    Args:
        package: its whole name.
    """
    return sorted(module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__))


def load_part(package: str, name: str, value: str) -> object:
    """What a module of a package, or any module by its whole name, makes.

    Args:
        package: its whole name.
        name: of the module.
        value: the name that the module gives it.
    """
    part: object = getattr(importlib.import_module(name if "." in name else f"{package}.{name}"), value)
    return part
