"""The labelled regions of one recording, cut into windows that each have one label.

A sample: a window that hears 1.2 s of a robin and 0.1 s of a wren's 3 s is a robin's; one that hears 1.2 s of both is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from astune.data.windowing import Coverage, gaps, tiles, united, windows_over

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from astune.data.windowing import Measure, Span

_MIXED, _SPOILT = -1, -2


class Part(NamedTuple):
    """A labelled region, in milliseconds."""

    start: int
    end: int
    label: str


@dataclass(frozen=True)
class Windows:
    """Of one recording."""

    labelled: list[tuple[Span, str]]
    """In ascending order."""
    background: list[Span]
    mixed: list[Span]
    """Left out, because they hear several labels."""
    spoilt: list[Span]
    """Left out, because their label says that none of the others is heard, and a little of another one is."""
    lost: int
    """Milliseconds of regions that are in no window."""
    unused: int
    """Milliseconds without a label that are in no window of the background."""


def cut_recording(
    parts: Sequence[Part], length: int, measure: Measure, negatives: Collection[str], *, background: bool
) -> Windows:
    """Cut the regions of a recording into windows.

    Args:
        parts: the regions; :func:`overlaps` finds nothing among them.
        length: of the recording, in milliseconds.
        measure: of the windows.
        negatives: labels that say that none of the others is heard.
        background: whether stretches that no region touches become windows too.

    Returns:
        The windows.
    """
    spans = sorted({span for part in parts for span in windows_over(part.start, part.end, length, measure)})
    names, chosen = _labels(parts, spans, measure, negatives)
    labelled = [(span, names[number]) for span, number in zip(spans, chosen, strict=True) if number >= 0]
    regions = united((part.start, part.end) for part in parts)
    free: list[Span] = []
    rest = 0
    if background:
        stretches = gaps(regions, length)
        whole = not parts and length <= measure.window
        free = [(0, length)] if whole else [span for stretch in stretches for span in tiles(*stretch, measure)]
        rest = _total(stretches) - _total(united(free))
    return Windows(
        labelled,
        free,
        [span for span, number in zip(spans, chosen, strict=True) if number == _MIXED],
        [span for span, number in zip(spans, chosen, strict=True) if number == _SPOILT],
        _outside(regions, united(span for span, _ in labelled)),
        rest,
    )


def overlaps(parts: Sequence[Part], measure: Measure, negatives: Collection[str]) -> list[tuple[int, int]]:
    """Regions of different labels that overlap so far that every window of the one has the other's label too.

    Args:
        parts: regions of one recording.
        measure: of the windows.
        negatives: labels that say that none of the others is heard; they give way to the others.

    Returns:
        Pairs of places among the regions; each pair once.
    """
    if not _any_overlap(parts):
        return []
    coverages, claims, _ = _heard(parts, [(part.start, part.end) for part in parts], measure)
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
) -> tuple[list[str], list[int]]:
    """The labels that occur, and the number of the one that each window has. Where a clip may have several labels, this is to change."""
    if not parts:
        return [], []
    coverages, claims, touched = _heard(parts, spans, measure)
    names = list(coverages)
    positive = _positive(names, negatives)
    others = claims[positive].sum(axis=0)
    # A window of a negative label that claims another one is that other one's.
    chosen = np.where(others > 0, (claims & positive[:, None]).argmax(axis=0), claims.argmax(axis=0))
    chosen = np.where((others == 0) & touched[positive].any(axis=0), _SPOILT, chosen)
    chosen = np.where(_several(claims, positive), _MIXED, chosen)
    return names, chosen.tolist()


def _several(claims: NDArray[np.bool_], positive: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which windows claim several labels: of those that are not negative, or where they claim none of these, of the negative ones."""
    others, negative = claims[positive].sum(axis=0), claims[~positive].sum(axis=0)
    found: NDArray[np.bool_] = (others > 1) | ((others == 0) & (negative > 1))
    return found


def _positive(names: Sequence[str], negatives: Collection[str]) -> NDArray[np.bool_]:
    return np.array([name not in negatives for name in names], bool)


def _heard(
    parts: Sequence[Part], spans: Sequence[Span], measure: Measure
) -> tuple[dict[str, Coverage], NDArray[np.bool_], NDArray[np.bool_]]:
    """By label where it sounds, then (labels, spans): whether a span hears enough of a label to have it, and whether anything."""
    by_label: dict[str, list[Span]] = {}
    for part in parts:
        by_label.setdefault(part.label, []).append((part.start, part.end))
    coverages = {label: Coverage(some) for label, some in by_label.items()}
    starts, ends = np.array(spans, np.int64).reshape(-1, 2).T
    shape = (len(coverages), len(spans))
    claims, touched = np.zeros(shape, bool), np.zeros(shape, bool)
    for row, coverage in enumerate(coverages.values()):
        claims[row], touched[row] = coverage.heard(starts, ends, measure.min_overlap)
    return coverages, claims, touched


def _total(stretches: Sequence[Span]) -> int:
    return sum(end - start for start, end in stretches)


def _outside(regions: list[Span], windows: list[Span]) -> int:
    """Milliseconds of regions that no window hears; both are united."""
    if not windows or not regions:
        return _total(regions)
    starts, ends = np.array(regions, np.int64).T
    return _total(regions) - int(Coverage(windows).within(starts, ends).sum())
