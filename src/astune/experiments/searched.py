"""What a search of sizes gave, as a value: its rungs, what was found for each fold, and how that compares with the best single method."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from astune.experiments.compared import BEST_SINGLE, SEARCHED
from astune.experiments.paired import in_words
from astune.experiments.recommendation import took
from astune.plurals import number_of
from astune.summary import Summarised, Summary
from astune.validated import strict_constructor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astune.experiments.compared import Difference
    from astune.experiments.comparison import Comparison


@strict_constructor
@dataclass(frozen=True)
class Trained:
    """One finished training of a search."""

    fold: int | None
    seed: int
    spec: str
    """The method, as ``method`` of :class:`astune.TrainConfig` takes it."""
    parameters: int
    """Trained, as the paper counts them."""
    key: str
    """Of its record in the store."""
    validation: dict[str, float]
    """The figure by which the search chooses, and the loss, with the weights that are kept."""
    epochs: int
    """That were trained."""
    seconds: float
    """Of training, with the pass through the frozen layers."""
    kept: bool = False
    """Whether it went on; of the single methods, whether it is the best of its fold and seed."""

    @property
    def measure(self) -> str:
        """Name of the figure by which the search chooses."""
        return next(iter(self.validation))

    @property
    def figure(self) -> float:
        """That figure of the validation clips."""
        return self.validation[self.measure]

    @property
    def shown(self) -> str:
        """It as text: shares in percent."""
        return f"{self.figure:.3f}" if self.measure == "loss" else f"{100 * self.figure:.1f}"


@strict_constructor
@dataclass(frozen=True)
class RungResult:
    """What one round of trainings gave."""

    epochs: int
    """Of each training."""
    trained: tuple[Trained, ...]
    """By fold and seed, in the order in which the candidates were drawn."""


@strict_constructor
@dataclass(frozen=True, repr=False)
class SearchResult(Summarised):
    """What :func:`astune.search` gave."""

    name: str
    """Name of the final comparison in the store: ``astune report NAME`` writes it."""
    parameters: int
    """The budget: the most trained parameters, as the paper counts them."""
    rungs: tuple[RungResult, ...]
    """All but the last one, which is ``found``."""
    found: tuple[Trained, ...]
    """What was found, for each fold and seed, trained by the whole recipe."""
    single: tuple[Trained, ...]
    """The single methods at the same budget, for each fold and seed, trained by the whole recipe."""
    comparison: Comparison
    """Test scores of what was found and of the single methods."""

    @property
    def difference(self) -> Difference | None:
        """What was found minus the best single method, over the folds and seeds that both have; None where they share none."""
        rows = {row.name for row in self.comparison.methods}
        return self.comparison.difference(SEARCHED, BEST_SINGLE) if {SEARCHED, BEST_SINGLE} <= rows else None

    @property
    def failures(self) -> tuple[str, ...]:
        """Trainings that ended with an error, and the error."""
        return self.comparison.failures

    @property
    def verdict(self) -> str:
        """In words, whether the search is shown to be worth it."""
        failed = f" {number_of(len(self.failures), 'training')} failed and took no part." if self.failures else ""
        return f"{self.comparison.recommendation}{failed}"

    def score(self, one: Trained) -> float | None:
        """Test score of what was found or of a single method.

        Args:
            one: of :attr:`found` or :attr:`single`.

        Returns:
            0 to 1; None where the comparison does not have it.
        """
        name = SEARCHED if one in self.found else one.spec
        rows = {row.name: row.scores for row in self.comparison.methods}
        return rows.get(name, {}).get((one.fold, one.seed))

    def record(self) -> dict[str, Any]:
        """As JSON: shares from 0 to 1, and seconds."""
        return {
            "name": self.name,
            "parameters": self.parameters,
            "rungs": [
                {"num_train_epochs": rung.epochs, "trained": [asdict(one) for one in rung.trained]}
                for rung in self.rungs
            ],
            "found": [asdict(one) | {"test": self.score(one)} for one in self.found],
            "single_methods": [asdict(one) | {"test": self.score(one)} for one in self.single],
            "difference": asdict(self.difference) if self.difference else None,
            "verdict": self.verdict,
            "comparison": self.comparison.record(),
            "failures": self.failures,
        }

    rung_headings = ("rung", "fold", "seed", "candidates", "epochs", "best", "median", "worst", "time")
    """Of :meth:`rung_cells`; best, median and worst are validation scores."""
    found_headings = ("fold", "seed", "", "parameters", "validation", "test")
    """Of :meth:`found_cells`."""

    def rung_cells(self) -> tuple[tuple[str, ...], ...]:
        """The rungs as text, a row for each fold and seed of each rung."""
        rows = []
        for number, rung in enumerate(self.rungs, start=1):
            for fold, seed in dict.fromkeys((one.fold, one.seed) for one in rung.trained):
                rows.append(_rung_row(number, [one for one in rung.trained if (one.fold, one.seed) == (fold, seed)]))
        return tuple(rows)

    def found_cells(self) -> tuple[tuple[str, ...], ...]:
        """What was found and the best single method as text, for each fold and seed; scores in percent."""
        return tuple(self._row(name, one) for name, one in self._chosen)

    def specs(self) -> tuple[tuple[str, str], ...]:
        """What was found and the best single method of each fold and seed: in words, and its spec."""
        return tuple((f"{name}, {in_words((one.fold, one.seed))}", one.spec) for name, one in self._chosen)

    @property
    def _chosen(self) -> list[tuple[str, Trained]]:
        best = {(one.fold, one.seed): one for one in self.single if one.kept}
        return [
            (name, one)
            for found in self.found
            for name, one in ((SEARCHED, found), (BEST_SINGLE, best.get((found.fold, found.seed))))
            if one
        ]

    def _row(self, name: str, one: Trained) -> tuple[str, ...]:
        test = self.score(one)
        shown = "-" if test is None else f"{100 * test:.1f}"
        return _fold(one), str(one.seed), name, f"{one.parameters:,}", one.shown, shown

    @override
    def _summary(self) -> Summary:
        parts = (number_of(self.parameters, "parameter"), number_of(len(self.found), "search"))
        rows = (("verdict", self.verdict), *self.specs(), *(("how", line) for line in self.comparison.design))
        return Summary(
            "SearchResult", self.comparison.data, parts, rows, self.found_headings, self.found_cells(), self.failures
        )


def _rung_row(number: int, trained: Sequence[Trained]) -> tuple[str, ...]:
    order = sorted(trained, key=lambda one: one.figure, reverse=trained[0].measure != "loss")
    first = trained[0]
    shown = (order[0], order[len(order) // 2], order[-1])
    return (
        str(number), _fold(first), str(first.seed), str(len(trained)), str(max(one.epochs for one in trained)),
        *(one.shown for one in shown), took(sum(one.seconds for one in trained)),
    )  # fmt: skip


def _fold(one: Trained) -> str:
    return "-" if one.fold is None else str(one.fold)
