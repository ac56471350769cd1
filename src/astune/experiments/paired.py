"""Means of runs and their differences, with intervals that allow for what the runs share.

Runs of several folds: the seeds of a fold are averaged first, because they share their test clips. Student's interval over the folds
would then be too narrow, because any two folds share most of their training clips. So the variance of the mean is not ``s^2 / n`` but
``s^2 (1 / n + tested / others)``, with the clips that test and those that do not (C. Nadeau and Y. Bengio, Inference for the
Generalization Error, Machine Learning 52, 2003; for folds R. Bouckaert and E. Frank, Evaluating the Replicability of Significance Tests,
PAKDD 2004).

Runs of one split: the seeds tell nothing of other test clips. Where each clip is right or wrong, the variance that so many clips leave is
therefore added to that of the seeds. Of a difference it is the variance of two independent samples. That is more than that of the same
clips heard twice: runs do not keep which clips were right.

Folds or seeds that all give the same tell nothing of the spread: of few clips, such a coincidence is common. They have no interval.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace
from statistics import NormalDist, mean, stdev
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LEVEL = 0.95
_NORMAL = NormalDist().inv_cdf((1 + LEVEL) / 2)  # 1.96
Pair = tuple[int | None, int]
"""Fold and seed."""
_ROUNDING = 1e-12  # of differences of shares
_Pair = TypeVar("_Pair", bound=Pair)


def in_words(pair: Pair) -> str:
    """Fold and seed as text: ``fold 1, seed 0``, or ``seed 0`` where there is one split.

    Args:
        pair: of a run.
    """
    fold, seed = pair
    return f"seed {seed}" if fold is None else f"fold {fold}, seed {seed}"


@dataclass(frozen=True)
class Estimate:
    """A mean and its interval."""

    mean: float
    interval: tuple[float, float] | None
    """95 %; None where nothing is known of the spread: of one run, or of runs that all give the same."""
    error: float | None
    """Standard error of the mean; None where there is no interval."""

    @property
    def clear(self) -> bool:
        """Whether the mean is more than 1.96 standard errors above zero; any above it, where nothing is known of the spread.

        Where folds or seeds are few, Student's interval asks for more than that: of two for 12.7. That is right for a claim. It is too
        much for a decision, which has to be made with the runs that there are.
        """
        return self.mean > (0.0 if self.error is None else _NORMAL * self.error)

    @property
    def above_zero(self) -> bool:
        """Whether the whole interval is."""
        return self.interval is not None and self.interval[0] > 0

    def within(self, low: float, high: float) -> Estimate:
        """The same with the interval cut.

        Args:
            low: least value that there can be.
            high: greatest.
        """
        return replace(self, interval=self.interval and (max(self.interval[0], low), min(self.interval[1], high)))


def by_fold(values: Mapping[_Pair, float]) -> list[float]:
    """What may be taken as independent: the mean of each fold's seeds, or the seeds themselves where there is one split.

    Args:
        values: one a run, by fold and seed.

    Returns:
        In the order of the folds' first runs.
    """
    folds: dict[int | None, list[float]] = defaultdict(list)
    for (fold, _), value in values.items():
        folds[fold].append(value)
    return [mean(of_one) for of_one in folds.values()] if len(folds) > 1 else list(values.values())


def spread(values: Sequence[float]) -> float | None:
    """Sample standard deviation of runs.

    Args:
        values: of :func:`by_fold`.

    Returns:
        None where they tell nothing of it: one alone, or all the same but for rounding.
    """
    found = stdev(values) if len(values) > 1 else 0.0
    return found if found > _ROUNDING else None


def estimate(values: Sequence[float], tested_share: float = 0.0, variance: float | None = None) -> Estimate:
    """Mean of runs with its interval.

    Args:
        values: of :func:`by_fold`; one or more.
        tested_share: clips that test by clips that do not, where folds rotate; 0 where all runs have one split.
        variance: of the mean, as the test clips of one split leave it open; None where folds rotate, or nothing is known of it.

    Returns:
        The mean, and its 95 % interval.
    """
    middle = mean(values)
    variances, squares = [], []
    if spread(values):
        from scipy.stats import t  # a second to import

        variances.append(stdev(values) ** 2 * (1 / len(values) + tested_share))
        squares.append(float(t.ppf((1 + LEVEL) / 2, len(values) - 1)) ** 2 * variances[-1])
    if variance is not None:
        variances.append(variance)
        squares.append(_NORMAL**2 * variance)
    if not squares:
        return Estimate(middle, None, None)
    reach = math.sqrt(sum(squares))
    return Estimate(middle, (middle - reach, middle + reach), math.sqrt(sum(variances)))


def share_variance(share: float, clips: int) -> float:
    """Variance of a share of clips, with two right and two wrong ones added, so that it is not 0 where all are right.

    Args:
        share: right ones, 0 to 1.
        clips: how many there are.

    Returns:
        ``p (1 - p) / (n + 4)`` (A. Agresti and B. Coull, Approximate is Better than Exact, The American Statistician 52, 1998).
    """
    shrunk = (share * clips + 2) / (clips + 4)
    return shrunk * (1 - shrunk) / (clips + 4)


def difference_variance(first: float, second: float, clips: int) -> float:
    """Variance of the difference of two shares of equally many clips, with a right and a wrong one added to each.

    Args:
        first: right ones of the first, 0 to 1.
        second: right ones of the second, 0 to 1.
        clips: how many there are.

    Returns:
        The sum of both ``p (1 - p) / (n + 2)`` (A. Agresti and B. Caffo, Simple and Effective Confidence Intervals for Proportions and
        Differences of Proportions, The American Statistician 54, 2000).
    """
    shrunk = [(share * clips + 1) / (clips + 2) for share in (first, second)]
    return sum(one * (1 - one) / (clips + 2) for one in shrunk)
