"""Numbers and lists of things in sentences."""

from __future__ import annotations

from collections.abc import Iterable


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


def enumerated(names: Iterable[str]) -> str:
    """Write names one after the other.

    Args:
        names: in the order in which they are written.

    Returns:
        ``a``, ``a and b``, ``a, b and c``; nothing of no names.
    """
    known = list(names)
    return f"{', '.join(known[:-1])} and {known[-1]}" if len(known) > 1 else "".join(known)
