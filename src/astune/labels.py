"""What a label may be: checked where labels enter, because everything that shows or saves them relies on it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from astune.console import UNPRINTABLE, printable

if TYPE_CHECKING:
    from collections.abc import Sequence


def label_faults(labels: Sequence[object]) -> list[str]:
    """What is wrong with the labels of a task.

    Args:
        labels: names of the classes.

    Returns:
        A sentence a fault, each with the value and what to do about it; empty where nothing is wrong.
    """
    few = [f"a classifier needs two labels or more, not {len(labels)}"] if len(labels) < 2 else []
    texts = [label for label in labels if isinstance(label, str)]
    twice = [printable(label) for label, times in Counter(texts).items() if times > 1]
    repeated = [f"labels that occur twice: {', '.join(sorted(twice)[:_NAMED])}{_more(len(twice))}"] if twice else []
    return [*few, *repeated, *(fault for number, label in enumerate(labels) if (fault := _fault(number, label)))]


_NAMED = 5


def _more(names: int) -> str:
    return f" and {names - _NAMED:,} more" if names > _NAMED else ""


def _fault(number: int, label: object) -> str | None:
    if not isinstance(label, str):
        text = label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)
        return f"label {number} is {label!r}, {_type(label)} and no text; give {text!r}"
    if not label.strip():
        return f"label {number} is {'empty' if not label else 'of spaces alone'}; give it a name"
    if printable(label) != label:
        return f"label {number}, '{printable(label)}', holds {UNPRINTABLE}; give a name without"
    if label != label.strip():
        return f"label {number}, {label!r}, has spaces around it; give {label.strip()!r}"
    return None


def _type(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
