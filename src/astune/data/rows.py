"""Rows of CSV files, with line numbers, and what published tables have in common."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from astune.errors import DataError, listing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from astune.data.layout import Layout


def read_rows(file: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Read a CSV file with a header.

    Args:
        file: UTF-8, with or without a byte order mark.

    Returns:
        The header, and each row with its line number.

    Raises:
        DataError: it is not UTF-8 text or no CSV.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            header = [name.strip() for name in reader.fieldnames or []]
            reader.fieldnames = header
            rows = [
                (
                    reader.line_num,
                    {key: (value or "").strip() for key, value in row.items() if isinstance(value, str | None)},
                )
                for row in reader
            ]
    except (UnicodeDecodeError, csv.Error) as fault:
        raise DataError(f"{file} is no readable CSV file: {fault}") from fault
    return header, rows


def published_rows(layout: Layout, file: Path, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Rows of a data set's own table.

    Args:
        layout: of the data set.
        file: the table.
        columns: that must be there.

    Returns:
        Each row with its line number.

    Raises:
        DataError: the file or a column is missing, or there are no rows.
    """
    if not file.is_file():
        raise layout.missing(file, "there is no such file")
    header, rows = read_rows(file)
    absent = [name for name in columns if name not in header]
    if absent:
        raise layout.missing(file, f"the header ({', '.join(header)}) has no column {' and no column '.join(absent)}")
    if not rows:
        raise layout.missing(file, "it has no rows")
    return rows


def whole_number(name: str, line: int, row: dict[str, str], faults: list[str]) -> int | None:
    """A cell that holds a number.

    Args:
        name: of its column.
        line: of its row.
        row: its row.
        faults: what is wrong is added.

    Returns:
        The number; None where it is none.
    """
    if row[name].isdecimal():
        return int(row[name])
    faults.append(f"line {line}: {name} is {row[name]!r}, not a whole number")
    return None


def numbered_classes(
    layout: Layout, file: Path, rows: Sequence[tuple[int, dict[str, str]]], number: str, name: str
) -> list[str]:
    """Class names in the order of the numbers a published table gives them.

    Args:
        layout: of the data set.
        file: its table.
        rows: of the table.
        number: column of the numbers; they may have gaps.
        name: column of the names.

    Returns:
        The names that occur; a class index is a position in this list.

    Raises:
        DataError: a number has two names, or a name two numbers.
    """
    pairs = {(int(row[number]), row[name]) for _, row in rows}
    if not len(pairs) == len({pair[0] for pair in pairs}) == len({pair[1] for pair in pairs}):
        raise layout.missing(file, f"{number} and {name} do not name the same classes")
    return [label for _, label in sorted(pairs)]


def refuse(file: Path, faults: Sequence[str]) -> None:
    """Raise for the faults of a file, if there are any.

    Args:
        file: the file.
        faults: all of them; the first ten are shown.

    Raises:
        DataError: there are some.
    """
    if len(faults) > 10:
        shown = "".join(f"\n  - {fault}" for fault in faults[:10])
        raise DataError(f"{file}: {len(faults)} faults{shown}\n  - and {len(faults) - 10} more")
    if faults:
        raise DataError(listing(list(faults), str(file)))
