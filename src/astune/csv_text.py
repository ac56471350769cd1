r"""CSV as every reader takes it; all tables with commas are written here, and by ``serving/page/tables.js`` in the same way.

Cells hold the text that went in. A label such as ``=1+1`` stays as it is: a quote before it would be another label for whatever reads the
table, and for us when it is trained on. Spreadsheets compute such a cell; docs/reliability.md says how to open a table in one.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_END = "\r\n"


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Rows as CSV, a line each; cells with commas, quotes or line breaks are in quotes.

    Args:
        rows: the header first, if there is one.

    Returns:
        The text, whose lines end in a line feed.
    """
    lines = _Lines()
    # Python quotes what is in the end of its lines: with "\n" alone, a carriage return in a cell would end the row for readers.
    csv.writer(lines, lineterminator=_END).writerows(rows)
    return "".join(lines.written)


class _Lines:
    """Takes one row at a time, and ends it in a line feed."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def write(self, row: str) -> None:
        self.written.append(f"{row.removesuffix(_END)}\n")
