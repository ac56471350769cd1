"""Which windows of many recordings a person should listen to next.

Four criteria, each of which finds what the others miss:

- ``unlike``: the windows farthest from every training clip, by the cosine distance of pooled output tokens to the nearest clip. A
  classifier gives one of its labels to everything, also to a sound that it does not know, and often with a high score.
- ``uncertain``: the smallest difference between the two best scores (margin sampling); where scores of labels do not compete, the
  score nearest to the threshold of its label. With many classes the margin says more than the best score alone: 0.4 next to 0.39 is a
  tie, 0.4 next to twenty scores of 0.03 is not.
- ``confident``: the highest scores of each label. They tell whether a label can be trusted, and give examples of rare classes.
- ``random``: windows drawn evenly. They alone tell how often the model is right, and find what it is sure of and wrong about.

Clips that are cut never overlap, so nobody hears a sound twice. No recording has more than its share while others have candidates left.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from astune.errors import ConfigError, format_faults, unknown_choice
from astune.inference.events import Thresholds
from astune.keyed import keyed_generator
from astune.validated import fits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from astune.task import Task

Criterion = Literal["unlike", "uncertain", "confident", "random"]
_TINY = 1e-12  # instead of a range of scores that is empty
_KEPT = 3  # times as many candidates of a recording as are chosen at most: those of other criteria may overlap them


@dataclass(frozen=True)
class Choice:
    """How many windows are chosen, and by what.

    Raises:
        ConfigError: an unknown criterion, or a number that cannot be used.
    """

    criteria: tuple[Criterion, ...] = ("unlike", "uncertain", "confident")
    count: int = 10
    """Windows of each criterion but ``confident``."""
    per_class: int = 3
    """Windows of each label by ``confident``."""
    per_recording: int | None = None
    """Windows of one recording and criterion (and label). Where None, twice an even share, and more where others have none left."""
    threshold: Thresholds = 0.5
    """Least score of ``confident``: one for all labels, or one for each."""
    margin: float = 1.0
    """Seconds around a window that are cut with it."""
    seed: int = 0
    """Seed of the ``random`` criterion."""

    def __post_init__(self) -> None:
        least = {"count": 1, "per_class": 1, "per_recording": 1, "seed": 0}
        faults = [
            unknown_choice("criterion", one, get_args(Criterion))
            for one in self.criteria
            if one not in get_args(Criterion)
        ]
        faults += [] if self.criteria else [f"criteria is empty; give one or more of {', '.join(get_args(Criterion))}"]
        for name, low in least.items():
            value = getattr(self, name)
            if not (fits(value, int) and value >= low) and not (value is None and name == "per_recording"):
                faults.append(f"{name}={value!r}: give a whole number of {low} or more")
        for one in self.threshold.values() if isinstance(self.threshold, Mapping) else (self.threshold,):
            if not (fits(one, float) and 0 <= one <= 1):
                faults.append(f"threshold={one!r}: give a score from 0 to 1")
        if not (fits(self.margin, float) and 0 <= self.margin < math.inf):
            faults.append(f"margin={self.margin!r}: give seconds, 0 or more")
        if faults:
            raise ConfigError(format_faults(faults, "what to review"))

    def least(self, labels: Sequence[str]) -> list[float]:
        """The score from which on each label is sure.

        Args:
            labels: labels of the classes.

        Returns:
            One for each; infinity for a label that has none.
        """
        given = self.threshold
        return [given.get(label, math.inf) if isinstance(given, Mapping) else given for label in labels]

    def limit(self, criterion: Criterion) -> int:
        """Windows of a criterion, and of a label where it has one.

        Args:
            criterion: any.
        """
        return self.per_class if criterion == "confident" else self.count


@dataclass(frozen=True)
class ScoredWindows:
    """The windows of one recording."""

    name: str
    """Name of the recording, as the user gave it."""
    starts: NDArray[np.float64]
    """(windows,), seconds."""
    ends: NDArray[np.float64]
    scores: NDArray[np.float32]
    """(windows, classes), from 0 to 1."""
    distances: NDArray[np.float64] | None
    """(windows,), from the nearest training clip; None where these are not known."""
    nearest: NDArray[np.int64] | None
    """(windows,), the index of that clip."""
    usable: NDArray[np.bool_]
    """(windows,), whether it may be chosen."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A window that may be chosen."""

    recording: str
    start: float
    """Seconds from the beginning of the recording."""
    end: float
    label: str
    """Label with the highest score."""
    score: float
    criterion: Criterion
    value: float
    """Value by which the criterion ranks: distance, 1 - margin, score, or a random draw."""
    nearest: int | None = None
    """The training clip most like it."""
    also: tuple[str, ...] = ()
    """Other labels that reach their thresholds there, where several may be right."""

    def apart(self, other: Candidate, margin: float) -> bool:
        """Whether the clips of both, with a margin on either side, share no sound.

        Args:
            other: another candidate of the same recording.
            margin: seconds of audio around a window.
        """
        return other.start - margin >= self.end + margin or self.start - margin >= other.end + margin


def candidates(
    scored: ScoredWindows,
    choice: Choice,
    labels: Sequence[str],
    task: Task,
    thresholds: Mapping[str, float] | None = None,
) -> Iterator[Candidate]:
    """The windows of a recording that may be chosen.

    Args:
        scored: the recording that was processed.
        choice: criteria and limits.
        labels: labels of the classes.
        task: what the scores mean.
        thresholds: the score from which on each label counts, where several may be right.

    Yields:
        For each criterion, and for each label with ``confident``, the highest candidates that share no sound with a better one.
    """
    cuts = np.array([thresholds[label] for label in labels]) if thresholds else None
    for criterion in choice.criteria:
        for values, columns in _rankings(criterion, scored, choice, task, cuts, choice.least(labels)):
            allowed = np.flatnonzero(scored.usable & np.isfinite(values))
            order = allowed[np.argsort(-values[allowed], kind="stable")]
            kept: list[Candidate] = []
            for row in order:
                one = Candidate(
                    scored.name, float(scored.starts[row]), float(scored.ends[row]), labels[columns[row]],
                    float(scored.scores[row, columns[row]]), criterion, float(values[row]),
                    None if scored.nearest is None else int(scored.nearest[row]), _also(scored.scores[row], cuts, labels, columns[row]),
                )  # fmt: skip
                if all(one.apart(other, 0.0) for other in kept):
                    kept.append(one)
                    if len(kept) >= _KEPT * choice.limit(criterion):
                        break
            yield from kept


def _also(
    scores: NDArray[np.float32], cuts: NDArray[np.float64] | None, labels: Sequence[str], shown: np.intp
) -> tuple[str, ...]:
    """Other labels that count, apart from the one that is shown."""
    if cuts is None:
        return ()
    return tuple(labels[one] for one in np.flatnonzero(scores >= cuts.astype(np.float32)).tolist() if one != shown)


def _rankings(
    criterion: Criterion,
    scored: ScoredWindows,
    choice: Choice,
    task: Task,
    cuts: NDArray[np.float64] | None,
    least: Sequence[float],
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.intp]]]:
    """Values of all windows and the label that each is shown with; a window that cannot be chosen has minus infinity."""
    scores = scored.scores.astype(np.float64)
    best = scores.argmax(axis=1)
    if criterion == "unlike":
        if scored.distances is not None:
            yield scored.distances, best
    elif criterion == "uncertain":
        doubted = best if task.counts_clips else _doubts(scores, cuts).argmax(axis=1)
        yield uncertainty(scores, task, cuts), doubted
    elif criterion == "random":
        yield keyed_generator(choice.seed, "review", scored.name).random(len(best)), best
    else:
        for column in range(scores.shape[1]):
            of_label = scores[:, column]
            sure = of_label >= least[column]
            if task.counts_clips:
                sure &= best == column
            yield np.where(sure, of_label, -np.inf), np.full(len(best), column)


def uncertainty(
    scores: NDArray[np.float64], task: Task, thresholds: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """How little scores decide.

    Args:
        scores: (windows, classes), from 0 to 1.
        task: whether labels exclude each other.
        thresholds: (classes,), where they do not; 0.5 for all where None.

    Returns:
        (windows,), from 0 to 1: 1 - the difference of the two best scores. Where labels do not exclude each other, that of the score
        nearest to its threshold: 1 at the threshold, falling evenly to 0 at the scores 0 and 1.
    """
    if task.counts_clips:
        two = np.sort(scores, axis=1)[:, -2:]
        least: NDArray[np.float64] = 1 - (two[:, 1] - two[:, 0])
        return least
    nearest: NDArray[np.float64] = _doubts(scores, thresholds).max(axis=1)
    return nearest


def _doubts(scores: NDArray[np.float64], thresholds: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """How near each score is to its threshold, (windows, classes), 1 at it and 0 at the scores 0 and 1."""
    cuts = np.full(scores.shape[1], 0.5) if thresholds is None else thresholds
    above, below = (1 - scores) / np.maximum(1 - cuts, _TINY), scores / np.maximum(cuts, _TINY)
    return np.clip(np.where(scores >= cuts, above, below), 0.0, 1.0)


@dataclass(frozen=True)
class Pick:
    """A window that was chosen."""

    candidate: Candidate
    rank: int
    """Rank from 1, within its criterion, and within its label for ``confident``."""


def choose(found: Iterable[Candidate], choice: Choice, recordings: int) -> list[Pick]:
    """Choose among the candidates of all recordings.

    Args:
        found: the candidates.
        choice: criteria and limits.
        recordings: number of recordings that were processed.

    Returns:
        The picks: criterion by criterion in the order of :data:`Criterion`, label by label, by rank.
    """
    groups: defaultdict[tuple[str, str], list[Candidate]] = defaultdict(list)
    for one in found:
        groups[one.criterion, one.label if one.criterion == "confident" else ""].append(one)
    taken: defaultdict[str, list[Candidate]] = defaultdict(list)
    picks: list[Pick] = []
    for criterion in get_args(Criterion):
        for group in sorted(group for group in groups if group[0] == criterion):
            chosen = _chosen(sorted(groups[group], key=_rank), choice, choice.limit(criterion), recordings, taken)
            picks += [Pick(one, rank) for rank, one in enumerate(sorted(chosen, key=_rank), 1)]
    return picks


def _rank(one: Candidate) -> tuple[float, str, float]:
    return -one.value, one.recording, one.start


def _chosen(
    ordered: list[Candidate],
    choice: Choice,
    limit: int,
    recordings: int,
    taken: defaultdict[str, list[Candidate]],
) -> list[Candidate]:
    """The first ones that overlap nothing that was taken: first within the share of each recording, then beyond it where allowed."""
    share = choice.per_recording or max(1, math.ceil(2 * limit / max(1, recordings)))
    chosen: list[Candidate] = []
    for most in (share, *(() if choice.per_recording else (limit,))):
        for one in ordered:
            of_recording = Counter(other.recording for other in chosen)[one.recording]
            if len(chosen) >= limit or of_recording >= most:
                continue
            if all(one.apart(other, choice.margin) for other in taken[one.recording]):
                chosen.append(one)
                taken[one.recording].append(one)
    return chosen
