"""Rows of tables, with line numbers, and what published tables have in common."""

from __future__ import annotations

import codecs
import csv
import io
import json
import math
import os
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from astune.data.formats import SUFFIXES
from astune.data.labels import clean_label, label_fault
from astune.data.named_files import refuse_pipes, windows_fault
from astune.errors import DataError
from astune.json_text import json_value
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from astune.data.layouts.base import Layout


Row = tuple[int, dict[str, str]]
"""A line number, and the cells by column."""

_READ = 10  # faults of one file
DIGITS = 9  # of numbers of folds and classes
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_NUMBER = re.compile(r"-?\d+([.,]\d+)?")
_SAID = re.compile(r"sep=(.)\r?\n")  # as Excel writes and reads it


def read_rows(
    file: Path,
    verbatim: Callable[[str], bool] = lambda _: False,
    *,
    known: Callable[[str], bool] | None = None,
    remarks: list[str] | None = None,
) -> tuple[list[str], list[Row]]:
    """Read a CSV file with a header.

    Args:
        file: UTF-8, or UTF-16 with a byte order mark.
        verbatim: whether the cells of a column keep their outer spaces.
        known: whether a column has a name that is looked for, by which the separator is recognised; it is a comma where None.
        remarks: what was recognised is added.

    Returns:
        The header, and each row with its line number.

    Raises:
        DataError: it cannot be read, is not text, or has rows that a header of unique names does not fit; all faults at once.
    """
    text, separator = read_text(file, "CSV"), ","
    if known is not None:
        text, separator = _separated(text, known)
        if separator != "," and remarks is not None:
            remarks.append(
                f"Note: {printable(file.name)} is separated by {_SEPARATORS.get(separator, repr(separator))}"
            )
    return split_rows(file, text, separator, verbatim)


def split_rows(
    file: Path, text: str, separator: str, verbatim: Callable[[str], bool] = lambda _: False, *, quoted: bool = True
) -> tuple[list[str], list[Row]]:
    """The rows of a table with a header.

    Args:
        file: name of the file, for messages.
        text: the text of the table.
        separator: between cells.
        verbatim: whether the cells of a column keep their outer spaces.
        quoted: whether a cell may be quoted.

    Returns:
        The header, and each row with its line number.

    Raises:
        DataError: it has rows that a header of unique names does not fit; all faults at once.
    """
    quoting: Any = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True, quoting=quoting)
    header: list[str] | None = None
    kept: set[str] = set()
    rows: list[Row] = []
    faults: list[str] = []
    begins = 1
    try:
        for cells in reader:
            line, begins = begins, reader.line_num + 1
            if not cells:
                continue
            if begins > line + 1:
                faults.append(f"line {line}: a cell goes over several lines; is a quote not closed?")
            elif header is None:
                header = [clean_label(name) for name in cells]
                kept = {name for name in header if verbatim(name)}
                faults += _named_twice(header)
            elif [clean_label(cell) for cell in cells[: len(header)]] == header:
                faults.append(f"line {line}: the header is there a second time; remove this line")
            elif any(cell.strip() for cell in cells[len(header) :]):
                faults.append(
                    f"line {line}: {len(cells)} cells under a header of {len(header)}; "
                    f"quote a cell that holds {_holding(separator)}"
                )
            else:
                cells += [""] * (len(header) - len(cells))
                named = zip(header, cells, strict=False)  # spreadsheets write empty cells after the last column
                rows.append((line, {name: cell if name in kept else cell.strip() for name, cell in named}))
    except csv.Error as fault:
        faults.append(f"line {begins}: {_quoting(fault)}")
    refuse(file, faults)
    return header or [], rows


def _holding(separator: str) -> str:
    return f"a {_SEPARATORS.get(separator, 'commas').removesuffix('s')}"


def _separated(text: str, known: Callable[[str], bool]) -> tuple[str, str]:
    """A table without the line that names its separator, and the separator: the one that makes the first line a header."""
    if said := _SAID.match(text):
        return text[said.end(1) :], said[1]
    first = next((line for line in text.splitlines() if line.strip()), "")
    ranks = {}
    for separator in (",", *_SEPARATORS):
        try:
            cells = next(csv.reader([first], delimiter=separator), [])
        except csv.Error:
            continue
        ranks[separator] = (sum(known(clean_label(cell)) for cell in cells), len(cells))
    return text, max(ranks, key=ranks.__getitem__, default=",")  # a comma where nothing says more


def read_json_rows(
    file: Path, plain: Callable[[str], bool], listed: Callable[[str], bool] = lambda _: False
) -> tuple[list[str], list[Row]]:
    """Read a JSON Lines file, an object a line.

    Args:
        file: UTF-8.
        plain: whether the values of a key must be texts or numbers; null is an empty text.
        listed: whether they may be lists of these too.

    Returns:
        All keys in the order of their first use, and each object with its line number; texts as they are, numbers as text, lists as JSON.

    Raises:
        DataError: it cannot be read, is not UTF-8 text, or a line is not an object with unique keys; all faults at once.
    """
    faults: list[str] = []
    rows: list[Row] = []
    for line, text in enumerate(read_text(file, "JSON Lines").split("\n"), start=1):
        if not text.strip():
            continue
        try:
            pairs = json_value(text, _Pairs, strict=False)
        except ValueError as fault:
            faults.append(f"line {line}: it is not JSON ({fault})")
            continue
        if not isinstance(pairs, _Pairs):
            faults.append(f"line {line}: it is not a JSON object")
            continue
        faults += [f"line {line}: {fault}" for fault in _named_twice([key for key, _ in pairs])]
        faults += [
            f"line {line}: {key} is {json.dumps(value)[:40]}, neither text nor a number"
            for key, value in pairs
            if plain(key)
            and not (listed(key) and _is_list(value))
            and (isinstance(value, bool | list | dict) or not_a_number(value))
        ]
        rows.append((line, {key: _cell(value) for key, value in pairs}))
    refuse(file, faults)
    header = dict.fromkeys(key for _, row in rows for key in row)
    # a key that one line lacks is an empty cell, as in a CSV file: else a clip without split would train among others that test
    absent = dict.fromkeys(header, "")
    return list(header), [(line, absent | row) for line, row in rows]


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with all of its keys, those named twice too."""


def not_a_number(value: object) -> bool:
    """Whether a value means a missing one, as pandas writes it, or is infinite.

    Args:
        value: a cell.
    """
    return isinstance(value, float) and not math.isfinite(value)


def _is_list(value: object) -> bool:
    """Whether a value is a list of texts and whole numbers."""
    return isinstance(value, list) and all(isinstance(one, str | int) and not isinstance(one, bool) for one in value)


def _cell(value: object) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False) if isinstance(value, list) else str(value)


def read_lines(file: Path) -> list[str]:
    """Lines of a list of files.

    Args:
        file: UTF-8.

    Returns:
        Its lines, without their ends.

    Raises:
        DataError: it cannot be read or is not UTF-8 text.
    """
    return read_text(file, "text").splitlines()


def cell_faults(line: int, row: dict[str, str], file: str, *labels: str) -> list[str]:
    """What is wrong with the cells of a published table that name a file and its class.

    Args:
        line: number of the row's line.
        row: its cells.
        file: column of the file's name.
        labels: columns of which the label is made.

    Returns:
        A sentence for each fault.
    """
    faults = [f"line {line}: {name} is empty" for name in (file, *labels) if not row[name]]
    found = [fault for name in labels if row[name] and (fault := label_fault(clean_label(row[name])))]
    return faults + [f"line {line}: {fault}" for fault in (*found, windows_fault(row[file])) if fault]


def read_text(file: Path, kind: str) -> str:
    """The text of a table.

    Args:
        file: UTF-8, with or without a byte order mark, or UTF-16 with one.
        kind: what it should be, for messages.

    Returns:
        The text.

    Raises:
        DataError: it is not a file, is too large, cannot be read, or is in another encoding; with the line.
    """
    wide = False
    try:
        refuse_pipes(file, kind)
        content = file.read_bytes()
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as fault:
        line = content.count(b"\n", 0, fault.start) + 1
        byte = f"byte 0x{content[fault.start]:02x} in line {line}"
        raise DataError(
            f"{printable(file)} is not a readable {kind} file: it is not {'UTF-16' if wide else 'UTF-8'} text ({byte}); save it as UTF-8"
        ) from fault
    except OSError as fault:
        raise DataError(f"{file} cannot be read ({fault.strerror})") from fault
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(
            f"{file} is not a readable {kind} file: line {line} holds a NUL character; is it UTF-16 or damaged?"
        )
    return text


def _named_twice(names: Sequence[str]) -> list[str]:
    return [f"{number} columns are named {name}" for name, number in Counter(names).items() if name and number > 1]


def _quoting(fault: csv.Error) -> str:
    text = str(fault)
    if "unexpected end of data" in text:
        return "a quote is opened in this line and never closed"
    if "expected after" in text:
        return "there is text after a closing quote; double a quote inside of a cell"
    return text


def absent_columns(layout: Layout, file: Path, header: Sequence[str], columns: Sequence[str], hint: str = "") -> None:
    """Refuse a table that lacks columns.

    Args:
        layout: the layout of the data set.
        file: the table.
        header: its columns.
        columns: columns that must be there.
        hint: what else could be done, to end the sentence with.

    Raises:
        DataError: some are not there.
    """
    absent = [name for name in columns if name not in header]
    if not absent:
        return
    if not any(header):
        raise layout.missing(file, "it is empty")
    what = f"the header ({', '.join(header)}) has no column {' and no column '.join(absent)}"
    if any(_NUMBER.fullmatch(name) or os.path.splitext(name)[1].lower() in SUFFIXES for name in header):  # noqa: PTH122
        what += "; is the first line a row already? a table needs a header"
    separator = next((name for mark, name in _SEPARATORS.items() if len(header) == 1 and mark in header[0]), None)
    if separator:
        what += f"; it is separated by {separator}: save it with commas"
    raise layout.missing(file, what + hint)


def published_rows(layout: Layout, file: Path, columns: Sequence[str]) -> list[Row]:
    """Rows of a data set's own table.

    Args:
        layout: the layout of the data set.
        file: the table.
        columns: columns that must be there.

    Returns:
        Each row with its line number.

    Raises:
        DataError: the file or a column is missing, or there are no rows.
    """
    if not file.is_file():
        raise layout.missing(file, "there is no such file")
    header, rows = read_rows(file)
    absent_columns(layout, file, header, columns)
    if not rows:
        raise layout.missing(file, "it has no rows")
    return rows


def whole_number(name: str, line: int, row: dict[str, str], faults: list[str]) -> int | None:
    """A cell that holds a number.

    Args:
        name: the name of its column.
        line: number of its row's line.
        row: its row.
        faults: what is wrong is added.

    Returns:
        The number; None if it is not a number.
    """
    text = row[name]
    if text.isdecimal() and len(text) <= DIGITS:
        return int(text)
    what = (
        f"has {len(text):,} digits; give at most {DIGITS}" if text.isdecimal() else f"is {text!r}, not a whole number"
    )
    faults.append(f"line {line}: {name} {what}")
    return None


def numbered_classes(layout: Layout, file: Path, rows: Sequence[Row], number: str, name: str) -> list[str]:
    """Class names in the order of the numbers a published table gives them.

    Args:
        layout: the layout of the data set.
        file: its table.
        rows: rows of the table.
        number: column of the numbers; they may have gaps.
        name: column of the names.

    Returns:
        The names that occur; a class index is a position in this list.

    Raises:
        DataError: a number has two names, or a name two numbers.
    """
    pairs = {(int(row[number]), clean_label(row[name])) for _, row in rows}
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
    if faults:
        raise DataError(f"{file}: {in_short(faults)}")


def in_short(faults: Sequence[str]) -> str:
    """Faults as far as anyone reads them.

    Args:
        faults: all of them, at least one.

    Returns:
        The one; or how many there are and the first ten, a line each.
    """
    if len(faults) == 1:
        return faults[0]
    more = [f"and {len(faults) - _READ} more"] if len(faults) > _READ else []
    return "\n".join([f"{len(faults)} faults", *(f"  - {fault}" for fault in [*faults[:_READ], *more])])
