"""Words for classes that some clips have not: what is said of data before training, and of scores after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astune.plurals import number_of
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAMED = 5  # labels of a sentence


def first_of(labels: Sequence[str]) -> str:
    """The first labels, for a sentence.

    Args:
        labels: one or more.

    Returns:
        Such as ``robin, wren``.
    """
    return ", ".join(map(printable, labels[:_NAMED])) + (", ..." if len(labels) > _NAMED else "")


def no_clip(split: str) -> str:
    """What a label has not that is in no clip.

    Args:
        split: name of the clips.

    Returns:
        Such as ``no validation clip``, or ``no clip`` where all are meant.
    """
    which = {"train": "training ", "all": ""}.get(split, f"{split} ")
    return f"no {which}clip"


def describe_absent(
    absent: Sequence[str], labels: Sequence[str], what: str, one: str, many: str, noun: str = "label"
) -> str:
    """A note on labels that some clips have not.

    Args:
        absent: one or more of them.
        labels: all.
        what: what they have not, and the verb of what follows.
        one: what follows where there is one.
        many: what follows where there are more.
        noun: what a label is called.

    Returns:
        Such as ``Note: 1 of 3 labels has no test clip, and mAP leaves it out: robin``.
    """
    have, which = ("has", one) if len(absent) == 1 else ("have", many)
    return f"Note: {len(absent):,} of {number_of(len(labels), noun)} {have} {what} {which}: {first_of(absent)}"
