"""``esc50:PATH``: ESC-50, 2,000 environmental recordings of 5 seconds in 50 classes and 5 folds (Piczak, 2015), or a subset of it.

A sample: ``1-100032-A-0.wav,1,0,dog,True,100032,A`` under ``filename,fold,target,category,esc10,src_file,take`` is
``audio/1-100032-A-0.wav`` (or the same name with another audio suffix), class ``dog``, fold 1. Subsets keep their ``target`` values, with
gaps; class indices here are the rank of the values that occur.

Protocol of the paper: three folds train, the next one chooses the epoch, the next one tests, rotating.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from astune.data.base import AudioDataset, Clip, DataRecipe, Layout, dataset_of, register_layout
from astune.data.table import read_rows

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
    recipe: ClassVar[DataRecipe] = DataRecipe(max_length=500, num_train_epochs=50, freq_mask=24, time_mask=80)

    def recognises(self, path: Path) -> bool:
        """A folder with ``meta/esc50.csv``.

        Args:
            path: an existing file or folder.
        """
        return (path / "meta" / "esc50.csv").is_file()

    def load(self, path: Path) -> AudioDataset:
        """Read clips, labels and folds.

        Args:
            path: the folder.

        Raises:
            DataError: the table or files it names are missing.
        """
        file = path / "meta" / "esc50.csv"
        if not file.is_file():
            raise self.missing(path, "there is no meta/esc50.csv")
        header, rows = read_rows(file)
        absent = [name for name in _COLUMNS if name not in header]
        if absent:
            raise self.missing(file, f"the header has no column {' and no column '.join(absent)}")
        bad = [line for line, row in rows if not (row["target"].isdecimal() and row["fold"].isdecimal())]
        if bad:
            raise self.missing(file, f"line {bad[0]}: fold and target must be whole numbers")
        files = {entry.stem: entry for entry in sorted((path / "audio").glob("*"))}
        stems = [row["filename"].rpartition(".")[0] or row["filename"] for _, row in rows]
        lost = [stem for stem in stems if stem not in files]
        if lost:
            raise self.missing(
                path, f"{len(lost)} of {len(rows)} files of the table are not in audio/, {lost[0]} among them"
            )
        clips = [
            Clip(files[stem], row["category"], stem, fold=int(row["fold"]))
            for stem, (_, row) in zip(stems, rows, strict=True)
        ]
        categories = {int(row["target"]): row["category"] for _, row in rows}
        if len(set(categories.values())) < len(categories) or len(
            {(r["target"], r["category"]) for _, r in rows}
        ) > len(categories):
            raise self.missing(file, "target and category do not name the same classes")
        labels = [categories[target] for target in sorted(categories)]
        return dataset_of(self, path, clips, labels, validation_by_fold=True)
