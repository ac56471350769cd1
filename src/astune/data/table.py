"""``csv:PATH``: a table of files and labels.

A sample: the row ``audio/7_jackson_12.wav,7,2`` under the header ``file_name,label,fold`` is a clip of class ``7`` in fold 2; its path is
relative to the table's folder, or absolute.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from astune.data.base import SPLITS, AudioDataset, Clip, SplitName
from astune.data.layout import Layout, dataset_of, register_layout
from astune.data.rows import read_rows, refuse, whole_number
from astune.errors import unknown

_ALIASES: dict[str, SplitName] = {**{name: name for name in SPLITS}, "valid": "validation", "val": "validation"}
_DEFAULT = "metadata.csv"


@register_layout("csv")
class Table(Layout):
    """A CSV file with a header."""

    tree: ClassVar[str] = """\
  PATH: a CSV file, or a folder with a metadata.csv, with the header
    file_name,label                and one of, or neither of
    file_name,label,split          train, validation or test
    file_name,label,fold           1, 2, 3, ...
  further columns are passed over
"""

    def recognises(self, path: Path) -> bool:
        """A ``.csv`` file, or a folder with ``metadata.csv``.

        Args:
            path: an existing file or folder.
        """
        return path.suffix.lower() == ".csv" if path.is_file() else (path / _DEFAULT).is_file()

    def load(self, path: Path) -> AudioDataset:
        """Read clips and labels.

        Args:
            path: the file, or a folder with ``metadata.csv``.

        Raises:
            DataError: columns are missing or contradict each other, or rows have no usable value; all faults at once.
        """
        file = path / _DEFAULT if path.is_dir() else path
        if not file.is_file():
            raise self.missing(path, f"there is no {_DEFAULT}")
        header, rows = read_rows(file)
        absent = [name for name in ("file_name", "label") if name not in header]
        if absent:
            raise self.missing(file, f"the header ({', '.join(header)}) has no column {' and no column '.join(absent)}")
        if "split" in header and "fold" in header:
            raise self.missing(file, "it has both a column split and a column fold; keep one")
        if not rows:
            raise self.missing(file, "it has no rows")
        faults: list[str] = []
        clips = [clip for number, row in rows if (clip := _clip(file, number, row, faults)) is not None]
        refuse(file, faults)
        clips = _portable(clips)
        files = Counter(os.path.abspath(clip.path) for clip in clips)  # noqa: PTH100 - links are files of their own
        refuse(file, [f"{name} is named {number} times" for name, number in files.items() if number > 1])
        return dataset_of(self, file, clips)


def _portable(clips: list[Clip]) -> list[Clip]:
    """Name clips with absolute paths so that no name tells where the data lie: draws are keyed by names."""
    absolute = [clip for clip in clips if Path(clip.name).is_absolute()]
    if not absolute:
        return clips
    root = os.path.commonpath([clip.path.parent for clip in absolute])
    return [
        replace(clip, name=clip.path.relative_to(root).as_posix()) if Path(clip.name).is_absolute() else clip
        for clip in clips
    ]


def _clip(file: Path, line: int, row: dict[str, str], faults: list[str]) -> Clip | None:
    before = len(faults)
    faults += [f"line {line}: {name} is empty" for name in ("file_name", "label") if not row.get(name)]
    split = None
    if row.get("split"):
        split = _ALIASES.get(row["split"].lower())
        if split is None:
            faults.append(f"line {line}: {unknown('split', row['split'], SPLITS)}")
    elif "split" in row:
        faults.append(f"line {line}: split is empty")
    fold = whole_number("fold", line, row, faults) if "fold" in row else None
    if len(faults) > before:
        return None
    name = Path(row["file_name"])
    return Clip(name if name.is_absolute() else file.parent / name, row["label"], name.as_posix(), split, fold)
