"""A confusion matrix as records hold it: whole for few classes, its cells that are not zero for many.

A matrix of 1,000 classes has a million cells, of which as many can be filled as there are clips. Up to 50 classes it is a list of rows,
for whoever reads the file; beyond, ``{"classes": 1000, "true": [...], "predicted": [...], "clips": [...]}`` with an entry a filled cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_WHOLE = 50  # classes, ESC-50's: 2,500 numbers
_CLIPS = 2**40  # of a cell; sums of such numbers are those of the file
_CELLS = ("true", "predicted", "clips")

Record = list[list[int]] | dict[str, Any]


def to_record(matrix: Sequence[Sequence[int]]) -> Record:
    """A matrix as JSON whose size grows with the clips, not with the square of the classes.

    Args:
        matrix: clips by true class (row) and predicted class (column).

    Returns:
        What :func:`whole` reads.
    """
    if len(matrix) <= _WHOLE:
        return [list(row) for row in matrix]
    counts = np.asarray(matrix)
    true, predicted = np.nonzero(counts)
    cells = (true, predicted, counts[true, predicted])
    return {"classes": len(counts), **{name: of.tolist() for name, of in zip(_CELLS, cells, strict=True)}}


def whole(record: Record) -> NDArray[np.int64]:
    """The matrix of a record, of either form at any size.

    Args:
        record: the result of :func:`to_record`.

    Returns:
        Clips by true class (row) and predicted class (column), (classes, classes).
    """
    if isinstance(record, list):
        return np.asarray(record, np.int64)
    matrix = np.zeros((record["classes"], record["classes"]), np.int64)
    matrix[record["true"], record["predicted"]] = record["clips"]
    return matrix


def count_correct(record: Record) -> tuple[int, int]:
    """Count the clips on the diagonal, and all clips.

    Args:
        record: the result of :func:`to_record`.
    """
    if isinstance(record, list):
        return sum(row[index] for index, row in enumerate(record)), sum(map(sum, record))
    true, predicted, clips = (record[name] for name in _CELLS)
    return sum(n for t, p, n in zip(true, predicted, clips, strict=True) if t == p), sum(clips)


def refuse_other_shape(record: Record, classes: int) -> None:
    """Refuse a record that is not a matrix of so many classes.

    Args:
        record: a record read from a file.
        classes: classes of its run.

    Raises:
        ValueError: it is not.
    """
    if isinstance(record, list):
        sound = len(record) == classes and all(_are_counts(row, _CLIPS) and len(row) == classes for row in record)
    else:
        cells: list[Any] = [record.get(name) for name in _CELLS] if isinstance(record, dict) else []
        sound = all(map(_are_counts, cells, (classes, classes, _CLIPS))) and len({*map(len, cells)}) == 1
        sound = sound and record.get("classes") == classes
    if not sound:
        raise ValueError(f"its confusion matrix is not {classes} x {classes} counts of clips")


def _are_counts(values: object, end: int) -> bool:
    """Whether they are whole numbers from 0 to below an end."""
    return isinstance(values, list) and all(type(value) is int and 0 <= value < end for value in values)
