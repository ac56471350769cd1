"""Turn scores of windows into events: which label sounds from when to when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from astune.errors import ConfigError, unknown_choice
from astune.validated import fits, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

Thresholds = float | Mapping[str, float]
"""One score for all labels, or one for each; labels without one are not looked for."""

_SAME = 1e-6  # seconds: moments that are less apart are one, for they are rounded to samples


@dataclass(frozen=True)
class Event:
    """A label with the time span in which it was found."""

    onset: float
    """Start in seconds from the beginning of the recording: that of the part which its first window decides."""
    offset: float
    """End in seconds from the beginning of the recording: that of the part which its last window decides."""
    label: str
    score: float
    """The highest of its windows."""

    def record(self) -> dict[str, Any]:
        """Return the record that is written as JSON."""
        return {"onset": self.onset, "offset": self.offset, "label": self.label, "score": self.score}


@dataclass(frozen=True)
class Finder:
    """What counts as an event; :meth:`astune.inference.timeline.Timeline.events` says how.

    Raises:
        ConfigError: a threshold outside of 0 to 1, a low one above its high one, an unknown label, a length below 0.
    """

    threshold: Thresholds = 0.5
    low: Thresholds | None = None
    min_length: float = 0.0
    merge_gap: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("threshold", self.threshold), ("low", self.low)):
            for one in value.values() if isinstance(value, Mapping) else (value,):
                if not (_number(one, 1.0) or (value is None and name == "low")):
                    raise ConfigError(f"{name}={one!r}: give a score from 0 to 1")
        for name, seconds in (("min_length", self.min_length), ("merge_gap", self.merge_gap)):
            if not _number(seconds, np.inf):
                raise ConfigError(f"{name}={seconds!r}: give seconds, 0 or more")
            object.__setattr__(self, name, float(seconds))
        object.__setattr__(self, "threshold", plain_thresholds(self.threshold))
        object.__setattr__(self, "low", plain_thresholds(self.low))

    def find(
        self,
        starts: NDArray[np.float64],
        ends: NDArray[np.float64],
        scores: NDArray[np.float32],
        labels: Sequence[str],
        negatives: Sequence[str] = (),
    ) -> list[Event]:
        """Find events.

        Args:
            starts: (windows,), seconds, ascending.
            ends: ends of the windows, in the same unit.
            scores: (windows, classes).
            labels: labels of the classes.
            negatives: labels that mean none of the others.

        Returns:
            The events by onset, those of one onset in the order of the labels.

        Raises:
            ConfigError: a label is unknown, or a low threshold is above the other one.
        """
        starts, ends = _parts(starts, ends)
        found = []
        for column, (high, low) in self.levels(labels, negatives).items():
            merged: list[Event] = []
            for event in _events(starts, ends, scores[:, column], labels[column], high, low):
                if merged and event.onset - merged[-1].offset <= self.merge_gap + _SAME:
                    before = merged.pop()
                    offset, score = max(before.offset, event.offset), max(before.score, event.score)
                    merged.append(Event(before.onset, offset, event.label, score))
                else:
                    merged.append(event)
            found += [event for event in merged if event.offset - event.onset >= self.min_length - _SAME]
        return sorted(found, key=lambda event: event.onset)

    def least(self, labels: Sequence[str], negatives: Sequence[str] = ()) -> dict[int, float]:
        """The threshold of each class that is looked for.

        Args:
            labels: labels of the classes.
            negatives: see :meth:`levels`.

        Returns:
            Thresholds by the number of the class.

        Raises:
            ConfigError: see :meth:`find`.
        """
        return {column: high for column, (high, _) in self.levels(labels, negatives).items()}

    def levels(self, labels: Sequence[str], negatives: Sequence[str] = ()) -> dict[int, tuple[float, float]]:
        """Both thresholds of each class that is looked for.

        Args:
            labels: labels of the classes.
            negatives: labels that mean none of the others; they are reported only if ``threshold`` names them.

        Returns:
            High and low, by the number of the class.

        Raises:
            ConfigError: see :meth:`find`.
        """
        column = {label: number for number, label in enumerate(labels)}
        for given in (self.threshold, self.low):
            for label in given if isinstance(given, Mapping) else ():
                if label not in column:
                    raise ConfigError(unknown_choice("label", label, labels))
        levels = {}
        for label, number in column.items():
            high = _of(self.threshold, label, None)
            if high is None or (label in negatives and not isinstance(self.threshold, Mapping)):
                continue
            low = _of(self.low, label, high)
            assert low is not None  # noqa: S101 - for type checkers: high is a number
            if low > high:
                raise ConfigError(f"low={low:g} of {label!r} is above its threshold of {high:g}; give at most that")
            levels[number] = high, low
        return levels


def plain_thresholds(given: Thresholds | None) -> Thresholds | None:
    """Thresholds as Python's own numbers, as JSON takes them.

    Args:
        given: numbers of any kind, possibly none.

    Returns:
        The same values as one kind of number.
    """
    numbers: Thresholds | None = (
        {label: plain(one) for label, one in given.items()} if isinstance(given, Mapping) else plain(given)
    )
    return numbers


def _of(given: Thresholds | None, label: str, otherwise: float | None) -> float | None:
    if given is None:
        return otherwise
    return given.get(label, otherwise) if isinstance(given, Mapping) else given


def _number(value: object, most: float) -> bool:
    return fits(value, float) and bool(0 <= value <= most and value < np.inf)  # type: ignore[operator] # a number by now


def _parts(starts: NDArray[np.float64], ends: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The part of the recording that each window decides: where windows overlap, the time nearest to its middle, counted once."""
    overlap = starts[1:] < ends[:-1]
    between = (starts[1:] + ends[:-1]) / 2
    return (
        np.concatenate((starts[:1], np.where(overlap, between, starts[1:]))),
        np.concatenate((np.where(overlap, between, ends[:-1]), ends[-1:])),
    )


def _events(
    starts: NDArray[np.float64],
    ends: NDArray[np.float64],
    scores: NDArray[np.float32],
    label: str,
    high: float,
    low: float,
) -> Iterator[Event]:
    """Events of one label, not merged: runs of windows that reach the low threshold, from the first of each that reaches the high one."""
    kept = np.flatnonzero(scores >= low)
    if not len(kept):
        return
    apart = (np.diff(kept) > 1) | (starts[kept[1:]] - ends[kept[:-1]] > _SAME)
    for run in np.split(kept, np.flatnonzero(apart) + 1):
        begun = np.flatnonzero(scores[run] >= high)
        if len(begun):
            run = run[begun[0] :]
            yield Event(float(starts[run[0]]), float(ends[run[-1]]), label, float(scores[run].max()))
