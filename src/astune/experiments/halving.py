"""Successive halving: all candidates train for a short while, the best third goes on with three times the epochs, and so on.

K. Jamieson and A. Talwalkar, Non-stochastic Best Arm Identification and Hyperparameter Optimization, AISTATS 2016, with the rate 3 that
Hyperband takes (L. Li et al., JMLR 18, 2018). A sample: 12 candidates and a recipe of 25 epochs give 12 trainings of 2 epochs, 4 of 8, and
1 of the whole recipe. Each training begins anew, because the learning rate falls over as many epochs as there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cmp_to_key
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from astune.task import Task

RATE = 3
"""One of so many candidates goes on, with so many times the epochs."""


@dataclass(frozen=True)
class Rung:
    """One round of trainings."""

    candidates: int
    """How many take part, for each fold and seed."""
    epochs: int | None
    """Of each training; None for the whole recipe."""


@dataclass(frozen=True)
class Score:
    """What one training gave on validation clips, on which alone anything is chosen."""

    spec: str
    parameters: int
    figures: Mapping[str, float]
    """By name, the loss among them; of the epoch whose weights are kept."""


def rungs(candidates: int, recipe_epochs: int) -> list[Rung]:
    """The rounds of a search.

    Args:
        candidates: of the first rung, 1 or more.
        recipe_epochs: of the whole recipe.

    Returns:
        From the first rung to the last, in which one candidate trains by the whole recipe. Each earlier rung has a third of the epochs of
        the rung after it, and at least one.
    """
    sizes = [candidates]
    while sizes[-1] > 1:
        sizes.append(max(1, sizes[-1] // RATE))
    last = len(sizes) - 1
    return [
        Rung(size, None if number == last else max(1, recipe_epochs // RATE ** (last - number)))
        for number, size in enumerate(sizes)
    ]


def best(scores: Sequence[Score], number: int, task: Task, metric: str | None = None) -> list[Score]:
    """The candidates that go on.

    Args:
        scores: of one rung, fold and seed, in the order in which the candidates were drawn.
        number: how many go on.
        task: decides which figure counts.
        metric: the figure that chooses the epoch, where the user named one.

    Returns:
        The best ones by that figure, of equal ones those with the lower loss, then those with fewer parameters, then the first drawn.
    """

    def order(one: Score, other: Score) -> int:
        gain = task.gain(one.figures, other.figures, metric) or other.figures["loss"] - one.figures["loss"]
        return (gain < 0) - (gain > 0) or one.parameters - other.parameters

    return sorted(scores, key=cmp_to_key(order))[:number]
