"""Windows over labelled regions of one recording, and the labels that each window gets.

All times are whole milliseconds: regions are rounded outwards and windows are on the grid, so that "touches" and "holds" are exact.

A sample: with windows of 2,000 every 2,000, a region from 1,000 to 6,500 gives 1,000-3,000, 3,000-5,000 and 4,500-6,500.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Moments = NDArray[np.int64]

Span = tuple[int, int]
STEP = 10  # ms from one column of the features to the next: what is shorter makes no difference to the model


@dataclass(frozen=True)
class Measure:
    """How windows are cut, in milliseconds."""

    window: int
    hop: int
    min_overlap: int
    """Least milliseconds of a label in a window that has it; a shorter region must be in the window whole. At most ``window``."""


def windows_over(start: int, end: int, length: int, measure: Measure) -> list[Span]:
    """Windows that cover a region.

    A region that is not longer than the window is in the middle of one, as far as the recording allows. A longer one has windows within it,
    and the last of them ends with it.

    Args:
        start: the start of the region.
        end: end of the stretch.
        length: the length of its recording.
        measure: the measure of the windows.

    Returns:
        One window or more; the whole recording where it is shorter than a window.
    """
    window = measure.window
    if length <= window:
        return [(0, length)]
    if end - start <= window + STEP:
        first = min(max((start + end - window) // 2, 0), length - window)
        return [(first, first + window)]
    spans = [(first, first + window) for first in range(start, end - window + 1, measure.hop)]
    if end - spans[-1][1] > STEP:
        spans.append((end - window, end))
    return spans


def tile(start: int, end: int, measure: Measure) -> list[Span]:
    """Windows within a stretch, as many as have room.

    Args:
        start: the start of the stretch.
        end: end of the stretch.
        measure: the measure of the windows.

    Returns:
        The windows.
    """
    return [(first, first + measure.window) for first in range(start, end - measure.window + 1, measure.hop)]


def merge_spans(spans: Iterable[Span]) -> list[Span]:
    """The stretches that spans cover.

    Args:
        spans: spans in any order.

    Returns:
        Ascending stretches that do not touch.
    """
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def find_gaps(stretches: list[Span], length: int) -> list[Span]:
    """What stretches leave of a recording.

    Args:
        stretches: the result of :func:`merge_spans`, within the recording.
        length: length of the recording.

    Returns:
        The stretches between them, before the first and after the last.
    """
    starts = [0, *(end for _, end in stretches)]
    ends = [*(start for start, _ in stretches), length]
    return [(start, end) for start, end in zip(starts, ends, strict=True) if start < end]


class Coverage:
    """Where spans cover a recording.

    Args:
        spans: any, at least one.
    """

    def __init__(self, spans: Iterable[Span]) -> None:
        ordered = np.array(sorted(spans), np.int64).reshape(-1, 2)
        self._starts, self._ends = ordered.T
        # Of all spans that start from here on, the first end: so one look tells whether one of them is within a window.
        self._first_end = np.minimum.accumulate(self._ends[::-1])[::-1]
        self._latest = np.maximum.accumulate(self._ends)
        self._from, to = np.array(merge_spans((start, end) for start, end in ordered.tolist()), np.int64).T
        self._lengths = to - self._from
        self._before = np.concatenate([[0], np.cumsum(self._lengths)[:-1]])

    def within(self, starts: Moments, ends: Moments) -> Moments:
        """How much of windows is covered.

        Args:
            starts: (windows,).
            ends: (windows,).

        Returns:
            (windows,), milliseconds.
        """
        return self._until(ends) - self._until(starts)

    def _until(self, moments: Moments) -> Moments:
        """Covered milliseconds before each moment."""
        number = self._from.searchsorted(moments, side="right") - 1
        some = np.maximum(number, 0)
        covered = self._before[some] + np.minimum(moments - self._from[some], self._lengths[some])
        return np.where(number < 0, 0, covered)

    def overlapping(
        self, starts: Moments, ends: Moments, min_overlap: int
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which windows have enough of the spans, ``min_overlap`` or a whole span, and which have any of them.

        Args:
            starts: (windows,).
            ends: (windows,).
            min_overlap: milliseconds.

        Returns:
            (windows,) each.
        """
        covered = self.within(starts, ends)
        after = self._starts.searchsorted(starts)
        some = np.minimum(after, len(self._starts) - 1)
        whole = (after < len(self._starts)) & (self._first_end[some] <= ends)
        return whole | (covered >= min_overlap), covered > 0

    def last_before(self, end: int) -> int:
        """The span that reaches furthest of those that start before a moment: if any of them overlaps a span that ends there, it does.

        Args:
            end: the moment, after the start of the first span.

        Returns:
            Its index among the spans in ascending order.
        """
        before = int(self._starts.searchsorted(end))
        return int(self._latest[:before].searchsorted(self._latest[before - 1]))
