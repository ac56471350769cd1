"""The field of a method that says how much it adds, so that ``astune plan`` can search it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Annotated

from pydantic import AfterValidator, Field

MOST_TOKENS = 100_000
"""Prompts or prefixes of a layer; attention takes hours over more, and an adapter of someone else's may ask for any number."""
_LEAST_RATE = 0.01  # a hundred times the backbone's width


def _gives_a_rank(rate: float) -> float:
    if rate < _LEAST_RATE:
        raise ValueError(f"give at least {_LEAST_RATE}, where the rank is a hundred times the backbone's width")
    return rate


ReductionRate = Annotated[float, Field(gt=0), AfterValidator(_gives_a_rank)]
"""RR; the paper's are 64 to 256."""


@dataclass(frozen=True)
class SizeField:
    """A field of a method, with its values in order: each adds more parameters than the one before."""

    name: str
    """Of the field."""
    value: Callable[[int, int], float]
    """The value at a step, 1 or more, on a backbone of width d: called with both."""
    last: Callable[[int], int] | None = None
    """The last step on a backbone of width d; None where there is none."""


def rank_of(width: int, reduction_rate: float) -> int:
    """The paper's rank: r = max(1, round(d / RR)).

    Args:
        width: d.
        reduction_rate: RR.

    Returns:
        r.
    """
    return max(1, round(width / reduction_rate))


def reduction_rate_of(rank: int, width: int) -> float:
    """The reduction rate of a rank: d / r, with no more digits than it takes to give that rank.

    Args:
        rank: r, 1 to d.
        width: d.

    Returns:
        RR.
    """
    rounded = (round(width / rank, digits) for digits in count())
    return next(rate for rate in rounded if rank_of(width, rate) == rank)


RANKS = SizeField("reduction_rate", reduction_rate_of, last=lambda width: width)
"""Of methods whose reduction rate decides a rank; a rank beyond the backbone's width is none."""
