"""Names of splits, the same in every layout: folders, cells of a table, splits of a Hugging Face data set.

A sample: ``training_set``, ``Train`` and ``train-set`` are the split ``train``; ``eval`` could be two splits and is asked about;
``test-clean`` says more than a split's name does and is asked about where classes are expected.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, get_args

from astune.errors import unknown_choice

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)

_WORDS: dict[str, SplitName] = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("validation", "validate", "valid", "val", "dev", "devel", "development"), "validation"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
_UNDECIDED = ("eval", "evaluation", "evaluate", "holdout", "heldout", "heldback", "unseen", "devtest", "blind")
_ENDINGS = ("", "set", "sets", "data", "dataset", "split", "files", "audio")
_EXACT = {word + ending: split for word, split in _WORDS.items() for ending in _ENDINGS}
_ASKED = frozenset(word + ending for word in _UNDECIDED for ending in _ENDINGS)


@lru_cache(maxsize=1024)  # asked of every row and of every folder of a file
def split_named(text: str) -> SplitName | None:
    """The split that a name means, compared without case, hyphens, underscores, dots and spaces.

    Args:
        text: a folder's name, a cell, a split's name.

    Returns:
        The split; None for another name.
    """
    return _EXACT.get(_folded(text))


def is_undecided(text: str) -> bool:
    """Whether a name means a split but does not say which: ``eval``, ``holdout``, ``unseen``.

    Args:
        text: the name.
    """
    return _folded(text) in _ASKED


def resembles_split(text: str) -> str | None:
    """What a name begins with, where that is a split's name: ``train`` for ``train-clean-100``.

    Args:
        text: the name.

    Returns:
        The split, or the undecided word; None for another name.
    """
    first, *more = [word for word in re.split(r"[^a-z]+", text.casefold()) if word] or [""]
    two = first + more[0] if more else first
    return _EXACT.get(first) or (first if first in _ASKED else two if two in _ASKED else None)


def split_at_end(text: str) -> tuple[str, str] | None:
    """What a name ends with, where that is a split's name: ``("birds", "train")`` for ``birds_train``.

    Args:
        text: the name.

    Returns:
        The text before it, and the split or the undecided word; None for another name.
    """
    before, *last = re.sub(r"[^a-z0-9]+", " ", text.casefold()).strip().rpartition(" ")
    word = last[-1]
    split = _EXACT.get(word) or (word if word in _ASKED else None)
    return (before, split) if before and split else None


def ask_which(text: str) -> str:
    """The question an undecided name leads to.

    Args:
        text: the name.

    Returns:
        A sentence.
    """
    return f"is {text} validation or test? rename it to validation or test"


def split_fault(text: str) -> str:
    """What is wrong with a name that should be a split's and is not.

    Args:
        text: the name.

    Returns:
        A sentence with the choices.
    """
    return ask_which(repr(text)) if is_undecided(text) else unknown_choice("split", text, SPLITS)


def _folded(text: str) -> str:
    return re.sub(r"[-_.\s]+", "", text.casefold())
