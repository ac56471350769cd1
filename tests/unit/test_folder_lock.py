"""Locks say which process holds them."""

from __future__ import annotations

import os
import pickle
import re
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import filelock
import pytest
from filelock import FileLock, Timeout

from astune import folder_lock
from astune.errors import ConfigError
from astune.experiments.failures import RunsElsewhere
from astune.folder_lock import LOCK, HeldElsewhere, hold, holder_of, lock_folder

if TYPE_CHECKING:
    from pathlib import Path

EMPTIES = filelock.__version__.startswith("3.")
"""Whether filelock empties a file that it tries to lock; later versions leave it as it is."""
US = f"process {os.getpid()} on {socket.gethostname()}"


def test_who_comes_second_is_told_who_was_first(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    for _ in range(2):
        with hold(path):
            assert holder_of(path) == US
            for _ in range(1 if EMPTIES else 2):
                with pytest.raises(HeldElsewhere) as held, hold(path):
                    pass
                assert (held.value.holder, held.value.who) == (US, f" ({US})")
            with pytest.raises(Timeout), FileLock(path, timeout=0):  # as older versions do
                pass
        assert path.read_text() == ""
    assert pickle.loads(pickle.dumps(held.value)).lock_file == str(path)  # noqa: S301


def test_a_lock_that_does_not_say_who_holds_it_is_held_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    for text in ("", "mine", "1\n../a\n", "\0" * 9, "ü"):
        path.write_text(text, encoding="utf-8")
        with FileLock(path), pytest.raises(HeldElsewhere) as held, hold(path):
            pass
        assert (held.value.holder, held.value.who) == ("", "")
        with hold(path):
            there = "" if EMPTIES else text
            assert path.read_text(encoding="utf-8") == (there or f"{os.getpid()}\n{socket.gethostname()}\n")
        assert path.read_text(encoding="utf-8") == there  # of somebody else's file nothing is lost
    assert str(RunsElsewhere("")) == "another process is running it; when that one has ended, start again"
    assert "running it (process 4 on node3); when" in str(RunsElsewhere("process 4 on node3"))


def test_a_folder_and_a_file_are_refused_with_the_process(tmp_path: Path) -> None:
    for file, lock, said in ((None, LOCK, "into "), ("a.npz", ".a.npz.lock", "")):
        with lock_folder(tmp_path / "out", file):
            assert holder_of(tmp_path / "out" / lock) == US
            with (
                pytest.raises(ConfigError, match=rf"another run is writing {said}.* \({re.escape(US)}\); wait"),
                lock_folder(tmp_path / "out", file),
            ):
                pass
        assert not (tmp_path / "out").exists()


def test_a_process_that_works_for_another_names_the_other(tmp_path: Path) -> None:
    """What a user has started, and can wait for or end."""
    file = tmp_path / "held.py"
    file.write_text(
        "import multiprocessing, os, sys, pathlib\n"
        "from astune.folder_lock import hold, holder_of\n"
        "def work(path):\n"
        "    with hold(pathlib.Path(path)):\n"
        "        print(holder_of(pathlib.Path(path)), flush=True)\n"
        "if __name__ == '__main__':\n"
        "    process = multiprocessing.get_context('forkserver').Process(target=work, args=(sys.argv[1],))\n"
        "    process.start(); process.join(); print(os.getpid())\n"
    )
    done = subprocess.run(
        [sys.executable, str(file), str(tmp_path / "a.lock")], capture_output=True, text=True, check=True
    )
    holder, pid = done.stdout.splitlines()
    assert holder == f"process {pid} on {socket.gethostname()}"


def test_who_waits_says_for_whom(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_lock, "_PATIENCE", 0.05)
    path = tmp_path / "a.lock"
    code = (
        "import pathlib, sys, time\nfrom astune.folder_lock import hold\n"
        "with hold(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(1)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        assert other.stdout.readline() == "held\n"
        with hold(path, "computes the same part of the cache"):
            assert holder_of(path) == US
    said = f"waiting for another process (process {other.pid} on {socket.gethostname()}), which computes the same part of the cache"
    assert said in " ".join(capsys.readouterr().err.split())
