"""Scores of a recording window by window, and what follows from them: events, and scores of the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np
from typing_extensions import override

from astune.errors import ConfigError, NumericalError, unknown_choice
from astune.inference.events import Event, Finder, Thresholds
from astune.names import Pool
from astune.printable import printable
from astune.summary import Summarised, Summary, here, some

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import TypeAlias

    from numpy.typing import NDArray

    from astune.adapter_info import AdapterInfo
    from astune.data.audio import Facts
    from astune.errors import AstuneError
    from astune.inference.pieces import Piece
    from astune.inference.windows import Hearing, Windows

    OnWindow: TypeAlias = Callable[[str, float], object]

_ROUNDING = 1e-4  # seconds: more than lengths lose when they are rounded to samples at 16 kHz


@dataclass(frozen=True, eq=False, repr=False)
class Timeline(Summarised):
    """The scores of a recording, window by window."""

    name: str
    """Path that the user gave, or index among the inputs, such as ``inputs[2]``."""
    labels: tuple[str, ...]
    """Names of the classes."""
    task: str
    """Name of the task, such as ``single-label``."""
    window: float
    """Length of a window in seconds."""
    hop: float
    """Seconds from the start of one window to the start of the next."""
    starts: NDArray[np.float64]
    """Start of each window, (windows,), in seconds from the beginning of the recording."""
    ends: NDArray[np.float64]
    """End of each window, (windows,), in seconds; the last window ends with the recording."""
    scores: NDArray[np.float32]
    """Scores of shape (windows, classes), from 0 to 1."""
    seconds: float | None = None
    """Length of the whole recording; None if it cannot be read."""
    sampling_rate: int | None = None
    """Sampling rate of the file in Hz."""
    doubts: tuple[str, ...] = ()
    """What is suspicious about the recording, see :attr:`astune.data.audio.Facts.doubts`."""
    error: AstuneError | None = None
    """Why there are no windows."""
    negatives: tuple[str, ...] = ()
    """Labels that mean none of the others."""
    adapter: str = ""
    """Name of the adapter that labelled it."""

    @property
    def heard_seconds(self) -> float:
        """Seconds of the recording that the windows cover."""
        if not len(self.ends):
            return 0.0
        used = float(self.ends[-1]) - max(0.0, self.hop - self.window) * (len(self.ends) - 1)
        return self.seconds if self.seconds is not None and abs(self.seconds - used) < _ROUNDING else used

    @property
    def used_part(self) -> str:
        """How much of the recording was used, in words."""
        gap = (
            f", {self.hop - self.window:g} s between two of them not heard"
            if self.hop - self.window > _ROUNDING
            else ""
        )
        count = f"{len(self.starts):,} windows" if len(self.starts) != 1 else "1 window"
        return f"{self.heard_seconds:,.1f} of {self.seconds or 0.0:,.1f} s in {count} of {self.window:g} s every {self.hop:g} s{gap}"

    @override
    def _summary(self) -> Summary:
        what, classes = self.used_part if self.error is None else str(self.error), some(self.labels, "label")
        rows = (("heard", what), ("labels", classes), ("scores", self.task))
        mean = self.pool("mean") if len(self.scores) else np.empty(0)
        table = tuple(
            (
                self.labels[one],
                f"{mean[one]:.3f}",
                f"{column.max():.3f}",
                f"{self.starts[column.argmax()]:.2f}",
            )
            for one in np.argsort(-mean, kind="stable")
            for column in (self.scores[:, one],)
        )
        headings = ("label", "mean", "highest", "at second") if table else ()
        return Summary("Timeline", here(self.name), (what, classes), rows, headings, table, self.doubts)

    def events(
        self,
        threshold: Thresholds = 0.5,
        low: Thresholds | None = None,
        min_length: float = 0.0,
        merge_gap: float = 0.0,
    ) -> list[Event]:
        """Find events: labels with the time spans in which they sound.

        An event of a label begins with a window whose score reaches ``threshold`` and goes on for as long as the windows after it reach
        ``low``. It lasts from the start of its first window to the end of its last one. Where windows overlap, each decides ``hop``
        seconds around its middle, so that a sound is found to about half a window, and events of two labels do not overlap because
        their windows do. Windows with a gap between them (``hop`` above ``window``) are not the same event. Then events of one label
        that are at most ``merge_gap`` apart are merged, and after that those shorter than ``min_length`` are left out.

        Labels that mean none of the others (:attr:`negatives`) give no events, unless ``threshold`` names them.

        Args:
            threshold: a score from 0 to 1 for all labels; or ``{label: score}``, which leaves out all other labels.
            low: lower thresholds, at most ``threshold``; the same as ``threshold`` where None, and for labels that it does not name.
            min_length: shortest event in seconds; shorter ones are left out.
            merge_gap: longest gap in seconds between two events that are merged.

        Returns:
            The events by onset; the score of each is the highest of its windows.

        Raises:
            AudioError: the recording could not be read.
            ConfigError: one of the numbers, or a label, cannot be used.
        """
        finder = Finder(threshold, low, min_length, merge_gap)
        self.refuse()
        return finder.find(self.starts, self.ends, self.scores, self.labels, self.negatives)

    def pool(self, how: Pool = "mean") -> NDArray[np.float32]:
        """Scores of the whole recording.

        Args:
            how: ``mean`` of the windows' scores, each by the seconds it lasts, so that a short last window counts for little; ``max``,
                the highest of each label; or ``first``, those of the first window.

        Returns:
            (classes,); those of its only window, where there is one.

        Raises:
            AudioError: the recording could not be read.
            ConfigError: ``how`` is another word.
        """
        refuse_pool(how)
        self.refuse()
        if how == "mean":
            lengths = self.ends - self.starts
            mean: NDArray[np.float64] = (lengths / lengths.sum()) @ self.scores.astype(np.float64)
            return mean.astype(np.float32)
        chosen: NDArray[np.float32] = self.scores.max(axis=0) if how == "max" else self.scores[0]
        return chosen

    def refuse(self) -> None:
        """Raise what is wrong with the recording, if anything is.

        Raises:
            AstuneError: it has no scores.
        """
        if self.error is not None:
            raise self.error


def refuse_pool(how: object) -> None:
    """Refuse another word for how scores are pooled.

    Args:
        how: how to combine scores, one of :data:`Pool`.

    Raises:
        ConfigError: the value is invalid.
    """
    if how not in get_args(Pool):
        raise ConfigError(unknown_choice("pool", how, get_args(Pool)))


def timelines(
    computed: Iterable[tuple[Sequence[Piece], Iterable[NDArray[np.float32]]]],
    adapters: Mapping[Hearing, AdapterInfo],
    on_window: OnWindow | None = None,
) -> Iterator[Timeline]:
    """Put the pieces of recordings together.

    Args:
        computed: batches of pieces with their scores (classes,), one for each piece that could be read, in order.
        adapters: the adapters of each way of processing.
        on_window: called after each batch with the name of a recording and the number of its seconds processed.

    Yields:
        One timeline a recording.
    """
    spans: list[tuple[float, float]] = []
    rows: list[NDArray[np.float32]] = []
    for batch, scores in computed:
        left = iter(scores)
        for piece in batch:
            if piece.features is not None:
                spans.append((piece.start, piece.end))
                rows.append(next(left))
            if piece.last:
                adapter, windows = adapters[piece.hearing], piece.hearing.windows
                yield timeline_of(piece.name, adapter, windows, spans, rows, piece.facts, piece.error)
                spans, rows = [], []
        if on_window and spans:
            on_window(batch[-1].name, spans[-1][1])


def timeline_of(
    name: str,
    adapter: AdapterInfo,
    windows: Windows,
    spans: Sequence[tuple[float, float]],
    rows: Sequence[NDArray[np.float32]],
    facts: Facts | None = None,
    error: AstuneError | None = None,
) -> Timeline:
    """Put the windows of a recording together.

    Args:
        name: the name of the recording.
        adapter: name of the adapter that labelled it.
        windows: windows into which the recording is cut.
        spans: start and end of each window in seconds.
        rows: (classes,) of each window.
        facts: what is known of the recording; None where it cannot be read.
        error: why it cannot be read.

    Returns:
        The timeline; with an error and no windows where it cannot be read, or where scores are NaN or infinite.
    """
    scores = np.stack(rows) if rows and error is None else np.empty((0, len(adapter.labels)), np.float32)
    if not np.isfinite(scores).all():
        error = NumericalError(
            f"{printable(name)}: its scores are not numbers; check whether the adapter {adapter.name!r} or its backbone is damaged"
        )
    starts, ends = np.array(spans if error is None else [], np.float64).reshape(-1, 2).T
    return Timeline(
        name, adapter.labels, adapter.task, windows.window, windows.hop, starts, ends, scores[: len(starts)],
        facts.seconds if facts else None, facts.sampling_rate if facts else None, facts.doubts if facts else (), error,
        adapter.negatives, adapter.name,
    )  # fmt: skip
