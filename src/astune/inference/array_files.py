"""Rows of numbers with named columns, as files: ``.npz`` for NumPy and scikit-learn, ``.parquet`` for tables.

Values are written part by part, so that a file may be larger than memory. A file is whole or not there.

``.npz`` has ``values`` (rows, ...) and an array a column. It holds no pickle. Text that is missing is ``""`` and a number that is missing
-1. A column of lists is one array where every list has one entry, else (rows, longest), filled with ``""``. ``about`` is JSON.
``.parquet`` has a column ``embedding`` of lists of fixed length, columns that may be null, and ``about`` in its schema.
"""

from __future__ import annotations

import math
import sys
import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError
from typing import TYPE_CHECKING, Any

import numpy as np

from astune.errors import ConfigError, DataError, explain_write_errors, unknown_choice
from astune.extras import install_command, missing_packages
from astune.files import replacing
from astune.json_text import json_text, json_value
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import DTypeLike, NDArray

    Column = Sequence[Any] | NDArray[Any]
    Chunks = Iterable[NDArray[np.float32]]

VALUES, ABOUT = "values", "about"
_EMBEDDING = "embedding"  # the column of parquet
_FORMAT = "astune.embeddings/1"
_CELLS = 65_536  # of a column that are written at a time
_CHUNK = 1 << 20  # bytes that are read at a time
_HALVES = 0xD800, 0xDFFF  # of characters, which no text has alone
_WAY_OUT = "free some disk, or give another file"


def refuse_suffix(path: Path) -> None:
    """Refuse a file name of another format, before anything is computed.

    Args:
        path: the path of the file.

    Raises:
        ConfigError: it ends in no format that is written, or pyarrow is missing.
    """
    if path.suffix not in _WRITERS:
        raise ConfigError(unknown_choice("file format", path.suffix or path.name, _WRITERS))
    if path.suffix == ".parquet" and missing_packages("pyarrow"):
        raise ConfigError(
            f"{printable(path)}: parquet needs pyarrow; {install_command('parquet')}, or give a name that ends in .npz"
        )


def write(
    path: Path,
    shape: tuple[int, ...],
    chunks: Chunks,
    columns: Mapping[str, Column],
    about: Mapping[str, Any],
) -> None:
    """Write a file that is whole or not there.

    Args:
        path: ends in ``.npz`` or ``.parquet``.
        shape: (rows, ...) of all values.
        chunks: the values, (some rows, ...) each.
        columns: a cell for each row: numbers, text or None, or tuples of text.
        about: what the values are, as JSON has it.

    Raises:
        ConfigError: see :func:`refuse_suffix`.
        OutputError: it cannot be written.
    """
    refuse_suffix(path)
    with explain_write_errors(printable(path), _WAY_OUT), replacing(path) as partial:
        _WRITERS[path.suffix](partial, shape, chunks, columns, json_text({"format": _FORMAT, **about}))


def read(path: Path) -> tuple[NDArray[np.float32], dict[str, list[Any]], dict[str, Any]]:
    """Read a file that :func:`write` wrote.

    Args:
        path: path of the file.

    Returns:
        Values, columns by name, and what the values are.

    Raises:
        ConfigError: see :func:`refuse_suffix`.
        DataError: it is missing, damaged, or another program's.
    """
    refuse_suffix(path)
    try:
        values, columns, about = _READERS[path.suffix](path)
        known = json_value(about, strict=False)
        ours = known.pop("format", None) == _FORMAT and all(len(cells) == len(values) for cells in columns.values())
    except FileNotFoundError as fault:
        raise DataError(f"{printable(path)}: there is no such file") from fault
    except _DAMAGED as fault:
        raise DataError(f"{printable(path)} holds no embeddings that can be read: {fault}") from fault
    if not ours:
        raise DataError(f"{printable(path)} holds no embeddings that can be read: astune did not write it")
    return values, columns, known


def _write_npz(path: Path, shape: tuple[int, ...], chunks: Chunks, columns: Mapping[str, Column], about: str) -> None:
    with zipfile.ZipFile(path, "w") as file:

        def entry(name: str, shape: tuple[int, ...], dtype: DTypeLike, parts: Iterable[NDArray[Any]]) -> None:
            described = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
            with file.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array_header_1_0(stream, described)
                for part in parts:
                    stream.write(np.ascontiguousarray(part, dtype).tobytes())

        entry(VALUES, shape, np.float32, chunks)
        for name, cells in columns.items():
            known, dtype, width = _plain(cells)
            inner = (len(cells), width) if width > 1 else (len(cells),)
            entry(name, inner, dtype, (np.array(part, dtype) for part in _parts(cells, known)))
        entry(ABOUT, (), f"<U{len(about)}", [np.array(about)])


def _parts(cells: Column, known: Callable[[Any], Any]) -> Iterator[list[Any]]:
    for start in range(0, len(cells), _CELLS):
        yield [known(cell) for cell in cells[start : start + _CELLS]]


def _plain(cells: Column) -> tuple[Callable[[Any], Any], DTypeLike, int]:
    """How a column becomes an array: what each cell becomes, the type, and cells of a row."""
    if isinstance(cells, np.ndarray):
        return (lambda cell: cell), cells.dtype, 1
    if any(isinstance(cell, tuple) for cell in cells):
        width = max((len(cell) for cell in cells), default=1)
        longest = max((len(text) for cell in cells for text in cell), default=1)
        single = all(len(cell) == 1 for cell in cells)
        if single:
            return (lambda cell: cell[0]), f"<U{longest}", 1
        width = max(width, 2)  # one entry or none is not one entry each
        return (lambda cell: [*cell, *[""] * (width - len(cell))]), f"<U{longest}", width
    if any(isinstance(cell, str) for cell in cells):
        return (lambda cell: cell or ""), f"<U{max(1, *(len(cell or '') for cell in cells))}", 1
    return (lambda cell: -1 if cell is None else cell), np.int64, 1


def _read_npz(path: Path) -> tuple[NDArray[np.float32], dict[str, list[Any]], str]:
    with zipfile.ZipFile(path) as file:
        arrays = {entry.filename.removesuffix(".npy"): _array(file, entry) for entry in file.infolist()}
    values, about = arrays.pop(VALUES), arrays.pop(ABOUT)
    if values.dtype != np.float32 or values.ndim not in {2, 3} or about.shape != () or about.dtype.kind != "U":
        raise ValueError(f"{VALUES} are not (rows, ...) numbers, or {ABOUT} is not text")
    return values, {name: _cells(name, cells) for name, cells in arrays.items()}, str(about)


def _array(file: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[Any]:
    """One array; memory is taken for what is there, whatever its header says.

    Raises:
        ValueError: it is not as :func:`write` writes it.
    """
    content = bytearray()
    with file.open(entry) as stream:
        try:
            if np.lib.format.read_magic(stream) != (1, 0):
                raise ValueError(f"{entry.filename} has another version of the format")
            shape, by_columns, dtype = np.lib.format.read_array_header_1_0(stream)
        except (
            SyntaxError,
            TokenError,
            RecursionError,
            MemoryError,
        ) as fault:  # of Python's parser, with which NumPy reads it
            raise ValueError(f"{entry.filename} has a damaged header") from fault
        if dtype.kind not in "fiU" or not dtype.isnative or by_columns:
            raise ValueError(
                f"{entry.filename} has the type {dtype} or another memory order, which astune does not write"
            )
        while chunk := stream.read(_CHUNK):
            content += chunk
    if math.prod(shape) * dtype.itemsize != len(content) or any(size < 0 for size in shape):
        raise ValueError(f"{entry.filename} has the shape {shape}, and {len(content):,} bytes")
    if dtype.kind == "U":
        letters = np.frombuffer(content, np.uint32)
        if bool(((letters > sys.maxunicode) | ((letters >= _HALVES[0]) & (letters <= _HALVES[1]))).any()):
            raise ValueError(f"{entry.filename} has text that is not Unicode")
    array: NDArray[Any] = np.frombuffer(content, dtype).reshape(shape) if content else np.zeros(shape, dtype)
    return array


def _cells(name: str, cells: NDArray[Any]) -> list[Any]:
    if name == "labels":
        rows = cells.tolist()
        return [tuple(filter(None, row)) if isinstance(row, list) else (row,) for row in rows]
    if cells.dtype.kind == "f":
        return list(cells.tolist())
    return [None if cell in {"", -1} else cell for cell in cells.tolist()]


def _write_parquet(
    path: Path, shape: tuple[int, ...], chunks: Chunks, columns: Mapping[str, Column], about: str
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    inner: pa.DataType = pa.float32()
    for size in reversed(shape[1:]):
        inner = pa.list_(inner, size)
    fields = [(name, _arrow_type(cells)) for name, cells in columns.items()]
    schema = pa.schema([*fields, (_EMBEDDING, inner)], metadata={"astune": about})
    row = 0
    with pq.ParquetWriter(path, schema) as writer:
        for chunk in chunks:
            rows = slice(row, row + len(chunk))
            arrays = [
                pa.array(_some(cells, rows), kind) for (_, kind), cells in zip(fields, columns.values(), strict=True)
            ]
            values: pa.Array = pa.array(np.ascontiguousarray(chunk, np.float32).reshape(-1))
            for size in reversed(shape[1:]):
                values = pa.FixedSizeListArray.from_arrays(values, size)
            writer.write_batch(pa.record_batch([*arrays, values], schema=schema))
            row += len(chunk)


def _arrow_type(cells: Column) -> pa.DataType:
    import pyarrow as pa

    if isinstance(cells, np.ndarray):
        return pa.from_numpy_dtype(cells.dtype)
    if any(isinstance(cell, tuple) for cell in cells):
        return pa.list_(pa.string())
    return pa.string() if any(isinstance(cell, str) for cell in cells) else pa.int64()


def _some(cells: Column, rows: slice) -> Any:  # noqa: ANN401 - as pyarrow takes it
    return (
        cells[rows] if isinstance(cells, np.ndarray) else [list(c) if isinstance(c, tuple) else c for c in cells[rows]]
    )


def _read_parquet(path: Path) -> tuple[NDArray[np.float32], dict[str, list[Any]], str]:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    about = (table.schema.metadata or {})[b"astune"].decode()
    embedding = table.column(_EMBEDDING).combine_chunks()
    shape = [len(embedding)]
    while hasattr(embedding.type, "list_size"):
        shape.append(embedding.type.list_size)
        embedding = embedding.flatten()
    values = np.array(embedding, np.float32).reshape(shape)
    columns = {name: table.column(name).to_pylist() for name in table.column_names if name != _EMBEDDING}
    return values, {k: [tuple(c) if isinstance(c, list) else c for c in v] for k, v in columns.items()}, about


# NotImplementedError: of zip, a way of packing that is not known; EOFError and zlib.error: packed bytes that are damaged
_DAMAGED = (
    OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_WRITERS = {".npz": _write_npz, ".parquet": _write_parquet}
_READERS = {".npz": _read_npz, ".parquet": _read_parquet}
