"""Numbers of things in sentences."""

from __future__ import annotations


def number_of(count: int, noun: str) -> str:
    """Write a number with its noun in the singular or plural.

    Args:
        count: number of things.
        noun: the singular, such as ``clip``.

    Returns:
        ``1 clip``, ``2 classes``, ``3,000 searches``.
    """
    ending = "" if count == 1 else "es" if noun.endswith(("s", "search")) else "s"
    return f"{count:,} {noun}{ending}"
