"""What is asked of each recording, and the findings that answer it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from astune.inference.events import Finder, Thresholds, plain_thresholds
from astune.inference.findings import of_events, of_recording, of_windows
from astune.inference.windows import Windows
from astune.validated import checked_but_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from astune.inference.findings import Findings
    from astune.inference.inputs import Input
    from astune.inference.labeller import Labeller, Labels
    from astune.inference.prediction import Prediction
    from astune.inference.timeline import OnWindow
    from astune.inference.windows import HasLength
    from astune.names import Pool

Kind = Literal["recordings", "windows", "events"]
_THRESHOLD = 0.5  # of events


@checked_but_for("window", "hop", "threshold", "low", "min_length", "merge_gap")
@dataclass(frozen=True)
class Request:
    """Labels of whole recordings, of their windows, or events."""

    kind: Kind
    window: float | None = None
    """Seconds, of windows and events; the input's where None."""
    hop: float | None = None
    """Seconds; those of ``window`` where None."""
    top_k: int | None = None
    """Labels of a recording or window at most; see :meth:`settled` where None."""
    pool: Pool = "mean"
    """How scores are combined for recordings."""
    threshold: Thresholds | None = None
    """Below it a label is left out; see :meth:`settled` where None. Labels that mean none of the others have to be named."""
    low: Thresholds | None = None
    """Low threshold of events; this and the fields below are explained at :meth:`astune.inference.timeline.Timeline.events`."""
    min_length: float = 0.0
    merge_gap: float = 0.0

    def __post_init__(self) -> None:
        for name in ("threshold", "low"):  # records are JSON
            object.__setattr__(self, name, plain_thresholds(getattr(self, name)))

    @property
    def finder(self) -> Finder:
        """What counts as an event.

        Raises:
            ConfigError: a number that cannot be used.
        """
        threshold = _THRESHOLD if self.threshold is None else self.threshold
        return Finder(threshold, self.low, self.min_length, self.merge_gap)

    def record(self) -> dict[str, Any]:
        """Return the record that is written as JSON."""
        return asdict(self)

    def settled(self, predictor: Labels) -> Request:
        """What the user left open, filled in.

        Where labels compete, a recording or window has one label, and an event begins at 0.5. Where an adapter has thresholds of its
        labels, these decide, and all labels that reach theirs are given.

        Args:
            predictor: the predictor with the adapter.

        Returns:
            The request with ``top_k``, and with the thresholds of the adapter where they count.
        """
        own = {label: one for label, one in predictor.thresholds.items() if label not in predictor.negatives}
        decides = self.threshold is None and (self.top_k is None or self.kind == "events")
        top_k = self.top_k or (len(predictor.labels) if own else 1)
        return replace(self, top_k=top_k, threshold=own if own and decides else self.threshold)

    def threshold_note(self, predictor: Labels) -> str | None:
        """Remarks for the user about thresholds that are not theirs.

        Args:
            predictor: the predictor with the adapter.

        Returns:
            A sentence where the adapter's thresholds decide.
        """
        threshold = self.settled(predictor).threshold
        if threshold == self.threshold or not isinstance(threshold, Mapping):
            return None
        low, high = min(threshold.values()), max(threshold.values())
        return f"Note: each label has a threshold of its own in the adapter, from {low:.3g} to {high:.3g}"

    def note(self, model: HasLength) -> str | None:
        """Remarks for the user about its windows.

        Args:
            model: the model that labels them.

        Returns:
            A sentence if parts between windows are not used, or if events are timed by whole windows.

        Raises:
            ConfigError: the model cannot process such windows.
        """
        windows = Windows.of(model, self.window, self.hop)
        if self.kind == "events" and self.hop is None:
            return f"Note: events begin and end in steps of {windows.hop:.3g} s, the window; a shorter hop has finer steps and is slower"
        return windows.gap_note

    def findings(
        self, predictor: Labeller, inputs: Iterable[Input], on_window: OnWindow | None = None
    ) -> Iterator[Findings]:
        """Answer it for recordings, one after the other.

        Args:
            predictor: the predictor that labels them.
            inputs: see :meth:`Predictor.predict`.
            on_window: see :meth:`Predictor.timelines`.

        Yields:
            What was found in each; one that cannot be read says why.

        Raises:
            ConfigError: windows, thresholds or inputs that cannot be used.
        """
        asked = self.settled(predictor)
        if self.kind == "recordings":
            for prediction in asked.predictions(predictor, inputs, on_window):
                yield of_recording(prediction, predictor.seconds)
            return
        finder = asked.finder
        finder.levels(predictor.labels, predictor.negatives)
        for timeline in predictor.timelines(inputs, window=self.window, hop=self.hop, on_window=on_window):
            if self.kind == "events":
                yield of_events(timeline, finder)
            else:
                yield of_windows(timeline, asked.top_k, asked.threshold)

    def predictions(
        self, predictor: Labeller, inputs: Iterable[Input], on_window: OnWindow | None = None
    ) -> Iterator[Prediction]:
        """The labels of whole recordings, one after the other.

        Args:
            predictor: the predictor that labels them.
            inputs: see :meth:`Predictor.predict`.
            on_window: see :meth:`Predictor.timelines`.

        Yields:
            The prediction of each; of one that cannot be read it says why.

        Raises:
            ConfigError: thresholds or inputs that cannot be used.
        """
        asked = self.settled(predictor)
        yield from predictor.predictions(
            inputs, top_k=asked.top_k, pool=asked.pool, threshold=asked.threshold, on_window=on_window
        )
