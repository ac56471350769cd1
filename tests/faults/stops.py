"""Stops: a command is killed, or told to stop, at random moments; no process is left, and it says what was kept and how to go on."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from astune.data.generated import write_generated
from tests.faults.training import SMALL, write_adapter, write_table

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 10.0  # seconds until all processes of a killed command are gone
_IMPORTING = 60.0  # seconds until a server of processes is gone, which looks for its parent when it has imported torch
LIMIT = 300.0  # seconds of a command on a busy machine
COMMANDS = ("compare", "embed", "predict", "reproduce", "search", "train")
SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143}
_FEATURES = """
import sys
from pathlib import Path
from astune.features.cache import build_cache
from astune.features.log_mel import FrontEnd
print("begun", flush=True)
build_cache(sorted(Path(sys.argv[1]).rglob("*.wav")), FrontEnd(int(sys.argv[2])), root=Path(sys.argv[3]), quiet=True)
"""
_HOW_TO_GO_ON = re.compile(r"interrupted; .*(--resume|the same command|holds a finished run)")


@dataclass
class Stops:
    """What became of commands that were stopped.

    Attributes:
        what: was stopped, and how.
        tries: how often.
        ends: how often they ended how.
        slowest: seconds from the signal to the end of the last process.
        faults: what was wrong.
    """

    what: str
    tries: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    faults: list[str] = field(default_factory=list)


def processes_of(session: int) -> list[int]:
    """Processes of a session that are not over yet."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                fields = (process / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(process.name))
    return found


def seconds_until_gone(session: int, patience: float = PATIENCE) -> float | None:
    """How long processes of a session go on; None where some are still there when the patience is over, which are then ended."""
    begin = time.monotonic()
    while left := processes_of(session):
        if time.monotonic() - begin > patience:
            for process in left:
                os.kill(process, signal.SIGKILL)
            return None
        time.sleep(0.02)
    return time.monotonic() - begin


def kill_while_features_are_computed(data: Path, frames: int, wait: float | None = None) -> float | None:
    """Kill a process whose workers compute features.

    Args:
        data: sounds, so many that there are workers.
        frames: of each input.
        wait: seconds until it is killed; where None, until there are workers.

    Returns:
        Seconds until no process of it was left; None where one was left.
    """
    with tempfile.TemporaryDirectory() as root:
        command = [sys.executable, "-W", "ignore", "-c", _FEATURES, str(data), str(frames), root]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline() == b"begun\n"
            while wait is None and process.poll() is None and len(processes_of(process.pid)) == 1:
                time.sleep(0.01)
            time.sleep(wait or 0.0)
            process.kill()
            assert process.wait() == -signal.SIGKILL
        return seconds_until_gone(process.pid)


def orphans(frames: int, tries: int, seed: int = 0) -> Stops:
    """Kill processes whose workers compute features, at random moments.

    Args:
        frames: of each input.
        tries: how many.
        seed: of the moments.
    """
    found, draw = Stops(f"kill -9 at {frames} frames"), random.Random(seed)  # noqa: S311 - moments, no secrets
    with tempfile.TemporaryDirectory() as folder:
        data = write_generated(folder, clips_per_class=(60, 1, 1), seconds=6.0)
        for _ in range(tries):
            wait = draw.uniform(0, 2)
            left = kill_while_features_are_computed(data, frames, wait)
            found.tries += 1
            found.ends["processes left" if left is None else "none left"] += 1
            if left is None:
                found.faults.append(f"killed after {wait:.2f} s")
            found.slowest = max(found.slowest, PATIENCE if left is None else left)
    return found


@contextmanager
def prepared() -> Iterator[Path]:
    """A folder with what the commands read."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_generated(folder / "data", clips_per_class=(6, 2, 2), seconds=5.0)
        write_adapter(folder / "adapter")
        yield folder


def commands(folder: Path) -> dict[str, list[str]]:
    """Commands that take long enough to be stopped, in a prepared folder.

    Args:
        folder: of :func:`prepared`.
    """
    data, store = str(folder / "data"), str(folder / "store")
    epochs = ("--num-train-epochs", "300")
    saving = ("--save-steps", "2")
    listening = (str(folder / "adapter"), data, "--window", "0.1", "--hop", "0.01", "-o")
    write_table(folder / "stopped.yaml", folder / "data", ["lora"], num_train_epochs=300)
    return {
        "train": ["train", data, "--output-dir", str(folder / "out"), "--method", "lora", *SMALL, *epochs, *saving],
        "reproduce": ["reproduce", str(folder / "stopped.yaml"), "--backbone", "random:tiny", "--store", store],
        "compare": ["compare", data, "--method", "linear,lora", *SMALL, *epochs, "--store", store],
        "search": ["search", data, "--parameters", "20k", "--candidates", "2", *SMALL, *epochs, "--store", store],
        "predict": ["predict", *listening, str(folder / "tables")],
        "embed": ["embed", *listening, str(folder / "rows.npz")],
    }


def stop(command: list[str], number: signal.Signals, wait: float) -> tuple[int, str, float | None]:
    """Start a command of ours and tell it to stop.

    Args:
        command: its words.
        number: the signal, to the command alone as a scheduler sends it, or to all its processes as a terminal does.
        wait: seconds until then, from the time at which it has begun.

    Returns:
        Exit code, what it said, and seconds from the signal until the command ended; None where a process of it was left.
    """
    script = "import sys\nfrom astune.cli import main\nprint('begun', flush=True)\nmain()"
    with tempfile.TemporaryFile("w+") as told:
        process = subprocess.Popen(
            [sys.executable, "-c", script, *command],
            stdout=subprocess.PIPE, stderr=told, text=True, start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None
        with process.stdout:
            process.stdout.readline()
            time.sleep(wait)
            begin = time.monotonic()
            if number == signal.SIGINT:
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)
            process.wait(LIMIT)
            taken = time.monotonic() - begin
        left = seconds_until_gone(process.pid, _IMPORTING)
        told.seek(0)
        return process.returncode, told.read(), None if left is None else taken


def fault_of(code: int, said: str, number: signal.Signals, left: float | None) -> str | None:
    """What is wrong with the end of a command that was told to stop; None where nothing is, or it had ended before."""
    if left is None:
        return "a process was left"
    if code == 0:
        return None
    if code != SIGNALS[number]:
        return f"exit code {code}: {said[-500:]}"
    if "Traceback" in said:
        return f"a traceback: {said[-1500:]}"
    return None if _HOW_TO_GO_ON.search(said) else f"it does not say how to go on: {said[-500:]}"


def stopped(name: str, number: signal.Signals, tries: int, seed: int = 0) -> Stops:
    """Stop a command at random moments.

    Args:
        name: of one of :func:`commands`.
        number: the signal.
        tries: how often.
        seed: of the moments.
    """
    found, draw = Stops(f"{number.name} to {name}"), random.Random(seed)  # noqa: S311 - moments, no secrets
    with prepared() as folder:
        for _ in range(tries):
            for made in ("out", "store", "tables"):
                shutil.rmtree(folder / made, ignore_errors=True)
            wait = draw.uniform(0, 15)
            code, said, left = stop(commands(folder)[name], number, wait)
            found.tries += 1
            found.ends[f"exit code {code}"] += 1
            found.slowest = max(found.slowest, left or PATIENCE)
            wrong = fault_of(code, said, number, left)
            if wrong is not None:
                found.faults.append(f"after {wait:.2f} s: {wrong}")
    return found


def campaign(killed: int, signalled: int) -> Iterator[Stops]:
    """Everything that is killed and stopped.

    Args:
        killed: kills of a process whose workers compute features, for each length of the input.
        signalled: signals of each kind, for each command.
    """
    for frames in (64, 500):
        yield orphans(frames, killed)
    for name in COMMANDS:
        for number in SIGNALS:
            yield stopped(name, number, signalled)
