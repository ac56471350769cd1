"""A table as strings. Each figure is formatted once; Markdown, LaTeX, CSV and HTML only arrange the strings.

Shares are percent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

from astune.reporting.aggregate import compare
from astune.reporting.grid import AVERAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astune.reporting.aggregate import Cell, PairedTest
    from astune.reporting.grid import Grid, GridRow

_CAPTION = (
    "Test {} in percent: mean and sample deviation over folds and seeds, in brackets {}. "
    "Best in bold, second best underlined; full fine-tuning is not ranked. "
    "Trained: all trained parameters, with the head. Parameters: those that the paper counts, without head and final LayerNorm where a "
    "method trains more than these. "
    "Seconds: training a run, the fastest of its folds and seeds, over the columns; what comes once is the pass through the frozen layers, "
    "which all of them share."
)
_INTERVAL = "the 95 % interval of the mean over folds"
_WIDER = "the 95 % interval that the lines above describe, of the comparisons too"
_DEVICES = " A letter is the device; do not compare seconds of two devices."
_OURS_AND_THEIRS = " In parentheses the paper's figure, and ours minus the paper's."


@dataclass(frozen=True)
class RenderedCell:
    """One cell."""

    value: str
    """The mean; a dash where no run is finished."""
    details: str
    """What follows the mean: deviation, interval, the printed figure, how many runs are missing; or nothing."""
    rank: int
    """1 for the best of the column, 2 for the second best, 0 for the others."""
    exact: dict[str, str]
    """For programs, by column of the CSV file; empty for an average and where no run is finished."""


@dataclass(frozen=True)
class RenderedRow:
    """One row."""

    name: str
    trained: str
    """All trained parameters, the head included; a dash where the plan does not say."""
    parameters: str
    """Trained parameters as the paper counts them."""
    percent: str
    """Parameters as percent of full fine-tuning's."""
    seconds: str
    cells: tuple[RenderedCell, ...]
    """One for each of :attr:`Rendered.columns`."""
    macro_f1: tuple[str, ...] = ()
    """One for each of :attr:`Rendered.macro_f1_columns`."""


@dataclass(frozen=True)
class RenderedComparison:
    """Two rows in one column."""

    column: str
    first: str
    second: str
    difference: str
    interval: str
    pairs: str
    p_value: str
    exact: dict[str, str]
    """For programs, by column of the CSV file."""


@dataclass(frozen=True)
class Rendered:
    """One table."""

    name: str
    headline: str
    """Its title, with a warning in it where the runs differ from the paper's table."""
    caption: str
    """What the figures are."""
    columns: tuple[str, ...]
    """The columns with figures, the average among them where there is one."""
    rows: tuple[RenderedRow, ...]
    ran: tuple[str, ...]
    """What was run, one sentence per line."""
    summary: str
    """What was run and how it differs from the paper, in two sentences."""
    unlike_the_paper: tuple[str, ...]
    """Each way in which the runs differ from the paper's table."""
    macro_f1_columns: tuple[str, ...]
    """The columns whose runs recorded their macro F1."""
    comparisons: tuple[RenderedComparison, ...]
    """Comparisons of any two rows."""


def render(table: Grid) -> Rendered:
    """Format a table as strings.

    Args:
        table: laid out.
    """
    columns = _columns_of(table)
    scored = tuple(name for name in table.plan.columns if any(_macro_f1(row, name) != "-" for row in table.rows))
    warning = f": {table.warning}" if table.warning else ""
    return Rendered(
        name=table.plan.name,
        headline=f"{table.plan.title} ({table.plan.name}){warning}",
        caption=_caption(table),
        columns=columns,
        rows=tuple(
            RenderedRow(
                name=row.name,
                trained=_range_of(row.trained) if row.trained else "-",
                macro_f1=tuple(_macro_f1(row, column) for column in scored),
                parameters=_range_of(row.parameters),
                percent=_percent_of(row),
                seconds=seconds_of(table, row),
                cells=tuple(_cell(table, row, column) for column in columns),
            )
            for row in table.rows
        ),
        ran=table.ran,
        summary=table.summary,
        unlike_the_paper=table.unlike_the_paper,
        macro_f1_columns=scored,
        comparisons=tuple(_comparison(table, *one) for one in comparisons(table)),
    )


def _caption(table: Grid) -> str:
    beside = any(table.printed(row.name, column) is not None for row in table.rows for column in row.cells)
    return (
        _CAPTION.format(" or ".join(table.headlines.values()), _WIDER if table.comparison else _INTERVAL)
        + (_DEVICES if len(table.devices) > 1 else "")
        + (_OURS_AND_THEIRS if beside else "")
    )


def _cell(table: Grid, row: GridRow, column: str) -> RenderedCell:
    value, details = figures_of(table, row, column)
    cell = row.cells.get(column)
    rank = table.ranks.get((row.name, column), 0)
    return RenderedCell(value, details, rank, _exact(table, row, column, cell) if cell else {})


def _exact(table: Grid, row: GridRow, column: str, cell: Cell) -> dict[str, str]:
    printed = table.printed(row.name, column)
    low, high = cell.interval or (None, None)
    return {
        "table": table.plan.name,
        "row": row.name,
        "method": " / ".join(row.methods),
        "parameters": str(cell.parameters),
        "trained_parameters": str(row.trained[1]) if row.trained else "",
        "percent_of_full": f"{row.percent_of_full[1]:.4f}",
        "column": column,
        "mean": _percent(cell.mean),
        "deviation": _percent(cell.deviation),
        "low": _percent(low),
        "high": _percent(high),
        **{name: _percent(share) for name, share in cell.shares.items()},
        "runs": str(len(cell.scores)),
        "planned": str(cell.planned),
        "train_seconds": f"{cell.train_seconds:.1f}",
        "device": cell.device,
        "frozen_seconds": f"{cell.frozen_seconds:.1f}",
        "place": str(table.ranks.get((row.name, column), "")),
        "printed": "" if printed is None else str(printed),
        "difference": "" if printed is None else f"{100 * cell.mean - printed:.2f}",
        **_origin(table),
    }


def _comparison(table: Grid, column: str, first: str, second: str, found: PairedTest) -> RenderedComparison:
    low, high = found.interval or (None, None)
    return RenderedComparison(
        column=column,
        first=first,
        second=second,
        difference=f"{100 * found.difference:+.2f}",
        interval="[{:.1f}, {:.1f}]".format(*(100 * end for end in found.interval)) if found.interval else "-",
        pairs=str(found.pairs),
        p_value="-" if found.p_value is None else f"{found.p_value:.3g}",
        exact={
            "table": table.plan.name,
            "column": column,
            "first": first,
            "second": second,
            "difference": f"{100 * found.difference:.4f}",
            "low": _percent(low),
            "high": _percent(high),
            "pairs": str(found.pairs),
            "p_value": "" if found.p_value is None else f"{found.p_value:.4g}",
            **_origin(table),
        },
    )


def _origin(table: Grid) -> dict[str, str]:
    """What every line of a CSV file says, because lines are copied out of it."""
    return {"unlike_the_paper": "; ".join(table.unlike_the_paper), "ran": "; ".join(table.ran)}


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.4f}"


def _macro_f1(row: GridRow, column: str) -> str:
    """Mean over the finished runs, in percent; a dash where a run of an older version does not have it."""
    cell = row.cells.get(column)
    return f"{100 * cell.shares['macro_f1']:.2f}" if cell and "macro_f1" in cell.shares else "-"


def _range_of(numbers: tuple[int, int]) -> str:
    """Numbers of parameters; a range where they differ between data sets."""
    low, high = numbers
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _percent_of(row: GridRow) -> str:
    """Parameters as percent of full fine-tuning.

    Args:
        row: of a table.
    """
    low, high = (f"{value:.2f}" for value in row.percent_of_full)
    return low if low == high else f"{low} to {high}"


def seconds_of(table: Grid, row: GridRow) -> str:
    """How long a run takes.

    Args:
        table: laid out.
        row: of it.

    Returns:
        ``"155 to 212"`` over the columns, ``"1 to 4, once 17"`` with what was computed once for all, ``"93 b"`` where runs of the table
        ran on several devices, whose seconds must not be compared; a dash where nothing is finished.
    """
    if not row.cells:
        return "-"
    trained = sorted((cell.train_seconds, table.devices[cell.device]) for cell in row.cells.values())
    low, high = (f"{seconds:.0f} {letter}".strip() for seconds, letter in (trained[0], trained[-1]))
    once = max(cell.frozen_seconds for cell in row.cells.values())
    return (low if low == high else f"{low} to {high}") + (f", once {once:.0f}" if once else "")


def _columns_of(table: Grid) -> tuple[str, ...]:
    """The columns with figures, the average among them where there is one.

    Args:
        table: laid out.
    """
    return (*table.plan.columns, AVERAGE) if table.has_average else table.plan.columns


def figures_of(table: Grid, row: GridRow, column: str) -> tuple[str, str]:
    """The content of a cell: the mean, which may be marked, and the details after it.

    Args:
        table: laid out.
        row: of it.
        column: of :attr:`Rendered.columns`.

    Returns:
        ``("88.38", "± 1.20 [87.1, 89.5] (88.50, -0.12)")``; a dash and nothing where no run is finished.
    """
    if column == AVERAGE:
        return _average(table, row)
    cell = row.cells.get(column)
    if cell is None:
        return "-", ""
    details = [f"± {100 * cell.deviation:.2f}"] if cell.deviation is not None else []
    if cell.interval:
        details.append("[{:.1f}, {:.1f}]".format(*(100 * end for end in cell.interval)))
    details += _beside(100 * cell.mean, table.printed(row.name, column))
    if not cell.finished:
        details.append(f"{len(cell.scores)} of {cell.planned} runs")
    return f"{100 * cell.mean:.2f}", " ".join(details)


def _average(table: Grid, row: GridRow) -> tuple[str, str]:
    if row.average is None:
        return "-", ""
    return f"{100 * row.average:.2f}", " ".join(_beside(100 * row.average, table.printed_average(row.name)))


def _beside(ours: float, printed: float | None) -> list[str]:
    return [] if printed is None else [f"({printed:.2f}, {ours - printed:+.2f})"]


def comparisons(table: Grid) -> Iterator[tuple[str, str, str, PairedTest]]:
    """Any two rows on the folds and seeds they share.

    Args:
        table: laid out.

    Yields:
        Column, the two rows, and how they compare.
    """
    for column in table.plan.columns:
        having: list[tuple[str, Cell]] = [(row.name, row.cells[column]) for row in table.rows if column in row.cells]
        for (first, one), (second, other) in combinations(having, 2):
            if one.scores.keys() & other.scores.keys():
                found = compare(one.scores, other.scores)
                wider = table.comparison.difference(first, second) if table.comparison else None
                yield column, first, second, replace(found, interval=wider.estimate.interval) if wider else found
