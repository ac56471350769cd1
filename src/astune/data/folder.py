"""``folder:PATH``: a folder a class.

A sample: ``recordings/dog/yard-03.wav`` is a clip named ``dog/yard-03.wav`` with the label ``dog``; under
``recordings/test/dog/yard-03.wav`` it is a test clip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from astune.data.base import AudioDataset, Clip, Layout, SplitName, audio_files, dataset_of, register_layout

if TYPE_CHECKING:
    from pathlib import Path

_SPLIT_FOLDERS: dict[str, SplitName] = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
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
        return path.is_dir() and bool(_subfolders(path))

    def load(self, path: Path) -> AudioDataset:
        """Read clips and labels.

        Args:
            path: the folder.

        Raises:
            DataError: no audio is found, or split folders stand beside class folders.
        """
        folders = _subfolders(path)
        splits = [folder for folder in folders if folder.name in _SPLIT_FOLDERS]
        others = [folder.name for folder in folders if folder.name not in _SPLIT_FOLDERS and audio_files(folder)]
        if others and [folder.name for folder in splits] == ["train"]:
            splits = []  # a class of trains, among other classes
        if splits and others:
            raise self.missing(
                path, f"split folders ({splits[0].name}) and class folders ({others[0]}) stand side by side"
            )
        clips: list[Clip] = []
        if splits:
            if "train" not in [folder.name for folder in splits]:
                raise self.missing(path, f"there is a {splits[0].name}/ but no train/")
            for folder in splits:
                clips += _clips(path, folder, _SPLIT_FOLDERS[folder.name])
        else:
            clips = _clips(path, path, None)
        if not clips:
            raise self.missing(path, "no audio files are found in class folders")
        return dataset_of(self, path, clips)


def _subfolders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _clips(root: Path, parent: Path, split: SplitName | None) -> list[Clip]:
    return [
        Clip(file, folder.name, file.relative_to(root).as_posix(), split)
        for folder in _subfolders(parent)
        for file in audio_files(folder)
    ]
