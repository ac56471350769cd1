"""What a comparison of methods gave, as a value: figures of each method, differences over the runs they share, and advice in words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import mean, median
from typing import TYPE_CHECKING, Any, Self

from typing_extensions import override

from astune.experiments.compared import Compared, ComparedMethod
from astune.experiments.recommendation import percent, points, recommend, simplest_best, took
from astune.plurals import number_of
from astune.summary import Summarised, Summary
from astune.tasks import task_named
from astune.validated import strict_constructor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astune.experiments.paired import Pair
    from astune.experiments.records import PlanEntry, RunRecord, SavedPlan
    from astune.experiments.results import Results


@strict_constructor
@dataclass(frozen=True, repr=False)
class Comparison(Compared, Summarised):
    """What :func:`astune.compare` gave."""

    name: str
    """Name of its plan in the store: ``astune report NAME`` writes it as Markdown, LaTeX, CSV and HTML."""
    data: str
    """Name of the data set."""
    design: tuple[str, ...]
    """How the runs were made and what the intervals allow for, a sentence each."""
    failures: tuple[str, ...] = ()
    """Runs that ended with an error, and the error."""
    notices: tuple[str, ...] = ()
    """What is to be known of the data."""

    @classmethod
    def of(cls, results: Results, failures: Sequence[str] = ()) -> Self:
        """Compare the finished runs of a plan.

        Args:
            results: of one data set.
            failures: runs that ended with an error.
        """
        plan, done = results.plan, results.records
        records = [done[key] for key in plan.keys if key in done]
        tested = round(mean(record.test["clips"] for record in records)) if records else 0
        rows = [_row([entry for entry in plan.entries if entry.row == name], results) for name in plan.rows]
        return cls(
            task=records[0].result.task if records else None,
            methods=tuple(sorted(rows, key=lambda row: not row.is_baseline)),
            test_clips=tested,
            tested_share=_tested_share(plan, tested),
            name=plan.name,
            data=plan.entries[0].dataset,
            design=plan.notes,
            failures=tuple(failures),
            notices=next((tuple(record.result.notices) for record in records if record.result.notices), ()),
        )

    @property
    def recommendation(self) -> str:
        """Which method to use and why, in a few sentences; of a search, whether it was worth it."""
        return recommend(self)

    @property
    def recommended(self) -> str | None:
        """Spec of that method: of the simplest network that no other is shown to be better than.

        None where none is finished, and of a search, which found a method of its own for each fold and seed.
        """
        chosen = None if self.is_search else simplest_best(self)
        return chosen.method if chosen else None

    def record(self) -> dict[str, Any]:
        """As JSON: shares from 0 to 1, seconds and bytes."""
        headline = task_named(self.task).headline if self.task else "score"
        rows = []
        for row in self.methods:
            facts = {name: value for name, value in asdict(row).items() if name != "scores"}
            runs = [{"fold": fold, "seed": seed, headline: score} for (fold, seed), score in row.scores.items()]
            rows.append(facts | (asdict(self.estimate(row.name)) if row.scores else {}) | {"runs": runs})
        differences = [
            {"first": one.first, "second": one.second, "pairs": one.pairs, **asdict(one.estimate)}
            for one in self.differences
        ]
        return {
            "name": self.name, "data": self.data, "task": self.task, "headline": headline, "design": self.design,
            "methods": rows, "differences": differences, "best": self.best.name if self.best else None,
            "recommended": self.recommended, "recommendation": self.recommendation,
            "test_clips": self.test_clips, "tested_share": self.tested_share,
            "missing": self.missing, "failures": self.failures, "notices": self.notices,
        }  # fmt: skip

    @property
    def headings(self) -> tuple[str, ...]:
        """Of :meth:`cells`."""
        others = ["against the best", "against the baseline"][: len(self._references)]
        return ("method", self.measure, *others, "time", "adapter", "parameters", "runs")

    def cells(self) -> tuple[tuple[str, ...], ...]:
        """The table as text, one row for each method; shares are percent, with their 95 % intervals in brackets."""
        return tuple(self._cells(row) for row in self.methods)

    def _cells(self, row: ComparedMethod) -> tuple[str, ...]:
        runs = f"{len(row.scores)} of {row.planned}"
        blank = ("-",) * len(self._references)
        if not row.scores:
            return (row.name, "-", *blank, "-", "-", f"{row.parameters:,}", runs)
        compared = [
            "-" if other is row else points(self.difference(row.name, other.name)) for other in self._references
        ]
        size = f"{row.adapter_bytes / 1e6:.2f} MB"
        return (
            row.name,
            percent(self.estimate(row.name)),
            *compared,
            took(row.seconds),
            size,
            f"{row.parameters:,}",
            runs,
        )

    @property
    def _references(self) -> list[ComparedMethod]:
        """What each row is compared with: the best method and the baseline, which may be one."""
        found = [row for row in (self.best, self.baseline) if row is not None]
        return found[:1] if len(found) > 1 and found[0] is found[1] else found

    @override
    def _summary(self) -> Summary:
        best = [f"best {self.best.name} {percent(self.estimate(self.best.name))}"] if self.best else []
        missing = [f"{number_of(self.missing, 'run')} missing"] if self.missing else []
        parts = (number_of(len(self.methods), "method"), self.measure, *best, *missing)
        rows = (("recommendation", self.recommendation), *(("how", line) for line in self.design))
        return Summary(
            "Comparison", self.data, parts, rows, self.headings, self.cells(), (*self.failures, *self.notices)
        )


def _tested_share(plan: SavedPlan, tested: int) -> float:
    """Clips of a test fold by those of the others; 0 where there is one split or fold, or nothing is known yet."""
    folds = {entry.fold for entry in plan.entries}
    if len(folds) == 1:
        return 0.0
    clips = plan.entries[0].dataset_clips or 0
    if plan.entries[0].settings.get("limit_clips") or not 0 < tested < clips:  # of which the runs hear a part
        return 1 / (len(folds) - 1)
    return tested / (clips - tested)


def _row(entries: Sequence[PlanEntry], results: Results) -> ComparedMethod:
    done: dict[Pair, RunRecord] = {
        (entry.fold, entry.seed): results.records[entry.key] for entry in entries if entry.key in results.records
    }
    runs = [record.result for record in done.values()]
    methods = {entry.method for entry in entries}
    return ComparedMethod(
        name=entries[0].row,
        method=entries[0].method if len(methods) == 1 else entries[0].row,
        scores={pair: record.headline for pair, record in done.items()},
        planned=len(entries),
        parameters=max(entry.parameters for entry in entries),
        adapter_bytes=max((run.adapter_bytes for run in runs), default=0),
        train_seconds=median(run.train_seconds for run in runs) if runs else 0.0,
        frozen_seconds=max((run.frozen_seconds for run in runs), default=0.0),
    )
