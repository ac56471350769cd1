"""A table as Markdown, as LaTeX (booktabs), and as CSV with a line a cell; and the paired comparisons of its rows as CSV.

Accuracies are percent. Each form says what was run, and in what that is not the paper's.
"""

from __future__ import annotations

import csv
import io
import re
from itertools import combinations
from typing import TYPE_CHECKING

from astune import markdown
from astune.printable import printable
from astune.reporting.aggregate import compare
from astune.reporting.grid import AVERAGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from astune.reporting.aggregate import Cell, Comparison
    from astune.reporting.grid import Grid, GridRow

CAPTION = (
    "Test accuracy in percent: mean and sample deviation over folds and seeds, in brackets the 95 % interval of the mean over folds. "
    "Best in bold, second best underlined, full fine-tuning standing outside. "
    "Seconds: training a run, the fastest of its folds and seeds, over the columns; what comes once is the pass through the frozen layers, "
    "which all of them share."
)
_DEVICES = " A letter is the device; seconds of two are not to be compared."
_OURS_AND_THEIRS = " In parentheses the paper's figure, and ours minus the paper's."


def caption(table: Grid) -> str:
    """What the figures of a table are.

    Args:
        table: laid out.
    """
    beside = any(table.printed(row.name, column) is not None for row in table.rows for column in row.cells)
    return CAPTION + (_DEVICES if len(table.devices) > 1 else "") + (_OURS_AND_THEIRS if beside else "")


def headline(table: Grid) -> str:
    """The title, with a warning in it where the runs are not the paper's.

    Args:
        table: laid out.
    """
    return f"{table.title} ({table.name})" + (": not the paper's setting" if table.unlike_the_paper else "")


def parameters_of(row: GridRow) -> str:
    """Trained parameters; a range where they differ between data sets.

    Args:
        row: of a table.
    """
    low, high = row.parameters
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def percent_of(row: GridRow) -> str:
    """Parameters as percent of full fine-tuning.

    Args:
        row: of a table.
    """
    low, high = (f"{value:.2f}" for value in row.percent_of_full)
    return low if low == high else f"{low} to {high}"


def seconds_of(table: Grid, row: GridRow) -> str:
    """Time of a run.

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


def columns_of(table: Grid) -> tuple[str, ...]:
    """The columns with figures, the average among them where there is one.

    Args:
        table: laid out.
    """
    return (*table.columns, AVERAGE) if table.has_average else table.columns


def _costs(table: Grid, row: GridRow) -> tuple[str, ...]:
    return parameters_of(row), percent_of(row), seconds_of(table, row)


def figures_of(table: Grid, row: GridRow, column: str) -> tuple[str, str]:
    """What stands in a cell: the mean, which may be marked, and what stands behind it.

    Args:
        table: laid out.
        row: of it.
        column: of :func:`columns_of`.

    Returns:
        ``("88.38", "± 1.20 [87.1, 89.5] (88.50, -0.12)")``; a dash and nothing where no run is finished.
    """
    if column == AVERAGE:
        return _average(table, row)
    cell = row.cells.get(column)
    if cell is None:
        return "-", ""
    behind = [f"± {100 * cell.deviation:.2f}"] if cell.deviation is not None else []
    if cell.interval:
        behind.append("[{:.1f}, {:.1f}]".format(*(100 * end for end in cell.interval)))
    behind += _beside(100 * cell.mean, table.printed(row.name, column))
    if not cell.finished:
        behind.append(f"{len(cell.accuracies)} of {cell.planned} runs")
    return f"{100 * cell.mean:.2f}", " ".join(behind)


def _average(table: Grid, row: GridRow) -> tuple[str, str]:
    if row.average is None:
        return "-", ""
    return f"{100 * row.average:.2f}", " ".join(_beside(100 * row.average, table.printed_average(row.name)))


def _beside(ours: float, printed: float | None) -> list[str]:
    return [] if printed is None else [f"({printed:.2f}, {ours - printed:+.2f})"]


def to_markdown(table: Grid) -> str:
    """The table with its header and caption.

    Args:
        table: laid out.
    """
    marks = {1: "**{}**", 2: "<u>{}</u>"}
    columns = columns_of(table)
    lines = [f"# {markdown.text(headline(table))}", "", *(f"- {markdown.text(line)}" for line in table.ran)]
    if table.unlike_the_paper:
        lines += ["- **Not the paper's setting:** " + "; ".join(map(markdown.text, table.unlike_the_paper))]
    lines += [
        "",
        f"| method | parameters | % of full | s a run | {' | '.join(map(markdown.text, columns))} |",
        "|" + " --- |" * (4 + len(columns)),
    ]
    for row in table.rows:
        cells = []
        for column in columns:
            value, behind = figures_of(table, row, column)
            mark = marks.get(table.places.get((row.name, column), 0), "{}")
            cells.append(f"{mark.format(value)} {behind}".strip())
        lines.append(" | ".join([f"| {markdown.text(row.name)}", *_costs(table, row), *cells]) + " |")
    return "\n".join([*lines, "", caption(table), ""])


_LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "\\": "\\textbackslash{}", "±": "$\\pm$"}
    | {
        "<": "\\textless{}",
        ">": "\\textgreater{}",
        "|": "\\textbar{}",
        "`": "\\textasciigrave{}",
        '"': "\\textquotedbl{}",
    }
)


def _latex(text: str) -> str:
    """A name as it is; behind the end of a row, a bracket or a star that opens the next one would belong to that end."""
    escaped = printable(text).translate(_LATEX)
    return f"{{{escaped[0]}}}{escaped[1:]}" if escaped[:1] in {"[", "*"} else escaped


def to_latex(table: Grid) -> str:
    r"""The table as a float for a paper; wants ``\usepackage{booktabs}``.

    Args:
        table: laid out.
    """
    marks = {1: "\\textbf{{{}}}", 2: "\\underline{{{}}}"}
    columns = columns_of(table)
    notes = [*table.ran, *(f"Not the paper's setting: {line}" for line in table.unlike_the_paper)]
    about = f"{headline(table)}. {caption(table)}"
    if table.unlike_the_paper:
        about += f" Not the paper's setting: {'; '.join(table.unlike_the_paper)}."
    lines = [f"% {printable(note)}" for note in notes]
    lines += [
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{_latex(about)}}}",
        f"\\label{{tab:{re.sub(r'[^A-Za-z0-9_.:-]', '-', table.name)}}}",
    ]
    lines += [f"\\begin{{tabular}}{{lrrr{'l' * len(columns)}}}", "\\toprule"]
    lines += [" & ".join(["Method", "Parameters", "\\% of full", "s a run", *map(_latex, columns)]) + " \\\\"]
    lines += ["\\midrule"]
    for row in table.rows:
        cells = [_latex(cell) for cell in (row.name, *_costs(table, row))]
        for column in columns:
            value, behind = figures_of(table, row, column)
            mark = marks.get(table.places.get((row.name, column), 0), "{}")
            cells.append(f"{mark.format(value)} {behind.translate(_LATEX)}".strip())
        lines.append(" & ".join(cells) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", "\\end{table}", ""])


def to_csv(table: Grid) -> str:
    """A line a cell, accuracies in percent, for whatever comes after.

    Args:
        table: laid out.
    """
    head = (
        "table", "row", "method", "parameters", "percent_of_full", "column", "mean", "deviation", "low", "high", "macro_f1",
        "runs", "planned", "train_seconds", "device", "frozen_seconds", "place", "printed", "difference", "unlike_the_paper", "ran",
    )  # fmt: skip
    lines = [head]
    for row in table.rows:
        for column, cell in row.cells.items():
            printed = table.printed(row.name, column)
            low, high = cell.interval or (None, None)
            lines.append(
                (
                    table.name, row.name, " / ".join(row.methods), str(cell.parameters), f"{row.percent_of_full[1]:.4f}", column,
                    _percent(cell.mean), _percent(cell.deviation), _percent(low), _percent(high), _percent(cell.macro_f1),
                    str(len(cell.accuracies)), str(cell.planned), f"{cell.train_seconds:.1f}", cell.device, f"{cell.frozen_seconds:.1f}",
                    str(table.places.get((row.name, column), "")), "" if printed is None else str(printed),
                    "" if printed is None else f"{100 * cell.mean - printed:.2f}", "; ".join(table.unlike_the_paper), "; ".join(table.ran),
                )
            )  # fmt: skip
    return _csv(lines)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.4f}"


def comparisons(table: Grid) -> Iterator[tuple[str, str, str, Comparison]]:
    """Any two rows on the folds and seeds they share.

    Args:
        table: laid out.

    Yields:
        Column, the two rows, and how they compare.
    """
    for column in table.columns:
        having: list[tuple[str, Cell]] = [(row.name, row.cells[column]) for row in table.rows if column in row.cells]
        for (first, one), (second, other) in combinations(having, 2):
            if one.accuracies.keys() & other.accuracies.keys():
                yield column, first, second, compare(one.accuracies, other.accuracies)


def comparisons_to_csv(table: Grid) -> str:
    """All comparisons, a line a pair of rows; differences in points of percent.

    Args:
        table: laid out.
    """
    lines: list[Sequence[str]] = [
        (
            "table",
            "column",
            "first",
            "second",
            "difference",
            "low",
            "high",
            "pairs",
            "p_value",
            "unlike_the_paper",
            "ran",
        )
    ]
    for column, first, second, found in comparisons(table):
        p_value = "" if found.p_value is None else f"{found.p_value:.4g}"
        low, high = found.interval or (None, None)
        figures = (f"{100 * found.difference:.4f}", _percent(low), _percent(high), str(found.pairs), p_value)
        lines.append(
            (table.name, column, first, second, *figures, "; ".join(table.unlike_the_paper), "; ".join(table.ran))
        )
    return _csv(lines)


def _csv(lines: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
