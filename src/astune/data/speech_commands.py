"""``speech_commands:PATH``: Google Speech Commands V2, 105,829 keywords of a second in 35 words (Warden, 2018), or data laid out like it.

A sample: ``backward/0165e0e8_nohash_0.wav`` is the word ``backward``; it validates when ``validation_list.txt`` has that line, tests when
``testing_list.txt`` has it, and trains otherwise. The lists keep a speaker's clips together. A list may say ``.wav`` where the files
are re-encoded (``.flac``).

Folders that start with an underscore (``_background_noise_``) are no words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from astune.data.audio import SUFFIXES
from astune.data.base import AudioDataset, Clip, DataRecipe, SplitName
from astune.data.layout import Layout, dataset_of, register_layout

if TYPE_CHECKING:
    from pathlib import Path

_LISTS: dict[SplitName, str] = {"validation": "validation_list.txt", "test": "testing_list.txt"}


@register_layout("speech_commands")
class SpeechCommands(Layout):
    """A folder a word, and the lists of those that validate and test."""

    tree: ClassVar[str] = """\
  PATH/
    validation_list.txt     word/file.wav, a line a clip
    testing_list.txt        word/file.wav, a line a clip
    backward/ bed/ ...      a folder a word (any audio suffix); what no list names is training
    _background_noise_/     passed over, as is every folder with a leading underscore
"""
    published_classes: ClassVar[int | None] = 35
    published_clips: ClassVar[int | None] = 105_829
    recipe: ClassVar[DataRecipe] = DataRecipe(
        max_length=100, num_train_epochs=75, per_device_train_batch_size=128, freq_mask=0, time_mask=0
    )

    def recognises(self, path: Path) -> bool:
        """A folder with both lists.

        Args:
            path: an existing file or folder.
        """
        return all((path / name).is_file() for name in _LISTS.values())

    def load(self, path: Path) -> AudioDataset:
        """Read clips, labels and splits.

        Args:
            path: the folder.

        Raises:
            DataError: a list or a file it names is missing, or a file is in both lists.
        """
        listed = self._listed(path)
        clips = [
            Clip(file, word, f"{word}/{file.stem}", listed.get(file, "train"))
            for file in sorted(path.glob("[!_.]*/[!.]*"))
            if file.suffix.lower() in SUFFIXES
            for word in [file.parent.name]
        ]
        if not clips:
            raise self.missing(path, "no audio files are found in word folders")
        return dataset_of(self, path, clips)

    def _listed(self, path: Path) -> dict[Path, SplitName]:
        splits: dict[Path, SplitName] = {}
        for split, name in _LISTS.items():
            if not (path / name).is_file():
                raise self.missing(path, f"there is no {name}")
            lines = (path / name).read_text(encoding="utf-8").splitlines()
            files = self.locate(path, [path / line.strip() for line in lines if line.strip()])
            twice = [file for file in files.values() if file in splits]
            if twice:
                shown = twice[0].relative_to(path)
                raise self.missing(path, f"{len(twice)} files are in both lists, {shown} among them")
            splits.update(dict.fromkeys(files.values(), split))
        return splits
