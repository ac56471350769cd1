"""A table as people read it: rows by columns, marks, averages, the printed figures beside ours.

Best and second best of a column are marked as the paper marks them, full fine-tuning standing outside (Table I underlines 92.55 for
speech commands, where full fine-tuning has 97.31). The average is the mean over the data sets, as the paper's.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean
from string import ascii_lowercase
from typing import TYPE_CHECKING

from astune.experiments.comparison import Comparison
from astune.experiments.published import PUBLISHED
from astune.reporting.aggregate import Cell, cells, device_of
from astune.reporting.protocol import shipped_name, summary, unlike_the_paper, what_ran

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from astune.experiments.records import SavedPlan
    from astune.experiments.results import Results

_FULL = "full-ft"
AVERAGE = "Avg"


@dataclass(frozen=True)
class GridRow:
    """One row."""

    name: str
    methods: tuple[str, ...]
    """Specs; several where data sets have settings of their own."""
    parameters: tuple[int, int]
    """As the paper counts them, fewest and most over the columns: heads differ."""
    percent_of_full: tuple[float, float]
    trained: tuple[int, int] | None
    """All trained parameters, heads included, fewest and most; None where a plan of an older version does not say."""
    cells: dict[str, Cell]
    """By column, as far as there are finished runs."""
    average: float | None
    """Mean over the columns, 0 to 1, where each is a data set and all runs are finished."""


@dataclass(frozen=True)
class Grid:
    """One table."""

    plan: SavedPlan
    headlines: dict[str, str]
    """Which scores the cells show, see :attr:`astune.experiments.results.Results.headlines`."""
    rows: tuple[GridRow, ...]
    ranks: dict[tuple[str, str], int]
    """1 for the best and 2 for the second best, by row and column (or ``Avg``); the others are not in it."""
    ran: tuple[str, ...]
    """What was run, a sentence a line; of a comparison of methods first its advice."""
    summary: str
    """What was run and how it differs from the paper, in two sentences."""
    unlike_the_paper: tuple[str, ...]
    """Each way in which the runs differ from the paper's table of this name; empty for a faithful, complete run."""
    devices: dict[str, str]
    """What the runs ran on, with a letter for each where they are several; one has none."""
    comparison: Comparison | None
    """Of methods, where the table is one: its intervals allow for what folds share."""

    @property
    def warning(self) -> str:
        """What titles say after the name of a table; nothing for a faithful run, or for an experiment of the user's own."""
        if not self.unlike_the_paper:
            return ""
        return "trial run" if shipped_name(self.plan) is None else "differs from the paper"

    @property
    def has_average(self) -> bool:
        """Whether a column of averages makes sense: several data sets, nothing varied."""
        return any(row.average is not None for row in self.rows)

    def printed(self, row: str, column: str) -> float | None:
        """The paper's figure, percent, where it has this cell.

        Args:
            row: name.
            column: name.
        """
        table = PUBLISHED.get(self.plan.printed or "")
        return table.accuracy(row, column) if table else None

    def printed_average(self, row: str) -> float | None:
        """The paper's average, percent, where our columns are the paper's.

        Args:
            row: name.
        """
        table = PUBLISHED.get(self.plan.printed or "")
        return table.average(row) if table and table.columns == self.plan.columns else None


def grid(results: Results) -> Grid:
    """Lay a table out.

    Args:
        results: its plan and its finished runs.

    Returns:
        The table; rows and columns in the order of the plan, cells as far as they are finished.
    """
    saved, found = results.plan, cells(results)
    averaged = len(saved.columns) > 1 and not any(entry.varied for entry in saved.entries)
    rows = tuple(_row(saved, name, found, averaged=averaged) for name in saved.rows)
    devices = _lettered(device_of(record.result) for record in results.records.values())
    comparison = Comparison.of(results) if saved.kind == "comparison" else None
    advice = [comparison.recommendation] if comparison else []
    differences = unlike_the_paper(results)
    return Grid(
        plan=saved,
        headlines=results.headlines,
        rows=rows,
        ranks=_ranks(rows, saved.columns),
        ran=(*advice, *saved.notes, *what_ran(results, devices), *_left_out(results)),
        summary=summary(results, differences),
        unlike_the_paper=differences,
        devices=devices,
        comparison=comparison,
    )


def _left_out(results: Results) -> Iterator[str]:
    """Labels that no test clip of a fold has, and that figures of that fold leave out."""
    found: dict[str, dict[int | None, list[str]]] = {}
    for entry in results.plan.entries:
        if entry.key in results.records:
            record = results.records[entry.key]
            said = record.task.left_out(record.test, record.result.labels, "test")
            found.setdefault(entry.column, {})[entry.fold] = [one.removeprefix("Note: ") for one in said]
    for column, folds in found.items():
        for fold, sentences in folds.items():
            where = column if fold is None else f"{column}, fold {fold}"
            yield from (f"{where}: {one}" for one in sentences)


def _row(saved: SavedPlan, name: str, found: Mapping[tuple[str, str], Cell], *, averaged: bool) -> GridRow:
    members = [entry for entry in saved.entries if entry.row == name]
    own = {column: found[name, column] for column in saved.columns if (name, column) in found}
    whole = averaged and len(own) == len(saved.columns) and all(cell.finished for cell in own.values())
    trained = [entry.trained for entry in members if entry.trained is not None]
    parameters, percents = [entry.parameters for entry in members], [entry.percent_of_full for entry in members]
    return GridRow(
        name=name,
        methods=tuple(dict.fromkeys(entry.method for entry in members)),
        parameters=(min(parameters), max(parameters)),
        percent_of_full=(min(percents), max(percents)),
        trained=(min(trained), max(trained)) if len(trained) == len(members) else None,
        cells=own,
        average=mean(cell.mean for cell in own.values()) if whole else None,
    )


def _lettered(devices: Iterable[str]) -> dict[str, str]:
    names = sorted(set(devices))
    return dict(zip(names, ascii_lowercase if len(names) > 1 else [""], strict=False))


def _ranks(rows: Iterable[GridRow], columns: Iterable[str]) -> dict[tuple[str, str], int]:
    """1 and 2 for the best and second best finished cells of a column, ties sharing a rank, at the two decimals that are printed."""
    ranks: dict[tuple[str, str], int] = {}
    ranked = [row for row in rows if row.methods != (_FULL,)]
    for column in [*columns, AVERAGE]:
        figures = {}
        for row in ranked:
            cell = row.cells.get(column)
            value = row.average if column == AVERAGE else cell.mean if cell and cell.finished else None
            if value is not None:
                figures[row.name] = round(100 * value, 2)
        for rank, figure in enumerate(sorted(set(figures.values()), reverse=True)[:2], 1):
            ranks |= {(row, column): rank for row, value in figures.items() if value == figure and len(figures) > 1}
    return ranks
