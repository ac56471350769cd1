"""What is said of one recording, in rows: labels from when to when; of the whole recording, of its windows, or of events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from astune.errors import ConfigError, unknown_choice

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from astune.errors import AstuneError
    from astune.inference.events import Finder, Thresholds
    from astune.inference.prediction import Prediction
    from astune.inference.timeline import Timeline


class Row(NamedTuple):
    """A label, from when to when."""

    start: float
    """Seconds from the beginning of the recording."""
    end: float
    label: str
    score: float


@dataclass(frozen=True)
class Findings:
    """The rows of one recording, and how much of it was used."""

    name: str
    """Name of the recording, as the user gave it."""
    rows: tuple[Row, ...]
    seconds: float | None
    """Length of the recording; None if it cannot be read."""
    heard_seconds: float
    windows: int
    """Number of windows that were classified."""
    window: float
    """Seconds of each."""
    hop: float
    """Seconds from one to the next."""
    pool: str | None = None
    """How window scores were combined into a row; None if a row is a window or an event."""
    sampling_rate: int | None = None
    """Hz, as the file has it."""
    doubts: tuple[str, ...] = ()
    """What is suspicious about the recording."""
    error: AstuneError | None = None
    """Why there are no rows."""

    @property
    def used_columns(self) -> dict[str, Any]:
        """How much of the recording was used, by column name."""
        return {
            "seconds": round(self.seconds or 0.0, 3),
            "heard_seconds": round(self.heard_seconds, 3),
            "windows": self.windows,
            "window": round(self.window, 6),
            "hop": round(self.hop, 6),
            "pool": self.pool,
        }


def of_recording(prediction: Prediction, window: float) -> Findings:
    """The labels of a whole recording.

    Args:
        prediction: the prediction that has them.
        window: length in seconds of a window.

    Returns:
        A row a label.
    """
    used_seconds = prediction.heard_seconds or 0.0
    rows = tuple(Row(0.0, used_seconds, entry["label"], entry["score"]) for entry in prediction.labels)
    return Findings(
        prediction.name, rows, prediction.seconds, used_seconds, prediction.windows, window, window, prediction.pool,
        prediction.sampling_rate, prediction.doubts, prediction.error,
    )  # fmt: skip


def of_windows(timeline: Timeline, top_k: int | None, threshold: Thresholds | None = None) -> Findings:
    """The labels of each window.

    Args:
        timeline: the timeline of the recording.
        top_k: labels of each window at most, the likeliest first; all where None.
        threshold: see :meth:`astune.inference.timeline.Timeline.events`; labels below are left out, and so are those that mean none
            of the others unless it names them.

    Returns:
        Rows window by window.
    """
    least = np.array([_least(threshold, label) for label in timeline.labels], np.float32)
    passed_over = set() if threshold is None else set(timeline.negatives).difference(_named(threshold))
    ranked = np.array([label not in passed_over for label in timeline.labels])

    def rows() -> Iterator[Row]:
        for start, end, scores in zip(timeline.starts, timeline.ends, timeline.scores, strict=True):
            order = np.argsort(-scores, kind="stable")
            for column in order[ranked[order]][:top_k]:
                if scores[column] >= least[column]:
                    yield Row(float(start), float(end), timeline.labels[column], float(scores[column]))

    return _of(timeline, rows())


def of_events(timeline: Timeline, finder: Finder) -> Findings:
    """The events of a recording.

    Args:
        timeline: the timeline of the recording.
        finder: what counts as an event.

    Returns:
        A row an event.
    """
    found = finder.find(timeline.starts, timeline.ends, timeline.scores, timeline.labels, timeline.negatives)
    return _of(timeline, (Row(event.onset, event.offset, event.label, event.score) for event in found))


def thresholds_of(texts: Sequence[str], labels: Sequence[str], negatives: Sequence[str] = ()) -> Thresholds | None:
    """Thresholds as they are typed: ``0.5`` for all labels but the negative ones, ``robin=0.8`` for one.

    Args:
        texts: any number of them; the last one counts.
        labels: labels of the adapter.
        negatives: labels that mean none of the others; they are reported only if they are named.

    Returns:
        One score, or one for each label that is looked for; None where there are no texts.

    Raises:
        ConfigError: one of them is neither, or names no label.
    """
    general: float | None = None
    single: dict[str, float] = {}
    for text in texts:
        label, named, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            raise ConfigError(f"threshold {text!r}: give a score such as 0.5, or LABEL=SCORE") from None
        if not 0 <= value <= 1:
            raise ConfigError(f"threshold {text!r}: give a score from 0 to 1")
        if not named:
            general = value
        elif label in labels:
            single[label] = value
        else:
            raise ConfigError(unknown_choice("label", label, labels))
    if not single:
        return general
    others = () if general is None else [label for label in labels if label not in negatives]
    return {label: general for label in others if general is not None} | single


def _named(threshold: Thresholds) -> set[str]:
    return set(threshold) if isinstance(threshold, Mapping) else set()


def _least(threshold: Thresholds | None, label: str) -> float:
    if threshold is None:
        return 0.0
    return float(threshold.get(label, np.inf) if isinstance(threshold, Mapping) else threshold)


def _of(timeline: Timeline, rows: Iterable[Row]) -> Findings:
    return Findings(
        timeline.name, tuple(rows), timeline.seconds, timeline.heard_seconds, len(timeline.starts), timeline.window,
        timeline.hop, None, timeline.sampling_rate, timeline.doubts, timeline.error,
    )  # fmt: skip
