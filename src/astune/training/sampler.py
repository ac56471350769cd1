"""Which clips an epoch visits, and in which order: each clip once, or each class equally often.

Balanced sampling visits as many clips as there are, so an epoch has as many steps as before. With one label per clip, each of k classes
gets n / k of the n visits, rounded up or down. A clip of a rare class is visited several times, and of a common class some clips are left
out; they are drawn again in each epoch, so that their number of visits differs by at most one within an epoch.

With several labels, a clip belongs to its rarest label. The clips of a label share the visits that they would get if each clip's weight
were one over the number of clips that have the label. Clips without a label are a group of their own.

A head that is fitted before training, and the second clips of mixup, follow the same shares (``mean_visits``).

Everything is a function of the seed and the epoch. So a resumed run and several processes visit the same clips.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from astune.keyed import keyed_generator
from astune.plurals import number_of
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astune.data.dataset import AudioDataset
    from astune.names import Sampling

_UNLABELLED = ""  # no label is empty


class Visit(NamedTuple):
    """One training clip of an epoch."""

    clip: int
    """Index in the data set."""
    key: str
    """Of everything random: its name, and where the epoch had the clip before, then the number of the visit."""


class Sampler:
    """The training clips of each epoch.

    Args:
        sampling: ``random`` for each clip once; ``balanced`` for each class equally often.
        dataset: the clips.
        train: indices of those that train; each label has one or more.
        seed: of the run.
    """

    def __init__(self, sampling: Sampling, dataset: AudioDataset, train: Sequence[int], seed: int) -> None:
        self.sampling, self.train, self.seed = sampling, np.asarray(train), seed
        self.names = [clip.name for clip in dataset.clips]
        self.groups: dict[str, list[int]] = {}
        """Clips that share their visits, by their rarest label; none where each clip is visited once."""
        self.shares: dict[str, Fraction] = {}
        """Of the visits of an epoch, by group; they add up to 1."""
        if sampling == "balanced":
            self._divide(dataset)

    def _divide(self, dataset: AudioDataset) -> None:
        labels = {clip: dataset.task.strata(dataset.clips[clip]) for clip in self.train.tolist()}
        counts = Counter(label for of in labels.values() for label in of)
        ranks = {label: rank for rank, label in enumerate(dataset.labels)}
        groups: dict[str, list[int]] = defaultdict(list)
        for clip, of in labels.items():
            groups[min(of, key=lambda label: (counts[label], ranks[label]), default=_UNLABELLED)].append(clip)
        self.groups = {label: groups[label] for label in (*dataset.labels, _UNLABELLED) if label in groups}
        counts[_UNLABELLED] = len(groups.get(_UNLABELLED, ()))
        weights = {label: Fraction(len(clips), counts[label]) for label, clips in self.groups.items()}
        self.shares = {label: weight / sum(weights.values()) for label, weight in weights.items()}

    @property
    def first(self) -> Visit:
        """A training clip, for whom it does not matter which."""
        clip = int(self.train[0])
        return Visit(clip, self.names[clip])

    def visits(self, epoch: int) -> list[Visit]:
        """The clips of an epoch, in the order in which they are visited.

        Args:
            epoch: from 0.

        Returns:
            As many as there are training clips.
        """
        shuffle = keyed_generator(self.seed, "shuffle", epoch)
        if self.sampling == "random":
            return [Visit(clip, self.names[clip]) for clip in shuffle.permutation(self.train).tolist()]
        drawn = [
            clip for label, visits in self._shared_out(epoch).items() for clip in self._drawn(epoch, label, visits)
        ]
        before: Counter[int] = Counter()
        found = []
        for clip in shuffle.permutation(np.asarray(drawn)).tolist():
            again = before[clip]
            # A path has no such character, so the key of a second visit is no other clip's.
            found.append(Visit(clip, f"{self.names[clip]}\0{again}" if again else self.names[clip]))
            before[clip] += 1
        return found

    def _shared_out(self, epoch: int) -> dict[str, int]:
        """Visits of each group: its share of all, up or down to a whole number, by chance so that the mean over epochs is the share."""
        start = Fraction(keyed_generator(self.seed, "sampler", epoch).random())
        ends = [Fraction(0), *accumulate(share * len(self.train) for share in self.shares.values())]
        # Marks lie at start, start + 1, ...; a group gets those on its stretch of the line.
        marks = [math.ceil(end - start) for end in ends]
        return {label: high - low for label, (low, high) in zip(self.groups, pairwise(marks), strict=True)}

    def _drawn(self, epoch: int, label: str, visits: int) -> list[int]:
        """Clips of a group: all of them as often as that goes, and some of them once more."""
        clips = self.groups[label]
        whole, rest = divmod(visits, len(clips))
        order = keyed_generator(self.seed, "sampler", epoch, label).permutation(np.asarray(clips))
        return [*clips * whole, *order[:rest].tolist()]

    @property
    def mean_visits(self) -> dict[int, float] | None:
        """Visits of each training clip in an epoch, on average; None where each clip is visited once."""
        if self.sampling == "random":
            return None
        often = self._often()
        return {clip: often[label] for label, clips in self.groups.items() for clip in clips}

    def _often(self) -> dict[str, float]:
        """Mean visits of a clip of each group."""
        return {label: float(share * len(self.train) / len(self.groups[label])) for label, share in self.shares.items()}

    @property
    def notice(self) -> str | None:
        """The note that the user sees; None where each clip is visited once."""
        if self.sampling == "random":
            return None
        often = self._often()
        most, least = (pick(often, key=often.__getitem__) for pick in (max, min))
        return (
            f"Balanced sampling: an epoch visits {number_of(len(self.train), 'clip')}; on average one of {_shown(most)} comes "
            f"{often[most]:.3g} times, and one of {_shown(least)} {often[least]:.3g} times"
        )


def _shown(label: str) -> str:
    return repr(printable(label)) if label else "no label"
