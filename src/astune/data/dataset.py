"""What a data set is: clips with labels, and how they split into training, validation and test, once or by rotating folds."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from typing_extensions import override

from astune.data.audio import SAMPLING_RATE
from astune.data.clip import Clip
from astune.data.durations import measure_durations
from astune.data.formats import readable_suffixes
from astune.data.hold_out import crossing_groups, hold_out
from astune.data.labels import label_fault
from astune.data.recordings import PassedOver
from astune.data.splits import SPLITS, SplitName
from astune.errors import ConfigError, DataError, format_faults, unknown_choice
from astune.names import FRAME, HOP, Selection
from astune.plurals import number_of
from astune.summary import Summarised, Summary, some, source_here
from astune.task import Task
from astune.tasks import SINGLE_LABEL
from astune.validated import strict_constructor

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DivisionName = Literal["test", "validation", "train", "all"]


@strict_constructor
@dataclass(frozen=True)
class DataRecipe:
    """Training settings the paper states for a data set; None where nothing is stated and the data decide.

    Raises:
        ConfigError: a number below the least that training can use.
    """

    max_length: int | None = None
    """Input length, in frames of 10 ms."""
    num_train_epochs: int | None = None
    per_device_train_batch_size: int = 32
    freq_mask: int = 24
    """SpecAugment, in mel bins."""
    time_mask: int | None = None
    """SpecAugment, in frames."""
    selection: Selection = "best-validation"

    @property
    def published(self) -> bool:
        """Whether the paper states it: it states the epochs of all its data sets."""
        return self.num_train_epochs is not None

    def __post_init__(self) -> None:
        least = {
            "max_length": 16,
            "num_train_epochs": 1,
            "per_device_train_batch_size": 1,
            "freq_mask": 0,
            "time_mask": 0,
        }
        faults = [
            f"{name}={value}; give {low} or more"
            for name, low in least.items()
            if (value := getattr(self, name)) is not None and value < low
        ]
        if faults:
            raise ConfigError(format_faults(faults, "recipe"))


@strict_constructor
@dataclass(frozen=True, repr=False)
class Split:
    """Which clips train, choose the epoch, and test; by index in the data set."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    fold: int | None = None
    """The test fold, where folds rotate."""
    notice: str | None = None
    """What was decided where the data left it open."""

    @override
    def __repr__(self) -> str:
        fold = "" if self.fold is None else f", fold {self.fold}"
        return f"Split(train {len(self.train):,}, validation {len(self.validation):,}, test {len(self.test):,} clips{fold})"

    def named(self, name: SplitName) -> tuple[int, ...]:
        """Clips of one split.

        Args:
            name: which.

        Returns:
            Their indices.
        """
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]


class Division(NamedTuple):
    """The clips of one split, or all."""

    clips: tuple[int, ...]
    """Indices of the clips; at least one."""
    split: Split
    """The split that these clips belong to."""


@strict_constructor
@dataclass(frozen=True, repr=False)
class AudioDataset(Summarised):
    """A data set as read: clips sorted by name, labels in the order of their class indices."""

    source: str
    """``layout:absolute path``."""
    clips: tuple[Clip, ...]
    labels: tuple[str, ...]
    recipe: DataRecipe
    validation_by_fold: bool = False
    """Whether the fold before the test fold validates (ESC-50), or a tenth of training does."""
    passed_over: tuple[PassedOver, ...] = ()
    """Recordings, links, folders and splits that were found and left out."""
    remarks: tuple[str, ...] = ()
    """What was cleaned or understood, and what looks wrong: lines that begin with ``Note:`` or ``Warning:``."""
    group_like: tuple[str, ...] = ()
    """Columns that were passed over and may hold groups, as ``speaker``."""
    task: Task = SINGLE_LABEL
    """What the labels of a clip mean, and by what clips are divided."""
    negatives: tuple[str, ...] = ()
    """Labels that mean none of the others, in the order of the labels: classes like the others, but never events."""
    window: float | None = None
    """Seconds of the windows that labelled regions were cut into; None where they were not."""

    def __post_init__(self) -> None:
        faults = [fault for label in self.labels if (fault := label_fault(label))]
        known = set(self.labels)
        if len(known) < len(self.labels):
            faults.append("a label occurs twice among the labels")
        foreign = sorted({repr(label) for clip in self.clips for label in clip.labels if label not in known})
        if foreign:
            faults.append(f"clips have labels that are not among the labels: {', '.join(foreign[:5])}")
        faults += [
            f"negative label {label!r} is not among the labels" for label in self.negatives if label not in known
        ]
        if faults:
            raise DataError(format_faults(faults, self.source))

    @override
    def _summary(self) -> Summary:
        counts: dict[str, Counter[str]] = {label: Counter() for label in self.labels}
        for clip in self.clips:
            for label in clip.labels:
                counts[label][clip.split or "train"] += 1
        sizes = Counter(clip.split or "train" for clip in self.clips)
        splits = [] if self.folds else [split for split in SPLITS if sizes[split]]
        parts = (
            number_of(len(self.folds), "fold") if self.folds else ", ".join(f"{one} {sizes[one]:,}" for one in splits)
        )
        clips, classes = number_of(len(self.clips), "clip"), some(self.labels, "class")
        columns = splits if len(splits) > 1 else ["clips"]
        return Summary(
            "AudioDataset",
            source_here(self.source),
            (clips, classes, parts),
            (
                ("clips", clips),
                ("classes", classes),
                ("folds" if self.folds else "splits", parts),
                ("task", self.task.name),
            ),
            ("class", *columns),
            tuple(
                (label, *(f"{count.total() if column == 'clips' else count[column]:,}" for column in columns))
                for label, count in counts.items()
            ),
            self.notices,
        )

    @cached_property
    def notices(self) -> tuple[str, ...]:
        """What to tell the user of the data: lines that begin with ``Note:`` or ``Warning:``."""
        left_out = (f"Note: {one.sentence}" for one in self.passed_over)
        return (*left_out, *self.remarks, *crossing_groups(self.clips))

    def ungrouped(self, selection: Selection | None = None) -> str | None:
        """What to say where a validation split will be drawn, and nothing tells which clips belong together.

        Args:
            selection: how the epoch will be chosen; as the recipe has it where None.

        Returns:
            A sentence; None where clips have groups, or nothing is drawn.
        """
        drawn = (selection or self.recipe.selection) == "best-validation" and not self.validation_by_fold
        if not drawn or any(clip.group is not None or clip.split == "validation" for clip in self.clips):
            return None
        sentence = "nothing says which clips share a speaker, session or device (column group of a table)"
        if not self.group_like:
            return sentence
        several = len(self.group_like) > 1
        return (
            f"{sentence}: if {' or '.join(self.group_like)} does, rename {'one of them' if several else 'it'} to group"
        )

    @property
    def paths(self) -> list[Path]:
        """Files of the clips, in order."""
        return [clip.path for clip in self.clips]

    @cached_property
    def targets(self) -> tuple[Any, ...]:
        """Target of each clip, as the task encodes it: where a clip has one label, the index of its class."""
        return tuple(self.task.encode(self.clips, self.labels).tolist())

    @cached_property
    def folds(self) -> tuple[int, ...]:
        """The folds that occur, sorted; empty where the data set has none."""
        return tuple(sorted({clip.fold for clip in self.clips if clip.fold is not None}))

    def split(self, fold: int | None = None, seed: int = 0, selection: Selection | None = None) -> Split:
        """Divide the clips.

        Args:
            fold: the test fold, where the data set has folds; the first one where None.
            seed: the seed of the held-out tenth, where the data set brings no validation split.
            selection: how the epoch will be chosen, which decides whether a tenth is held out; as the recipe has it where None.

        Returns:
            The split. A fold is never test and anything else at once; no clip is in two splits.

        Raises:
            ConfigError: the fold does not occur, or the data have no folds.
        """
        notices: list[str] = []
        if fold is not None and not self.folds:
            raise ConfigError(f"{self.source} has no folds, so no fold {fold}")
        if fold is not None and fold not in self.folds:
            raise ConfigError(unknown_choice("fold", fold, self.folds))
        if self.folds and fold is None:
            fold = self.folds[0]
            notices.append(
                f"fold {fold} of {len(self.folds)} is the test split; choose another fold, or cross-validate to test each"
            )
        parts = self._given_parts(fold)
        best = (selection or self.recipe.selection) == "best-validation"
        if best and parts["train"] and not parts["validation"]:
            held = hold_out(self.clips, parts["train"], seed, self.task)
            parts["train"], parts["validation"] = held.train, held.validation
            ungrouped = self.ungrouped(selection) if held.validation else None
            notices += [held.notice, *filter(None, [ungrouped])]
        train, validation, test = (tuple(parts[name]) for name in SPLITS)
        return Split(train, validation, test, fold, "; ".join(notices) or None)

    def divide(
        self, name: DivisionName | str, fold: int | None = None, seed: int = 0, selection: Selection | None = None
    ) -> Division:
        """The clips of one split, or all of them.

        Args:
            name: ``train``, ``validation``, ``test`` or ``all``.
            fold: see :meth:`split`; it decides nothing about all clips.
            seed: see :meth:`split`.
            selection: see :meth:`split`.

        Returns:
            The clips, and the split that they are of.

        Raises:
            ConfigError: an unknown split, or as of :meth:`split`.
            DataError: the split has no clips.
        """
        if name not in get_args(DivisionName):
            raise ConfigError(unknown_choice("split", name, get_args(DivisionName)))
        whole = tuple(range(len(self.clips)))
        if name == "all":
            return Division(whole, Split(whole, (), ()))
        split = self.split(fold, seed, selection)
        chosen = {"test": split.test, "validation": split.validation, "train": split.train}
        if not chosen[name]:
            others = ", ".join([other for other, clips in chosen.items() if clips] + ["all"])
            raise DataError(f"{self.source} has no {name} split; choose another split ({others})")
        return Division(chosen[name], split)

    def _given_parts(self, fold: int | None) -> dict[SplitName, list[int]]:
        """Clips of each split, as the data set itself divides them."""
        parts: dict[SplitName, list[int]] = {name: [] for name in SPLITS}
        # Rotating: the fold before the first is the last.
        before = self.folds[self.folds.index(fold) - 1] if fold is not None and self.validation_by_fold else None
        for number, clip in enumerate(self.clips):
            if fold is None:
                parts[clip.split or "train"].append(number)
            else:
                parts["test" if clip.fold == fold else "validation" if clip.fold == before else "train"].append(number)
        return parts

    @property
    def settled_length(self) -> int | None:
        """Frames of input that follow from no clip: the recipe's, or what holds a window whole; None where there is neither."""
        if self.recipe.max_length is not None or self.window is None:
            return self.recipe.max_length
        # All of it, so that the windows of a recording can be as long when the adapter is used.
        return frames_of(self.window, longest=1024)

    def input_length(self, split: Split, *, quiet: bool = False) -> int:
        """Input length of a model for these clips: the paper's for the data set, what holds their windows, or what holds most clips whole.

        Args:
            split: split of the clips; test clips decide nothing if splits are given. Where folds rotate, durations of all clips count, so
                that folds share one length.
            quiet: no progress bar.

        Returns:
            Frames of 10 ms.
        """
        if (settled := self.settled_length) is not None:
            return settled
        tested = set() if self.folds else set(split.test)
        deciding = [clip for clip in range(len(self.clips)) if clip not in tested]  # whatever few-shot drew
        return self.length_percentile(deciding, quiet=quiet)

    def length_percentile(self, clips: Sequence[int], share: float = 0.95, *, quiet: bool = False) -> int:
        """Input length that holds most clips whole.

        Args:
            clips: indices of the clips that may decide.
            share: the share of the clips that fit.
            quiet: no progress bar.

        Returns:
            Frames of 10 ms, 16 to 1024.
        """
        found = measure_durations([self.clips[number].region for number in clips], quiet=quiet)
        return input_frames([seconds for seconds in found if seconds is not None], share)


def frames_of(seconds: float, longest: int) -> int:
    """Input length that holds so many seconds whole.

    Args:
        seconds: length of a window in seconds.
        longest: longest input length in frames.

    Returns:
        Frames of 10 ms, 16 to the longest.
    """
    return min(max(1 + math.ceil((round(seconds * SAMPLING_RATE) - FRAME) / HOP), 16), longest)


def input_frames(seconds: Sequence[float], share: float = 0.95, longest: int = 1024) -> int:
    """Input length that holds most recordings whole.

    Args:
        seconds: their lengths.
        share: the share of them that fit.
        longest: longest input length in frames.

    Returns:
        Frames of 10 ms, 16 to the longest; the longest where there are no recordings.
    """
    if not seconds:
        return longest
    ordered = sorted(seconds)
    samples = ordered[math.ceil(share * len(ordered)) - 1] * SAMPLING_RATE
    return int(min(max(1 + (samples - FRAME) // HOP, 16), longest))


def find_audio(named: Iterable[Path]) -> dict[Path, Path]:
    """Find files by the names that a table gives them, with any audio suffix.

    Args:
        named: paths; a published list says ``.wav`` where a re-encoded copy has ``.flac``.

    Returns:
        The file of each name; names without one are left out.
    """
    listings: dict[Path, dict[str, Path]] = {}
    found: dict[Path, Path] = {}
    for path in named:
        if path.parent not in listings:
            listings[path.parent] = _by_name_and_stem(path.parent)
        entries = listings[path.parent]
        file = entries.get(path.name) or entries.get(path.stem)
        if file is not None:
            found[path] = file
    return found


def _by_name_and_stem(folder: Path) -> dict[str, Path]:
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    readable = readable_suffixes()
    files = [entry for entry in entries if entry.suffix.lower() in readable]
    return {**{file.stem: file for file in files}, **{file.name: file for file in files}}
