"""Numbers of things in sentences."""

from __future__ import annotations


def number_of(count: int, noun: str) -> str:
    """How many there are of what.

    Args:
        count: of the things.
        noun: of one of them.

    Returns:
        ``1 clip``, ``2 classes``, ``3,000 files``.
    """
    ending = "" if count == 1 else "es" if noun.endswith("s") else "s"
    return f"{count:,} {noun}{ending}"
