"""``esc50:PATH``: ESC-50, 2,000 environmental recordings of 5 seconds in 50 classes and 5 folds (Piczak, 2015), or a subset of it.

A sample: ``1-100032-A-0.wav,1,0,dog,True,100032,A`` under ``filename,fold,target,category,esc10,src_file,take`` is
``audio/1-100032-A-0.wav`` (or the same name with another audio suffix), class ``dog``, fold 1. Subsets keep their ``target`` values, with
gaps; class indices here are the rank of the values that occur.

Protocol of the paper: three folds train, the next one chooses the epoch, the next one tests, rotating.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from astune.data.clip import Clip
from astune.data.dataset import AudioDataset, DataRecipe
from astune.data.layouts.base import Layout, dataset_of, register_layout
from astune.data.layouts.example import write_text, write_tone
from astune.data.named_files import NamedFiles
from astune.data.recordings import unnamed_recordings
from astune.data.rows import cell_faults, numbered_classes, published_rows, refuse, whole_number

if TYPE_CHECKING:
    from pathlib import Path

_COLUMNS = ("filename", "fold", "target", "category")


@register_layout("esc50")
class Esc50(Layout):
    """ESC-50 as published, and ESC-10."""

    tree: ClassVar[str] = """\
  PATH/
    meta/esc50.csv     filename,fold,target,category,...
    audio/             1-100032-A-0.wav ... (any audio suffix)
"""
    published_folds: ClassVar[tuple[int, ...]] = (1, 2, 3, 4, 5)
    published_classes: ClassVar[int | None] = 50
    published_clips: ClassVar[int | None] = 2_000
    recipe: ClassVar[DataRecipe] = DataRecipe(max_length=500, num_train_epochs=50, freq_mask=24, time_mask=80)

    @override
    def recognises(self, path: Path) -> bool:
        """A folder with ``meta/esc50.csv``."""
        return (path / "meta" / "esc50.csv").is_file()

    @override
    def load(self, path: Path) -> AudioDataset:
        """Read clips, labels and folds.

        Args:
            path: the folder.

        Raises:
            DataError: the table or files it names are missing, or the table contradicts itself.
        """
        file = path / "meta" / "esc50.csv"
        rows = published_rows(self, file, _COLUMNS)
        faults: list[str] = []
        for line, row in rows:
            whole_number("fold", line, row, faults)
            whole_number("target", line, row, faults)
            faults += cell_faults(line, row, "filename", "category")
        refuse(file, faults)
        labels = numbered_classes(self, file, rows, "target", "category")
        listed = NamedFiles(path / "audio")
        named = [path / "audio" / listed.path(row["filename"]) for _, row in rows]
        files = self.locate(path, named)
        clips = [
            Clip(name.stem, files[name], (row["category"],), fold=int(row["fold"]), group=row.get("src_file") or None)
            for name, (_, row) in zip(named, rows, strict=True)
        ]
        return dataset_of(
            self,
            path,
            clips,
            labels,
            validation_by_fold=True,
            skipped=unnamed_recordings(path, list(map(str, files.values())), everywhere=True),
            remarks=listed.remarks,
        )

    @override
    def write_example(self, folder: Path, suffix: str = ".wav") -> Path:
        """Two classes, five folds, two clips of each; targets with a gap, as in ESC-10, and not in the order of the names.

        Args:
            folder: folder to write to.
            suffix: the suffix of the audio files; the table says ``.wav`` all the same.

        Returns:
            The folder.
        """
        rows = []
        for fold in range(1, 6):
            for target, category in ((0, "rain"), (7, "dog")):
                for take in "AB":
                    stem = f"{fold}-{1000 + target}{fold}-{take}-{target}"
                    pitch = 200 + 100 * fold + 10 * target + ord(take)
                    write_tone(folder / "audio" / f"{stem}{suffix}", pitch=pitch)
                    rows.append(f"{stem}.wav,{fold},{target},{category},False,{1000 + target},{take}")
        write_text(folder / "meta" / "esc50.csv", "filename,fold,target,category,esc10,src_file,take", *rows)
        return folder
