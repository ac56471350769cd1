"""What a data set is: clips with labels, and how they split; the registry of layouts.

A layout is one file with one class and one import line in ``astune/data/__init__.py``; commands, error messages and the conformance
suite find it through the registry. ``esc50:PATH`` names the layout, a bare ``PATH`` is recognised.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar, get_args

from astune.console import progress
from astune.data.audio import SUFFIXES, duration
from astune.errors import AudioError, ConfigError, DataError, listing, unknown
from astune.keyed import keyed_generator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)
VALIDATION_SHARE = 0.1  # of training, held out where a data set brings no validation split


@dataclass(frozen=True)
class Clip:
    """One labelled recording."""

    path: Path
    label: str
    name: str
    """Stable within the data set and the same on every machine: keys random draws and orders the clips."""
    split: SplitName | None = None
    fold: int | None = None


@dataclass(frozen=True)
class DataRecipe:
    """Training settings the paper states for a data set; None where nothing is stated and the data decide."""

    max_length: int | None = None
    """Input length, in frames of 10 ms."""
    num_train_epochs: int | None = None
    per_device_train_batch_size: int = 32
    freq_mask: int = 24
    """SpecAugment, in mel bins."""
    time_mask: int | None = None
    """SpecAugment, in frames."""
    selection: Literal["best-validation", "last"] = "best-validation"


@dataclass(frozen=True)
class Split:
    """Which clips train, choose the epoch, and test; by index in the data set."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    fold: int | None = None
    """The test fold, where folds rotate."""
    notice: str | None = None
    """What was decided where the data left it open."""

    def named(self, name: SplitName) -> tuple[int, ...]:
        """Clips of one split.

        Args:
            name: which.

        Returns:
            Their indices.
        """
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]


@dataclass(frozen=True)
class AudioDataset:
    """A data set as read: clips sorted by name, labels in the order of their class indices."""

    source: str
    """``layout:absolute path``."""
    clips: tuple[Clip, ...]
    labels: tuple[str, ...]
    recipe: DataRecipe
    validation_by_fold: bool = False
    """Whether the fold before the test fold validates (ESC-50), or a tenth of training does."""

    @property
    def paths(self) -> list[Path]:
        """Files of the clips, in order."""
        return [clip.path for clip in self.clips]

    @property
    def targets(self) -> list[int]:
        """Class index of each clip."""
        index = {label: number for number, label in enumerate(self.labels)}
        return [index[clip.label] for clip in self.clips]

    @property
    def folds(self) -> tuple[int, ...]:
        """The folds that occur, sorted; empty where the data set has none."""
        return tuple(sorted({clip.fold for clip in self.clips if clip.fold is not None}))

    def without(self, clips: Iterable[int]) -> AudioDataset:
        """The data set without some clips; labels stay.

        Args:
            clips: indices of those left out.

        Returns:
            A new data set.

        Raises:
            DataError: nothing is left.
        """
        gone = set(clips)
        kept = tuple(clip for number, clip in enumerate(self.clips) if number not in gone)
        if not kept:
            raise DataError(f"{self.source}: no clip is left")
        return replace(self, clips=kept)

    def split(self, fold: int | None = None, seed: int = 0) -> Split:
        """Divide the clips.

        Args:
            fold: the test fold, where the data set has folds; the first one where None.
            seed: of the held-out tenth, where the data set brings no validation split.

        Returns:
            The split. A fold is never test and anything else at once; no clip is in two splits.

        Raises:
            ConfigError: a fold that does not occur, or a fold where there are none.
            DataError: nothing is left to train on.
        """
        notices: list[str] = []
        parts: dict[SplitName, list[int]] = {name: [] for name in SPLITS}
        if self.folds:
            if fold is None:
                fold = self.folds[0]
                notices.append(
                    f"fold {fold} of {len(self.folds)} is the test split (--fold N or --cross-validate for others)"
                )
            if fold not in self.folds:
                raise ConfigError(unknown("fold", fold, self.folds))
            before = self.folds[self.folds.index(fold) - 1]  # rotating: the one before the first is the last
            for number, clip in enumerate(self.clips):
                held = self.validation_by_fold and clip.fold == before
                parts["test" if clip.fold == fold else "validation" if held else "train"].append(number)
        elif fold is not None:
            raise ConfigError(f"{self.source} has no folds, so no fold {fold}")
        else:
            for number, clip in enumerate(self.clips):
                parts[clip.split or "train"].append(number)
        if not parts["validation"] and self.recipe.selection == "best-validation":
            parts["train"], parts["validation"] = self._hold_out(parts["train"], seed)
            notices.append(
                f"no validation split is given: {len(parts['validation'])} of the training clips, a tenth of each class "
                f"drawn with seed {seed}, are held out to choose the epoch"
            )
        if not parts["train"]:
            raise DataError(f"{self.source} has no clips to train on")
        train, validation, test = (tuple(parts[name]) for name in SPLITS)
        return Split(train, validation, test, fold, "; ".join(notices) or None)

    def _hold_out(self, train: list[int], seed: int) -> tuple[list[int], list[int]]:
        held: set[int] = set()
        for label in self.labels:
            members = [number for number in train if self.clips[number].label == label]
            # A class of one clip stays in training: a class never trained on cannot be chosen for.
            share = min(max(1, round(VALIDATION_SHARE * len(members))), len(members) - 1) if members else 0
            ranks = {n: keyed_generator(seed, "validation", self.clips[n].name).random() for n in members}
            held.update(sorted(members, key=ranks.__getitem__)[: max(0, share)])
        return [n for n in train if n not in held], [n for n in train if n in held]

    def length_percentile(self, clips: Sequence[int], share: float = 0.95, *, quiet: bool = False) -> int:
        """Input length that holds most clips whole.

        Args:
            clips: indices of the clips that may decide.
            share: of the clips that fit.
            quiet: no progress bar.

        Returns:
            Frames of 10 ms, 16 to 1024.
        """
        seconds: list[float] = []
        with progress("Reading durations", len(clips), quiet=quiet) as advance, ThreadPoolExecutor() as pool:
            for length in pool.map(_duration_or_none, (self.clips[number].path for number in clips)):
                advance(1, "")
                if length is not None:
                    seconds.append(length)
        if not seconds:
            return 1024
        ordered = sorted(seconds)
        samples = ordered[math.ceil(share * len(ordered)) - 1] * 16_000
        return int(min(max(1 + (samples - 400) // 160, 16), 1024))


def _duration_or_none(path: Path) -> float | None:
    try:
        return duration(path)
    except AudioError:  # named with the other broken files when features are computed
        return None


class Layout(ABC):
    """How a data set lies on disk."""

    name: ClassVar[str] = ""
    """In ``name:PATH``."""
    tree: ClassVar[str] = ""
    """What is expected, as a drawing; shown when data are missing."""
    recipe: ClassVar[DataRecipe] = DataRecipe()

    @abstractmethod
    def recognises(self, path: Path) -> bool:
        """Whether a path looks like this layout.

        Args:
            path: an existing file or folder.
        """

    @abstractmethod
    def load(self, path: Path) -> AudioDataset:
        """Read clips and labels; audio is not opened.

        Args:
            path: an existing file or folder.

        Raises:
            DataError: something is missing or contradictory.
        """

    def missing(self, path: Path, what: str) -> DataError:
        """An error that shows the layout.

        Args:
            path: where it was looked for.
            what: what is wrong.

        Returns:
            The error, to be raised.
        """
        return DataError(f"{path}: {what}\n{self.name}:PATH expects\n{self.tree.rstrip()}")


LAYOUTS: dict[str, Layout] = {}

_LayoutType = TypeVar("_LayoutType", bound=type[Layout])


def register_layout(name: str) -> Callable[[_LayoutType], _LayoutType]:
    """Class decorator that makes a layout known.

    Args:
        name: in ``name:PATH``.

    Returns:
        The decorator.
    """

    def add(cls: _LayoutType) -> _LayoutType:
        if name in LAYOUTS:
            raise ValueError(f"two layouts are named {name!r}")
        cls.name = name
        LAYOUTS[name] = cls()
        return cls

    return add


def load_data(data: str | Path) -> AudioDataset:
    """Read a data set.

    Args:
        data: ``layout:PATH``, or a path whose layout is recognised.

    Returns:
        Clips, labels and folds.

    Raises:
        ConfigError: an unknown layout.
        DataError: there is nothing there, or not in that layout.
    """
    text = str(data)
    name, colon, rest = text.partition(":")
    if colon and (name in LAYOUTS or not Path(text).exists()):
        if name not in LAYOUTS:
            raise ConfigError(unknown("data layout", name, LAYOUTS))
        layout = LAYOUTS[name]
        path = Path(rest).expanduser()
        if not path.exists():
            raise layout.missing(path, "there is no such file or folder")
        return _checked(layout.load(path))
    path = Path(text).expanduser()
    if not path.exists():
        raise DataError(f"there is no {text!r} (looked in {Path.cwd()})\n{_all_trees()}")
    for layout in LAYOUTS.values():
        if layout.recognises(path):
            return _checked(layout.load(path))
    raise DataError(f"{text!r} is in none of the known layouts\n{_all_trees()}")


def _all_trees() -> str:
    return "\n".join(
        ["Known layouts:", *(f"{layout.name}:PATH\n{layout.tree.rstrip()}" for layout in LAYOUTS.values())]
    )


def _checked(dataset: AudioDataset) -> AudioDataset:
    faults = []
    names = Counter(clip.name for clip in dataset.clips)
    twice = [name for name, number in names.items() if number > 1]
    if twice:
        faults.append(f"{len(twice)} clips occur twice, {twice[0]} among them")
    if len(dataset.labels) < 2:
        faults.append(f"it takes two classes or more, and there is {', '.join(dataset.labels) or 'none'}")
    if faults:
        raise DataError(listing(faults, dataset.source))
    return dataset


def dataset_of(
    layout: Layout,
    path: Path,
    clips: Iterable[Clip],
    labels: Sequence[str] | None = None,
    *,
    validation_by_fold: bool = False,
) -> AudioDataset:
    """Put a data set together, in an order that no file system decides.

    Args:
        layout: its layout.
        path: where it was read from.
        clips: in any order.
        labels: in the order of class indices; sorted by name where None.
        validation_by_fold: see :class:`AudioDataset`.

    Returns:
        The data set.
    """
    ordered = tuple(sorted(clips, key=lambda clip: clip.name))
    names = tuple(labels) if labels is not None else tuple(sorted({clip.label for clip in ordered}))
    return AudioDataset(f"{layout.name}:{path.resolve()}", ordered, names, layout.recipe, validation_by_fold)


def audio_files(folder: Path) -> list[Path]:
    """Audio files anywhere under a folder.

    Args:
        folder: where to look; hidden files and folders are passed over.

    Returns:
        Their paths, sorted.
    """
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))
