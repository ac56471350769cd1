"""Many recordings heard by several processes, or on a Ray cluster: the rows and bits of one process, and what happens when one dies."""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from astune import AudioClassifier, Predictor, load_backbone
from astune.cli import app
from astune.errors import AdapterError, ConfigError
from astune.inference.findings import Findings
from astune.inference.request import Request
from astune.inference.worker_processes import ask_workers
from astune.inference.workers import Question, Workers, units_of

RATE = 16_000  # Hz
LABELS = ("a", "b", "c")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(0)
    AudioClassifier(load_backbone("random:tiny", 48), "lora", LABELS).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine short recordings, within one input of 0.5 s, and three of up to 6 s."""
    folder = tmp_path_factory.mktemp("recordings")
    for number in range(9):
        write(folder / f"short{number}.wav", 0.2 + 0.03 * number, number)
    for number in range(3):
        write(folder / f"long{number}.wav", 2.0 * (number + 1), 100 + number)
    return folder


def write(path: Path, seconds: float, seed: int) -> Path:
    soundfile.write(path, np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE)), RATE)
    return path


def run(*arguments: object) -> tuple[int, str, str]:
    """The command in this process, whose workers start from one server."""
    ended = CliRunner().invoke(app, ["predict", *map(str, arguments)])
    assert ended.exception is None or isinstance(ended.exception, SystemExit | ConfigError), ended.exception
    return ended.exit_code, ended.stdout, ended.stderr + str(ended.exception or "")


def run_alone(*arguments: object) -> tuple[int, str, str]:
    """The command in a process of its own: Ray changes the one that it is used in."""
    command = [sys.executable, "-m", "astune", "predict", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    return ended.returncode, ended.stdout, ended.stderr


def test_recordings_are_handed_out_as_the_model_takes_them(tmp_path: Path) -> None:
    """Small ones by the batch, one of 2 MiB or more alone; all of them, in order."""
    paths = [tmp_path / f"{number:02d}.wav" for number in range(12)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes(2**21 if number in {5, 6} else 100))
    units = units_of([*paths, tmp_path / "gone.wav"], 4)
    assert [[number for number, _ in unit] for unit in units] == [[0, 1, 2, 3], [4], [5], [6], [7, 8, 9, 10], [11, 12]]
    assert [path for unit in units for _, path in unit] == [str(path) for path in [*paths, tmp_path / "gone.wav"]]
    assert units_of([], 4) == []


FORMS: dict[str, list[str]] = {
    "labels": ["--top-k", "2"],
    "json": ["--top-k", "3", "--json"],
    "windows": ["--window", "0.4", "--hop", "0.2", "--format", "jsonl"],
    "events": ["--events", "--threshold", "0.3", "--window", "0.4"],
}


@pytest.mark.parametrize("form", FORMS)
def test_two_workers_print_what_one_process_prints(adapter: Path, recordings: Path, form: str) -> None:
    arguments = [adapter, recordings, *FORMS[form], "--batch-size", "1"]
    alone, shared = run(*arguments), run(*arguments, "--workers", "2")
    assert alone[0] == 0
    assert len(alone[1].splitlines()) >= 12 or form == "json"
    assert shared == alone


def test_batches_of_short_recordings_give_the_bits_of_one_process(adapter: Path, recordings: Path) -> None:
    paths = sorted(recordings.glob("short*.wav"))
    question = Question(Request("recordings", top_k=3), labels=True)
    alone = list(question.answers(Predictor(adapter, batch_size=4), paths))
    workers = Workers(adapter, batch_size=4, count=2)
    assert list(ask_workers(workers, question, paths)) == alone
    found = list(ask_workers(workers, question, paths, ordered=False))
    assert sorted(found, key=lambda one: one.name) == alone


def test_a_folder_of_tables_is_the_same_and_goes_on(adapter: Path, recordings: Path, tmp_path: Path) -> None:
    arguments = [adapter, recordings, "--window", "0.4", "--batch-size", "1", "-o"]
    assert run(*arguments, tmp_path / "alone")[0] == 0
    code, _, err = run(*arguments, tmp_path / "shared", "--workers", "2")
    assert code == 0, err
    tables = sorted(path.name for path in (tmp_path / "alone").glob("*.csv"))
    assert len(tables) == 12
    for name in tables:
        assert (tmp_path / "shared" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    code, _, err = run(*arguments, tmp_path / "shared", "--workers", "2")
    assert (code, "12 files finished before and left as they are" in err) == (0, True)


def test_what_cannot_be_read_is_reported_and_the_others_are_heard(
    adapter: Path, recordings: Path, tmp_path: Path
) -> None:
    good, bad = write(tmp_path / "good.wav", 0.3, 1), tmp_path / "bad.wav"
    bad.write_bytes(b"no sound")
    for more in ((), ("-o", tmp_path / "tables")):
        code, _, err = run(adapter, good, bad, tmp_path / "gone.wav", "--workers", "2", "--batch-size", "1", *more)
        assert code == 1
        assert f"error: {bad}: it cannot be decoded" in err
        assert f"error: {tmp_path / 'gone.wav'}: there is no such file" in err
        assert "2 of 3 files could not be read or labelled" in err
    assert [path.name for path in (tmp_path / "tables").glob("*.csv")] == ["good.csv"]


def test_a_worker_that_dies_takes_nothing_along(adapter: Path, recordings: Path) -> None:
    """A worker is killed whenever it hears a certain recording, which is in one batch with others first, and alone then."""
    paths = [recordings / f"{name}.wav" for name in ("short0", "short1", "long1", "short2", "short3")]
    killed: list[int | None] = []

    def kill(name: str, seconds: float) -> None:
        if name == str(paths[2]):
            for child in multiprocessing.active_children():
                if child.name.startswith("ForkServerProcess"):
                    killed.append(child.pid)
                    os.kill(child.pid or 0, signal.SIGKILL)

    question = Question(Request("windows", window=0.4, hop=0.01))
    found = list(ask_workers(Workers(adapter, batch_size=4, count=1), question, paths, kill))
    assert len(killed) == 2
    assert [one.name for one in found] == [str(path) for path in paths]
    assert [one.error is None for one in found] == [True, True, False, True, True]
    assert str(found[2].error) == f"{paths[2]}: the process that read it died (exit code -9); the other processes go on"
    alone = list(question.answers(Predictor(adapter, batch_size=4), paths))
    for ours, theirs in zip(found, alone, strict=True):
        if ours.error is None:  # other batches, so scores differ by rounding
            assert isinstance(ours, Findings)
            assert isinstance(theirs, Findings)
            assert [row.start for row in ours.rows] == [row.start for row in theirs.rows]
            assert [row.score for row in ours.rows] == pytest.approx([row.score for row in theirs.rows], abs=1e-6)


def test_a_worker_that_dies_while_nobody_looks_is_replaced(adapter: Path, recordings: Path) -> None:
    """It has asked for more, and is gone when more is sent to it."""
    question, paths = Question(Request("recordings"), labels=True), sorted(recordings.glob("short*.wav"))[:3]
    answers = ask_workers(Workers(adapter, batch_size=1, count=1), question, paths)
    found = [next(answers)]
    time.sleep(0.5)
    (worker,) = (one for one in multiprocessing.active_children() if one.name.startswith("ForkServerProcess"))
    worker.kill()
    worker.join()
    found += answers
    assert [one.name for one in found] == list(map(str, paths))
    assert not any(one.error for one in found)


def test_what_workers_cannot_use_is_refused_in_words(adapter: Path, recordings: Path, tmp_path: Path) -> None:
    question, paths = Question(Request("recordings"), labels=True), [recordings / "short0.wav"]
    with pytest.raises(AdapterError, match="nowhere"):
        list(ask_workers(Workers(tmp_path / "nowhere", count=2), question, paths))
    with pytest.raises(ConfigError, match=r"device='cuda:99' cannot be used"):
        list(ask_workers(Workers(adapter, device="cuda:99", count=1), question, paths))
    with pytest.raises(ConfigError, match=r"count=0: give 1 worker or more"):
        list(ask_workers(Workers(adapter, count=0), question, paths))
    os.mkfifo(tmp_path / "pipe.wav")
    for path, words in (("-", "standard input"), (tmp_path / "pipe.wav", f"{tmp_path / 'pipe.wav'}, a pipe,")):
        with pytest.raises(ConfigError, match=f"^{words} cannot be divided among workers; leave workers out"):
            list(ask_workers(Workers(adapter, count=2), question, [path]))
    code, _, err = run(adapter, "-", "--workers", "2")
    assert (code, "standard input cannot be divided among workers" in err) == (1, True)


def test_no_recordings_start_no_workers(adapter: Path) -> None:
    """As where a folder of tables is finished already, and the same command is given again."""
    question = Question(Request("recordings"), labels=True)
    for workers in (Workers(adapter, count=2), Workers(adapter, ray="no-such-cluster:1")):
        assert list(ask_workers(workers, question, [])) == []


def test_workers_end_with_the_process_that_started_them(adapter: Path, recordings: Path) -> None:
    script = (
        "import multiprocessing, os, signal, sys\n"
        "from astune.inference.request import Request\n"
        "from astune.inference.workers import Workers, Question\n"
        "from astune.inference.worker_processes import ask_workers\n"
        "if __name__ == '__main__':\n"
        "    workers = Workers(sys.argv[1], batch_size=1, count=2)\n"
        "    answers = ask_workers(workers, Question(Request('recordings'), labels=True), sys.argv[2:])\n"
        "    next(answers)\n"
        "    print(*(child.pid for child in multiprocessing.active_children()), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    paths = sorted(map(str, recordings.glob("*.wav")))
    file = recordings.parent / f"script{os.getpid()}.py"
    file.write_text(script)
    ended = subprocess.run(
        [sys.executable, file, adapter, *paths], capture_output=True, text=True, timeout=300, check=False
    )
    pids = [int(pid) for pid in ended.stdout.split()]
    assert len(pids) == 2
    for _ in range(200):
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            break
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
def test_a_ray_cluster_prints_and_writes_what_one_process_does(adapter: Path, recordings: Path, tmp_path: Path) -> None:
    arguments = [adapter, recordings, "--top-k", "3", "--json", "--batch-size", "1"]
    alone = run(*arguments)
    code, out, err = run_alone(*arguments, "--ray", "local", "--workers", "2")
    assert code == 0, err
    assert json.loads(out) == json.loads(alone[1])
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no sound")
    files = [*sorted(recordings.glob("long*.wav")), bad]
    code, _, err = run_alone(adapter, *files, "--events", "--ray", "local", "-o", tmp_path / "tables")
    assert code == 1
    assert f"error: {bad}: it cannot be decoded" in err
    assert sorted(path.name for path in (tmp_path / "tables").rglob("*.csv")) == ["long0.csv", "long1.csv", "long2.csv"]
