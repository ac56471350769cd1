"""A data set as tensors: what training computes, as a map-style ``torch.utils.data.Dataset``.

An item is ``{"input_values": (frames, bins), "labels": target}``: what :class:`astune.AudioClassifier` and transformers' ``Trainer`` take.
Features are those of training, from the same cache. Waveforms are no part of an item, because clips of different length make no batch;
:meth:`FeatureDataset.audio` gives them one by one.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

from astune.console import announcer
from astune.data.audio import SAMPLING_RATE, listen
from astune.data.dataset import AudioDataset, DivisionName
from astune.data.labels import known_labels
from astune.errors import ConfigError, DataError
from astune.features.cache import build_cache
from astune.features.log_mel import FrontEnd
from astune.names import Selection
from astune.plurals import number_of
from astune.summary import Summarised, Summary, input_of, some, source_here
from astune.validated import checked_but_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astune.data.clip import Clip
    from astune.data.dataset import Split


@runtime_checkable
class HasFrontEnd(Protocol):
    """A backbone, a classifier, an adapter, a predictor, or another data set of features."""

    @property
    def front_end(self) -> FrontEnd:
        """How audio becomes its input."""


@checked_but_for("dataset", "split", "front_end")
class FeatureDataset(Summarised, Dataset[dict[str, Tensor]]):
    """Features and targets of the clips of one split.

    Attributes that matter to users: ``clips``, ``names``, ``labels``, ``targets``, ``front_end``, ``notices``.

    Args:
        dataset: from :func:`astune.load_data`.
        split: ``train``, ``validation``, ``test`` or ``all``. Clips are divided as for training.
        fold: the test fold, where the data set has folds; the first one where None.
        seed: of the held-out tenth, where the data set brings no validation split.
        selection: how the epoch will be chosen, which decides whether a tenth is held out; as the data set has it where None.
        front_end: how audio becomes features; or what has a front end, such as the model to be trained or another ``FeatureDataset``.
            Where it has labels too, targets follow their order. Where None, the input length that training would choose for the data, and
            the normalisation of AudioSet.
        skip_broken: leave out audio files that cannot be read, instead of raising.
        quiet: no progress bars and no announcements; ``notices`` has the announcements.

    Raises:
        AudioError: files cannot be read.
        ConfigError: an unknown split or fold, or a front end that is none.
        DataError: the split is empty, or has classes that the model does not know.
    """

    def __init__(
        self,
        dataset: AudioDataset,
        split: DivisionName = "train",
        *,
        fold: int | None = None,
        seed: int = 0,
        selection: Selection | None = None,
        front_end: FrontEnd | HasFrontEnd | None = None,
        skip_broken: bool = False,
        quiet: bool = False,
    ) -> None:
        if not isinstance(dataset, AudioDataset):
            raise ConfigError(f"dataset is of type {type(dataset).__name__}; give what astune.load_data(...) returns")
        chosen, division = dataset.divide(split, fold, seed, selection)
        self.source, self.split, self.task = dataset.source, split, dataset.task
        self.front_end, guessed = _front_end(front_end, dataset, division, quiet=quiet)
        self.labels = tuple(getattr(front_end, "labels", dataset.labels))
        """In the order of the class indices."""
        order = known_labels(dataset.source, dataset.labels, self.labels)
        # All clips, also those of other splits: then training finds these features, and this finds those of training.
        self._features = build_cache(dataset.clips, self.front_end, skip_broken=skip_broken, quiet=quiet)
        self._rows = [clip for clip in chosen if clip not in self._features.broken]
        if not self._rows:
            raise DataError(f"the {split} split has {number_of(len(chosen), 'clip')}, and none can be read")
        self.clips: tuple[Clip, ...] = tuple(dataset.clips[row] for row in self._rows)
        self.targets = self.task.encode(self.clips, order)
        """(clips, ...), as the task encodes them: of single labels class indices."""
        broken = [self._features.broken[clip] for clip in chosen if clip in self._features.broken]
        self.notices = (
            *dataset.notices,
            *([f"Note: {division.notice}"] if division.notice else []),
            *([guessed] if guessed else []),
            *_left_out(broken, len(chosen)),
            *self._features.notices(self._rows, [clip.name for clip in dataset.clips]),
        )
        """What to know of the data: what was left out, decided, not used, or suspicious."""
        said = front_end.notices if isinstance(front_end, FeatureDataset) else ()
        for notice in self.notices:
            if notice not in said:
                announcer(quiet=quiet)(notice)

    @override
    def _summary(self) -> Summary:
        shape = f"({self.front_end.max_length}, {self.front_end.num_mel_bins})"
        clips, classes = number_of(len(self), "clip"), some(self.labels, "class")
        rows = (
            ("split", self.split), ("clips", clips), ("input_values", f"{shape} float32, {input_of(self.front_end.max_length)}"),
            ("labels", f"{str(self.targets.dtype).removeprefix('torch.')}, {classes}"), ("task", self.task.name),
        )  # fmt: skip
        name = source_here(self.source)
        return Summary("FeatureDataset", name, (self.split, f"{clips} of {shape}", classes), rows, notices=self.notices)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the clips, in order."""
        return tuple(clip.name for clip in self.clips)

    def __len__(self) -> int:
        return len(self.clips)

    @override
    def __getitem__(self, index: int) -> dict[str, Tensor]:
        number = self._number(index)
        return {"input_values": self._features.batch([self._rows[number]])[0], "labels": self.targets[number]}

    def audio(self, index: int) -> dict[str, Any]:
        """The samples that the features of a clip are made of.

        Args:
            index: of the clip.

        Returns:
            ``array``, (samples,) float32 in -1 to 1, and ``sampling_rate``, 16000 Hz, as Hugging Face's audio column has them; of a clip
            longer than the input, the beginning.

        Raises:
            AudioError: the file cannot be read any more.
            IndexError: there is no such clip.
        """
        path, start, end = self.clips[self._number(index)].region
        recording = listen(path, start, self.front_end.seconds, end=end)
        return {"array": recording.samples, "sampling_rate": SAMPLING_RATE}

    def _number(self, index: int) -> int:
        number = operator.index(index)
        if not -len(self.clips) <= number < len(self.clips):
            raise IndexError(f"there is no clip {number}; there are {len(self.clips):,}")
        return number % len(self.clips)


def _front_end(given: object, dataset: AudioDataset, division: Split, *, quiet: bool) -> tuple[FrontEnd, str | None]:
    """How audio becomes features, and what to say where nobody said so.

    Raises:
        ConfigError: it is none.
    """
    if given is None:
        length = dataset.input_length(division, quiet=quiet)
        front_end = FrontEnd(length)
        return front_end, (
            f"Note: the input length is {length} frames ({front_end.seconds:.1f} s), as training would choose it for these data; load a "
            f"backbone with max_length={length}, or give a model as front_end"
        )
    found = given.front_end if isinstance(given, HasFrontEnd) else given
    if not isinstance(found, FrontEnd):
        raise ConfigError(
            f"front_end is of type {type(given).__name__}; give a FrontEnd, or what has one: a backbone, a classifier, an adapter, a "
            "Predictor or another FeatureDataset"
        )
    return found, None


def _left_out(broken: Sequence[str], clips: int) -> list[str]:
    if not broken:
        return []
    verb = "is" if len(broken) == 1 else "are"
    more = " and others" if len(broken) > 1 else ""
    return [
        f"Note: {len(broken):,} of {number_of(clips, 'audio file')} cannot be read and {verb} left out: {broken[0]}{more}"
    ]
