"""Hostile inputs for whatever reads what comes from elsewhere: only an `AstuneError` comes out, within bounds of time and memory.

A reader runs in a process of its own, which is watched from outside: a library that loops or takes all memory cannot be stopped
from within. Each input follows from the reader's name and the input's number, so `python -m tests.faults fuzz --case audio:17`
shows it again.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from astune.errors import AstuneError, AudioWarning
from tests.faults.parts import load_part, part_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

CPU_SECONDS = 5.0  # of one input
WALL_SECONDS = 120.0  # of one input that waits for something; far more than a busy machine takes
MEMORY = 1 << 30  # bytes more than the process has after it read a sound input
LONGEST_REFUSAL = 20_000  # letters; a sentence is for reading
_PER_PROCESS = 2_500  # inputs, after which a fresh process goes on, so that no leak of one library ends a campaign
_READERS = "tests.faults.readers"


@dataclass(frozen=True)
class Reader:
    """Something that reads what comes from elsewhere.

    Attributes:
        name: of the module that makes it, without `tests.faults.readers`.
        make: writes one input into an empty folder, sound or hostile, and returns what `read` takes.
        read: reads it as a user's command would.
        warm_up: reads a sound input in an empty folder; it must not fail.
    """

    name: str
    make: Callable[[Path, Random], Any]
    read: Callable[[Any], object]
    warm_up: Callable[[Path], object]


@dataclass(frozen=True)
class Escape:
    """An input that did something else than being read or refused."""

    case: str
    what: str


@dataclass
class Campaign:
    """What a reader did with its inputs."""

    reader: str
    counts: Counter[str] = field(default_factory=Counter)
    escapes: list[Escape] = field(default_factory=list)
    slowest: float = 0.0

    @property
    def inputs(self) -> int:
        return self.counts.total()

    def kinds(self) -> dict[str, list[str]]:
        """The cases that escaped, by what they did, the most frequent first."""
        kinds: dict[str, list[str]] = {}
        for escape in self.escapes:
            kinds.setdefault(escape.what.partition(": ")[0], []).append(escape.case)
        return dict(sorted(kinds.items(), key=lambda kind: -len(kind[1])))


def reader_names() -> list[str]:
    """All readers, found by their files."""
    return part_names(_READERS)


def load_reader(name: str) -> Reader:
    """The reader of a file in `tests/faults/readers`, or of any module by its whole name."""
    reader = load_part(_READERS, name, "READER")
    assert isinstance(reader, Reader)
    assert reader.name == name
    return reader


def random_of(name: str, number: int) -> Random:
    """The generator of one input."""
    return Random(f"{name}:{number}")  # noqa: S311 - chooses inputs


def run(name: str, numbers: range, seconds: float | None = None, *, cpu_seconds: float = CPU_SECONDS) -> Campaign:
    """Give a reader its inputs.

    Args:
        name: of the reader.
        numbers: of the inputs.
        seconds: after which no further input is tried.
        cpu_seconds: of a processor that one input may take.

    Returns:
        What happened.
    """
    campaign = Campaign(name)
    end = time.monotonic() + seconds if seconds else float("inf")
    at = numbers.start
    while at < numbers.stop and time.monotonic() < end:
        for number, kind, what, cpu in _watched(name, range(at, min(at + _PER_PROCESS, numbers.stop)), cpu_seconds):
            at = number + 1
            campaign.counts[kind] += 1
            campaign.slowest = max(campaign.slowest, cpu)
            if kind == "escaped":
                campaign.escapes.append(Escape(f"{name}:{number}", what))
            if time.monotonic() > end:
                break
    return campaign


Report = tuple[int, str, str, float]


def _watched(name: str, numbers: range, cpu_seconds: float) -> Iterator[Report]:
    """Reports of one process, which ends early when an input takes it down."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    root = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    process = context.Process(target=_serve, args=(name, numbers, theirs, root), daemon=True)
    process.start()
    theirs.close()
    try:
        assert process.pid is not None
        if ours.recv() != "ready":
            raise AssertionError(f"{name} does not read a sound input")
        for number in numbers:
            report = _await(ours, process.pid, cpu_seconds)
            if isinstance(report, str):
                yield number, "escaped", report, 0.0
                return
            yield report
    except EOFError:
        raise AssertionError(f"{name} does not read a sound input; its traceback is above") from None
    finally:
        process.kill()
        process.join()
        shutil.rmtree(root, ignore_errors=True)


def _await(ours: Connection, pid: int, cpu_seconds: float) -> Report | str:
    """The next report of a process, or what became of it. Processor time counts from where the input is made."""
    begin, spent = time.monotonic(), float("inf")
    while True:
        while not ours.poll(0.2):
            if _cpu_seconds(pid) - spent > cpu_seconds:
                return f"took more than {cpu_seconds:g} s of a processor"
            if time.monotonic() - begin > WALL_SECONDS:
                return f"hung for {WALL_SECONDS:g} s"
        try:
            report: Report | str = ours.recv()
        except EOFError:
            return "took the process down"
        if not isinstance(report, str):
            return report
        spent = _cpu_seconds(pid)


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:  # it has just ended
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _serve(name: str, numbers: range, pipe: Connection, root: Path) -> None:
    """The process: reads one input after the other and reports."""
    warnings.simplefilter("error")  # what a library warns of, a user would see between the lines of our answer
    warnings.simplefilter("ignore", AudioWarning)
    (root / "cwd").mkdir()
    os.chdir(root / "cwd")
    os.environ |= {
        "HF_HUB_OFFLINE": "1",
        "ASTUNE_CACHE": tempfile.mkdtemp(prefix="cache-", dir=root),
        "OMP_NUM_THREADS": "1",
    }
    reader = load_reader(name)
    with tempfile.TemporaryDirectory(dir=root) as folder:
        reader.warm_up(Path(folder))
    _bound_memory()
    kept = sorted(root.iterdir())
    pipe.send("ready")
    for number in numbers:
        begin = 0.0

        def made() -> None:
            nonlocal begin
            pipe.send("made")
            begin = time.process_time()

        kind, what = outcome(reader, number, root, made)
        strangers = [path for path in [*root.iterdir(), *(root / "cwd").iterdir()] if path not in kept]
        if strangers:
            kind, what = "escaped", f"left files outside of its folder: {[path.name for path in strangers]}"
        for path in strangers:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        pipe.send((number, kind, what, time.process_time() - begin))


def outcome(reader: Reader, number: int, root: Path, made: Callable[[], None] = lambda: None) -> tuple[str, str]:
    """What one input does: ``read``, ``refused`` with the sentence, or ``escaped`` with the place.

    Args:
        reader: given the input.
        number: of the input.
        root: where a folder of its own is made and removed.
        made: called when the input is made and about to be read.
    """
    case = root / "case"
    folder = case / "input"
    folder.mkdir(parents=True)
    try:
        given = reader.make(folder, random_of(reader.name, number))
        kind, what = "read", ""
        made()
        try:
            reader.read(given)
        except AstuneError as refusal:
            kind, what = "refused", str(refusal)
            if len(what) > LONGEST_REFUSAL:
                return "escaped", f"its refusal is too long: {len(what):,} letters, {what[:200]!r}"
        except (Exception, Warning) as fault:  # noqa: BLE001 - what escapes is what we look for
            return "escaped", _location(fault)
        if [path.name for path in case.iterdir()] != ["input"]:
            return "escaped", "left files outside of its folder"
        return kind, what
    finally:
        shutil.rmtree(case, ignore_errors=True)


def _location(fault: BaseException) -> str:
    """The fault, and the last line of ours that it passed."""
    frames = traceback.extract_tb(fault.__traceback__)
    ours = [frame for frame in frames if f"{os.sep}astune{os.sep}" in frame.filename]
    where = f"{Path((ours or frames)[-1].filename).name}:{(ours or frames)[-1].lineno}"
    return f"{type(fault).__name__} at {where}: {str(fault)[:200]!r}"


def _bound_memory() -> None:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    held = int(status.partition("VmData:")[2].split()[0]) << 10
    resource.setrlimit(resource.RLIMIT_DATA, (held + MEMORY, resource.RLIM_INFINITY))
