"""From runs to the cells of a table: mean, deviation, interval; and whether two rows differ.

A cell's runs are its folds and seeds. Intervals are percentile bootstraps over runs: they tell how far the mean of such runs would
move, and nothing of other data. Two rows are compared on the runs they share, by an exact sign-flip permutation test of the paired
differences.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import mean, stdev
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from astune.experiments.plan import PlannedRun
    from astune.experiments.store import RunRecord

_RESAMPLES = 9999

Pair = tuple[int | None, int]
"""Fold and seed."""
_Pair = TypeVar("_Pair", bound=Pair)


@dataclass(frozen=True)
class Cell:
    """One row in one column."""

    accuracies: dict[Pair, float]
    """Of the test split, 0 to 1, by fold and seed."""
    planned: int
    """Runs the plan has for this cell; the rest is missing."""
    parameters: int
    train_seconds: float
    """Median of the runs."""

    @property
    def mean(self) -> float:
        """Over runs."""
        return mean(self.accuracies.values())

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation over runs; nothing for one run."""
        return stdev(self.accuracies.values()) if len(self.accuracies) > 1 else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 %, of the mean; nothing for one run."""
        return bootstrap_interval(list(self.accuracies.values()))


@dataclass(frozen=True)
class Comparison:
    """Two cells on the runs they share."""

    difference: float
    """Mean of first minus second, -1 to 1."""
    pairs: int
    p_value: float | None
    """Two-sided; nothing for fewer than two pairs."""


def bootstrap_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Percentile bootstrap interval of a mean.

    Args:
        values: one a run.
        level: of confidence.

    Returns:
        Its ends; nothing for fewer than two values.
    """
    if len(values) < 2:
        return None
    draws = np.random.default_rng(0).integers(len(values), size=(_RESAMPLES, len(values)))
    low, high = np.quantile(np.asarray(values)[draws].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def compare(first: Mapping[_Pair, float], second: Mapping[_Pair, float]) -> Comparison:
    """Paired comparison of two rows.

    Args:
        first: accuracies by fold and seed.
        second: likewise.

    Returns:
        The mean difference, and the probability of one at least as large if the signs of the differences were coin flips. With
        few pairs it cannot be small: 5 pairs give 0.0625 at least.

    Raises:
        ValueError: they share no run.
    """
    shared = sorted(first.keys() & second.keys(), key=str)
    if not shared:
        raise ValueError("the two rows share no fold and seed")
    differences = np.array([first[pair] - second[pair] for pair in shared])
    if len(shared) < 2:
        return Comparison(float(differences.mean()), 1, None)
    test = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        n_resamples=_RESAMPLES,
        rng=np.random.default_rng(0),
        vectorized=True,
    )
    return Comparison(float(differences.mean()), len(shared), float(test.pvalue))


def cells(runs: Sequence[PlannedRun], records: Mapping[str, RunRecord]) -> dict[tuple[str, str], Cell]:
    """The cells of a table.

    Args:
        runs: of its plan.
        records: finished ones, by key.

    Returns:
        By row and column, in the order of the plan; cells without a finished run are left out.
    """
    planned: dict[tuple[str, str], list[PlannedRun]] = defaultdict(list)
    for run in runs:
        planned[run.row, run.column].append(run)
    found = {}
    for place, members in planned.items():
        done = {(run.fold, run.seed): records[run.key] for run in members if run.key in records}
        if done:
            seconds = float(np.median([record.result.train_seconds for record in done.values()]))
            accuracies = {pair: record.accuracy for pair, record in done.items()}
            found[place] = Cell(accuracies, len(members), members[0].parameters, seconds)
    return found
