"""The labelled regions of one recording, cut into windows that each have one label, or all labels that sound long enough in them.

A sample: a window that hears 1.2 s of a robin and 0.1 s of a wren's 3 s is a robin's; one that hears 1.2 s of both is of both where a clip
may have several labels, and else left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from astune.data.windowing import Coverage, find_gaps, merge_spans, tile, windows_over

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from astune.data.windowing import Measure, Span


class Part(NamedTuple):
    """A labelled region, in milliseconds."""

    start: int
    end: int
    label: str


@dataclass(frozen=True)
class Windows:
    """The windows of one recording, by what they hold."""

    labelled: list[tuple[Span, tuple[str, ...]]]
    """Windows that have labels, in ascending order."""
    background: list[Span]
    mixed: list[Span]
    """Windows left out, because several labels sound in them and a clip has one."""
    spoilt: list[Span]
    """Windows left out, because their label means that no other sounds, and a little of another one does."""
    lost: int
    """Milliseconds of regions that are in no window."""
    unused: int
    """Milliseconds without a label that are in no window of the background."""


def cut_recording(
    parts: Sequence[Part],
    length: int,
    measure: Measure,
    negatives: Collection[str],
    *,
    background: bool,
    several: bool = False,
) -> Windows:
    """Cut the regions of a recording into windows.

    Args:
        parts: the regions; :func:`overlaps` finds nothing among them, unless a clip may have several labels.
        length: the length of the recording, in milliseconds.
        measure: the measure of the windows.
        negatives: labels that mean that none of the others sounds.
        background: whether stretches that no region touches become windows too.
        several: whether a window may have several labels.

    Returns:
        The windows.
    """
    spans = sorted({span for part in parts for span in windows_over(part.start, part.end, length, measure)})
    labels, mixed, spoilt = _labels(parts, spans, measure, negatives)
    mixed = mixed & (not several)
    spoilt = spoilt & ~mixed
    labelled = [(spans[number], labels[number]) for number in np.flatnonzero(~mixed & ~spoilt).tolist()]
    regions = merge_spans((part.start, part.end) for part in parts)
    free: list[Span] = []
    rest = 0
    if background:
        stretches = find_gaps(regions, length)
        whole = not parts and length <= measure.window
        free = [(0, length)] if whole else [span for stretch in stretches for span in tile(*stretch, measure)]
        rest = _total(stretches) - _total(merge_spans(free))
    return Windows(
        labelled,
        free,
        [spans[number] for number in np.flatnonzero(mixed).tolist()],
        [spans[number] for number in np.flatnonzero(spoilt).tolist()],
        _outside(regions, merge_spans(span for span, _ in labelled)),
        rest,
    )


def overlaps(parts: Sequence[Part], measure: Measure, negatives: Collection[str]) -> list[tuple[int, int]]:
    """Regions of different labels that overlap so far that every window of the one has the other's label too.

    Args:
        parts: regions of one recording.
        measure: the measure of the windows.
        negatives: labels that mean that none of the others sounds; they give way to the others.

    Returns:
        Pairs of indices among the regions; each pair once.
    """
    if not _any_overlap(parts):
        return []
    coverages, claims, _ = _overlaps(parts, [(part.start, part.end) for part in parts], measure)
    names = list(coverages)
    positive = _positive(names, negatives)
    several = _several(claims, positive)
    members = {
        name: sorted((part, number) for number, part in enumerate(parts) if part.label == name) for name in names
    }
    pairs: dict[tuple[int, int], None] = {}
    for number in np.flatnonzero(several).tolist():
        part = parts[number]
        for row in np.flatnonzero(claims[:, number]).tolist():
            other = names[row]
            if other != part.label and positive[row] == positive[names.index(part.label)]:
                _, met = members[other][coverages[other].last_before(part.end)]
                pairs[min(number, met), max(number, met)] = None
    return sorted(pairs)


def _any_overlap(parts: Sequence[Part]) -> bool:
    latest = -1
    for start, end, _ in sorted(parts):
        if start < latest:
            return True
        latest = max(latest, end)
    return False


def _labels(
    parts: Sequence[Part], spans: Sequence[Span], measure: Measure, negatives: Collection[str]
) -> tuple[list[tuple[str, ...]], NDArray[np.bool_], NDArray[np.bool_]]:
    """The labels that each window has; which windows have several; and which have a negative label and a little of another one."""
    if not parts:
        return [], np.zeros(0, bool), np.zeros(0, bool)
    coverages, claims, touched = _overlaps(parts, spans, measure)
    names = list(coverages)
    positive = _positive(names, negatives)
    without = ~claims[positive].any(axis=0)
    had = claims & (
        positive[:, None] | without
    )  # a window of a negative label that claims another one is that other one's
    labels: list[list[str]] = [[] for _ in spans]
    for window, row in zip(*(indices.tolist() for indices in np.nonzero(had.T)), strict=True):
        labels[window].append(names[row])
    spoilt = np.logical_and(without, touched[positive].any(axis=0))
    return list(map(tuple, labels)), _several(claims, positive), np.asarray(spoilt)


def _several(claims: NDArray[np.bool_], positive: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which windows claim several labels: of those that are not negative, or where they claim none of these, of the negative ones."""
    others, negative = claims[positive].sum(axis=0), claims[~positive].sum(axis=0)
    found: NDArray[np.bool_] = (others > 1) | ((others == 0) & (negative > 1))
    return found


def _positive(names: Sequence[str], negatives: Collection[str]) -> NDArray[np.bool_]:
    return np.array([name not in negatives for name in names], bool)


def _overlaps(
    parts: Sequence[Part], spans: Sequence[Span], measure: Measure
) -> tuple[dict[str, Coverage], NDArray[np.bool_], NDArray[np.bool_]]:
    """By label the spans where it sounds, then (labels, spans): whether a span has enough of a label, and whether it has any."""
    by_label: dict[str, list[Span]] = {}
    for part in parts:
        by_label.setdefault(part.label, []).append((part.start, part.end))
    coverages = {label: Coverage(some) for label, some in by_label.items()}
    starts, ends = np.array(spans, np.int64).reshape(-1, 2).T
    shape = (len(coverages), len(spans))
    claims, touched = np.zeros(shape, bool), np.zeros(shape, bool)
    for row, coverage in enumerate(coverages.values()):
        claims[row], touched[row] = coverage.overlapping(starts, ends, measure.min_overlap)
    return coverages, claims, touched


def _total(stretches: Sequence[Span]) -> int:
    return sum(end - start for start, end in stretches)


def _outside(regions: list[Span], windows: list[Span]) -> int:
    """Milliseconds of regions that are in no window; both are united."""
    if not windows or not regions:
        return _total(regions)
    starts, ends = np.array(regions, np.int64).T
    return _total(regions) - int(Coverage(windows).within(starts, ends).sum())
