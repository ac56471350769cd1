"""``urbansound8k:PATH``: UrbanSound8K, 8,732 excerpts of city sounds, 4 seconds at most, 10 classes, 10 folds (Salamon et al., 2014).

A sample: ``100032-3-0-0.wav,100032,0.0,0.317551,1,5,3,dog_bark`` under
``slice_file_name,fsID,start,end,salience,fold,classID,class`` is ``audio/fold5/100032-3-0-0.wav`` (or the same name with another audio
suffix), class ``dog_bark``, whose index is 3. Slices of one recording share a fold, so folds must stay as they are published.

Protocol of the paper: nine folds train, one tests, no clip validates, and the weights of the last epoch are kept. Who asks for the
best validation epoch gets a tenth of the nine folds held out.
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

_COLUMNS = ("slice_file_name", "fold", "classID", "class")


@register_layout("urbansound8k")
class UrbanSound8K(Layout):
    """UrbanSound8K as published."""

    tree: ClassVar[str] = """\
  PATH/
    metadata/UrbanSound8K.csv     slice_file_name,fsID,start,end,salience,fold,classID,class
    audio/fold1/ ... fold10/      100032-3-0-0.wav ... (any audio suffix)
"""
    published_folds: ClassVar[tuple[int, ...]] = tuple(range(1, 11))
    published_classes: ClassVar[int | None] = 10
    published_clips: ClassVar[int | None] = 8_732
    recipe: ClassVar[DataRecipe] = DataRecipe(
        max_length=400, num_train_epochs=30, freq_mask=24, time_mask=80, selection="last"
    )

    @override
    def recognises(self, path: Path) -> bool:
        """A folder with ``metadata/UrbanSound8K.csv``."""
        return (path / "metadata" / "UrbanSound8K.csv").is_file()

    @override
    def load(self, path: Path) -> AudioDataset:
        """Read clips, labels and folds.

        Args:
            path: the folder.

        Raises:
            DataError: the table or files it names are missing, or the table contradicts itself.
        """
        file = path / "metadata" / "UrbanSound8K.csv"
        rows = published_rows(self, file, _COLUMNS)
        faults: list[str] = []
        for line, row in rows:
            whole_number("fold", line, row, faults)
            whole_number("classID", line, row, faults)
            faults += cell_faults(line, row, "slice_file_name", "class")
        refuse(file, faults)
        labels = numbered_classes(self, file, rows, "classID", "class")
        listed = NamedFiles(path / "audio")
        named = [path / "audio" / f"fold{int(row['fold'])}" / listed.path(row["slice_file_name"]) for _, row in rows]
        files = self.locate(path, named)
        clips = [
            Clip(name.stem, files[name], (row["class"],), fold=int(row["fold"]), group=row.get("fsID") or None)
            for name, (_, row) in zip(named, rows, strict=True)
        ]
        skipped = unnamed_recordings(path, list(map(str, files.values())), everywhere=True)
        return dataset_of(self, path, clips, labels, skipped=skipped, remarks=listed.remarks)

    @override
    def write_example(self, folder: Path, suffix: str = ".wav") -> Path:
        """Two of the ten classes, ten folds, two slices of each; the order of the names is not that of the numbers.

        Args:
            folder: folder to write to.
            suffix: the suffix of the audio files; the table says ``.wav`` all the same.

        Returns:
            The folder.
        """
        rows = []
        for fold in range(1, 11):
            for number, name in ((3, "dog_bark"), (0, "air_conditioner")):
                for occurrence in range(2):
                    stem = f"{1000 + fold}-{number}-0-{occurrence}"
                    pitch = 200 + 100 * fold + 10 * number + occurrence
                    write_tone(folder / "audio" / f"fold{fold}" / f"{stem}{suffix}", pitch=pitch)
                    rows.append(f"{stem}.wav,{1000 + fold},0.0,0.05,1,{fold},{number},{name}")
        header = "slice_file_name,fsID,start,end,salience,fold,classID,class"
        write_text(folder / "metadata" / "UrbanSound8K.csv", header, *rows)
        return folder
