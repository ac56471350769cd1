"""Files and folders that are whole or not there, also after a kill or a power cut.

What is written gets its name when all of it is on the disk, and a folder loses its name before anything in it is deleted. A system
may write data and names in another order than they were changed, so each step is synced before the next one.

What the system refuses is an :class:`astune.errors.OutputError` that names the file, here and nowhere else.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astune.errors import explain_write_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

_METADATA = {"format": "pt"}
_PARTIAL, _REMOVED = "partial", "removed"
_LONGEST_NAME = 200  # bytes of a name that is kept in a hidden one; file systems take 255
_MANY = 1_000  # files of a folder, from which on syncing the whole system is faster
_CANNOT_SYNC = {errno.EINVAL, errno.EBADF}  # what some file systems say of folders
_POSIX = hasattr(os, "O_DIRECTORY")
_filled: set[Path] = set()  # folders that are synced as a whole when they are full


def read_text(path: Path, most: int, encoding: str = "utf-8") -> str:
    """Text of a file that somebody writes by hand, which is short; a wrong file may be of any length.

    Args:
        path: the file.
        most: letters.
        encoding: the encoding of the file.

    Returns:
        Its text.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is longer, or not text.
    """
    try:
        with path.open(encoding=encoding) as stream:
            text = stream.read(most + 1)
    except UnicodeDecodeError as fault:
        raise ValueError(f"it is not text in UTF-8: byte {fault.object[fault.start]:#04x}") from fault
    if len(text) > most:
        raise ValueError(f"it has more than {most:,} letters")
    return text


def user_path(text: str | Path) -> Path:
    """A path as a user types it; a home that nobody has stays as it is typed, and is not there.

    Args:
        text: such as ``~/recordings``.
    """
    return Path(os.path.expanduser(text))  # noqa: PTH111 - pathlib's raises a RuntimeError for such a home


def local_folder(name: str) -> Path | None:
    """A folder of this machine.

    Args:
        name: the name that the user typed, or that an adapter's configuration states.

    Returns:
        The path; None if no such folder exists, or if the name cannot be a path.
    """
    try:
        folder = user_path(name)
        return folder if folder.is_dir() else None
    except (OSError, ValueError):  # too long; a NUL
        return None


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a safetensors file that is whole or not there.

    Args:
        path: the file.
        tensors: contiguous, by name.
    """
    from safetensors.torch import save  # which imports torch

    write_bytes(path, save(tensors, metadata=_METADATA))  # save_file would make it readable by its owner alone


def saved_bytes(tensors: Mapping[str, Tensor]) -> int:
    """Size of the file that :func:`save_tensors` writes, to the byte, without writing it; works on the meta device.

    Args:
        tensors: tensors by name, in float32 or as integers.

    Returns:
        Its bytes: eight that say how long the header is, the header, and the tensors.
    """
    header: dict[str, Any] = {"__metadata__": _METADATA}
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda one: (-one[1].element_size(), one[0])):
        start, end = end, end + tensor.numel() * tensor.element_size()
        kind = f"{'F' if tensor.is_floating_point() else 'I'}{8 * tensor.element_size()}"
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"))
    return 8 + 8 * math.ceil(len(text) / 8) + end  # the header is filled up to a multiple of eight


def write_text(path: Path, text: str) -> None:
    """Write a text file that is whole or not there.

    Args:
        path: the file.
        text: its content.
    """
    # A name that is not UTF-8 becomes the escape under which it is shown, which JSON reads back.
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file that is whole or not there.

    Args:
        path: the file.
        content: content of the file.
    """
    with replacing(path, wanted=len(content)) as partial:
        partial.write_bytes(content)


@contextmanager
def replacing(path: Path, *, wanted: int | None = None) -> Iterator[Path]:
    """A temporary file next to the one to be written. It takes the other's name when it is complete, and is deleted after a failure.

    Args:
        path: the file. One process at a time may write it.
        wanted: size of the file in bytes, if known.

    Yields:
        The temporary file. A file that a killed process left is replaced.

    Raises:
        OutputError: the system refused.
    """
    partial = hidden_sibling(path, _PARTIAL)
    with explain_write_errors(path, wanted=wanted):
        try:
            yield partial
            _move(partial, path)
        except BaseException as fault:
            partial.unlink(missing_ok=True)
            if isinstance(fault, OSError) and fault.filename == str(partial):
                fault.filename = str(path)  # which the user knows
            raise


@contextmanager
def replacing_folder(folder: Path, *, wanted: int | None = None) -> Iterator[Path]:
    """A temporary folder next to the one to be written. It takes the other's name when it is complete, and is deleted after a failure.

    Args:
        folder: the one that is there is deleted when the new one is whole. One process at a time may write it.
        wanted: size of the folder in bytes, if known.

    Yields:
        The temporary folder. A folder that a killed process left is emptied.

    Raises:
        OutputError: the system refused.
    """
    partial = hidden_sibling(folder, _PARTIAL)
    with explain_write_errors(folder, wanted=wanted), new_folder(partial):
        yield partial
        sync_tree(partial)
        if folder.exists():
            remove_folder(folder)
        _rename(partial, folder)


@contextmanager
def replacing_files(folder: Path, marks: Sequence[str] = (), inner: str = "") -> Iterator[Path]:
    """An empty folder in the one to be written into, whose files move there when all are whole; other files stay.

    Args:
        folder: made if it is not there. One process at a time may write into it.
        marks: names of files without which nobody reads the others. The old ones go before any file is replaced and the new ones come
            last, in this order, so nobody reads some old files and some new ones.
        inner: name of what is written, if others may write other things into the same folder.

    Yields:
        The inner folder. One that a killed process left is emptied.

    Raises:
        OutputError: the system refused.
    """
    make_folder(folder)
    partial = hidden_sibling(folder / inner, _PARTIAL) if inner else folder / f".{_PARTIAL}"
    with explain_write_errors(folder), new_folder(partial):
        yield partial
        sync_tree(partial)
        names = [str(path.relative_to(partial)) for path in sorted(partial.rglob("*"))]
        gone = [folder / name for name in marks if (folder / name).exists()]
        for path in gone:
            path.unlink()
        if gone:
            sync_folder(folder)
        for name in (*(name for name in names if name not in marks), *(mark for mark in marks if mark in names)):
            if (partial / name).is_dir():
                make_folder(folder / name)
            else:
                _rename(partial / name, folder / name)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """An empty folder for the time of a block. What is written into it need not be synced file by file.

    Args:
        folder: the folder; one that a killed process left is emptied.

    Yields:
        The same folder.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    _filled.add(folder)
    try:
        yield folder
    finally:
        _filled.discard(folder)
        shutil.rmtree(folder, ignore_errors=True)


def move(source: Path, target: Path) -> None:
    """Rename a file or a folder, in the place of the file that has the name. Its data are on the disk before the new name is.

    Args:
        source: on the same disk.
        target: the target; for a folder, it must not exist.

    Raises:
        OutputError: the system refused.
    """
    with explain_write_errors(target):
        _move(source, target)


def _move(source: Path, target: Path) -> None:
    if not _filled.isdisjoint(target.parents):
        source.replace(target)
        return
    if source.is_dir():
        sync_tree(source)
    else:
        _sync(source)
    _rename(source, target)


def _rename(source: Path, target: Path) -> None:
    source.replace(target)
    sync_folder(target.parent)
    if source.parent != target.parent and _filled.isdisjoint(source.parents):
        sync_folder(source.parent)


def remove_folder(folder: Path) -> None:
    """Delete a folder. It loses its name first: a deletion that is cut short must not leave a part of it under that name.

    Args:
        folder: an existing folder. What a killed process left of an earlier one is deleted too.

    Raises:
        OutputError: the system refused.
    """
    doomed = hidden_sibling(folder, _REMOVED)
    with explain_write_errors(folder):
        shutil.rmtree(doomed, ignore_errors=True)
        folder.rename(doomed)
        sync_folder(folder.parent)
        shutil.rmtree(doomed)


def leftovers(folder: Path, pattern: str) -> list[Path]:
    """What killed processes left of files and folders that :func:`replacing_folder` or :func:`remove_folder` had begun with.

    Args:
        folder: folder of the files.
        pattern: the pattern of their names, as :meth:`pathlib.Path.glob` takes it.

    Returns:
        Their hidden remains.
    """
    return sorted(path for ending in (_PARTIAL, _REMOVED) for path in folder.glob(f".{pattern}.{ending}"))


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, so that a power cut does not take them away with what is written into them next.

    Args:
        folder: a folder that may exist.

    Raises:
        OutputError: the system refused.
    """
    with explain_write_errors(folder):
        missing = [one for one in (folder, *folder.parents) if not one.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for made in missing:
            sync_folder(made.parent)


def hidden_sibling(path: Path, ending: str) -> Path:
    """A hidden name next to a path, always the same one.

    Args:
        path: a file or folder.
        ending: the ending of the hidden name, without a dot.

    Returns:
        ``.<name>.<ending>``, or a digest of the name where that would be too long.
    """
    name = os.fsencode(path.name)
    short = path.name if len(name) <= _LONGEST_NAME else hashlib.sha256(name).hexdigest()[:32]
    return path.with_name(f".{short}.{ending}")


def sync_tree(folder: Path) -> None:
    """Wait until all files of a folder are on the disk, with their names.

    Args:
        folder: an existing folder.
    """
    inner = [path for path in folder.rglob("*") if not path.is_symlink()]
    if len(inner) > _MANY and hasattr(os, "sync"):
        os.sync()
        return
    for path in inner:
        if path.is_file():
            _sync(path)
    for path in (*inner, folder):
        if path.is_dir():
            sync_folder(path)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where its file system can do that.

    Args:
        folder: an existing folder.

    Raises:
        OSError: the disk refused.
    """
    if not _POSIX:  # Windows cannot
        return
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:  # it may be written and not listed
        return
    try:
        os.fsync(opened)
    except OSError as fault:
        if fault.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(opened)


def _sync(file: Path) -> None:
    with file.open("rb" if _POSIX else "rb+") as stream:  # Windows syncs only what may be written
        os.fsync(stream.fileno())
