"""Training and serving for a long time, with clients of all kinds: memory, descriptors, threads and files stay flat."""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

from tests.faults.clients import CLIENTS, Service, ordinary
from tests.faults.flat import trend
from tests.faults.fuzzing import random_of
from tests.faults.readers.http import TOKEN, samples
from tests.faults.training import write_adapter, write_sounds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.sharedctypes import Synchronized
    from random import Random

MIB = 2**20
TOLERANCE = {"MiB": 8.0, "descriptors": 8.0, "threads": 2.0, "temporary files": 8.0, "cache MiB": 1.0}
"""Growth that is put down to caches of the interpreter and to what the clients of the moment do."""
_SAMPLES = 240
_METHODS = ("lora", "conformer", "bitfit", "prefix")
_SETTLED = 90.0  # seconds in which everything has to be as at the beginning, once nobody asks


@dataclass
class Soaked:
    """What was seen."""

    seconds: list[float] = field(default_factory=list)
    figures: dict[str, list[float]] = field(default_factory=dict)
    """Samples by process and figure."""
    done: Counter[str] = field(default_factory=Counter)
    """Requests by client and status, trainings."""
    faults: list[str] = field(default_factory=list)

    def grown(self, tolerance: dict[str, float]) -> list[str]:
        """Figures that grew.

        Args:
            tolerance: of each.
        """
        return [
            name
            for name, values in self.figures.items()
            if trend(self.seconds, values).grows(tolerance[name.partition(": ")[2]])
        ]

    def series(self) -> str:
        """Every sample, as CSV: the time in seconds, then each figure."""
        columns = [self.seconds, *self.figures.values()]
        rows = [",".join(f"{value:.6g}" for value in row) for row in zip(*columns, strict=True)]
        return "\n".join([",".join(["seconds", *self.figures]), *rows, ""])

    def table(self) -> str:
        """Everything, for people."""
        grown = self.grown(TOLERANCE)
        lines = [
            "| figure | after the warm-up | at the end | growth in an hour (95 %) | |",
            "| --- | ---: | ---: | ---: | --- |",
        ]
        for name, values in self.figures.items():
            one = trend(self.seconds, values)
            growth = f"{one.low:+.1f} to {one.high:+.1f}"
            lines.append(
                f"| {name} | {one.first:.1f} | {one.last:.1f} | {growth} | {'grows' if name in grown else 'flat'} |"
            )
        counts = ", ".join(f"{name} {count:,}" for name, count in sorted(self.done.items()))
        return "\n".join([*lines, "", f"{self.seconds[-1] / 60:.1f} minutes: {counts}", *self.faults])


def soak(folder: Path, seconds: float) -> Soaked:
    """Train and serve.

    Args:
        folder: empty.
        seconds: for how long.

    Returns:
        What was seen.
    """
    seen, stop = Soaked(), Event()
    with _serving(folder) as (process, service), _training(folder) as (trainer, trained):
        measured = {"service": (process.pid, folder / "temporary"), "trainings": (trainer, folder / "training")}
        _load_everything(service)
        idle = _measure(*measured["service"])
        threads = [
            Thread(target=_ask, args=(name, number, service, stop, seen))
            for name, (_, count) in CLIENTS.items()
            for number in range(count)
        ]
        for thread in threads:
            thread.start()
        begun = time.monotonic()
        try:
            while (now := time.monotonic() - begun) < seconds and process.poll() is None:
                seen.seconds.append(now)
                for name, (pid, written) in measured.items():
                    for figure, value in _measure(pid, written).items():
                        seen.figures.setdefault(f"{name}: {figure}", []).append(value)
                time.sleep(min(seconds / _SAMPLES, 5.0))
        finally:  # clients that nobody stops would keep a failed campaign alive
            stop.set()
            for thread in threads:
                thread.join()
        _settle(seen, lambda: _measure(*measured["service"]), idle)
        seen.done["trainings"] = trained.value
        if process.poll() is not None:
            seen.faults.append(f"the service ended with {process.returncode}")
    log = (folder / "log").read_text(encoding="utf-8")
    seen.done["lines of the log"] = len(log.splitlines())
    seen.faults += [
        f"the log has: {line}" for line in re.findall(r"^.* a request failed: .*$|^  \| .*$", log, re.MULTILINE)[:20]
    ]
    return seen


def _load_everything(service: Service) -> None:
    """Ask for what is loaded on demand."""
    random = random_of("soak", 0)
    for _ in range(20):
        ordinary(service, random)


def _settle(seen: Soaked, measure: Callable[[], dict[str, float]], idle: dict[str, float]) -> None:
    """Once nobody asks, nothing is left of who asked."""
    end = time.monotonic() + _SETTLED
    for figure in ("descriptors", "temporary files"):
        while (value := measure()[figure]) > idle[
            figure
        ] + 2 and time.monotonic() < end:  # a connection may just be closed
            time.sleep(0.5)
        if value > idle[figure] + 2:
            seen.faults.append(f"{figure}: {value:g} when all clients are gone, {idle[figure]:g} before they came")


def _ask(name: str, number: int, service: Service, stop: Event, seen: Soaked) -> None:
    ask, asked = CLIENTS[name][0], 0
    while not stop.wait(0.02):
        random: Random = random_of(f"soak {name} {number}", asked)
        asked += 1
        try:
            status = ask(service, random)
        except (AssertionError, OSError, ValueError) as fault:
            seen.faults.append(f"{name} {number} at its request {asked}: {fault!r}"[:400])
            stop.wait(5)
        else:
            seen.done[f"{name} {status or ''}".strip()] += 1


def _measure(pid: int, folder: Path) -> dict[str, float]:
    """What a process has now; `folder` has its files that come and go, or its cache."""
    root = Path(f"/proc/{pid}")
    pages = int((root / "statm").read_text(encoding="ascii").split()[1])
    found = {
        "MiB": pages * os.sysconf("SC_PAGE_SIZE") / MIB,
        "descriptors": float(len(list((root / "fd").iterdir()))),
        "threads": float(len(list((root / "task").iterdir()))),
    }
    # os.walk passes over a folder that is deleted meanwhile, where Path.rglob raises FileNotFoundError.
    sizes = [_size(Path(parent, name)) for parent, folders, files in os.walk(folder) for name in (*folders, *files)]
    return found | (
        {"cache MiB": sum(sizes) / MIB} if folder.name == "training" else {"temporary files": float(len(sizes))}
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # it is just gone
        return 0


@contextmanager
def _serving(folder: Path) -> Iterator[tuple[subprocess.Popen[str], Service]]:
    """`astune serve`, as users run it."""
    for name in ("temporary", "watched"):
        (folder / name).mkdir()
    command = [
        sys.executable,
        "-m",
        "astune",
        "serve",
        samples().adapter,
        "--adapters-dir",
        folder / "watched",
        "--port",
        "0",
    ]
    limits = [
        "--device",
        "cpu",
        "--upload-seconds",
        "5",
        "--max-upload-mb",
        "8",
        "--max-files",
        "8",
        "--max-queue",
        "64",
    ]
    own = {"TMPDIR": str(folder / "temporary"), "ASTUNE_TOKEN": TOKEN, "OMP_NUM_THREADS": "1"}
    with (
        (folder / "log").open("w", encoding="utf-8") as log,
        subprocess.Popen(
            [*map(str, command), *limits], stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, **own}
        ) as process,
    ):
        try:
            assert process.stdout is not None
            host, _, port = process.stdout.readline().strip().removeprefix("http://").partition(":")
            yield process, Service((host, int(port)), folder / "watched")
        finally:
            process.terminate()
            process.wait(120)


@contextmanager
def _training(folder: Path) -> Iterator[tuple[int, Synchronized[int]]]:
    """A process that trains again and again; its number, and how often it has."""
    context = multiprocessing.get_context("spawn")
    trained: Synchronized[int] = context.Value("i", 0)
    stop = context.Event()
    process = context.Process(target=_train, args=(folder / "training", stop, trained))
    process.start()
    try:
        while not trained.value:
            assert process.is_alive()
            time.sleep(0.2)
        assert process.pid is not None
        yield process.pid, trained
    finally:
        stop.set()
        process.join()
        assert process.exitcode == 0


def _train(folder: Path, stop: Event, trained: Synchronized[int]) -> None:
    """Trainings one after the other, and a predictor with adapters that come and go, all in one process."""
    import torch

    from astune import Predictor, TrainConfig, train
    from astune.child_processes import end_with_parent

    end_with_parent()
    torch.set_num_threads(1)
    folder.mkdir()
    os.environ["ASTUNE_CACHE"] = str(folder / "cache")
    write_sounds(folder)
    recordings = sorted((folder / "data").rglob("*.wav"))[:4]
    predictor = Predictor(write_adapter(folder / "first"), device="cpu", threads=1)
    with (folder / "told").open("w", encoding="utf-8") as told, redirect_stdout(told), redirect_stderr(told):
        while not stop.is_set():
            method = _METHODS[trained.value % len(_METHODS)]
            config = TrainConfig(
                data=f"folder:{folder / 'data'}", method=method, backbone="random:tiny", max_length=32, num_train_epochs=1,
                output_dir=folder / "out", overwrite_output_dir=True, cache_frozen=trained.value % 2 == 1,
            )  # fmt: skip
            train(config)
            predictor.load_adapter(folder / "out", "out")
            predictor.predict(recordings, adapter_names=["out"] * len(recordings))
            predictor.delete_adapter("out")
            told.seek(0)
            told.truncate()
            trained.value += 1
