"""Archives from elsewhere: what is sound is unpacked as it is, and everything else is refused with nothing written outside."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest

from astune.data.download.archive import unpack
from astune.errors import DataError
from tests.faults.readers.archives import KINDS, PACK, bomb, realpath_trick, tar_of, zip_of

if TYPE_CHECKING:
    from pathlib import Path

NOISE = np.random.default_rng(0).bytes(1_500_000)
CONTENT = {"esc/meta/esc50.csv": b"filename\n", "esc/audio/1.wav": NOISE, "esc/audio/2.wav": b""}


def archive(folder: Path, content: bytes) -> Path:
    (folder / "archive").write_bytes(content)
    return folder / "archive"


def made(kind: str, members: dict[str, bytes] = CONTENT) -> bytes:
    if kind == "zip":
        return zip_of([(zipfile.ZipInfo(name), content) for name, content in members.items()])
    return PACK[kind](tar_of(members))


def refusal(folder: Path, content: bytes) -> str:
    """The sentence; and nothing is written beside the folder that was made."""
    with pytest.raises(DataError) as caught:
        unpack(archive(folder, content), folder / "in" / "out")
    assert sorted(path.name for path in folder.iterdir()) == ["archive", "in"]
    assert [path.name for path in (folder / "in").iterdir()] == ["out"]
    assert {stat.S_IFMT(path.lstat().st_mode) for path in (folder / "in").rglob("*")} <= {stat.S_IFREG, stat.S_IFDIR}
    assert str(caught.value).startswith(f"{folder}/archive ")
    return str(caught.value)


def unpacked(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_sound_archives(tmp_path: Path, kind: str) -> None:
    found = unpack(archive(tmp_path, made(kind)), tmp_path / "out")
    assert found == tmp_path / "out" / "esc"  # the only folder at its root
    assert unpacked(tmp_path / "out") == CONTENT
    assert not any(path.stat().st_mode & 0o111 for path in found.rglob("*") if path.is_file())


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_form_of_tar(tmp_path: Path, form: Literal[0, 1, 2]) -> None:
    """Long names, names that are not ASCII, a field for all members as `git archive` writes it, and `.` for the root."""
    names = ["short.wav", f"{'f' * 90}/{'n' * 90}.wav", "höhle.wav", "empty.wav"]
    names += [f"{'f' * 150}/{'n' * 200}.wav"] if form != tarfile.USTAR_FORMAT else []
    stream = io.BytesIO()
    common = {"comment": "0123abcd"} if form == tarfile.PAX_FORMAT else None
    with tarfile.open(fileobj=stream, mode="w", format=form, pax_headers=common) as file:
        root = tarfile.TarInfo("./")
        root.type = tarfile.DIRTYPE
        file.addfile(root)
        for name in names:
            member = tarfile.TarInfo(f"./{name}")
            member.size = 0 if name == "empty.wav" else 700
            file.addfile(member, io.BytesIO(name[-7:].encode().ljust(700)))
    assert unpack(archive(tmp_path, stream.getvalue()), tmp_path / "out") == tmp_path / "out"
    assert unpacked(tmp_path / "out") == {
        name: b"" if name == "empty.wav" else name[-7:].encode().ljust(700) for name in names
    }


def test_a_tar_of_before_posix(tmp_path: Path) -> None:
    """Version 7 has no mark, and a folder is a file with a slash at its end."""
    blocks = []
    for name, content in (("old/", b""), ("old/1.wav", b"sound")):
        block = bytearray(512)
        block[: len(name)] = name.encode()
        block[100:108], block[124:136], block[148:156] = b"0000644\0", f"{len(content):011o}\0".encode(), b" " * 8
        block[148:156] = f"{sum(block):06o}\0 ".encode()
        blocks += [bytes(block), content.ljust(512, b"\0") if content else b""]
    assert unpack(archive(tmp_path, b"".join(blocks) + bytes(1024)), tmp_path / "out").name == "old"
    assert unpacked(tmp_path / "out") == {"old/1.wav": b"sound"}


@pytest.mark.parametrize("kind", PACK)
def test_links_whose_true_path_is_too_long_do_not_lead_outside(tmp_path: Path, kind: str) -> None:
    """CVE-2025-4517: the filter of tarfile in Python 3.11.7 lets this overwrite a file, and write a new one beside it."""
    (tmp_path / "mine").mkdir()
    victim = tmp_path / "mine" / "notes.txt"
    victim.write_bytes(b"mine")
    with pytest.raises(DataError, match=r"'a' is a link, a device or a sparse file"):
        unpack(archive(tmp_path, PACK[kind](realpath_trick(victim))), tmp_path / "out")
    assert [path.name for path in victim.parent.iterdir()] == ["notes.txt"]
    assert victim.read_bytes() == b"mine"


TYPES = {
    "link": (tarfile.SYMTYPE, stat.S_IFLNK),
    "hard link": (tarfile.LNKTYPE, stat.S_IFLNK),
    "pipe": (tarfile.FIFOTYPE, stat.S_IFIFO),
    "device": (tarfile.CHRTYPE, stat.S_IFCHR),
    "disk": (tarfile.BLKTYPE, stat.S_IFBLK),
    "sparse": (tarfile.GNUTYPE_SPARSE, stat.S_IFSOCK),
}


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("what", TYPES)
def test_only_files_and_folders(tmp_path: Path, kind: str, what: str) -> None:
    """A link that stays inside is refused too: its name alone would not say where a file is."""
    in_tar, in_zip = tarfile.TarInfo("1.wav"), zipfile.ZipInfo("1.wav")
    in_tar.type, in_tar.linkname = TYPES[what][0], "esc/audio/1.wav"
    in_zip.external_attr = (TYPES[what][1] | 0o644) << 16
    content = tar_of(CONTENT, [in_tar]) if kind == "tar" else zip_of([(in_zip, b"esc/audio/1.wav")])
    assert "'1.wav' is a link, a device or a sparse file" in refusal(tmp_path, content)


OUTSIDE = [
    "../up",
    "/abs",
    "//abs",
    "a/../../up",
    "./../up",
    "a/..",
    "..",
    "..\\up",
    "a\\..\\..\\up",
    "C:\\up",
    "C:up",
    "c:/up",
]
IMPOSSIBLE = ["", ".", "a\nb", "a\x1b[31m", "\u202ewav.exe"]
TOO_LONG = ["x" * 256, "é" * 128, "f/" * 51 + "x", "/".join(["x" * 200] * 6)]


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    "name", [*OUTSIDE, *IMPOSSIBLE, *TOO_LONG, "f/" * 10_000 + "x"], ids=lambda name: repr(name[:20])
)
def test_names(tmp_path: Path, kind: str, name: str) -> None:
    what = (
        "leaves the folder"
        if name in OUTSIDE
        else "is not a file name"
        if name in IMPOSSIBLE
        else "too long or too deep"
    )
    assert what in refusal(tmp_path, made(kind, {name: b"x"}))


def test_a_name_with_a_nul(tmp_path: Path) -> None:
    """Which zipfile would cut: `a.wav`, a name that somebody has looked at, could stand for another one."""
    assert "is not a file name" in refusal(tmp_path, made("zip", {"a.wavXb": b"x"}).replace(b"a.wavXb", b"a.wav\0b"))


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("names", [("a", "a"), ("a", "a/b"), ("a/b", "a"), ("a/b", "./a//b")])
def test_two_members_of_one_name(tmp_path: Path, kind: str, names: tuple[str, str]) -> None:
    if kind == "zip":
        content = zip_of([(zipfile.ZipInfo(name), b"x") for name in names])
    else:
        content = tar_of({names[0]: b"x"})[:1024] + tar_of({names[1]: b"x"})
    assert "is in it twice, or is a file and a folder" in refusal(tmp_path, content)


def header(kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo("1.wav")
    made.type = kind
    for name, value in fields.items():
        setattr(made, name, value)
    return made


WHOLE = {kind: made(kind) for kind in KINDS}


def _one_bit(content: bytes) -> bytes:
    return content[:-40] + bytes([content[-40] ^ 1]) + content[-39:]


DAMAGED = {
    **{f"{kind}, cut": WHOLE[kind][: len(WHOLE[kind]) * 2 // 3] for kind in PACK},
    **{f"{kind}, one bit": _one_bit(WHOLE[kind]) for kind in ("gz", "xz", "bz2")},
    "gz, its checksum": WHOLE["gz"][:-8] + bytes(4) + WHOLE["gz"][-4:],
    "tar, a header": WHOLE["tar"].replace(b"esc/audio/2", b"esc/audio/X"),
    "tar, its end": WHOLE["tar"][: -len(WHOLE["tar"]) % 512 - 10_240],
    "tar, a size below 0": tar_of({}, [header(size=-1)]),
    "tar, a size in words": tar_of({}, [header(pax_headers={"size": "many"})]),
    "tar, a size of 5,000 digits": tar_of({}, [header(pax_headers={"size": "1" * 5_000})]),
    "tar, a name larger than memory": tar_of({}, [header(tarfile.GNUTYPE_LONGNAME, size=2**40)]),
    "tar, fields larger than memory": tar_of({}, [header(tarfile.XHDTYPE, size=2**40)]),
    "tar, fields that are none": tar_of({}, [header(tarfile.XHDTYPE, size=1)]),
    "zip, its content": WHOLE["zip"].replace(b"filename\n", b"filename\t"),
    "zip, a method": made("zip", {"1.wav": b"x"}).replace(b"PK\x01\x02\x14\x03\x14\0\0\0\0\0", b"PK\x01\x02\x14\x03\x14\0\0\0\x63\0"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_archives(tmp_path: Path, case: str) -> None:
    assert "is damaged: " in refusal(tmp_path, DAMAGED[case])


def test_many_long_names_before_a_file(tmp_path: Path) -> None:
    """Each is for the next header, so a reader that calls itself for it comes to the end of Python's stack."""
    name = header(tarfile.GNUTYPE_LONGNAME, size=1)
    unpack(archive(tmp_path, tar_of({"last.wav": b"last"}, [name] * 3_000)), tmp_path / "out")
    assert list(unpacked(tmp_path / "out").values()) == [b"last"]


@pytest.mark.parametrize("kind", ["zip", "gz"])
def test_small_archives_of_large_files(tmp_path: Path, kind: str) -> None:
    assert len(bomb(kind)) < 1 << 20
    assert "it would become larger than 67,108,864 bytes" in refusal(tmp_path, bomb(kind))
    assert unpacked(tmp_path / "in") == {}


def test_a_compressed_tar_of_headers_without_end(tmp_path: Path) -> None:
    fields = tarfile.TarInfo.create_pax_global_header({"comment": "x" * 1_000_000})
    assert "it would become larger than" in refusal(tmp_path, PACK["gz"](fields * 250))


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", bytes(512), bytes(10_240), PACK["gz"](b"text"), PACK["xz"](b"text")],
    ids=["empty", "a page", "a block of zeros", "zeros", "gz of text", "xz of text"],  # gzip writes the time
)
def test_neither_a_zip_nor_a_tar(tmp_path: Path, content: bytes) -> None:
    assert "is neither a zip nor a tar archive" in refusal(tmp_path, content)


def test_a_zip_with_a_password(tmp_path: Path) -> None:
    content = bytearray(made("zip", {"1.wav": b"x"}))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    assert "'1.wav' has a password" in refusal(tmp_path, bytes(content))
