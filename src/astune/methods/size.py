"""The field of a method that says how much it adds, so that ``astune plan`` can search it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Annotated

from pydantic import AfterValidator, Field

_WIDEST = 16  # times the backbone's width, of a rank; the paper's on a backbone as narrow as random:tiny are 1.5 times
MOST_TOKENS = 10_000  # in front of a layer; an input of 80 s has about as many


def _of_a_rank(rate: float) -> float:
    if rate < 1 / _WIDEST:
        raise ValueError(
            f"it gives a rank of more than {_WIDEST} times the backbone's width; give {1 / _WIDEST} or more"
        )
    return rate


ReductionRate = Annotated[float, Field(gt=0, allow_inf_nan=False), AfterValidator(_of_a_rank)]
"""RR, which decides a rank."""


@dataclass(frozen=True)
class SizeField:
    """A field of a method, with its values in order: each adds more parameters than the one before."""

    name: str
    """Name of the field."""
    value: Callable[[int, int], float]
    """The value at a step, 1 or more, on a backbone of width d: called with both."""
    last: Callable[[int], int] | None = None
    """The last step on a backbone of width d; None where any step is allowed."""


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
"""The size field of methods whose reduction rate decides a rank, from 1 to the backbone's width."""
