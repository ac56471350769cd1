"""``fluent_speech:PATH``: Fluent Speech Commands, 30,043 spoken orders to a house, 31 intents, 97 speakers (Lugosch et al., 2019).

A sample: ``3,wavs/speakers/2BqVo8kVB2Skwgyb/0a3129c0-4474-11e9-a9a5-5dbec3b8816a.wav,2BqVo8kVB2Skwgyb,Turn up the bedroom heat,``
``increase,heat,bedroom`` under ``,path,speakerId,transcription,action,object,location`` is the intent ``increase heat bedroom``. A part
that is ``none`` is left out: ``change language,none,none`` is ``change language``.

Split by speaker, as published: one table each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from astune.data.clip import Clip
from astune.data.dataset import AudioDataset, DataRecipe
from astune.data.layouts.base import Layout, dataset_of, register_layout
from astune.data.layouts.example import write_text, write_tone
from astune.data.named_files import NamedFiles, below
from astune.data.recordings import unnamed_recordings
from astune.data.rows import cell_faults, published_rows, refuse
from astune.data.splits import SplitName

if TYPE_CHECKING:
    from pathlib import Path

_INTENT = ("action", "object", "location")
_TABLES: dict[SplitName, str] = {"train": "train_data.csv", "validation": "valid_data.csv", "test": "test_data.csv"}


@register_layout("fluent_speech")
class FluentSpeech(Layout):
    """Fluent Speech Commands as published."""

    tree: ClassVar[str] = """\
  PATH/
    data/train_data.csv  valid_data.csv  test_data.csv     ,path,speakerId,transcription,action,object,location
    wavs/speakers/<speaker>/<id>.wav                       (any audio suffix)
"""
    published_classes: ClassVar[int | None] = 31
    published_clips: ClassVar[int | None] = 30_043
    recipe: ClassVar[DataRecipe] = DataRecipe(max_length=400, num_train_epochs=75, freq_mask=0, time_mask=0)

    @override
    def recognises(self, path: Path) -> bool:
        """A folder with the three tables in ``data/``."""
        return all((path / "data" / name).is_file() for name in _TABLES.values())

    @override
    def load(self, path: Path) -> AudioDataset:
        """Read clips, intents and splits.

        Args:
            path: the folder.

        Raises:
            DataError: a table or files it names are missing, or a row has no intent.
        """
        listed = NamedFiles(path)
        clips = [
            clip for split, name in _TABLES.items() for clip in self._clips(path, path / "data" / name, split, listed)
        ]
        skipped = unnamed_recordings(path, [str(clip.path) for clip in clips], everywhere=True)
        return dataset_of(self, path, clips, skipped=skipped, remarks=listed.remarks)

    def _clips(self, path: Path, file: Path, split: SplitName, listed: NamedFiles) -> list[Clip]:
        rows = published_rows(self, file, ("path", *_INTENT))
        refuse(file, [fault for line, row in rows for fault in cell_faults(line, row, "path", *_INTENT)])
        named = [path / below(path, listed.path(row["path"])) for _, row in rows]
        files = self.locate(path, named)
        return [
            Clip(
                (name.relative_to(path) if name.is_relative_to(path) else name).with_suffix("").as_posix(),
                files[name],
                (_intent(row),),
                split=split,
                group=row.get("speakerId") or None,
            )
            for name, (_, row) in zip(named, rows, strict=True)
        ]

    @override
    def write_example(self, folder: Path, suffix: str = ".wav") -> Path:
        """Three intents, a speaker a split, the nameless first column of the published tables.

        Args:
            folder: folder to write to.
            suffix: the suffix of the audio files; the tables say ``.wav`` all the same.

        Returns:
            The folder.
        """
        intents = ("increase,heat,bedroom", "change language,none,none", "activate,lights,kitchen")
        for number, name in enumerate(_TABLES.values()):
            rows = []
            for row, intent in enumerate(intents):
                file = f"wavs/speakers/speaker{number}/{row:08x}-4474-11e9"
                write_tone(folder / f"{file}{suffix}", pitch=400 + 100 * number + 10 * row)
                rows.append(f'{row},{file}.wav,speaker{number},"Do, please",{intent}')
            header = ",path,speakerId,transcription,action,object,location"
            write_text(folder / "data" / name, header, *rows)
        return folder


def _intent(row: dict[str, str]) -> str:
    return " ".join(row[name] for name in _INTENT if row[name] != "none") or "none"
