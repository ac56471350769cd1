"""How data sets are stored on disk: the registry of layouts, and reading one by name or by recognition.

A layout is one file with one class, which writes its own example, and one import line in ``astune/data/layouts/__init__.py``; commands,
error messages and the conformance suite find it through the registry. ``esc50:PATH`` names the layout, a bare ``PATH`` is recognised.
"""

from __future__ import annotations

import difflib
import os
from abc import ABC, abstractmethod
from collections import Counter
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from astune.data.clip_labels import clean_clips, first_clips, order_labels
from astune.data.dataset import AudioDataset, DataRecipe, find_audio
from astune.data.groups_and_negatives import with_options
from astune.data.labels import (
    alike_groups,
    clean_label,
    cleaning_remark,
    doubtful,
    find_similar,
    is_missing,
    label_fault,
    several_in_one,
)
from astune.data.made_folds import with_folds
from astune.data.named_files import windows_path
from astune.data.options import DataOptions
from astune.data.recordings import passed_over
from astune.errors import ConfigError, DataError, format_faults, unknown_choice
from astune.files import user_path
from astune.printable import printable
from astune.tasks import SINGLE_LABEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from astune.data.clip import Clip
    from astune.data.recordings import Skipped
    from astune.task import Task


class Layout(ABC):
    """How a data set is stored on disk."""

    name: ClassVar[str] = ""
    """Name of the layout in ``name:PATH``."""
    tree: ClassVar[str] = ""
    """Drawing of the expected files; shown when data are missing."""
    recipe: ClassVar[DataRecipe] = DataRecipe()
    published_folds: ClassVar[tuple[int, ...]] = ()
    """Folds of the published data set, so that experiments can be planned without it; empty if its split is fixed."""
    published_classes: ClassVar[int | None] = None
    """Number of classes of the data set as published."""
    published_clips: ClassVar[int | None] = None
    """Number of clips of the data set as published, as the paper counts them (section IV), so that a part is not taken for the whole."""
    reads: ClassVar[frozenset[str]] = frozenset()
    """Fields of :class:`DataOptions` that :meth:`load_with` understands; those of :data:`EVERY_LAYOUT` need not be named."""
    may_be_remote: ClassVar[bool] = False
    """Whether ``PATH`` may be something else than a path that exists: a hub id."""

    @abstractmethod
    def recognises(self, path: Path) -> bool:
        """Whether a path looks like this layout.

        Args:
            path: an existing file or folder.
        """

    def almost(self, path: Path) -> str | None:
        """What makes data look like this layout, where it is not recognised.

        Args:
            path: a file or folder that no layout recognises.

        Returns:
            The name of a file that has the right place and the wrong content; None where there is none.
        """
        del path
        return None

    @abstractmethod
    def load(self, path: Path) -> AudioDataset:
        """Read clips and labels; audio is not opened.

        Args:
            path: an existing file or folder; or a hub id, where the layout takes one.

        Raises:
            DataError: something is missing or contradictory.
        """

    def load_with(self, path: Path, options: DataOptions) -> AudioDataset:
        """Read clips and labels, with options; layouts that have columns or regions read those here.

        Args:
            path: see :meth:`load`.
            options: the user's; of those that are not in :attr:`reads`, none is given.

        Raises:
            DataError: see :meth:`load`.
        """
        del options
        return self.load(path)

    @abstractmethod
    def write_example(self, folder: Path) -> Path:
        """Write a tiny data set in this layout: two classes or more, each in training too, of short made sounds that all differ.

        The conformance suite reads it, so it should show what is special about the layout.

        Args:
            folder: folder to write to; it need not exist.

        Returns:
            What a user would give as ``PATH``.
        """

    def missing(self, path: Path, what: str) -> DataError:
        """An error that shows the layout.

        Args:
            path: path where the data set was expected.
            what: what is wrong.

        Returns:
            The error, to be raised.
        """
        return DataError(f"{printable(path)}: {what}\n{self.name}:PATH expects\n{self.tree.rstrip()}")

    def locate(self, path: Path, named: Sequence[Path]) -> dict[Path, Path]:
        """Find the files that a table or a list names.

        Args:
            path: the data set's folder.
            named: paths in it, under any audio suffix.

        Returns:
            The file of each.

        Raises:
            DataError: some are not there, or are in other folders.
        """
        files = find_audio(named)
        lost = [name for name in named if name not in files]
        if lost:
            first = lost[0].relative_to(path) if lost[0].is_relative_to(path) else lost[0]
            verb = "is" if len(lost) == 1 else "are"
            example = ", for example" if len(lost) > 1 else ""
            what = f"{len(lost)} of {len(named)} files named there {verb} missing: {printable(first)}{example}"
            raise self.missing(path, what)
        root = os.path.join(os.path.abspath(path), "")  # noqa: PTH100, PTH118 - links are files of their own
        outside = [name for name in named if not os.path.abspath(name).startswith(root)]  # noqa: PTH100
        if outside:
            what = f"{len(outside)} of {len(named)} files named there are in other folders, {printable(outside[0])} for example"
            raise self.missing(path, f"{what}; give a table of your own as csv:PATH")
        return files


_COMPARED = 1000  # names of a folder that are compared with one that is not there
_NEXT_STEP = "Give a folder of recordings, a table, or layout:PATH"
_WHERE_LAYOUTS_ARE = "`astune data layouts` shows what each layout expects"
LAYOUTS: dict[str, Layout] = {}
EVERY_LAYOUT = frozenset(("task", "negative", "group_by", "make_folds"))
"""Options that are applied to the clips of any layout; those that read ``task`` themselves can find several labels of a clip."""

_LayoutType = TypeVar("_LayoutType", bound=type[Layout])


def register_layout(name: str) -> Callable[[_LayoutType], _LayoutType]:
    """Class decorator that makes a layout known.

    Args:
        name: name of the layout, as in ``name:PATH``.

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


def load_data(data: str | Path, options: DataOptions | None = None, **given: Any) -> AudioDataset:
    """Read a data set.

    Args:
        data: ``layout:PATH``, or a path whose layout is recognised.
        options: options of reading the data set.
        given: fields of :class:`DataOptions`, instead of ``options``: ``load_data("audacity:recordings", window=2.0)``.

    Returns:
        The data set, with its clips, labels and folds.

    Raises:
        ConfigError: the layout is unknown, the path is empty, or the layout does not have an option that was given.
        DataError: the path does not exist, or does not have that layout.
    """
    if options is not None and given:
        raise ConfigError(f"load_data takes either options or {', '.join(given)}; give one of them")
    if not isinstance(data, str | Path):
        raise ConfigError(f"data is of type {type(data).__name__}; give a path, or layout:PATH, as text")
    if not str(data).strip():
        raise ConfigError("data is empty; give a path, or layout:PATH ('.' for this folder)")
    try:
        return _load(str(data), options or DataOptions(**given))
    except OSError as fault:
        where = printable(str(fault.filename or data)[:200])
        raise DataError(f"{where} cannot be read ({fault.strerror or fault})") from fault


def _load(text: str, options: DataOptions) -> AudioDataset:
    layout, path = _found(text)
    unread = [name for name in options.given_data_options if name not in layout.reads | EVERY_LAYOUT]
    if unread:
        readers = {name: [one.name for one in LAYOUTS.values() if name in one.reads] for name in unread}
        raise ConfigError(
            "; ".join(
                f"{layout.name}:PATH has no {name}, which is for {', '.join(names)}" for name, names in readers.items()
            )
        )
    dataset = _checked(with_options(layout.load_with(path, options), options))
    return dataset if options.make_folds is None else with_folds(dataset, options.make_folds)


def _found(text: str) -> tuple[Layout, Path]:
    """The layout of some data, and where they are.

    Raises:
        ConfigError: see :func:`load_data`.
        DataError: see :func:`load_data`.
    """
    name, colon, rest = text.partition(":")
    drive = len(name) == 1  # C:\recordings
    if colon and not drive and (name in LAYOUTS or not Path(text).exists()):
        if name not in LAYOUTS:
            raise ConfigError(unknown_choice("data layout", name, LAYOUTS))
        layout = LAYOUTS[name]
        path = user_path(rest)
        if not path.exists() and not layout.may_be_remote:
            raise DataError(
                f"{printable(path)}: there is no such file or folder{_near(path)}\n"
                f"Give the path of the data as {name}:PATH\n{_WHERE_LAYOUTS_ARE}"
            )
        return layout, path
    path = user_path(text)
    if not path.exists():
        windows = ", and a Windows path does not work here" if windows_path(text) else ""
        raise DataError(
            f"there is no '{printable(text)}' (looked in {Path.cwd()}{windows}){_near(path)}\n{_NEXT_STEP}\n{_WHERE_LAYOUTS_ARE}"
        )
    for layout in LAYOUTS.values():
        if layout.recognises(path):
            return layout, path
    almost: dict[str, list[str]] = {}
    for name, layout in LAYOUTS.items():
        if file := layout.almost(path):
            almost.setdefault(file, []).append(f"{name}:PATH")
    hints = [
        f"{printable(file)} stands beside its recording and cannot be used as it is; {' or '.join(names)} says why\n"
        for file, names in almost.items()
    ]
    raise DataError(
        f"'{printable(text)}' is not in a known layout: {', '.join(LAYOUTS)}\n{''.join(hints)}{_NEXT_STEP}\n{_WHERE_LAYOUTS_ARE}"
    )


def layout_of(data: str | Path) -> Layout:
    """The layout that :func:`load_data` would read.

    Args:
        data: see :func:`load_data`.

    Returns:
        The layout that is named, or that the path looks like.

    Raises:
        ConfigError: an unknown layout.
        DataError: there is nothing there, or in no known layout.
    """
    return _found(str(data))[0]


def _near(path: Path) -> str:
    """The name most like one that is not there, in the deepest folder that is there."""
    with suppress(OSError, ValueError):
        folder = path.absolute()
        while not folder.parent.is_dir():
            folder = folder.parent
        names = [one.name for one in islice(folder.parent.iterdir(), _COMPARED)]
        near = next(iter(difflib.get_close_matches(folder.name, names, n=1)), None)
        if near and near != folder.name:
            shown = folder.parent / near if path.is_absolute() or path.parent != Path() else Path(near)
            return f"; did you mean '{printable(shown)}'?"
    return ""


def layout_trees() -> str:
    """What each layout expects in its folder, for people.

    Returns:
        A drawing for each layout.
    """
    return "\n".join(
        ["Known layouts:", *(f"{layout.name}:PATH\n{layout.tree.rstrip()}" for layout in LAYOUTS.values())]
    )


def _checked(dataset: AudioDataset) -> AudioDataset:
    faults = []
    names = Counter(clip.name for clip in dataset.clips)
    twice = [name for name, number in names.items() if number > 1]
    if twice:
        verb = "clip occurs" if len(twice) == 1 else "clips occur"
        faults.append(f"{len(twice)} {verb} twice, {printable(twice[0])} among them")
    if not dataset.clips:
        faults.append("\n".join(["there are no clips", *map(printable, dataset.remarks)]))
    if faults:
        raise DataError(format_faults(faults, dataset.source))
    return dataset


def dataset_of(
    layout: Layout,
    path: Path,
    clips: Iterable[Clip],
    labels: Sequence[str] | None = None,
    *,
    validation_by_fold: bool = False,
    skipped: Iterable[Skipped] = (),
    remarks: Sequence[str] = (),
    locations: Mapping[str, str] | None = None,
    group_like: tuple[str, ...] = (),
    window: float | None = None,
    task: Task = SINGLE_LABEL,
) -> AudioDataset:
    """Put a data set together, in an order that no file system decides, with labels that mean one class each.

    Args:
        layout: its layout.
        path: path or hub id of the data set.
        clips: clips in any order.
        labels: labels in the order of class indices; by default sorted by name.
        validation_by_fold: see :class:`AudioDataset`.
        skipped: what was passed over.
        remarks: what was understood.
        locations: where each label first occurs, for messages; by default its first clip.
        group_like: columns that may hold groups.
        window: see :class:`AudioDataset`.
        task: what the labels of a clip mean.

    Returns:
        The data set.

    Raises:
        DataError: a label cannot be used, or two of them are one in two spellings; all faults at once.
    """
    ordered = sorted(clips, key=lambda clip: clip.name)
    first = first_clips(ordered)
    clean = {label: clean_label(label) for label in (*first, *(labels or ()))}
    groups = {clip.group: clean_label(clip.group) for clip in ordered if clip.group is not None}
    ordered = clean_clips(ordered, clean, groups)
    used = sorted({label for clip in ordered for label in clip.labels})
    names = used if labels is None else list(dict.fromkeys(clean[label] for label in labels))
    ordered = order_labels(ordered, names)
    # A label of a table may have no clip: it was cleaned before, or its windows are too wide.
    first_locations = {
        clean.get(label) or clean_label(label): location for label, location in {**first, **(locations or {})}.items()
    }

    def location_of(label: str) -> str:
        return printable(first_locations.get(label, "no clip"))

    impossible = _impossible(names, ordered, task, layout, location_of)
    same, warnings = find_similar(names, location_of)
    warnings += [*doubtful(names, location_of), *alike_groups(list(dict.fromkeys(groups.values())))]
    source = f"{layout.name}:{path.resolve() if path.exists() else path}"
    if impossible or same:
        raise DataError(format_faults(impossible + same, printable(source)))
    return AudioDataset(
        source,
        tuple(ordered),
        tuple(names),
        layout.recipe,
        validation_by_fold,
        passed_over(skipped),
        (*remarks, *cleaning_remark({label: new for label, new in clean.items() if new != label}), *warnings),
        group_like,
        task,
        window=window,
    )


def _impossible(
    names: Sequence[str], clips: Sequence[Clip], task: Task, layout: Layout, location_of: Callable[[str], str]
) -> list[str]:
    """Faults of labels and groups that cannot be used, each with its location."""
    faults = [f"{fault} ({location_of(label)})" for label in names if (fault := label_fault(label))]
    missing = next((clip for clip in clips if clip.group is not None and is_missing(clip.group)), None)
    if missing is not None:
        faults.append(f"a group is named {missing.group!r}, as a missing value is ({printable(missing.name)})")
    if task.counts_clips:
        faults += several_in_one(names, location_of, _way_out(layout))
    return faults


def _way_out(layout: Layout) -> str:
    """What to do about several labels in one."""
    return (
        "set task=multi-label"
        if "task" in layout.reads
        else "name files and their labels in a table (csv:PATH, column labels)"
    )
