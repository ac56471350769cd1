"""The labels of one recording, computed from its timeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict

import numpy as np
from typing_extensions import override

from astune.data.audio_notices import TOLERANCE, audio_notices, warn_of
from astune.errors import ConfigError, unknown_choice
from astune.inference.events import Finder, Thresholds
from astune.plurals import number_of
from astune.summary import Summarised, Summary, here, score_rows
from astune.validated import fits

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from astune.adapter_info import AdapterInfo
    from astune.errors import AstuneError
    from astune.inference.timeline import Timeline
    from astune.names import Pool

AdapterThresholds = Thresholds | Mapping[str, Thresholds]
"""One :data:`Thresholds` for all adapters, or one for each adapter by name."""

_NAMED = 3  # labels in a line


class LabelScore(TypedDict):
    """One label of a recording, as transformers' pipeline gives it."""

    label: str
    score: float


@dataclass(frozen=True, repr=False)
class Prediction(Summarised):
    """The labels of one recording, and how they were found."""

    name: str
    """Path that the user gave, or index among the inputs, such as ``inputs[2]``."""
    labels: tuple[LabelScore, ...] = ()
    """Labels, the highest score first; empty if there is an error."""
    seconds: float | None = None
    """Length of the whole recording; None if it cannot be read."""
    heard_seconds: float | None = None
    """Seconds of the recording that the labels describe."""
    windows: int = 0
    """Number of windows classified; if there are several, ``pool`` says how their scores were combined."""
    pool: Pool = "mean"
    """How window scores were combined; with ``first``, only the beginning of the recording was used."""
    doubts: tuple[str, ...] = ()
    """What is suspicious about the recording, see :attr:`astune.data.audio.Facts.doubts`."""
    sampling_rate: int | None = None
    """Sampling rate of the file in Hz."""
    error: AstuneError | None = None
    """Why the recording has no labels."""
    adapter: str = ""
    """Name of the adapter that labelled it."""
    window: float = 0.0
    """Length of a window in seconds, which is that of the adapter's input."""

    def record(self) -> dict[str, Any]:
        """The prediction as JSON values, with the recording's name under ``file``."""
        record: dict[str, Any] = {"file": self.name}
        if self.seconds is not None and self.heard_seconds is not None:
            record |= {"seconds": round(self.seconds, 3), "heard_seconds": round(self.heard_seconds, 3)}
            record |= {"windows": self.windows, "pool": self.pool}
        if self.doubts:
            record["doubts"] = list(self.doubts)
        return record | ({"error": str(self.error)} if self.error else {"labels": list(self.labels)})

    @override
    def _summary(self) -> Summary:
        what = str(self.error) if self.error else self.used_part or f"{self.seconds or 0.0:,.1f} s"
        table = score_rows((one["label"], one["score"]) for one in self.labels)
        best = [" ".join(row) for row in table[:_NAMED]] + (["..."] if len(table) > _NAMED else [])
        headings = ("label", "score") if table else ()
        return Summary("Prediction", here(self.name), (what, *best), (("heard", what),), headings, table, self.doubts)

    @property
    def used_part(self) -> str:
        """How much of the recording was used, in words; empty if that is all of it in one window."""
        seconds, used_seconds = self.seconds or 0.0, self.heard_seconds or 0.0
        if self.windows == 1:
            return f"its first {used_seconds:,.1f} of {seconds:,.1f} s" if seconds - used_seconds > TOLERANCE else ""
        return f"{self.pool} of {self.windows:,} windows over {used_seconds:,.1f} s" if self.windows else ""


def label_count(top_k: object, labels: int) -> int:
    """Largest number of labels of a recording.

    Args:
        top_k: number of labels that the user asked for; all where None.
        labels: number of labels of the adapter.

    Returns:
        At most as many as there are.

    Raises:
        ConfigError: it is not a whole number from 1 on.
    """
    if top_k is None:
        return labels
    if not (fits(top_k, int) and top_k >= 1):  # type: ignore[operator] # a number, NumPy's too
        raise ConfigError(f"top_k={top_k!r}: give 1 or more, or None for all labels")
    return min(int(top_k), labels)  # type: ignore[call-overload,no-any-return] # a number, NumPy's too


@dataclass(frozen=True)
class LabelChoice:
    """Which labels of a recording to report."""

    count: int
    """Largest number of labels."""
    least: Mapping[int, float] | None
    """Lowest score of a label, by the number of its class; other classes are left out. All labels count where None."""

    @classmethod
    def of(
        cls, labels: tuple[str, ...], negatives: tuple[str, ...], top_k: object, threshold: Thresholds | None
    ) -> LabelChoice:
        """Pick the labels that an adapter reports.

        Args:
            labels: labels of the adapter.
            negatives: labels that mean none of the others.
            top_k: largest number of labels; all where None, or if there are fewer.
            threshold: see :class:`astune.inference.events.Finder`; all labels count where None.

        Returns:
            The choice.

        Raises:
            ConfigError: ``top_k`` is not a whole number from 1 on, or a threshold cannot be used.
        """
        count = label_count(top_k, len(labels))
        least = None if threshold is None else Finder(threshold).least(labels, negatives)
        return cls(count, least)


def label_choices(
    adapters: Sequence[AdapterInfo], top_k: object, threshold: AdapterThresholds | None, loaded: Iterable[str]
) -> dict[str, LabelChoice]:
    """Which labels each adapter reports.

    Args:
        adapters: adapters that process the recording.
        top_k: largest number of labels; all where None, or if an adapter has fewer.
        threshold: one score for all; one for each label, which may be any adapter's; or by adapter, and the labels of an adapter that is
            not in there all count. None where all count.
        loaded: names of all adapters there are.

    Returns:
        The choice, by the name of the adapter.

    Raises:
        ConfigError: ``top_k`` is not a whole number from 1 on, or a threshold cannot be used.
    """
    names = [one.name for one in adapters]
    if not isinstance(threshold, Mapping):
        given: dict[str, Any] = dict.fromkeys(names, threshold)
    elif any(isinstance(one, Mapping) for one in threshold.values()):
        stranger = next((name for name in threshold if name not in set(loaded)), None)
        if stranger is not None:
            raise ConfigError(f"threshold: {unknown_choice('adapter', stranger, loaded)}")
        given = {name: threshold.get(name) for name in names}
        given = {
            name: None if one == {} else one for name, one in given.items()
        }  # as of an adapter whose labels compete
    else:
        labels = dict.fromkeys(label for one in adapters for label in one.labels)
        stranger = next((label for label in threshold if label not in labels), None)
        if stranger is not None:
            raise ConfigError(unknown_choice("label", stranger, labels))
        given = {
            one.name: {label: least for label, least in threshold.items() if label in one.labels} for one in adapters
        }
    return {one.name: LabelChoice.of(one.labels, one.negatives, top_k, given[one.name]) for one in adapters}


def prediction_of(timeline: Timeline, choice: LabelChoice, pool: Pool) -> Prediction:
    """The labels of a recording with the highest scores.

    Args:
        timeline: the timeline of the recording.
        choice: which labels are given.
        pool: how scores of windows become its scores.

    Returns:
        The labels; or, where it cannot be read, why.
    """
    known = Prediction(
        timeline.name, seconds=timeline.seconds, heard_seconds=None if timeline.seconds is None else timeline.heard_seconds,
        windows=len(timeline.starts), pool=pool, doubts=timeline.doubts,
        sampling_rate=timeline.sampling_rate, error=timeline.error, adapter=timeline.adapter,
        window=timeline.window,
    )  # fmt: skip
    if timeline.error is not None:
        return known
    scores = timeline.pool(pool)
    indices: list[int] = np.argsort(-scores, kind="stable")[
        : choice.count
    ].tolist()  # of equal ones the first, as in windows
    least = choice.least
    if least is not None:  # float32 is compared with float32, as in windows and events
        indices = [one for one in indices if one in least and scores[one] >= np.float32(least[one])]
    return replace(
        known, labels=tuple(LabelScore(label=timeline.labels[one], score=float(scores[one])) for one in indices)
    )


def labels_of(
    predictions: Iterable[Prediction], errors: Literal["raise", "return"], stacklevel: int
) -> list[list[LabelScore] | AstuneError]:
    """The labels alone, with a warning about suspicious recordings.

    Args:
        predictions: predictions of them.
        errors: whether to raise the first error, or to give errors in the place of labels.
        stacklevel: stack level of the warning, counted from the caller.

    Returns:
        One entry a recording.

    Raises:
        AudioError: a recording cannot be read.
        ConfigError: ``errors`` is another word.
        NumericalError: scores are NaN or infinite.

    Warns:
        AudioWarning: a recording is suspicious.
    """
    if errors not in ("raise", "return"):
        raise ConfigError(unknown_choice("errors", errors, ("raise", "return")))
    found: list[list[LabelScore] | AstuneError] = []
    doubts: list[tuple[str, str]] = []
    for prediction in predictions:
        if prediction.error and errors == "raise":
            raise prediction.error
        found.append(prediction.error or list(prediction.labels))
        doubts += [(prediction.name, doubt) for doubt in prediction.doubts]
    warn_of(doubts, len(found), stacklevel=stacklevel + 1)
    return found


class Told(Protocol):
    """What is known of a recording that was processed, apart from its labels."""

    @property
    def name(self) -> str:
        """Name of the recording."""

    @property
    def seconds(self) -> float | None:
        """Length of the whole recording; None if it cannot be read."""

    @property
    def windows(self) -> int:
        """Number of windows that were read."""

    @property
    def pool(self) -> str | None:
        """How their scores became those of the recording; None where they did not."""

    @property
    def doubts(self) -> tuple[str, ...]:
        """What is suspicious of it."""

    @property
    def window(self) -> float:
        """Seconds of each window."""


def notices_of(predictions: Sequence[Told], seconds: float) -> list[str]:
    """Remarks for the user about recordings: how much of them was used, and which are suspicious.

    Args:
        predictions: predictions of them.
        seconds: length of the input in seconds.

    Returns:
        Sentences; none where there is nothing to say.
    """
    read = {number: one for number, one in enumerate(predictions) if one.seconds is not None}
    pooled = [one for one in read.values() if one.pool and one.windows > 1]
    verb = "is" if len(pooled) == 1 else "are"
    note = (
        f"Note: {len(pooled):,} of {number_of(len(read), 'file')} {verb} longer than the input of {seconds:.1f} s and heard in "
        f"consecutive windows; scores are the {pooled[0].pool} over them"
        if pooled
        else ""
    )
    told = audio_notices(
        {number: (one.seconds or 0.0) if one.pool == "first" else 0.0 for number, one in read.items()},
        {number: one.doubts for number, one in read.items()},
        [one.name for one in predictions],
        seconds,
        "file",
    )
    return [*([note] if note else []), *told]
