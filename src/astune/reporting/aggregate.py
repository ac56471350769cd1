"""From runs to the cells of a table: mean, deviation, interval; and whether two rows differ.

A cell's runs are its folds and seeds. Intervals are Student's over folds, the seeds of a fold averaged first, because they share
their test clips; over seeds where there is one split. They tell how far the mean of such folds would move, and nothing of other data.
(A percentile bootstrap of four normal values holds their mean in 80 % of the cases, of five in 84 %, where 95 are asked for.) Two
rows are compared on the runs they share, by the interval of the paired differences and by their sign-flip permutation test, exact
up to 13 folds.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from statistics import mean, stdev
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from scipy import stats

from astune.reporting.intervals import accuracy_interval
from astune.training.confusion import counted, whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from astune.experiments.store import PlanEntry, RunRecord
    from astune.training.confusion import Record
    from astune.training.result import TrainResult

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
    """The fastest of the runs: other work on the machine only ever adds to it."""
    device: str
    """What the fastest ran on, and in which precision."""
    frozen_seconds: float
    """The longest of the runs: of the one that computed what was frozen for all, unless another table had; 0 without a cache."""
    macro_f1: float
    """Mean of the runs, 0 to 1."""
    confusions: tuple[Record, ...]
    """A run each, as :mod:`astune.training.confusion` writes them: whole, those of a table would not fit into memory."""
    labels: list[str]

    @property
    def finished(self) -> bool:
        """Whether all of its runs are."""
        return len(self.accuracies) == self.planned

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
        """95 %, of the mean, cut at 0 and 1; nothing for one fold."""
        ends = mean_interval(by_fold(self.accuracies))
        return ends and (max(ends[0], 0.0), min(ends[1], 1.0))

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Summed over the runs; true classes by predicted ones, (classes, classes)."""
        total = whole(self.confusions[0])
        for one in self.confusions[1:]:
            total += whole(one)
        return total

    @property
    def interval_or_wilson(self) -> tuple[float, float]:
        """95 %, for pictures: of one run, what its test clips alone leave open."""
        counts = [counted(one) for one in self.confusions]
        return self.interval or accuracy_interval(sum(right for right, _ in counts), sum(clips for _, clips in counts))


@dataclass(frozen=True)
class Comparison:
    """Two cells on the runs they share."""

    difference: float
    """Mean of first minus second, -1 to 1."""
    pairs: int
    """Runs shared."""
    interval: tuple[float, float] | None
    """95 %, of the difference; nothing for fewer than two folds."""
    p_value: float | None
    """Two-sided; nothing for fewer than two folds."""


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


def mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Student's interval of a mean.

    Args:
        values: independent ones.
        level: of confidence.

    Returns:
        Its ends; nothing for fewer than two values.
    """
    if len(values) < 2:
        return None
    reach = float(stats.t.ppf((1 + level) / 2, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return mean(values) - reach, mean(values) + reach


def compare(first: Mapping[_Pair, float], second: Mapping[_Pair, float]) -> Comparison:
    """Paired comparison of two rows.

    Args:
        first: accuracies by fold and seed.
        second: likewise.

    Returns:
        The mean difference, its interval, and the probability of one at least as large if the signs of the differences were coin
        flips. With few folds it cannot be small: 5 give 0.0625 at least.

    Raises:
        ValueError: they share no run.
    """
    shared = sorted(first.keys() & second.keys(), key=str)
    if not shared:
        raise ValueError("the two rows share no fold and seed")
    paired = {pair: first[pair] - second[pair] for pair in shared}
    differences = np.array(by_fold(paired))
    if len(differences) < 2:
        return Comparison(float(differences.mean()), len(shared), None, None)
    test = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        n_resamples=_RESAMPLES,
        rng=np.random.default_rng(0),
        vectorized=True,
    )
    interval = mean_interval(differences.tolist())
    return Comparison(float(differences.mean()), len(shared), interval, float(test.pvalue))


def device_of(result: TrainResult) -> str:
    """What a run ran on, and in which precision.

    Args:
        result: of the run.
    """
    return f"{result.device} in {result.compute_dtype}"


def cells(entries: Sequence[PlanEntry], records: Mapping[str, RunRecord]) -> dict[tuple[str, str], Cell]:
    """The cells of a table.

    Args:
        entries: of its plan.
        records: finished ones, by key.

    Returns:
        By row and column, in the order of the plan; cells without a finished run are left out.
    """
    planned: dict[tuple[str, str], list[PlanEntry]] = defaultdict(list)
    for entry in entries:
        planned[entry.row, entry.column].append(entry)
    found = {}
    for place, members in planned.items():
        done = {(entry.fold, entry.seed): records[entry.key] for entry in members if entry.key in records}
        if done:
            results = [record.result for record in done.values()]
            tests = [result.scores["test"] for result in results]
            fastest = min(results, key=lambda result: result.train_seconds)
            found[place] = Cell(
                accuracies={pair: record.accuracy for pair, record in done.items()},
                planned=len(members),
                parameters=members[0].parameters,
                train_seconds=fastest.train_seconds,
                device=device_of(fastest),
                frozen_seconds=max(result.frozen_seconds for result in results),
                macro_f1=mean(test["macro_f1"] for test in tests),
                confusions=tuple(test["confusion"] for test in tests),
                labels=results[0].labels,
            )
    return found
