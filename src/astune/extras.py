"""Optional packages: which ones are missing, and the command that installs them."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path


def missing_packages(*names: str) -> list[str]:
    """Find out which packages are not installed. Nothing is imported.

    Args:
        names: names as an import statement has them.

    Returns:
        The names that cannot be found, in the order given.
    """
    return [name for name in names if importlib.util.find_spec(name) is None]


def install_command(extra: str) -> str:
    """Give the command that installs an extra.

    In a checkout, the command installs from the checkout. A package index may have another astune, or none.

    Args:
        extra: its name in pyproject.toml.

    Returns:
        ``pip install -e '.[plots]'`` in a checkout, otherwise ``pip install 'astune[plots]'``.
    """
    return f"pip install -e '.[{extra}]'" if in_checkout() else f"pip install 'astune[{extra}]'"


@cache
def in_checkout() -> bool:
    """Whether astune runs from its source tree, by an editable install or by ``PYTHONPATH``."""
    source = Path(__file__).resolve().parents[1]
    return source.name == "src" and (source.parent / "pyproject.toml").is_file()
