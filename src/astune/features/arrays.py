"""Arrays that are computed once and mapped from then on: one folder an array, whole or not there.

``features.npy`` holds the rows, ``index.json`` what is known of them. A folder gets its final name only when it is whole; a lock lets
one process compute while others wait.
"""

from __future__ import annotations

import errno
import io
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from astune.errors import DataError, explain_write_errors
from astune.files import leftovers, make_folder, remove_folder, replacing_folder
from astune.folder_lock import hold
from astune.json_text import json_value

ARRAY, INDEX = "features.npy", "index.json"

Rows = Callable[[NDArray[Any]], None]
"""Appends rows to an array that is being written."""

_Index = TypeVar("_Index")
_Entry = TypeVar("_Entry")


def stored_array(
    folder: Path,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    compute: Callable[[Rows], dict[str, Any]],
    read_index: Callable[[dict[str, Any]], _Index],
) -> tuple[NDArray[Any], _Index]:
    """Open an array, computing it first if need be.

    Args:
        folder: of this array alone; its name covers everything that decides the values.
        shape: of the array.
        dtype: of its values.
        compute: gives all rows in order to the function it is handed, and returns what ``index.json`` shall say.
        read_index: what is wanted of the index; where it fails, the folder is damaged and computed again.

    Returns:
        The array, memory-mapped and read-only, and what was read of the index.

    Raises:
        OutputError: it cannot be written.
        DataError: it cannot be read back.
    """
    found = _open(folder, shape, dtype, read_index)
    if found is not None:
        return found
    size = math.prod(shape) * np.dtype(dtype).itemsize
    with explain_write_errors(
        folder, "it is in the cache: make room there, or set ASTUNE_CACHE to another folder", size
    ):
        make_folder(folder.parent)
        with hold(Path(f"{folder}.lock"), "computes the same part of the cache"):
            found = _open(folder, shape, dtype, read_index)
            if found is None:
                _compute(folder, shape, dtype, compute)
                found = _open(folder, shape, dtype, read_index)
    if found is None:
        raise DataError(f"what was just written to {folder} cannot be read back; is the disk full?")
    return found


def by_row(entries: object, rows: int, kind: type[_Entry]) -> dict[int, _Entry]:
    """What an index says of some of the rows.

    Args:
        entries: of the index.
        rows: how many there are.
        kind: of an entry.

    Returns:
        Entries by row.

    Raises:
        ValueError: a row is not among them, or an entry is something else.
    """
    if not isinstance(entries, dict):
        raise ValueError("no mapping of rows")
    known = {str(row): row for row in range(rows)} if entries else {}
    if not all(row in known and isinstance(entry, kind) for row, entry in entries.items()):
        raise ValueError("other rows")
    return {known[row]: entry for row, entry in entries.items()}


def _header(shape: tuple[int, ...], dtype: DTypeLike) -> bytes:
    text = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
    np.lib.format.write_array_header_1_0(text, {"descr": descr, "fortran_order": False, "shape": shape})
    return text.getvalue()


def _open(
    folder: Path, shape: tuple[int, ...], dtype: DTypeLike, read_index: Callable[[dict[str, Any]], _Index]
) -> tuple[NDArray[Any], _Index] | None:
    header = _header(shape, dtype)
    size = len(header) + math.prod(shape) * np.dtype(dtype).itemsize
    try:
        index = read_index(json_value((folder / INDEX).read_text(), strict=False))
        with (folder / ARRAY).open("rb") as file:
            if file.read(len(header)) != header or file.seek(0, os.SEEK_END) != size:
                return None
            return np.memmap(file, dtype, "r", len(header), shape), index
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):  # numbers as large as they like
        return None


def _compute(folder: Path, shape: tuple[int, ...], dtype: DTypeLike, compute: Callable[[Rows], dict[str, Any]]) -> None:
    for leftover in leftovers(folder.parent, folder.name):  # of a process that died
        shutil.rmtree(leftover, ignore_errors=True)
    if folder.exists():  # it is damaged
        remove_folder(folder)
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size > shutil.disk_usage(folder.parent).free:  # not after hours
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    with replacing_folder(folder, wanted=size) as partial:
        with _writing(partial / ARRAY, shape, dtype) as append:
            index = compute(append)
        (partial / INDEX).write_text(json.dumps(index))


@contextmanager
def _writing(target: Path, shape: tuple[int, ...], dtype: DTypeLike) -> Iterator[Rows]:
    # written, not mapped: writing to a full disk through a mapping kills the process without a word
    with target.open("wb") as file:
        file.write(_header(shape, dtype))

        def append(rows: NDArray[Any]) -> None:
            file.write(np.ascontiguousarray(rows, dtype).tobytes())

        yield append
