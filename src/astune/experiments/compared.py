"""Methods that were run on the same folds and seeds: their means, intervals and differences."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING

from astune.experiments.baseline import BASELINE
from astune.experiments.paired import Estimate, Pair, by_fold, difference_variance, estimate, share_variance
from astune.tasks import task_named

if TYPE_CHECKING:
    from collections.abc import Iterable

    from astune.task import Task


SEARCHED = "searched sizes"
"""Row of a search's comparison: what was found, for each fold and seed a method of its own."""
BEST_SINGLE = "best single method"
"""Row of a search's comparison: the method of one kind and one size that validation clips choose for each fold and seed."""


@dataclass(frozen=True)
class ComparedMethod:
    """One row."""

    name: str
    method: str
    """Its spec; its name where its runs have different methods, as what a search found on each fold."""
    scores: dict[Pair, float]
    """The task's headline figure of the test split, 0 to 1, by fold and seed."""
    planned: int
    """Runs that there will be."""
    parameters: int
    """Trained, as the paper counts them; the most where its runs have different methods."""
    adapter_bytes: int
    """Size of the adapter file in bytes; 0 where no run is finished."""
    train_seconds: float
    """Median of the runs, without the pass through the frozen layers."""
    frozen_seconds: float
    """That pass, the longest of the runs: the others found it in the cache."""

    @property
    def is_baseline(self) -> bool:
        """Whether it is the one without a network."""
        return self.method == BASELINE

    @property
    def mean(self) -> float:
        """Over the finished runs, one or more."""
        return mean(by_fold(self.scores))

    @property
    def seconds(self) -> float:
        """Of training one adapter."""
        return self.train_seconds + self.frozen_seconds

    @property
    def cost(self) -> tuple[int, int]:
        """Size of the adapter and trained parameters: the less, the simpler. Seconds differ from run to run, and these do not."""
        return self.adapter_bytes, self.parameters


@dataclass(frozen=True)
class Difference:
    """Two methods on the folds and seeds that both have."""

    first: str
    second: str
    estimate: Estimate
    """First minus second, -1 to 1."""
    pairs: int
    """Runs shared."""


@dataclass(frozen=True, repr=False)
class Compared:
    """Methods, and what their runs have in common."""

    task: str | None
    """Name of the task, which decides the figure that is compared; None where no run is finished."""
    methods: tuple[ComparedMethod, ...]
    """In the order of the plan, the baseline without a network first."""
    test_clips: int
    """Clips that test, on average over the runs; 0 where none is finished."""
    tested_share: float
    """Clips that test by clips that do not; 0 where all runs have one split."""

    @property
    def measure(self) -> str:
        """Heading of the figure that is compared, such as ``accuracy``."""
        return self._task.shares[self._task.headline] if self._task else "score"

    @property
    def finished(self) -> tuple[ComparedMethod, ...]:
        """Methods with one finished run or more."""
        return tuple(row for row in self.methods if row.scores)

    @property
    def is_search(self) -> bool:
        """Whether it ends a search of sizes, in which validation clips have chosen."""
        return any(row.name == SEARCHED for row in self.methods)

    @property
    def comparable(self) -> tuple[ComparedMethod, ...]:
        """Methods whose runs are all finished: a mean over some of the folds cannot be ranked. All methods if there is none."""
        whole = tuple(row for row in self.finished if len(row.scores) == row.planned)
        return whole or self.finished

    @property
    def missing(self) -> int:
        """Runs that are not finished."""
        return sum(row.planned - len(row.scores) for row in self.methods)

    @property
    def repeats(self) -> int:
        """Folds, or seeds where there is one split: what intervals are over."""
        return max((len(by_fold(row.scores)) for row in self.finished), default=0)

    @property
    def rotating(self) -> bool:
        """Whether the runs have several test folds."""
        return self.tested_share > 0

    @property
    def knows_other_clips(self) -> bool:
        """Whether intervals allow for other test clips: folds have them, and so has a count of right and wrong ones."""
        return self.rotating or (self._task is not None and self._task.counts_clips)

    @property
    def best(self) -> ComparedMethod | None:
        """The method with the highest mean, the simplest of several; None where no run is finished."""
        return max(self.comparable, key=lambda row: (row.mean, *(-one for one in row.cost)), default=None)

    @property
    def baseline(self) -> ComparedMethod | None:
        """The one without a network; None where it is not compared or not finished."""
        return next((row for row in self.finished if row.is_baseline), None)

    def estimate(self, name: str, shared_with: str | None = None) -> Estimate:
        """Mean figure of a method, with its interval.

        Args:
            name: of a method with a finished run.
            shared_with: another one, where only the folds and seeds count that both have; one or more.
        """
        scores, others = self._named(name).scores, self._named(shared_with or name).scores
        scores = {pair: score for pair, score in scores.items() if pair in others}
        spread = share_variance(mean(by_fold(scores)), self.test_clips) if self._counts(scores) else None
        return estimate(by_fold(scores), self._share_of(scores), spread).within(0.0, 1.0)

    def difference(self, first: str, second: str) -> Difference | None:
        """How much better one method is than another, over the folds and seeds that both have.

        Args:
            first: name of a method.
            second: of another.

        Returns:
            First minus second; None where they share no finished run.
        """
        one, other = self._named(first), self._named(second)
        paired = {pair: score - other.scores[pair] for pair, score in one.scores.items() if pair in other.scores}
        if not paired:
            return None
        ours, theirs = (mean(by_fold({pair: row.scores[pair] for pair in paired})) for row in (one, other))
        spread = difference_variance(ours, theirs, self.test_clips) if self._counts(paired) else None
        return Difference(first, second, estimate(by_fold(paired), self._share_of(paired), spread), len(paired))

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Of each method to the best one, and to the baseline without a network, where there are both."""
        pairs = [
            (row.name, other.name)
            for other in (self.best, self.baseline)
            if other is not None
            for row in self.finished
            if row is not other
        ]
        found = (self.difference(*pair) for pair in dict.fromkeys(pairs))
        return tuple(one for one in found if one is not None)

    @property
    def _task(self) -> Task | None:
        return None if self.task is None else task_named(self.task)

    def _share_of(self, runs: Iterable[Pair]) -> float:
        """Clips that test by clips that do not, where the runs have several folds; 0 where they have one split or fold."""
        return self.tested_share if len({fold for fold, _ in runs}) > 1 else 0.0

    def _counts(self, runs: Iterable[Pair]) -> bool:
        """Whether the number of test clips says how far a figure can be trusted, because all runs have the same."""
        return not self._share_of(runs) and self._task is not None and self._task.counts_clips and self.test_clips > 0

    def _named(self, name: str) -> ComparedMethod:
        return next(row for row in self.methods if row.name == name)
