"""Files and folders that are whole or not there; what kills and power cuts leave of them is tried in tests/faults."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from astune import files
from astune.cli import app
from astune.errors import AstuneError, explain_write_errors
from astune.experiments import runner
from astune.files import user_path


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_file_is_replaced_by_the_whole_one(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    files.write_text(file, "old")
    with files.replacing(file) as partial:
        partial.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_a_file_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    files.write_bytes(tmp_path / "a", b"old")

    def interrupted() -> None:
        with files.replacing(tmp_path / "a") as partial:
            partial.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("length", [200, 255])
def test_the_longest_names_can_be_written(tmp_path: Path, length: int) -> None:
    files.write_text(tmp_path / ("é" * (length // 2) + "x" * (length % 2)), "text")
    assert len(names(tmp_path)) == 1


def test_a_folder_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "entry"
    for content in ("old", "new"):
        with files.replacing_folder(folder) as partial:
            files.write_text(partial / "a", content)
            (partial / "b").mkdir()
            assert not folder.exists() or (folder / "a").read_text() == "old"
        assert (folder / "a").read_text() == content
    assert names(tmp_path) == ["entry", "entry/a", "entry/b"]


def test_a_folder_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    folder = tmp_path / "entry"
    with files.replacing_folder(folder) as partial:
        files.write_text(partial / "a", "old")

    def interrupted() -> None:
        with files.replacing_folder(folder) as partial:
            files.write_text(partial / "a", "new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (folder / "a").read_text() == "old"
    assert names(tmp_path) == ["entry", "entry/a"]


def test_files_move_into_a_folder_with_others(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("theirs")
    for content in ("old", "new"):
        with files.replacing_files(tmp_path, ["mark"]) as partial:
            files.write_text(partial / "mark", content)
            (partial / "inner").mkdir()
            files.write_text(partial / "inner" / "a", content)
        assert {(tmp_path / name).read_text() for name in ("mark", "inner/a")} == {content}
    assert names(tmp_path) == ["inner", "inner/a", "mark", "theirs"]


def test_the_mark_of_a_folder_goes_first_and_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "mark", "z"):
        (tmp_path / name).write_text("old")
    seen = []

    def watched(source: Path, target: Path) -> None:
        seen.append((target.name, (tmp_path / "mark").exists()))
        source.replace(target)

    monkeypatch.setattr(files, "_rename", watched)
    with files.replacing_files(tmp_path, ["mark"]) as partial:
        for name in ("a", "mark", "z"):
            (partial / name).write_text("new")
    assert seen == [("a", False), ("z", False), ("mark", False)]


def test_what_a_killed_process_left_is_emptied(tmp_path: Path) -> None:
    for ending in ("partial", "removed"):
        files.hidden_sibling(tmp_path / "entry", ending).mkdir()
        (files.hidden_sibling(tmp_path / "entry", ending) / "half").touch()
    (tmp_path / "entry").mkdir()
    assert len(files.leftovers(tmp_path, "entr*")) == 2
    with files.replacing_folder(tmp_path / "entry") as partial:
        assert names(partial) == []
    assert names(tmp_path) == ["entry"]


def test_a_folder_loses_its_name_before_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "checkpoint-3"
    folder.mkdir()
    (folder / "a").touch()

    def cut_short(path: Path, *, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            assert names(path) == ["a"]
            raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", cut_short)
    with pytest.raises(KeyboardInterrupt):
        files.remove_folder(folder)
    assert names(tmp_path) == [".checkpoint-3.removed", ".checkpoint-3.removed/a"]


@pytest.mark.parametrize(("number", "passes"), [(errno.EINVAL, True), (errno.EIO, False)])
def test_a_file_system_that_cannot_sync_folders_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, passes: bool
) -> None:
    def refused(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refused)
    if passes:
        files.sync_folder(tmp_path)
    else:
        with pytest.raises(OSError, match="Input/output error"):
            files.sync_folder(tmp_path)


def test_folders_above_a_folder_are_made(tmp_path: Path) -> None:
    files.make_folder(tmp_path / "a" / "b")
    files.make_folder(tmp_path / "a" / "b")
    assert names(tmp_path) == ["a", "a/b"]


def test_a_folder_of_thousands_is_synced_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr(files, "_MANY", 3)
    monkeypatch.setattr(os, "sync", lambda: synced.append("all"))
    for number in range(4):
        (tmp_path / str(number)).touch()
    files.sync_tree(tmp_path)
    assert synced == ["all"]


@pytest.mark.parametrize(
    "command",
    [
        ["predict", "~nobody12/adapter", "a.wav"],
        ["embed", "~nobody12/adapter", "a.wav", "-o", "rows.npz"],
        ["export", "~nobody12/adapter", "--format", "onnx"],
        ["train", "~nobody12/data", "--output-dir", "out"],
        ["data", "check", "~nobody12/data"],
        ["data", "download", "esc50", "~nobody12/data/file/below", "--url", "ftp://here"],
    ],
)
def test_a_home_that_nobody_has_is_a_sentence(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, AstuneError), done.exception
    assert user_path("~nobody12/data") == Path("~nobody12/data")
    assert user_path("~/data") == Path.home() / "data"


def test_a_finished_run_is_finished_where_its_work_folder_cannot_be_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()

    def refuse(folder: Path) -> None:
        with explain_write_errors(folder):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(runner, "remove_folder", refuse)
    runner._remove(work)
    assert work.is_dir()
