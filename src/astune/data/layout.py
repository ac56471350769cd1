"""How data sets lie on disk: the registry of layouts, and reading one by name or by recognition.

A layout is one file with one class and one import line in ``astune/data/__init__.py``; commands, error messages and the conformance
suite find it through the registry. ``esc50:PATH`` names the layout, a bare ``PATH`` is recognised.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

from astune.data.base import AudioDataset, DataRecipe, find_audio
from astune.errors import ConfigError, DataError, listing, unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from astune.data.base import Clip


class Layout(ABC):
    """How a data set lies on disk."""

    name: ClassVar[str] = ""
    """In ``name:PATH``."""
    tree: ClassVar[str] = ""
    """What is expected, as a drawing; shown when data are missing."""
    recipe: ClassVar[DataRecipe] = DataRecipe()
    published_folds: ClassVar[tuple[int, ...]] = ()
    """Of the data set as published, so that experiments can be planned without it; empty where its split is fixed."""
    published_classes: ClassVar[int | None] = None
    """Likewise."""
    published_clips: ClassVar[int | None] = None
    """Likewise, as the paper counts them (section IV), so that a part is not taken for the whole."""
    may_be_remote: ClassVar[bool] = False
    """Whether ``PATH`` may be something else than a path that exists: a hub id."""

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
            path: an existing file or folder; or a hub id, where the layout takes one.

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

    def locate(self, path: Path, named: Sequence[Path]) -> dict[Path, Path]:
        """Find the files that a table or a list names.

        Args:
            path: the data set's folder.
            named: paths in it, under any audio suffix.

        Returns:
            The file of each.

        Raises:
            DataError: some are not there.
        """
        files = find_audio(named)
        lost = [name for name in named if name not in files]
        if lost:
            what = f"{len(lost)} of {len(named)} files named there are missing, {lost[0].relative_to(path)} among them"
            raise self.missing(path, what)
        return files


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
        if not path.exists() and not layout.may_be_remote:
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
        path: where it was read from, or its hub id.
        clips: in any order.
        labels: in the order of class indices; sorted by name where None.
        validation_by_fold: see :class:`AudioDataset`.

    Returns:
        The data set.
    """
    ordered = tuple(sorted(clips, key=lambda clip: clip.name))
    names = tuple(labels) if labels is not None else tuple(sorted({clip.label for clip in ordered}))
    where = path.resolve() if path.exists() else path
    return AudioDataset(f"{layout.name}:{where}", ordered, names, layout.recipe, validation_by_fold)
