"""Archives of data sets: zip and tar, plain and compressed, with members that lie, lead outside, or do not end."""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import lzma
import stat
import sys
import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from astune.data.download.archive import unpack
from tests.faults.fuzzing import Reader
from tests.faults.mutations import hostile_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

PACK: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "gz": lambda content: gzip.compress(content, 1),
    "bz2": bz2.compress,
    "xz": lambda content: lzma.compress(content, preset=0),
}
KINDS = ("zip", *PACK)
_SOUND = {"esc/meta/esc50.csv": b"filename,fold\n", "esc/audio/1.wav": bytes(range(256)) * 9, "esc/audio/2.wav": b"2"}
_NAMES = [
    *("..", "../up", "a/../../up", "/abs", "//abs", "./../up", "..\\up", "C:\\up", "C:up", "c:/up", "\\\\host\\up"),
    *(
        "",
        ".",
        "/",
        "a/",
        "a//b",
        "a/./b",
        "a\0b",
        "a\nb",
        "\x1b[31m",
        "a" * 300,
        "b/" * 400 + "x",
        "é",
        "\u202e",
        "CON",
    ),
    *("esc/audio/1.wav", "ESC/Audio/1.WAV", "esc/audio", "esc/audio/1.wav/x", "esc", "d/" * 10_000 + "x"),
]
_TYPES = [
    *(tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE),
    *(
        tarfile.CONTTYPE,
        tarfile.GNUTYPE_SPARSE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        b"V",
        b"\xff",
    ),
]
_STEPS = "abcdefghijklmnop"
_SIZES = [0, 1, 511, 512, 513, 10**6, 10**9, 8**11 - 1, 2**40, 2**63, 2**80]


def realpath_trick(outside: Path) -> bytes:
    """A tar that writes outside where names are checked with links followed (CVE-2025-4517).

    The path to the last link is longer than PATH_MAX, so ``realpath`` gives up there and takes what follows, ``..`` included, for names.

    Args:
        outside: a file that is there, and is overwritten; beside it, ``new`` is written.
    """
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as file:
        folder, at = "d" * (55 if sys.platform == "darwin" else 247), ""
        for step in _STEPS:
            _add(file, f"{at}{folder}", tarfile.DIRTYPE)
            _add(file, f"{at}{step}", tarfile.SYMTYPE, folder)
            at += f"{folder}/"
        last = f"{'/'.join(_STEPS)}/{'l' * 254}"
        _add(file, last, tarfile.SYMTYPE, "../" * len(_STEPS))
        _add(file, "escape", tarfile.SYMTYPE, f"{last}{'/..' * len(_STEPS)}{outside.parent}")
        _add(file, "escape/new", tarfile.REGTYPE, content=b"written")
        _add(file, "flag", tarfile.LNKTYPE, f"escape/{outside.name}")
        _add(file, "flag", tarfile.REGTYPE, content=b"overwritten")
    return stream.getvalue()


def _add(file: tarfile.TarFile, name: str, kind: bytes, link: str = "", content: bytes = b"") -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, link, len(content)
    file.addfile(member, io.BytesIO(content))


def tar_of(
    members: dict[str, bytes],
    hostile: Sequence[tarfile.TarInfo] = (),
    form: Literal[1, 2] = tarfile.PAX_FORMAT,
) -> bytes:
    """A tar with headers that say whatever they say, a byte behind each, and then sound members."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as file:
        for member in hostile:
            stream.write(member.tobuf(form, "utf-8", "surrogateescape") + b"x".ljust(512, b"\0"))
        for name, content in members.items():
            _add(file, name, tarfile.REGTYPE, content=content)
    return stream.getvalue()


def zip_of(members: list[tuple[zipfile.ZipInfo, bytes]]) -> bytes:
    """A zip with these members, names repeated or not."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names twice
        for member, content in members:
            file.writestr(member, content)
    return stream.getvalue()


@functools.cache
def bomb(kind: str) -> bytes:
    """A small archive of 80 MiB of zeros, twice."""
    size = 80 << 20
    if kind == "zip":
        member = zipfile.ZipInfo("zeros")
        member.compress_type = zipfile.ZIP_DEFLATED
        return zip_of([(member, bytes(size))])
    return PACK[kind](tar_of({"zeros": bytes(size)}))


def make(folder: Path, random: Random) -> Path:
    kind = random.choice(KINDS)
    (folder / "archive").write_bytes(_archive(kind, folder, random))
    return folder / "archive"


def _archive(kind: str, folder: Path, random: Random) -> bytes:
    match random.randrange(20):
        case 0 if kind in ("zip", "gz"):
            return bomb(kind)
        case 1 if kind != "zip":
            return PACK[kind](realpath_trick(folder.parent / "escaped"))
        case 2:
            return random.choice(
                [b"", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"\x1f\x8b\x08", b"BZh9", bytes(1024), b"<html>"]
            )
    if kind == "zip":
        content = _zip(folder, random)
        return hostile_bytes(content, random) if random.random() < 0.5 else content
    content = _tar(folder, random)
    packed = PACK[kind](hostile_bytes(content, random) if random.random() < 0.4 else content)
    return hostile_bytes(packed, random) if random.random() < 0.3 else packed


def _zip(folder: Path, random: Random) -> bytes:
    members = [(zipfile.ZipInfo(name), content) for name, content in _SOUND.items()]
    for _ in range(random.choice([0, 1, 1, 2])):
        member = zipfile.ZipInfo(_name(folder, random))
        kind = random.choice([0, stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFCHR, 0o170000])
        member.external_attr = (kind | 0o4777) << 16
        member.compress_type = random.choice(
            [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
        )
        members.insert(random.randrange(len(members) + 1), (member, random.choice([b"", b"../../up", bytes(5_000)])))
    content = bytearray(zip_of(members))
    if random.random() < 0.3:  # the directory states other sizes, methods or flags than the members have
        at = content.rindex(b"PK\x01\x02")
        field_offset, width = random.choice([(8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (42, 4)])
        content[at + field_offset : at + field_offset + width] = random.randbytes(width)
    return bytes(content)


def _tar(folder: Path, random: Random) -> bytes:
    hostile = []
    for _ in range(random.choice([0, 1, 1, 2, 500])):
        member = tarfile.TarInfo(_name(folder, random)[:1_500])
        member.type = random.choice(_TYPES) if random.random() < 0.7 else tarfile.REGTYPE
        member.linkname = random.choice(
            ["", "..", "../../up", "/etc/passwd", "esc/audio/1.wav", member.name, "a" * 200]
        )
        member.size = random.choice(_SIZES) if random.random() < 0.5 else 1
        if random.random() < 0.3:
            key = random.choice(["path", "size", "GNU.sparse.major", "GNU.sparse.map", "mtime", "linkpath"])
            member.pax_headers = {key: random.choice([member.name, "-1", "1" * 5_000, "nan", "../up", "1,2"])}
        hostile.append(member)
    form: Literal[1, 2] = random.choice([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
    return tar_of(_SOUND, hostile, form)


def _name(folder: Path, random: Random) -> str:
    return random.choice([*_NAMES, f"{folder.parent}/absolute", f"{'../' * 30}{folder.parent}/up".replace("//", "/")])


def read(archive: Path) -> None:
    out = archive.parent / "out"
    unpack(archive, out)
    assert sorted(path.name for path in archive.parent.iterdir()) == ["archive", "out"]
    kinds = {stat.S_IFMT(path.lstat().st_mode) for path in out.rglob("*")}
    assert kinds <= {stat.S_IFREG, stat.S_IFDIR}, kinds


def warm_up(folder: Path) -> None:
    for kind in KINDS:
        members = [(zipfile.ZipInfo(name), content) for name, content in _SOUND.items()]
        (folder / "archive").write_bytes(zip_of(members) if kind == "zip" else PACK[kind](tar_of(_SOUND)))
        unpacked = unpack(folder / "archive", folder / kind)
        assert {path.relative_to(unpacked.parent).as_posix() for path in unpacked.rglob("*.*")} == {*_SOUND}


READER = Reader("archives", make, read, warm_up)
