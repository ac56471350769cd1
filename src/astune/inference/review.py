"""Review: find what a person should listen to next, and cut it for Audacity. :mod:`astune.inference.review_choice` says what is chosen."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from astune.console import progress, recording_progress
from astune.data.audio import SAMPLING_RATE
from astune.data.audio_notices import audio_notices
from astune.data.opening import is_pipe
from astune.errors import AudioError, ConfigError, DataError, format_list
from astune.features import rounded_features
from astune.inference.batches import refuse_non_finite
from astune.inference.inputs import expand
from astune.inference.known_clips import KnownClips, known_clips
from astune.inference.predictor import Predictor
from astune.inference.review_choice import Candidate, Choice, Criterion, Pick, ScoredWindows, candidates, choose
from astune.inference.review_folder import reserve_folder, reviewed_spans, whole, write_folder
from astune.inference.windows import Windows
from astune.plurals import number_of
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from astune.adapter import Adapter
    from astune.classifier import AudioClassifier
    from astune.data import AudioDataset
    from astune.inference.inputs import Expanded
    from astune.inference.pieces import Piece

    Spans = Mapping[str, Sequence[tuple[float, float]]]


@dataclass(frozen=True)
class Review:
    """What was cut."""

    folder: Path
    rows: tuple[dict[str, Any], ...]
    """Rows of ``review.csv``."""
    recordings: int
    """Number of windows that were read."""
    windows: int
    errors: tuple[str, ...]
    """Why other recordings were left out."""
    notices: tuple[str, ...]
    """Remarks for the user."""

    def record(self) -> dict[str, Any]:
        """Return the record that is written as JSON."""
        return {**asdict(self), "folder": str(self.folder)}

    @override
    def __repr__(self) -> str:
        of = Counter(row["criterion"] for row in self.rows)
        return f"Review({str(self.folder)!r}: {', '.join(f'{count} {name}' for name, count in of.items())})"


def review(
    adapter: str | Path | Adapter | AudioClassifier | Predictor,
    recordings: str | Path | Iterable[str | Path],
    output_dir: str | Path,
    *,
    criteria: Criterion | Iterable[Criterion] = ("unlike", "uncertain", "confident"),
    count: int = 10,
    per_class: int = 3,
    per_recording: int | None = None,
    threshold: float | None = None,
    margin: float = 1.0,
    window: float | None = None,
    hop: float | None = None,
    seed: int = 0,
    data: str | AudioDataset | None = None,
    reviewed: Iterable[str | Path] = (),
    **settings: Any,
) -> Review:
    """Find the windows that a person should listen to next, and cut them out, each with a label track.

    Recordings are read as streams, so memory does not grow with them. Windows of digital silence are skipped.

    Args:
        adapter: an adapter, as for :class:`astune.Predictor`, or a loaded predictor.
        recordings: files and folders of them.
        output_dir: folder of the review, which is whole or not there; an empty one is taken, any other is refused.
        criteria: which windows: ``unlike`` every training clip, ``uncertain``, ``confident`` (for each label), ``random``.
        count: windows of each criterion; fewer where there are not as many.
        per_class: windows of each label by ``confident``.
        per_recording: windows of one recording and criterion at most; where None, twice an even share first, then more where others have
            none left.
        threshold: least score of ``confident``, from 0 to 1; where None, the adapter's thresholds, or 0.5 if it has none.
        margin: seconds of audio around a window that are cut with it. No two clips overlap.
        window: length of the windows in seconds; by default that of the input.
        hop: seconds from the start of one window to the start of the next; by default ``window``.
        seed: the seed of ``random``.
        data: the data set that the adapter was trained on, where it is not where the adapter says; see :func:`astune.load_data`.
        reviewed: folders of earlier reviews; what they have is not chosen again.
        settings: settings of :class:`astune.Predictor`, such as ``device``.

    Returns:
        What was cut.

    Raises:
        AudioError: no recording can be read.
        ConfigError: a setting cannot be used, or the folder is not empty.
        DataError: there is nothing to choose, ``data`` cannot be read, or an earlier review cannot.
        OutputError: the folder cannot be written.
    """
    folder, wanted = Path(output_dir), (criteria,) if isinstance(criteria, str) else tuple(criteria)
    choice = Choice(wanted, count, per_class, per_recording, 0.5 if threshold is None else threshold, margin, seed)
    spans, found = reviewed_spans(reviewed), _found(recordings)
    with reserve_folder(folder):
        predictor = _predictor(adapter, settings)
        if threshold is None and predictor.thresholds:
            choice = replace(choice, threshold=predictor.thresholds)
        listening = _Listening(predictor, choice, Windows.of(predictor.front_end, window, hop), data, spans)
        return _reviewed(listening, found, folder)


def _reviewed(listening: _Listening, found: Expanded, folder: Path) -> Review:
    """Score the recordings, and write what was chosen.

    Raises:
        AudioError: none of them can be read.
        DataError: there is nothing to choose.
    """
    picks, choice = listening.picks(found.paths), listening.choice
    errors = [*listening.errors, *(one.reason for one in found.left_out if not one.harmless)]
    if errors and not listening.recordings:
        raise AudioError(format_list(errors, f"{number_of(len(errors), 'file')} cannot be read"))
    notices = [*found.remarks, *listening.notices]
    if not picks:
        raise DataError("; ".join(["nothing to review: no window meets a criterion", *_shown(notices)]))
    known = listening.known
    rows = write_folder(folder, picks, choice.margin, known.names if known else (), listening.settings)
    notices += _short(rows, choice, listening.labels, known is not None)
    return Review(folder, tuple(rows), listening.recordings, listening.windows_scored, tuple(errors), tuple(notices))


def _found(recordings: str | Path | Iterable[str | Path]) -> Expanded:
    """The recordings, those in folders too.

    Raises:
        ConfigError: one of them is a pipe.
    """
    found = expand([recordings] if isinstance(recordings, str | Path) else recordings)
    if piped := [path for path in found.paths if is_pipe(path)]:
        raise ConfigError(f"{printable(piped[0])} is a pipe, and clips can be cut only from files; give files")
    return found


class _Listening:
    """Scores recordings one after the other, and counts."""

    def __init__(
        self, predictor: Predictor, choice: Choice, windows: Windows, data: str | AudioDataset | None, spans: Spans
    ) -> None:
        self._predictor, self.choice, self._windows, self._spans = predictor, choice, windows, spans
        self.known, self._of_known = _known(predictor, choice, data)
        self._silences: dict[int, NDArray[np.float16]] = {}
        self.recordings = self.windows_scored = self._silent = self._short = self._reviewed = 0
        self.errors: list[str] = []
        self._names: list[str] = []
        self._doubts: dict[int, tuple[str, ...]] = {}

    @property
    def notices(self) -> list[str]:
        """What was compared with, the gaps between windows, what was skipped, and what is suspicious about the recordings."""
        counts = {
            "of digital silence": self._silent,
            "that the end of a recording cuts short": self._short,
            "that were reviewed before": self._reviewed,
        }
        gaps = self._windows.gap_note
        passed = [
            f"Note: {number_of(count, 'window')} {which} {'was' if count == 1 else 'were'} passed over"
            for which, count in counts.items()
            if count
        ]
        lengths = dict.fromkeys(range(len(self._names)), 0.0)
        suspicious = audio_notices(lengths, self._doubts, self._names, self._predictor.front_end.seconds, "file")
        return [*self._of_known, *([gaps] if gaps else []), *passed, *suspicious]

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self._predictor.labels

    @property
    def settings(self) -> dict[str, Any]:
        """How windows are chosen, as JSON has it."""
        predictor, windows = self._predictor, self._windows
        return {
            "adapter": predictor.loaded.name, "labels": list(predictor.labels), **asdict(self.choice),
            "window": windows.window, "hop": windows.hop,
        }  # fmt: skip

    def picks(self, recordings: Iterable[Path]) -> list[Pick]:
        """Score recordings, and choose among their windows.

        Args:
            recordings: files; a file that is given twice is used once.
        """
        paths = list({path.resolve(): path for path in reversed(list(recordings))}.values())[::-1]
        found = list(self._candidates(paths))
        return choose(found, self.choice, max(1, len(paths) - len(self.errors)))

    def _candidates(self, paths: Sequence[Path]) -> Iterator[Candidate]:
        """The windows of all recordings that may be chosen."""
        predictor = self._predictor
        classes = len(predictor.labels)
        spans: list[tuple[float, float]] = []
        parts: list[NDArray[np.float32]] = []
        with progress("Listening", len(paths)) as advance:
            show = recording_progress(advance)
            computed = predictor.listener.outputs(paths, predictor.scored_tokens, self._windows)
            for batch, output in computed:
                rows = iter(self._reduced(output, classes))
                for piece in batch:
                    if piece.features is not None:
                        spans.append((piece.start, piece.end))
                        parts.append(np.append(next(rows), np.float32(self._is_silent(piece))))
                    if piece.last:
                        if piece.facts is None:
                            self.errors.append(str(piece.error))
                        else:
                            self._doubts[len(self._names)] = piece.facts.doubts
                            self._names.append(piece.name)
                            yield from self._of_recording(piece.name, np.array(spans), np.stack(parts), classes)
                        spans, parts = [], []
                        advance(1, "")
                if spans:
                    show(batch[-1].name, spans[-1][1])

    def _reduced(self, output: Tensor, classes: int) -> NDArray[np.float32]:
        """Turn logits and pooled tokens, (rows, classes + d), into scores, distance and nearest clip, (rows, classes + 2)."""
        if not len(output):
            return np.empty((0, classes + 2), np.float32)
        refuse_non_finite(output)
        scores = self._predictor.task.activate(output[:, :classes]).numpy()
        if self.known is None:
            return np.column_stack([scores, np.zeros((len(scores), 2), np.float32)])
        distances, nearest = self.known.nearest(output[:, classes:].numpy())
        return np.column_stack([scores, distances, nearest]).astype(np.float32)

    def _of_recording(
        self, name: str, spans: NDArray[np.float64], rows: NDArray[np.float32], classes: int
    ) -> Iterator[Candidate]:
        (starts, ends), silent = spans.T, rows[:, -1] > 0
        # A rest of a few ms is mostly the zeros that fill the input, and so unlike every clip, in every recording.
        short = (ends - starts < self._windows.window - 0.5 / SAMPLING_RATE) & (len(spans) > 1)
        before = np.zeros(len(spans), bool)
        for start, end in self._spans.get(whole(name), ()):
            before |= (starts < end) & (ends > start)
        self.recordings += 1
        self.windows_scored += len(spans)
        self._silent += int(silent.sum())
        self._short += int((short & ~silent).sum())
        self._reviewed += int((before & ~silent & ~short).sum())
        compared = self.known is not None
        scored = ScoredWindows(
            name, starts, ends, rows[:, :classes], rows[:, classes].astype(np.float64) if compared else None,
            rows[:, classes + 1].astype(np.int64) if compared else None, ~(silent | short | before),
        )  # fmt: skip
        predictor = self._predictor
        return candidates(scored, self.choice, predictor.labels, predictor.task, predictor.thresholds)

    def _is_silent(self, piece: Piece) -> bool:
        """Whether its features are those of zeros."""
        count = round((piece.end - piece.start) * SAMPLING_RATE)
        if count not in self._silences:
            self._silences[count] = rounded_features(np.zeros(count, np.float32), self._predictor.front_end)
        return bool(np.array_equal(piece.features, self._silences[count]))  # type: ignore[arg-type] # it has some


def _predictor(adapter: str | Path | Adapter | AudioClassifier | Predictor, settings: dict[str, Any]) -> Predictor:
    if not isinstance(adapter, Predictor):
        return Predictor(adapter, **settings)
    if settings:
        raise ConfigError(
            f"{next(iter(settings))} cannot be given together with a Predictor, which has its own; leave it out"
        )
    return adapter


def _known(
    predictor: Predictor, choice: Choice, data: str | AudioDataset | None
) -> tuple[KnownClips | None, list[str]]:
    """The training clips, where a criterion asks for them and they can be found.

    Raises:
        DataError: they cannot, and no other criterion is asked for.
    """
    if "unlike" not in choice.criteria:
        return None, []
    known = known_clips(predictor, data, choice.seed)
    if isinstance(known, KnownClips):
        return known, list(known.notices)
    why = f"the clips that the adapter was trained on cannot be found ({known}), so 'unlike' is left out; give data for them"
    if choice.criteria == ("unlike",):
        raise DataError(why)
    return None, [f"Warning: {why}"]


def _shown(notices: Sequence[str]) -> list[str]:
    return [notice.partition(": ")[2] for notice in notices]


def _short(rows: Sequence[Mapping[str, Any]], choice: Choice, labels: Sequence[str], compared: bool) -> list[str]:
    """Which criteria, and which labels, have fewer windows than were asked for."""
    counts = Counter(row["criterion"] for row in rows)
    notes = [
        f"Note: {number_of(counts[one], 'window')} by {one}, not {choice.count}: there are no more that do not overlap"
        for one in choice.criteria
        if one != "confident" and counts[one] < choice.count and (one != "unlike" or compared)
    ]
    if "confident" in choice.criteria:
        sure = {row["label"] for row in rows if row["criterion"] == "confident"}
        none = [printable(label) for label in labels if label not in sure]
        if none:
            more = ", ..." if len(none) > 5 else ""
            least = f"{choice.threshold:g}" if isinstance(choice.threshold, float | int) else "their threshold"
            notes.append(
                f"Note: {len(none):,} of {number_of(len(labels), 'label')} have no window of {least} or more: "
                f"{', '.join(none[:5])}{more}"
            )
    return notes
