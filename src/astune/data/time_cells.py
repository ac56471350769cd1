"""Cells of label tables that say seconds: read strictly, with a decimal point or, where no number has one, a decimal comma.

A sample: ``1,5`` in a table separated by semicolons is 1.5 seconds, which is announced; ``1:30`` is refused.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from astune.data.part import LATEST
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

_POINT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_CLOCK = re.compile(r"\d+:\d+(:\d+)?([.,]\d+)?", re.ASCII)


class Seconds:
    """Reads the times of one table and remembers how they are written."""

    def __init__(self) -> None:
        self._point: tuple[int, str] | None = None
        self._comma: tuple[int, str] | None = None

    def span(
        self, line: int, cells: tuple[str, str], scales: tuple[float, float], *, lasts: bool, faults: list[str]
    ) -> tuple[float, float] | None:
        """Start and end of a clip.

        Args:
            line: number of the row's line.
            cells: start, and end or length.
            scales: seconds of their units.
            lasts: whether the second cell is the length.
            faults: what is wrong is added.

        Returns:
            Both in seconds; None where they cannot be used.
        """
        names = ("start", "duration" if lasts else "end")
        values = [self.read(line, *one, faults) for one in zip(names, cells, scales, strict=True)]
        start, end = values
        if start is None or end is None:
            return None
        if lasts:
            end += start
        return (start, end) if has_length(line, start, end, cells, faults, lasts=lasts) else None

    def read(self, line: int, name: str, text: str, scale: float, faults: list[str]) -> float | None:
        """One time.

        Args:
            line: number of the row's line.
            name: what it is.
            text: the cell.
            scale: seconds of its unit.
            faults: what is wrong is added.

        Returns:
            Seconds; None if it is not a number of seconds from 0 on.
        """
        text = text.strip()
        if _COMMA.fullmatch(text):
            self._comma = self._comma or (line, text)
            text = text.replace(",", ".")
        elif "." in text:
            self._point = self._point or (line, text)
        value = float(text) * scale if _POINT.fullmatch(text) else math.nan
        if 0 <= value < LATEST:
            return value
        shown = printable(text)
        if not text:
            faults.append(f"line {line}: {name} is empty")
        elif value < 0:
            faults.append(f"line {line}: {name} is {shown}, and a recording begins at 0")
        elif LATEST <= value < math.inf:
            faults.append(f"line {line}: {name} is {value:g} seconds; no recording lasts {LATEST:,.0f}")
        elif _CLOCK.fullmatch(text):
            faults.append(f"line {line}: {name} is {shown!r}; write it in seconds")
        else:
            faults.append(f"line {line}: {name} is {shown!r}, not a number of seconds")
        return None

    def finish(self, table: str, faults: list[str], remarks: list[str]) -> None:
        """What to say of decimal commas when all cells are read.

        Args:
            table: its name.
            faults: commas next to points are added.
            remarks: commas alone are added.
        """
        if not self._comma:
            return
        line, text = self._comma
        if self._point:
            other, number = self._point
            faults.append(
                f"line {line}: {text} has a comma, and {number} in line {other} a point; write all decimals in one way"
            )
        else:
            remarks.append(
                f"Note: {printable(table)} has decimal commas: {text} (line {line}) is read as {text.replace(',', '.')}"
            )


def has_length(
    line: int, start: float, end: float, cells: Sequence[str], faults: list[str], *, lasts: bool = False
) -> bool:
    """Whether a part has a length.

    Args:
        line: number of the row's line.
        start: start in seconds.
        end: end in seconds.
        cells: both, as they are written.
        faults: what is wrong is added.
        lasts: whether the second cell is the length.
    """
    if end > start:
        return True
    first, last = (printable(cell.strip()) for cell in cells)
    if lasts or end == start:
        faults.append(f"line {line}: it has no duration ({'duration' if lasts else 'start and end are'} {last})")
    else:
        faults.append(f"line {line}: end {last} is before start {first}; is it the other way round?")
    return False
