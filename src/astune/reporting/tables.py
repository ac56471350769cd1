"""A rendered table as Markdown, as LaTeX (booktabs), as one HTML page, and as CSV with a line for each cell or comparison.

Each says what was run, and how it differs from the paper.
"""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, StrictUndefined

from astune import markdown
from astune.csv_text import csv_text
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from astune.reporting.rendered import Rendered, RenderedRow

_DIFFERENCES = "Differences from the paper"
_MACRO_F1 = "Macro F1 of the test clips in percent, mean of the runs"
_PAGE = Path(__file__).with_name("page.html")
_COMPARED = (
    "table", "column", "first", "second", "difference", "low", "high", "pairs", "p_value", "unlike_the_paper", "ran",
)  # fmt: skip


def to_markdown(table: Rendered) -> str:
    """The table with its header and caption.

    Args:
        table: as strings.
    """
    lines = [f"# {markdown.text(table.headline)}", "", markdown.text(table.summary), ""]
    lines += [f"- {markdown.text(line)}" for line in table.ran]
    if table.unlike_the_paper:
        lines += [f"- **{_DIFFERENCES}:** " + "; ".join(map(markdown.text, table.unlike_the_paper))]
    lines += [
        "",
        f"| method | trained | parameters | % of full | s a run | {' | '.join(map(markdown.text, table.columns))} |",
        "|" + " --- |" * (5 + len(table.columns)),
    ]
    for row in table.rows:
        cells = _marked(row, {1: "**{}**", 2: "<u>{}</u>"})
        lines.append(" | ".join([f"| {markdown.text(row.name)}", *_costs(row), *cells]) + " |")
    lines += ["", table.caption, ""]
    if table.macro_f1_columns:
        lines += [f"{_MACRO_F1}:", "", f"| macro F1 | {' | '.join(map(markdown.text, table.macro_f1_columns))} |"]
        lines += ["|" + " --- |" * (1 + len(table.macro_f1_columns))]
        lines += [f"| {markdown.text(row.name)} | {' | '.join(row.macro_f1)} |" for row in table.rows]
        lines += [""]
    return "\n".join(lines)


def _costs(row: RenderedRow) -> tuple[str, ...]:
    return row.trained, row.parameters, row.percent, row.seconds


def _marked(row: RenderedRow, marks: dict[int, str]) -> list[str]:
    """The cells of a row, the best and the second best of their columns in a form's marks."""
    return [f"{marks.get(cell.rank, '{}').format(cell.value)} {cell.details}".strip() for cell in row.cells]


_LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "\\": "\\textbackslash{}", "±": "$\\pm$"}
    | {
        "<": "\\textless{}",
        ">": "\\textgreater{}",
        "|": "\\textbar{}",
        "`": "\\textasciigrave{}",
        '"': "\\texttt{\\char34}",  # \textquotedbl is an error in LaTeX's default encoding
    }
)
_LIGATURE = re.compile(r"(?<=-)(?=-)|(?<=')(?=')|(?<=,)(?=,)")  # a longer dash, other quotes
_OF_THE_ROW_BEFORE = re.compile(r"^( *)([\[*])")


def _latex(text: str) -> str:
    """A name as it is. After the end of a row, LaTeX takes a bracket or a star for an option of that end, so these are protected."""
    escaped = _LIGATURE.sub("{}", printable(text).translate(_LATEX))
    return _OF_THE_ROW_BEFORE.sub(r"\1{\2}", escaped)


def to_latex(table: Rendered) -> str:
    r"""The table as a float for a paper; its first line says that it needs ``\usepackage{booktabs}``.

    Args:
        table: as strings.
    """
    notes = [*table.ran, *(f"{_DIFFERENCES}: {line}" for line in table.unlike_the_paper)]
    about = f"{table.headline}. {table.caption}"
    if table.unlike_the_paper:
        about += f" {_DIFFERENCES}: {'; '.join(table.unlike_the_paper)}."
    lines = ["% Needs \\usepackage{booktabs} in the preamble.", f"% {printable(table.summary)}"]
    lines += [f"% {printable(note)}" for note in notes]
    lines += [
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{_latex(about)}}}",
        f"\\label{{tab:{re.sub(r'[^A-Za-z0-9_.:-]', '-', table.name)}}}",
    ]
    lines += [f"\\begin{{tabular}}{{lrrrr{'l' * len(table.columns)}}}", "\\toprule"]
    lines += [
        " & ".join(["Method", "Trained", "Parameters", "\\% of full", "s a run", *map(_latex, table.columns)]) + " \\\\"
    ]
    lines += ["\\midrule"]
    for row in table.rows:
        escaped = replace(row, cells=tuple(replace(one, details=one.details.translate(_LATEX)) for one in row.cells))
        cells = _marked(escaped, {1: "\\textbf{{{}}}", 2: "\\underline{{{}}}"})
        lines.append(" & ".join([*map(_latex, (row.name, *_costs(row))), *cells]) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", "\\end{table}", ""])


def to_html(table: Rendered, pictures: Sequence[tuple[str, bytes]]) -> str:
    """One page that holds all it shows.

    Args:
        table: as strings.
        pictures: a caption and a PNG each.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_as_shown
    )
    shown = [{"caption": about, "data": base64.b64encode(png).decode("ascii")} for about, png in pictures]
    return environment.from_string(_PAGE.read_text(encoding="utf-8")).render(table=table, pictures=shown)


def _as_shown(value: object) -> object:
    return printable(value) if isinstance(value, str) else value


def to_csv(table: Rendered) -> str:
    """A line for each cell with finished runs, shares in percent, for whatever comes after.

    Args:
        table: as strings.
    """
    lines = [cell.exact for row in table.rows for cell in row.cells if cell.exact]
    return _csv(dict.fromkeys(name for line in lines for name in line), lines)


def comparisons_to_csv(table: Rendered) -> str:
    """All comparisons, a line for each pair of rows; differences in points of percent.

    Args:
        table: as strings.
    """
    return _csv(_COMPARED, [one.exact for one in table.comparisons])


def _csv(names: Iterable[str], lines: Iterable[dict[str, str]]) -> str:
    header = list(names)
    return csv_text([header, *([line.get(name, "") for name in header] for line in lines)])
