"""``speech_commands:PATH``: Google Speech Commands V2, 105,829 keywords of a second in 35 words (Warden, 2018), or data laid out like it.

A sample: ``backward/0165e0e8_nohash_0.wav`` is the word ``backward``; it validates when ``validation_list.txt`` has that line, tests when
``testing_list.txt`` has it, and trains otherwise. The lists keep a speaker's clips together. A list may say ``.wav`` where the files
are re-encoded (``.flac``).

Folders that start with an underscore (``_background_noise_``) are no words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from astune.data.clip import Clip
from astune.data.dataset import AudioDataset, DataRecipe
from astune.data.layouts.base import Layout, dataset_of, register_layout
from astune.data.layouts.example import write_text, write_tone
from astune.data.named_files import NamedFiles, below, windows_fault
from astune.data.recordings import BESIDE, NO_RECORDINGS, Skipped, find_recordings, other_files, subfolders
from astune.data.rows import read_lines, refuse
from astune.data.splits import SplitName, is_undecided, split_named
from astune.printable import printable

if TYPE_CHECKING:
    from pathlib import Path

_UNDERSCORE = "recordings in folders with a leading underscore"
_DEEPER = "recordings in folders within a word's folder"
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

    @override
    def recognises(self, path: Path) -> bool:
        """A folder with a list; the other one must then be there too."""
        return any((path / name).is_file() for name in _LISTS.values())

    @override
    def load(self, path: Path) -> AudioDataset:
        """Read clips, labels and splits.

        Args:
            path: the folder.

        Raises:
            DataError: a list or a file it names is missing, or a file is in both lists.
        """
        names = NamedFiles(path)
        listed = self._listed(path, names)
        found = find_recordings(path)
        clips: list[Clip] = []
        skipped = list(found.skipped)
        for name in found.files:
            word, _, rest = name.partition("/")
            if not rest:
                skipped.append(Skipped(name, BESIDE))
            elif "/" in rest:
                skipped.append(Skipped(name, _DEEPER))
            elif word.startswith("_"):
                skipped.append(Skipped(name, _UNDERSCORE))
            else:
                file = path / name
                split, group = listed.get(file, "train"), _speaker(file.stem)
                clips.append(Clip(f"{word}/{file.stem}", file, (word,), split=split, group=group))
        if not clips:
            raise self.missing(path, "no audio files are found in word folders")
        used = {clip.label for clip in clips}
        splits = [word for word in sorted(used) if split_named(word) or is_undecided(word)]
        if splits:
            raise self.missing(
                path,
                f"is {printable(splits[0])}/ a split? the lists say which clips validate and test; rename the folder",
            )
        for name in subfolders(path):
            if name not in used and not name.startswith("_"):
                held = found.below(name)
                if not (held.others and not held.skipped and not held.files):
                    raise self.missing(path, f"word folder {printable(name)} holds {printable(held.holds())}")
                skipped.append(Skipped(name, NO_RECORDINGS))
        skipped += other_files(found)
        return dataset_of(self, path, clips, skipped=skipped, remarks=[*found.remarks, *names.remarks])

    def _listed(self, path: Path, names: NamedFiles) -> dict[Path, SplitName]:
        splits: dict[Path, SplitName] = {}
        for split, name in _LISTS.items():
            if not (path / name).is_file():
                raise self.missing(path, f"there is no {name}")
            lines = [(number, text.strip()) for number, text in enumerate(read_lines(path / name), start=1)]
            refuse(path / name, [f"line {number}: {fault}" for number, text in lines if (fault := windows_fault(text))])
            files = self.locate(path, [path / below(path, names.path(text)) for _, text in lines if text])
            twice = [file for file in files.values() if file in splits]
            if twice:
                shown = twice[0].relative_to(path)
                files_are = "1 file is" if len(twice) == 1 else f"{len(twice)} files are"
                raise self.missing(path, f"{files_are} in both lists, {shown} among them")
            splits.update(dict.fromkeys(files.values(), split))
        return splits

    @override
    def write_example(self, folder: Path, suffix: str = ".flac") -> Path:
        """Two words, six speakers, lists that say ``.wav``, and background noise.

        Args:
            folder: folder to write to.
            suffix: the suffix of the words.

        Returns:
            The folder.
        """
        lists: dict[SplitName, list[str]] = {"validation": [], "test": []}
        for number, word in enumerate(("yes", "bed")):
            for speaker in range(6):
                stem = f"{word}/{speaker:08x}_nohash_0"
                write_tone(folder / f"{stem}{suffix}", pitch=300 + 100 * speaker + 10 * number)
                if speaker < 2:
                    lists["validation" if speaker else "test"].append(f"{stem}.wav")
        for split, lines in lists.items():
            write_text(folder / _LISTS[split], *lines)
        write_tone(folder / "_background_noise_" / "hum.wav", pitch=50)
        write_text(folder / "README.md", "not audio")
        return folder


def _speaker(stem: str) -> str | None:
    """Who speaks, which the published names say before ``_nohash_``."""
    speaker, published, _ = stem.partition("_nohash_")
    return speaker if published else None
