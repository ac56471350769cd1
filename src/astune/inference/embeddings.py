"""Embeddings as a value: a row of numbers for each clip or window, with its name, its span and its labels; saved and read back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from astune.errors import ConfigError, DataError
from astune.inference import array_files
from astune.printable import printable
from astune.validated import strict_constructor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Self

    from astune.inference.embedder import Material, RowIndex

_CHUNK = 2**24  # bytes of values that are written at a time
_OPTIONAL = ("labels", "splits", "folds", "groups")  # columns of labelled data


_KINDS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("names", "files", "splits", "groups"), lambda cell: cell is None or isinstance(cell, str)),
    **dict.fromkeys(("starts", "ends"), lambda cell: isinstance(cell, int | float)),
    "folds": lambda cell: cell is None or isinstance(cell, int),
    "labels": lambda cell: isinstance(cell, tuple) and all(isinstance(label, str) for label in cell),
}
"""Whether a cell is such as a column of a file has."""


@strict_constructor
@dataclass(frozen=True, eq=False)
class Embeddings:
    """Rows in the order of the inputs, and of time within each.

    Raises:
        ConfigError: columns of another length than the values.
    """

    values: NDArray[np.float32]
    """(rows, d), or (rows, tokens, d)."""
    names: tuple[str, ...]
    """Clip or recording of each row."""
    files: tuple[str, ...]
    """Audio file of each row; empty text for a waveform in memory."""
    starts: NDArray[np.float64]
    """(rows,), seconds from the beginning of the file."""
    ends: NDArray[np.float64]
    """(rows,), seconds of audio used for this row; later audio was not used."""
    labels: tuple[tuple[str, ...], ...] | None = None
    """Labels of each row; None, as for the three below, if the data have none."""
    splits: tuple[str | None, ...] | None = None
    folds: tuple[int | None, ...] | None = None
    groups: tuple[str | None, ...] | None = None
    about: dict[str, Any] = field(default_factory=dict)
    """What the values are: model, fingerprint, level, pool, window, hop, max_length and more."""

    def __post_init__(self) -> None:
        rows = len(self.values) if self.values.ndim else 0
        if self.values.ndim not in {2, 3}:
            raise ConfigError(f"values has the shape {self.values.shape}; give (rows, d) or (rows, tokens, d)")
        for name, cells in self.columns.items():
            if len(cells) != rows:
                raise ConfigError(
                    f"{name} has {len(cells):,} entries, and values has {rows:,} rows; give one for each row"
                )

    def __len__(self) -> int:
        return len(self.values)

    @override
    def __repr__(self) -> str:
        of = f" of {printable(self.about['model'])}" if "model" in self.about else ""
        return f"Embeddings{self.values.shape}{of}, {len(set(self.names)):,} inputs"

    @property
    def columns(self) -> dict[str, Any]:
        """All columns except the values, by name, with one entry per row."""
        always = {"names": self.names, "files": self.files, "starts": self.starts, "ends": self.ends}
        return always | {name: cells for name in _OPTIONAL if (cells := getattr(self, name)) is not None}

    def save(self, path: str | Path) -> None:
        """Write a file that is whole or not there; one of that name is replaced.

        Args:
            path: ends in ``.npz`` or ``.parquet``; :mod:`astune.inference.array_files` says what they hold.

        Raises:
            ConfigError: another ending, or parquet without pyarrow.
            OutputError: it cannot be written.
        """
        rows = rows_of_chunk(self.values.shape)
        chunks = (self.values[start : start + rows] for start in range(0, len(self), rows))
        array_files.write(Path(path), self.values.shape, chunks, self.columns, self.about)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what :meth:`save` or ``astune embed`` wrote.

        Args:
            path: the path of the file.

        Returns:
            All of it, in memory.

        Raises:
            ConfigError: another ending, or parquet without pyarrow.
            DataError: the file is missing, damaged, or another program's.
        """
        values, columns, about = array_files.read(Path(path))
        if not columns.keys() <= _KINDS.keys() or not {"names", "files", "starts", "ends"} <= columns.keys():
            raise DataError(f"{printable(path)} has columns that embeddings do not have: {', '.join(columns)}")
        strange = [name for name, cells in columns.items() if not all(map(_KINDS[name], cells))]
        if strange:
            raise DataError(f"{printable(path)} has {strange[0]} of an unexpected type; compute the embeddings again")
        times: dict[str, Any] = {name: np.array(columns.pop(name), np.float64) for name in ("starts", "ends")}
        text: dict[str, Any] = {name: tuple(cell or "" for cell in columns.pop(name)) for name in ("names", "files")}
        given: dict[str, Any] = times | text | {name: tuple(cells) for name, cells in columns.items()}
        return cls(values=values, about=about, **given)


def rows_of_chunk(shape: tuple[int, ...]) -> int:
    """How many rows are written at a time.

    Args:
        shape: the shape of all values.

    Returns:
        1 or more, some 16 MiB.
    """
    return max(1, _CHUNK // max(1, 4 * int(np.prod(shape[1:]))))


def columns_of(material: Material, index: RowIndex) -> dict[str, Any]:
    """The columns of rows that were computed.

    Args:
        material: the material that was embedded.
        index: index of the rows.

    Returns:
        Values for the fields of :class:`Embeddings`: labels only for a data set, and splits, folds and groups if it has them.
    """
    clips = material.clips
    paths = [str(clip.path) for clip in clips] or [_path(one) for one in _inputs(material, len(index.names))]

    def each(cells: Iterable[Any]) -> tuple[Any, ...]:
        known = list(cells)
        return tuple(known[number] for number in index.inputs)

    columns: dict[str, Any] = {
        "names": each(map(printable, index.names)),
        "files": each(map(printable, paths)),
        "starts": np.array(index.starts, np.float64),
        "ends": np.array(index.ends, np.float64),
    }
    if material.dataset is not None:
        columns["labels"] = each(clip.labels for clip in clips)
        for name in ("split", "fold", "group"):
            if any(getattr(clip, name) is not None for clip in clips):
                columns[f"{name}s"] = each(getattr(clip, name) for clip in clips)
    return columns


def _inputs(material: Material, count: int) -> Iterator[object]:
    given = material.inputs
    return (
        iter(given)
        if isinstance(given, list | tuple)
        else iter([given if isinstance(given, str | Path) else None] * count)
    )


def _path(one: object) -> str:
    return str(Path(one).absolute()) if isinstance(one, str | Path) else ""
