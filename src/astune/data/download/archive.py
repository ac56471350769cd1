"""Unpacking archives that come from elsewhere: files and folders alone, and nothing outside of one new folder.

The extraction of :mod:`tarfile` is not used. Its filter follows links to decide what is inside, and in several releases of Python it can be
led outside (CVE-2025-4517). Without links, a name says where a file is.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from astune.errors import DataError, OutputError
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_STEP = 1 << 20  # bytes read at a time
_BLOCK = 512  # bytes of a header of tar
_EXTENSION = 1 << 20  # bytes of a long name or of further fields, which are held in memory
_MEMBERS = 1_000_000
_TOO_MANY = f"it holds more than {_MEMBERS:,} files"
_LONGEST, _LONGEST_PART = 1_000, 255  # bytes of a name, and of a folder in it; less than systems have room for
_DEEPEST = 50  # folders
_TIMES, _ALWAYS = (
    100,
    1 << 26,
)  # an archive becomes at most so many times as large, or so large; sounds become two times as large
_COMPRESSED: dict[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": lambda raw: gzip.GzipFile(fileobj=raw),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
_OTHER = "is a link, a device or a sparse file, and data sets have files and folders alone"
_FIELDS = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE)
_LONG = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_FILE = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class _Member:
    """A file or a folder in an archive."""

    name: str
    folder: bool
    size: int
    """Size in bytes, as the archive states it."""
    read: Callable[[int], bytes]
    """Gives at most so many bytes of the content, and none at its end."""


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a zip or tar archive.

    Args:
        archive: the archive; its content decides the format, not its name.
        folder: made; must not exist.

    Returns:
        The folder, or the only folder in it where the archive has one at its root.

    Raises:
        DataError: it is not such an archive, is damaged, holds something else than files and folders, has a name that leaves the folder, or
            would become 100 times as large.
        OutputError: there is less room than its content needs.
    """
    folder.mkdir(parents=True)
    limit, free = max(_TIMES * archive.stat().st_size, _ALWAYS), shutil.disk_usage(folder).free
    made, total, number = set[tuple[str, ...]](), 0, 0
    with archive.open("rb") as raw:
        members = _sound(archive, lambda: _members(archive, raw, limit))
        while (member := _sound(archive, lambda: next(members, None))) is not None:
            total, number = total + member.size, number + 1
            if total > limit or number > _MEMBERS:
                raise DataError(_unsafe(archive, _too_large(limit) if total > limit else _TOO_MANY))
            if total > free:
                raise OutputError(
                    f"{archive} needs {total:,} bytes or more when it is unpacked, and {free:,} are free at {folder}; make room and "
                    "give the same command again"
                )
            if parts := _parts(archive, member):
                _write(archive, member, folder, parts, made)
    entries = list(folder.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder


def _sound(archive: Path, read: Callable[[], _Result]) -> _Result:
    """Read of an archive.

    Raises:
        DataError: it is damaged.
    """
    try:
        return read()
    except DataError:
        raise
    # Four decompressors and two parsers raise what the bytes lead them to: LZMAError, zlib.error, struct.error, EOFError, OSError,
    # ValueError, IndexError, NotImplementedError, MemoryError. Nothing is written in here.
    except Exception as fault:
        why = printable(fault)[:200] or type(fault).__name__
        raise DataError(f"{archive} is damaged: {why}; download it again") from fault


def _unsafe(archive: Path, why: str) -> str:
    return f"{archive} is not safe to unpack: {why}"


def _too_large(limit: int) -> str:
    return f"it would become larger than {limit:,} bytes, which no archive of sounds of its size does"


def _shown(name: str) -> str:
    return repr(name if len(name) <= 100 else f"{name[:100]}...")


def _members(archive: Path, raw: BinaryIO, limit: int) -> Iterator[_Member]:
    """What an archive holds, in its order; the content of each is read before the next one is asked for.

    Raises:
        DataError: it is neither a zip nor a tar archive.
    """
    begin = raw.read(8)
    raw.seek(0)
    stream = _Bounded(
        archive, next((opened(raw) for mark, opened in _COMPRESSED.items() if begin.startswith(mark)), raw), limit
    )
    first = stream.read(_BLOCK)
    try:
        tarfile.TarInfo.frombuf(first, "utf-8", "surrogateescape")
    except tarfile.TarError as fault:
        if zipfile.is_zipfile(raw):
            return _of_zip(archive, raw)
        raise DataError(f"{archive} is neither a zip nor a tar archive") from fault
    return _of_tar(archive, first, stream)


def _of_zip(archive: Path, raw: BinaryIO) -> Iterator[_Member]:
    with zipfile.ZipFile(raw) as file:
        for member in file.infolist():
            name = member.orig_filename  # which is not cut at a NUL
            if stat.S_IFMT(member.external_attr >> 16) not in {0, stat.S_IFREG, stat.S_IFDIR}:
                raise DataError(_unsafe(archive, f"{_shown(name)} {_OTHER}"))
            if member.flag_bits & 1:
                raise DataError(f"{archive} cannot be unpacked: {_shown(name)} has a password")
            with file.open(member) as content:
                yield _Member(name, name.endswith("/"), member.file_size, content.read)


def _of_tar(archive: Path, block: bytes, stream: _Bounded) -> Iterator[_Member]:
    every: dict[str, str] = {}  # fields of all members from here on
    own: dict[str, str] = {}  # of the next one
    while any(block):
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        if header.type in _FIELDS:
            (every if header.type == tarfile.XGLTYPE else own).update(_fields(stream.extension(header.size)))
        elif header.type in _LONG:
            text = stream.extension(header.size).partition(b"\0")[0].decode("utf-8", "surrogateescape")
            own |= {"path": text} if header.type == tarfile.GNUTYPE_LONGNAME else {}
        else:
            fields = {**every, **own}
            name, size = fields.get("path", header.name), int(fields.get("size", header.size))
            if header.type not in (*_FILE, tarfile.DIRTYPE) or "GNU" in fields:
                raise DataError(_unsafe(archive, f"{_shown(name)} {_OTHER}"))
            content = _Part(stream, size)
            yield _Member(name, header.isdir(), size, content.read)
            content.finish()
            own = {}
        block = stream.exactly(_BLOCK)
    while stream.read(_STEP):  # the checksum of what is compressed is at its end
        pass


def _fields(content: bytes) -> dict[str, str]:
    """Further fields of a header, each ``length name=value``; POSIX.1-2001, pax. Those that matter here.

    Raises:
        ValueError: they are not of that form.
    """
    fields, at = {}, 0
    while at < len(content):
        digits, space, _ = content[at : at + 20].partition(b" ")
        end = at + int(digits)
        name, equals, value = content[at + len(digits + space) : end].partition(b"=")
        if not (equals and value.endswith(b"\n")):
            raise ValueError("a header has a field without a name or an end")
        if name in {b"path", b"size"} or name.startswith(b"GNU.sparse"):
            fields[name.partition(b".")[0].decode()] = value[:-1].decode("utf-8", "surrogateescape")
        at = end
    return fields


class _Bounded:
    """What is compressed, up to the bytes that an archive may become."""

    def __init__(self, archive: Path, stream: BinaryIO, limit: int) -> None:
        self._archive, self._stream, self._limit = archive, stream, limit
        self._left = limit + 100 * _STEP  # for headers

    def read(self, size: int) -> bytes:
        content = self._stream.read(min(size, _STEP))
        self._left -= len(content)
        if self._left < 0:
            raise DataError(_unsafe(self._archive, _too_large(self._limit)))
        return content

    def exactly(self, size: int) -> bytes:
        """So many bytes, few enough for memory.

        Raises:
            EOFError: there are fewer.
        """
        content = b""
        while len(content) < size:
            part = self.read(size - len(content))
            if not part:
                raise EOFError("it ends before its time")
            content += part
        return content

    def extension(self, size: int) -> bytes:
        """The content of a header that says more about the next member.

        Raises:
            ValueError: it is too large to be one.
        """
        if not 0 <= size <= _EXTENSION:
            raise ValueError(f"a header of {size:,} bytes")
        return self.exactly(size + -size % _BLOCK)[:size]


class _Part:
    """The content of one member, and the zeros up to the next block."""

    def __init__(self, stream: _Bounded, size: int) -> None:
        if size < 0:
            raise ValueError(f"a file of {size:,} bytes")
        self._stream, self._left, self._padding = stream, size, -size % _BLOCK

    def read(self, size: int) -> bytes:
        content = self._stream.exactly(min(size, self._left, _STEP))
        self._left -= len(content)
        return content

    def finish(self) -> None:
        """Pass over what was not read."""
        while self.read(_STEP):
            pass
        self._stream.exactly(self._padding)


def _parts(archive: Path, member: _Member) -> tuple[str, ...]:
    """Folders and name of a member below the folder that it is unpacked into; none for that folder itself.

    Raises:
        DataError: they lead elsewhere, or no system has such a name.
    """
    name = member.name
    parts = tuple(part for part in name.split("/") if part not in {"", "."})
    if name.startswith("/") or ".." in parts or ":" in "".join(parts[:1]) or "\\" in name:
        raise DataError(_unsafe(archive, f"{_shown(name)} leaves the folder"))
    if not name or (not parts and not member.folder) or printable(name) != name:
        raise DataError(
            _unsafe(archive, f"{_shown(name)} is not a file name: it is empty, or has signs that cannot be shown")
        )
    sizes = [len(part.encode()) for part in parts]
    if sum(sizes) > _LONGEST or max(sizes, default=0) > _LONGEST_PART or len(parts) > _DEEPEST:
        most = f"{_LONGEST:,} bytes, {_LONGEST_PART} of them between two slashes, and {_DEEPEST} folders"
        raise DataError(_unsafe(archive, f"the name {_shown(name)} is too long or too deep; it may have {most}"))
    return parts


def _write(archive: Path, member: _Member, root: Path, parts: tuple[str, ...], made: set[tuple[str, ...]]) -> None:
    """Write a member where nothing is yet, in folders that were made here.

    Raises:
        DataError: something is there, or its content is not what the archive states.
    """
    folders = parts if member.folder else parts[:-1]
    try:
        for depth in range(1, len(folders) + 1):
            if folders[:depth] not in made:
                root.joinpath(*folders[:depth]).mkdir()
                made.add(folders[:depth])
        if member.folder:
            return
        written = 0
        with root.joinpath(*parts).open("xb") as file:  # never through a link, nor into a file that is there
            while part := _sound(archive, lambda: member.read(_STEP)):
                file.write(part)
                written += len(part)
    except FileExistsError as fault:
        raise DataError(_unsafe(archive, f"{_shown(member.name)} is in it twice, or is a file and a folder")) from fault
    if written != member.size:
        raise DataError(
            f"{archive} is damaged: {_shown(member.name)} has {written:,} bytes, and should have {member.size:,}; download it again"
        )
