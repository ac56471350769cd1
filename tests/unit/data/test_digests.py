"""What a file is by its content, and what is remembered of it."""

from __future__ import annotations

import hashlib
import mmap
import os
import sqlite3
import time
from pathlib import Path

import pytest

from astune.data import digests
from astune.data.digests import UNREADABLE, content_digests

LONG_AGO = 1_000_000_000  # a time at which no file of a test changed, in seconds


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.setenv("ASTUNE_CACHE", str(tmp_path / "cache"))
    paths = [tmp_path / name for name in ("a.wav", "b.wav", "M\udce9sange.wav")]
    for path in paths:
        path.write_bytes(os.fsencode(path.name) * 1000)
    return paths


def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are read from now on."""
    seen: list[Path] = []
    digest = digests._digest

    def reading(path: Path) -> str:
        seen.append(path)
        return digest(path)

    monkeypatch.setattr(digests, "_digest", reading)
    return seen


def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files changed long enough ago to be remembered."""
    monkeypatch.setattr(digests, "_SETTLED", -3600.0)


def test_digests_are_sha256_of_the_bytes(files: list[Path]) -> None:
    assert content_digests(files) == [hashlib.sha256(path.read_bytes()).hexdigest()[:32] for path in files]
    assert content_digests([files[1], files[0], files[1]]) == [content_digests(files)[n] for n in (1, 0, 1)]
    assert content_digests([]) == []


def test_what_cannot_be_read_says_so_and_a_pipe_is_not_opened(tmp_path: Path, files: list[Path]) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling.wav").symlink_to("nowhere")
    odd = [tmp_path / "missing", tmp_path / "pipe", tmp_path / "dangling.wav", tmp_path, Path("a\0b")]
    assert content_digests(odd) == [UNREADABLE] * 5


def test_a_file_is_read_once(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    settled(monkeypatch)
    seen = hashed(monkeypatch)
    first = content_digests(files)
    assert sorted(seen) == sorted(files)
    assert content_digests(files) == first
    assert len(seen) == 3


def test_a_file_that_has_just_changed_is_read_again(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = hashed(monkeypatch)
    content_digests(files)
    content_digests(files)
    assert len(seen) == 6


def test_a_file_is_read_again_whatever_its_size_and_time_say(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    settled(monkeypatch)
    os.utime(files[0], (LONG_AGO, LONG_AGO))
    before = content_digests(files)
    files[0].write_bytes(files[0].read_bytes()[::-1])
    os.utime(files[0], (LONG_AGO, LONG_AGO))
    after = content_digests(files)
    assert after[0] == hashlib.sha256(files[0].read_bytes()).hexdigest()[:32] != before[0]
    assert after[1:] == before[1:]


def test_a_file_that_somebody_has_mapped_is_read_again(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its change time stays, until the system has written it to the disk."""
    with files[0].open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[0] = 1
        later = time.time_ns() + 5 * 10**9
        monkeypatch.setattr(time, "time_ns", lambda: later)
        before = content_digests(files[:1])
        mapped[0] = 2
        assert content_digests(files[:1]) != before


@pytest.mark.parametrize("spoil", ["no database", "a folder", "cannot be made"])
def test_a_memory_that_cannot_be_used_costs_time_alone(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: str
) -> None:
    settled(monkeypatch)
    expected = [hashlib.sha256(path.read_bytes()).hexdigest()[:32] for path in files]
    if spoil == "cannot be made":
        monkeypatch.setenv("ASTUNE_CACHE", str(files[0] / "cache"))
    elif spoil == "a folder":
        (tmp_path / "cache" / "digests.sqlite").mkdir(parents=True)
    else:
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache" / "digests.sqlite").write_bytes(b"no database, and long enough to be read as one" * 100)
    assert content_digests(files) == expected == content_digests(files)
    if spoil == "no database":  # it is replaced, else every file would be read in every run
        seen = hashed(monkeypatch)
        assert content_digests(files) == expected
        assert seen == []


def test_two_folders_of_the_same_names_are_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settled(monkeypatch)
    monkeypatch.setenv("ASTUNE_CACHE", str(tmp_path / "cache"))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.wav").write_bytes(name.encode())
        monkeypatch.chdir(tmp_path / name)
        assert content_digests([Path("a.wav")]) == [hashlib.sha256(name.encode()).hexdigest()[:32]]
    with sqlite3.connect(tmp_path / "cache" / "digests.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM files").fetchone() == (2,)
    connection.close()
