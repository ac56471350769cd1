"""Cells that hold several labels, and columns of 0 and 1, one for each label.

A sample: ``dog;rain`` is two labels, and so are ``dog|rain``, ``dog,rain``, ``["dog", "rain"]`` and ``['dog' 'rain']``. Under the columns
``dog`` and ``rain``, the cells ``1`` and ``0`` are the label ``dog``.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from astune.json_text import json_value
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from astune.names import TaskName

SEPARATORS = ";|,"
"""Between labels in one cell; the first of them that a column has separates all of its cells."""
SURE_SEPARATORS = ";|"
"""Those that a label hardly holds."""

_QUOTED = r"(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
_QUOTED_LIST = re.compile(
    rf"\[\s*{_QUOTED}(?:\s*,\s*{_QUOTED}|\s+{_QUOTED})*\s*,?\s*\]"
)  # as Python and NumPy show one
_BARE_LIST = re.compile(r"\[[^\[\]'\"]*,[^\[\]'\"]*\]")
_ONE, _ZERO = frozenset(("1", "1.0", "true")), frozenset(("0", "0.0", "false"))
_NO_LABEL = re.compile(
    r"(id|index|idx|row|target|y|verified|manuallyverified|duration|length|seconds|channels?|quality|rating|take|version|year|"
    r"samplerate|sr)"
)  # of columns that may hold 0 and 1 and are of something else
_ASKS = re.compile(r"(is|has|was)([_ -]|(?-i:[A-Z]))", re.IGNORECASE)  # of columns that answer a question: is_male


def split_list(cell: str) -> tuple[str, ...] | None:
    """The items of a cell that is a list, as JSON, Python or NumPy write one.

    Args:
        cell: the cell of a table, without outer spaces.

    Returns:
        Its items; None if it is not a list of texts and whole numbers.
    """
    if not (cell.startswith("[") and cell.endswith("]")):
        return None
    try:
        items = json_value(cell, strict=False)
    except ValueError:
        items = None
    if isinstance(items, list):
        plain = all(isinstance(item, str | int) and not isinstance(item, bool) for item in items)
        return tuple(map(str, items)) if plain else None
    if _QUOTED_LIST.fullmatch(cell):
        return tuple(map(_unquoted, re.findall(_QUOTED, cell)))
    return tuple(one.strip() for one in cell[1:-1].split(",")) if _BARE_LIST.fullmatch(cell) else None


def _unquoted(item: str) -> str:
    try:
        return str(ast.literal_eval(item))
    except (ValueError, SyntaxError):  # of a backslash that Python does not know
        return item[1:-1]


def parts_of(cell: str, separator: str) -> tuple[str, ...]:
    """The text between separators.

    Args:
        cell: the cell of a table.
        separator: a single character.

    Returns:
        The parts without outer spaces, each once; empty ones are left out.
    """
    return tuple(dict.fromkeys(part for one in cell.split(separator) if (part := one.strip())))


def shared_parts(cells: Iterable[str], separator: str) -> list[str]:
    """Cells that are surely several labels, because a part of them is in another cell too.

    Args:
        cells: cells that differ.
        separator: between parts.

    Returns:
        Those cells, in order.
    """
    parts = {cell: parts_of(cell, separator) for cell in cells}
    counts = Counter(part for found in parts.values() for part in found)
    return [cell for cell, found in parts.items() if len(found) > 1 and any(counts[part] > 1 for part in found)]


@dataclass(frozen=True)
class LabelCells:
    """How the label cells of a data set are read."""

    several: bool
    """Whether a clip may have any number of labels."""
    separator: str | None = None
    """Between labels; None where a cell is one label."""
    lists: bool = False
    """Whether some cells are lists."""
    remark: str | None = None
    """The decision in words, for the user; None where nothing had to be decided."""

    def labels(self, cell: str) -> tuple[str, ...]:
        """The labels of a cell.

        Args:
            cell: the cell of a table.

        Returns:
            Each label once; none for an empty cell. A cell that is one label keeps its outer spaces, so that cleaning them is announced.
        """
        items = split_list(cell.strip()) if self.lists else None
        if items is not None:
            return tuple(dict.fromkeys(item for item in items if item.strip()))
        if self.separator is not None:
            return parts_of(cell, self.separator)
        return (cell,) if cell.strip() else ()

    def fault(self, cell: str) -> str | None:
        """What is wrong with a cell that begins like a list where other cells are lists.

        Args:
            cell: the cell of a table.

        Returns:
            A sentence without its subject; None where the cell can be read.
        """
        text = cell.strip()
        if not self.lists or not text.startswith(("[", "{")) or split_list(text) is not None:
            return None
        return f'is {printable(text)!r}, and no list of labels as other cells are; write ["dog", "rain"]'


ONE_EACH = LabelCells(several=False)
"""A cell is one label."""


def how_read(
    cells: Collection[str],
    task: TaskName | None,
    *,
    shown: str = "",
    plural: bool = False,
    separators: str = SEPARATORS,
) -> LabelCells:
    """Decide how label cells are read.

    Args:
        cells: all that the data set has.
        task: the task that the user gave.
        shown: what the cells are, for the remark: ``column labels``; nothing is remarked where it is empty.
        plural: whether the column's name says that it holds several labels, as ``labels`` and ``tags`` do.
        separators: separators that may be between labels.

    Returns:
        Without a task, several labels where a cell is a list; or where the name says so and a cell has a semicolon or a vertical bar, or
        commas between parts that other cells have too. A task that is given is obeyed.
    """
    texts = {cell.strip() for cell in cells} - {""}
    plain = sorted(text for text in texts if split_list(text) is None)
    lists = len(plain) < len(texts)
    if task == "single-label":
        return LabelCells(several=False, lists=lists)
    found = next((mark for mark in separators if any(mark in text for text in plain)), None)
    sure = found is not None and (found in SURE_SEPARATORS or bool(shared_parts(plain, found)))
    if task is None and not lists and not (plural and sure):
        kept = plural and found is not None and shown
        remark = f"commas in {shown} are parts of labels (task=multi-label separates labels at them)"
        return LabelCells(several=False, remark=remark if kept else None)
    separator = found if task is not None or sure else None
    return LabelCells(True, separator, lists, _remark(shown, separator, lists=lists) if shown else None)


def _remark(shown: str, separator: str | None, *, lists: bool) -> str | None:
    ways = [*(["as lists"] if lists else []), *([f"separated by {separator!r}"] if separator else [])]
    return f"{shown} is read as several labels, {' or '.join(ways)}" if ways else None


@dataclass(frozen=True)
class IndicatorColumns:
    """Columns that may each be of one label."""

    names: tuple[str, ...]
    """Those that hold 0 and 1 alone."""
    others: tuple[str, ...]
    """Those that hold something else, or whose names say that they are of something else."""

    @property
    def certain(self) -> bool:
        """Whether they can be used without being asked for: there are two or more, and nothing else."""
        return len(self.names) > 1 and not self.others


def indicator_columns(
    columns: Sequence[str], rows: Sequence[dict[str, str]], is_other: Collection[str]
) -> IndicatorColumns:
    """Find columns of 0 and 1, or of true and false.

    Args:
        columns: columns that have no other use; those without a name and the index of pandas do not count.
        rows: rows of the table.
        is_other: columns whose names have another meaning.

    Returns:
        The columns.
    """
    named = [name for name in columns if name and not name.startswith("Unnamed:")]
    names: list[str] = []
    others: list[str] = []
    for name in named:
        values = {row[name].strip().casefold() for row in rows} - {""}
        plain = re.sub(r"[^a-z]+", "", name.casefold())
        other = name in is_other or bool(_NO_LABEL.fullmatch(plain) or _ASKS.match(name))
        (names if values and values <= _ONE | _ZERO and not other else others).append(name)
    return IndicatorColumns(tuple(names), tuple(others))


def labels_of_indicators(line: int, row: dict[str, str], columns: Sequence[str], faults: list[str]) -> tuple[str, ...]:
    """The labels of a row under columns of 0 and 1.

    Args:
        line: number of the row's line.
        row: its cells.
        columns: one column for each label.
        faults: what is wrong is added.

    Returns:
        Names of the columns that say 1 or true.
    """
    found = []
    for name in columns:
        value = row[name].strip().casefold()
        if value in _ONE:
            found.append(name)
        elif value not in _ZERO:
            faults.append(f"line {line}: {name} is {row[name].strip()!r}, neither 0 nor 1")
    return tuple(found)
