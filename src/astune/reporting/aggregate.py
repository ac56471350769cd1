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
from dataclasses import dataclass, replace
from statistics import mean, stdev
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from scipy import stats

from astune.confusion import count_correct, whole
from astune.experiments.comparison import Comparison
from astune.experiments.paired import Pair, by_fold, spread
from astune.reporting.intervals import accuracy_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from astune.confusion import Record
    from astune.experiments.records import PlanEntry, RunRecord
    from astune.experiments.results import Results
    from astune.training.result import TrainResult

_RESAMPLES = 9999

_Pair = TypeVar("_Pair", bound=Pair)


@dataclass(frozen=True)
class Cell:
    """One row in one column."""

    scores: dict[Pair, float]
    """The task's headline figure of the test split, such as the accuracy: 0 to 1, by fold and seed."""
    planned: int
    """Runs the plan has for this cell; the rest is missing."""
    parameters: int
    train_seconds: float
    """The fastest of the runs: other work on the machine only ever adds to it."""
    device: str
    """What the fastest ran on, and in which precision."""
    frozen_seconds: float
    """The longest of the runs: of the one that computed what was frozen for all, unless another table had; 0 without a cache."""
    shares: dict[str, float]
    """The task's other figures of the test split, such as macro F1: means of the runs, 0 to 1, by name. Without those that a run of an
    older version does not have."""
    confusions: tuple[Record, ...]
    """Confusion matrices, one for each run, as :mod:`astune.confusion` writes them: in full, those of a table would not fit into
    memory. Empty for a task that counts no clips."""
    labels: list[str]
    average_precision: tuple[list[float | None], ...] = ()
    """Average precision of each label, one list for each run; empty for a task of other scores."""
    wider: tuple[float, float] | None = None
    """The interval of a comparison of methods, which allows for what its folds share, and for test clips; see
    :mod:`astune.experiments.paired`."""

    @property
    def finished(self) -> bool:
        """Whether all of its runs are finished."""
        return len(self.scores) == self.planned

    @property
    def mean(self) -> float:
        """Mean over the runs."""
        return mean(self.scores.values())

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation over runs; nothing for one run."""
        return stdev(self.scores.values()) if len(self.scores) > 1 else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 %, of the mean, cut at 0 and 1; nothing for one fold, or where all give the same."""
        ends = self.wider or mean_interval(by_fold(self.scores))
        return ends and (max(ends[0], 0.0), min(ends[1], 1.0))

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Summed over the runs of a task that counts clips; true classes by predicted ones, (classes, classes)."""
        total = whole(self.confusions[0])
        for one in self.confusions[1:]:
            total += whole(one)
        return total

    @property
    def drawn_interval(self) -> tuple[float, float]:
        """95 %, for pictures: of one run, what its test clips alone leave open; where the task does not count them, the mean alone.

        (A record keeps no score of a single clip, from which an interval of one run's mean average precision could be drawn.)
        """
        if self.interval or not self.confusions:
            return self.interval or (self.mean, self.mean)
        counts = [count_correct(one) for one in self.confusions]
        return accuracy_interval(sum(right for right, _ in counts), sum(clips for _, clips in counts))


@dataclass(frozen=True)
class PairedTest:
    """Two cells on the runs they share."""

    difference: float
    """Mean of first minus second, -1 to 1."""
    pairs: int
    """Runs shared."""
    interval: tuple[float, float] | None
    """95 %, of the difference; nothing for fewer than two folds, or where all differ by the same."""
    p_value: float | None
    """Two-sided; nothing for fewer than two folds."""


def mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Student's interval of a mean.

    Args:
        values: independent ones.
        level: of confidence.

    Returns:
        Its ends; nothing for fewer than two values, or where all are the same.
    """
    deviation = spread(values)
    if deviation is None:
        return None
    reach = float(stats.t.ppf((1 + level) / 2, len(values) - 1)) * deviation / math.sqrt(len(values))
    return mean(values) - reach, mean(values) + reach


def compare(first: Mapping[_Pair, float], second: Mapping[_Pair, float]) -> PairedTest:
    """Paired comparison of two rows.

    Args:
        first: shares of one row, 0 to 1, by fold and seed.
        second: shares of the other row, 0 to 1, by fold and seed.

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
        return PairedTest(float(differences.mean()), len(shared), None, None)
    test = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        n_resamples=_RESAMPLES,
        rng=np.random.default_rng(0),
        vectorized=True,
    )
    interval = mean_interval(differences.tolist())
    return PairedTest(float(differences.mean()), len(shared), interval, float(test.pvalue))


def device_of(result: TrainResult) -> str:
    """What a run ran on, and in which precision.

    Args:
        result: of the run.
    """
    return f"{result.device} in {result.compute_dtype}"


def cells(results: Results) -> dict[tuple[str, str], Cell]:
    """The cells of a table.

    Args:
        results: its plan and its finished runs.

    Returns:
        By row and column, in the order of the plan; cells without a finished run are left out.
    """
    planned: dict[tuple[str, str], list[PlanEntry]] = defaultdict(list)
    for entry in results.plan.entries:
        planned[entry.row, entry.column].append(entry)
    found = {}
    for cell_key, members in planned.items():
        done = {(one.fold, one.seed): results.records[one.key] for one in members if one.key in results.records}
        if done:
            found[cell_key] = _cell(members, done)
    if results.plan.kind != "comparison":
        return found
    compared = Comparison.of(results)
    return {cell_key: replace(cell, wider=compared.estimate(cell_key[0]).interval) for cell_key, cell in found.items()}


def _cell(members: Sequence[PlanEntry], done: Mapping[Pair, RunRecord]) -> Cell:
    """The cell of one row and column, one or more of whose runs are finished."""
    records = list(done.values())
    task = records[0].task  # of the column's data set, so of all of them
    fastest = min((record.result for record in records), key=lambda result: result.train_seconds)
    return Cell(
        scores={pair: record.headline for pair, record in done.items()},
        planned=len(members),
        parameters=members[0].parameters,
        train_seconds=fastest.train_seconds,
        device=device_of(fastest),
        frozen_seconds=max(record.result.frozen_seconds for record in records),
        shares={
            name: mean(record.test[name] for record in records)
            for name in task.shares
            if name != task.headline and all(name in record.test for record in records)
        },
        confusions=tuple(record.test["confusion"] for record in records) if task.counts_clips else (),
        labels=records[0].result.labels,
        average_precision=tuple(
            record.test["average_precision"] for record in records if "average_precision" in record.test
        ),
    )
