"""``folder:PATH``: a folder a class.

A sample: ``recordings/dog/yard-03.wav`` is a clip named ``dog/yard-03.wav`` with the label ``dog``; under
``recordings/test/dog/yard-03.wav`` it is a test clip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from astune.data.base import AudioDataset, Clip, SplitName, audio_files
from astune.data.layout import Layout, dataset_of, register_layout

if TYPE_CHECKING:
    from pathlib import Path

_SPLIT_FOLDERS: dict[str, SplitName] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


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

    def recognises(self, path: Path) -> bool:
        """A folder with folders in it.

        Args:
            path: an existing file or folder.
        """
        return bool(_subfolders(path))

    def load(self, path: Path) -> AudioDataset:
        """Read clips and labels.

        Args:
            path: the folder.

        Raises:
            DataError: no audio is found, or split folders stand beside class folders.
        """
        folders = _subfolders(path)
        splits = {folder: split for folder in folders if (split := _SPLIT_FOLDERS.get(folder.name.lower()))}
        others = [folder.name for folder in folders if folder not in splits and audio_files(folder)]
        if others and list(splits.values()) == ["train"]:
            splits = {}  # a class of trains, among other classes
        if splits and others:
            first = next(iter(splits)).name
            raise self.missing(path, f"split folders ({first}) and class folders ({others[0]}) stand side by side")
        if splits and "train" not in splits.values():
            raise self.missing(path, f"there is a {next(iter(splits)).name}/ but no train/")
        parents: dict[Path, SplitName | None] = {**splits} or {path: None}
        clips = [clip for folder, split in parents.items() for clip in _clips(path, folder, split)]
        if not clips:
            raise self.missing(path, "no audio files are found in class folders")
        return dataset_of(self, path, clips)


def _subfolders(path: Path) -> list[Path]:
    entries = path.iterdir() if path.is_dir() else ()
    return sorted(entry for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _clips(root: Path, parent: Path, split: SplitName | None) -> list[Clip]:
    return [
        Clip(file, folder.name, file.relative_to(root).as_posix(), split)
        for folder in _subfolders(parent)
        for file in audio_files(folder)
    ]
