"""``folder:PATH``: a folder a class.

A sample: ``recordings/dog/yard-03.wav`` is a clip named ``dog/yard-03.wav`` with the label ``dog``; under
``recordings/test/dog/yard-03.wav`` it is a test clip.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from astune.data.clip import Clip
from astune.data.dataset import AudioDataset
from astune.data.layouts.base import Layout, dataset_of, register_layout
from astune.data.layouts.example import write_tone
from astune.data.recordings import (
    BESIDE,
    CIRCLE,
    DANGLING,
    NO_RECORDINGS,
    Found,
    Skipped,
    find_recordings,
    other_files,
    passed_over,
    subfolders,
)
from astune.data.rows import in_short
from astune.data.splits import SPLITS, ask_which, is_undecided, resembles_split, split_at_end, split_named
from astune.plurals import number_of
from astune.printable import printable

if TYPE_CHECKING:
    from pathlib import Path

    from astune.data.splits import SplitName

_FOLD = re.compile(r"fold[-_ ]?\d+", re.IGNORECASE)
_SHOWN = 3  # names of folders
_AS_TABLE = "or name files, labels and splits in a table (csv:PATH)"


@register_layout("folder")
class Folder(Layout):
    """A folder of recordings a class."""

    tree: ClassVar[str] = """\
  PATH/
    dog/      any depth, any audio suffix
    rain/
  or, with splits of your own (validation and test may be left out)
  PATH/
    train/dog/ ...  train/rain/ ...
    validation/dog/ ...
    test/dog/ ...
"""

    @override
    def recognises(self, path: Path) -> bool:
        """A folder with folders in it."""
        return bool(subfolders(path))

    @override
    def load(self, path: Path) -> AudioDataset:
        """Read clips and labels.

        Args:
            path: the folder.

        Raises:
            DataError: no audio is found, a class has none, or folders could be splits or classes.
        """
        if not path.is_dir():
            raise self.missing(path, "it is not a folder")
        found = find_recordings(path)
        tops = subfolders(path)
        by_top = _by_folder(found.files, 0)
        splits = self._splits(path, tops, by_top)
        skipped = [*found.skipped, *other_files(found)]
        faults: list[str] = []
        clips: list[Clip] = []
        silent: list[tuple[str, str]] = []  # folders without a clip: path and name
        parents: dict[str, SplitName | None] = {f"{top}/": split for top, split in splits.items()} or {"": None}
        for parent, split in parents.items():
            depth = 1 if parent else 0
            classes = _by_folder([file for file in found.files if file.startswith(parent)], depth)
            skipped += [Skipped(file, BESIDE) for file in classes.pop("", [])]
            silent += [(f"{parent}{name}", name) for name in subfolders(path / parent) if name not in classes]
            clips += [
                Clip(file, path / file, (name,), split=split) for name, files in classes.items() for file in files
            ]
            faults += _nested_splits(classes, parent, depth)
        if splits:
            skipped += [Skipped(file, BESIDE) for file in by_top.get("", [])]
            silent += [(top, top) for top in tops if top not in by_top]
        labels = {clip.label for clip in clips}
        for folder, name in silent:
            held = found.below(folder)
            if splits.keys() & {name} or name in labels or _is_no_class(folder, held):
                skipped.append(Skipped(folder, NO_RECORDINGS))
            else:
                faults.append(f"class folder {printable(folder)} holds {printable(held.holds())}")
        faults += [f"{printable(one.path)} links to nothing" for one in skipped if _is_lost_class(one, parents)]
        if not clips and not faults:
            raise self.missing(path, f"no audio files are found in class folders{_loose(found)}")
        if faults:
            raise self.missing(path, _all_faults(faults, skipped))
        return dataset_of(
            self,
            path,
            clips,
            skipped=skipped,
            remarks=[*found.remarks, *_understood(tops, splits, by_top), *_looks_nested(clips, 1 if splits else 0)],
        )

    def _splits(self, path: Path, tops: list[str], by_top: dict[str, list[str]]) -> dict[str, SplitName]:
        """Folders that are splits; none where all are classes.

        Raises:
            DataError: they could be either, or several things.
        """
        splits = {top: split for top in tops if (split := split_named(top))}
        undecided = [top for top in tops if is_undecided(top) and top in by_top]
        others = [top for top in by_top if top and top not in splits and top not in undecided]
        if undecided and not others:
            raise self.missing(path, "; ".join(ask_which(f"{printable(top)}/") for top in undecided))
        if undecided or (others and set(splits.values()) - {"train"}):
            first = printable(next(iter([*(top for top in splits if splits[top] != "train"), *undecided, *splits])))
            raise self.missing(
                path,
                f"split folders ({first}) and class folders ({printable(others[0])}) are in the same folder; "
                f"if {first} is a class, rename it, {_AS_TABLE}",
            )
        if others and splits:
            self._refuse_same_classes(path, splits, others, by_top)
            return {}  # a class of trains, among other classes
        if not splits:
            self._refuse_more_than_splits(path, by_top)
        return splits

    def _refuse_same_classes(
        self, path: Path, splits: dict[str, SplitName], others: list[str], by_top: dict[str, list[str]]
    ) -> None:
        """Refuse a train/ that is divided like the folders next to it."""
        train = next(iter(splits))
        folders = _by_folder(by_top.get(train, []), 1)
        inside = set(folders) - {""}
        for other in others:
            if inside & set(_by_folder(by_top[other], 1)):
                raise self.missing(
                    path,
                    f"{printable(train)}/ and {printable(other)}/ hold folders of the same names: are they splits? "
                    f"name them train, validation or test, {_AS_TABLE}",
                )
        if len(inside) > 1 and "" not in folders:
            raise self.missing(
                path,
                f"{printable(train)}/ holds folders ({_some(sorted(inside))}) and is next to "
                f"{printable(others[0])}/: is {printable(train)} a split or a class? rename it, {_AS_TABLE}",
            )

    def _refuse_more_than_splits(self, path: Path, by_top: dict[str, list[str]]) -> None:
        """Refuse folders like train-clean-100/ and test-clean/, x-train/ and x-test/, and fold1/ ... fold5/, in place of classes."""
        pairs: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for top in by_top:
            if ending := split_at_end(top):
                pairs[ending[0]].setdefault(ending[1], top)
        like: dict[str, str] = next(
            ({top: split for split, top in found.items()} for found in pairs.values() if len(found) > 1), {}
        )
        like = like or {top: split for top in by_top if (split := resembles_split(top))}
        nested = [top for top in like if set(_by_folder(by_top[top], 1)) - {""}]
        if len(set(like.values())) > 1 or (nested and len(like) == len([top for top in by_top if top])):
            shown = " and ".join(f"{printable(top)}/" for top in list(like)[:2])
            raise self.missing(
                path, f"{shown} look like splits and not like classes; name them train, validation or test, {_AS_TABLE}"
            )
        folds = [top for top in by_top if _FOLD.fullmatch(top)]
        if folds and len(folds) == len([top for top in by_top if top]):
            raise self.missing(
                path,
                f"{folds[0]}/ looks like a fold and not like a class; name folds in a table (csv:PATH, column fold)",
            )

    @override
    def write_example(self, folder: Path) -> Path:
        """Two classes in each split, one of them in folders within its folder.

        Args:
            folder: folder to write to.

        Returns:
            The folder.
        """
        for number, split in enumerate(SPLITS):
            for take in range(2 if split == "train" else 1):
                pitch = 300 + 100 * number + 10 * take
                write_tone(folder / split / "dog" / f"yard-{take}.wav", pitch=pitch)
                write_tone(folder / split / "rain" / "roof" / f"{take}.flac", pitch=pitch + 5)
        return folder


def _all_faults(faults: list[str], skipped: list[Skipped]) -> str:
    """Every fault, and all that was passed over, so that one look is enough."""
    notes = [f"  - {printable(one.sentence)}" for one in passed_over(skipped)]
    return "\n".join([in_short(faults), *(["in all:", *notes] if notes else [])])


def _is_no_class(folder: str, held: Found) -> bool:
    """Whether a folder without a clip is not a class: it contains only other files, or is a link to a parent folder."""
    circle = any(one.path == folder and one.kind == CIRCLE for one in held.skipped)
    return circle or bool(held.others and not held.skipped)


def _understood(tops: list[str], splits: dict[str, SplitName], by_top: dict[str, list[str]]) -> list[str]:
    """What was decided about folders whose names leave it open."""
    renamed = [f"{printable(top)} ({split})" for top, split in splits.items() if top.casefold() != split]
    remarks = [f"Note: folders are read as splits: {', '.join(renamed)}"] if renamed else []
    trains = [printable(top) for top in tops if not splits and split_named(top) and top in by_top]
    return remarks + [f"Note: the folder {top} is read as a class, as the folders beside it are" for top in trains]


def _is_lost_class(one: Skipped, parents: dict[str, SplitName | None]) -> bool:
    """Whether a broken link is among the class folders, with a name like a folder's."""
    parent, _, name = one.path.rpartition("/")
    return one.kind == DANGLING and "." not in name and (f"{parent}/" if parent else "") in parents


def _nested_splits(classes: dict[str, list[str]], parent: str, depth: int) -> list[str]:
    """What to ask about splits inside of class folders: dog/train/, dog/test/."""
    inside = {
        f"{parent}{name}/{'/'.join(folders[: level + 1])}/": folder
        for name, files in classes.items()
        for folders in {tuple(file.split("/")[depth + 1 : -1]) for file in files}
        for level, folder in enumerate(folders)
        if is_undecided(folder) or split_named(folder) in ("validation", "test")
    }
    if parent and (twice := [name for name in classes if split_named(name) or is_undecided(name)]):
        return [f"is {printable(f'{parent}{twice[0]}')}/ a split or a class? rename it, {_AS_TABLE}"]
    if not inside:
        return []
    shown, folder = min(inside.items())
    more = f", and {len(inside) - 1} more like it," if len(inside) > 1 else ""
    above = f"{printable(folder)}/{printable(next(iter(classes)))}/"
    return [f"is {printable(shown)}{more} a split? put splits above classes ({above}), {_AS_TABLE}"]


def _looks_nested(clips: list[Clip], depth: int) -> list[str]:
    """What to say where the folders within class folders may be the classes.

    Args:
        clips: all.
        depth: the depth of the class folders.
    """
    inside: defaultdict[str, set[str]] = defaultdict(set)
    labels = sorted({clip.label for clip in clips})
    for clip in clips:
        folders = clip.name.split("/")[depth + 1 : -1]
        if folders:
            inside[folders[0]].add(clip.label)
    if len(labels) == 1:
        label = printable(labels[0])
        hint = f"; if the folders in it ({_some(sorted(inside))}) are the classes, give {label}/ itself"
        return [f"Warning: there is only one class, {label}{hint if len(inside) > 1 else ''}"]
    shared = sorted(name for name, within in inside.items() if len(within) > 1)
    if not shared:
        return []
    within = sorted(inside[shared[0]])
    return [
        f"Note: class folders ({_some(within)}) hold folders of the same names ({_some(shared)}); "
        f"the classes are {_some(labels)}"
    ]


def _some(names: list[str]) -> str:
    return ", ".join(map(printable, names[:_SHOWN])) + (", ..." if len(names) > _SHOWN else "")


def _by_folder(files: list[str], depth: int) -> dict[str, list[str]]:
    """Files by the folder at a depth; files above that depth have an empty name."""
    folders: defaultdict[str, list[str]] = defaultdict(list)
    for file in files:
        parts = file.split("/", depth + 1)
        folders[parts[depth] if len(parts) > depth + 1 else ""].append(file)
    return dict(folders)


def _loose(found: Found) -> str:
    if found.files:
        verb = "is" if len(found.files) == 1 else "are"
        return (
            f"; {number_of(len(found.files), 'file')} {verb} outside of them, {printable(found.files[0])} for example"
        )
    return f"; it holds {printable(found.holds())}" if found.skipped else ""
