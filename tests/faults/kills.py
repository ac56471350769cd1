"""Kills: a real command ends before its n-th change of a file, and what a user does next gives the files that it would have given.

strace kills (`--inject=rename:signal=KILL:when=3`), because it sees what Python, Rust, C and sqlite write alike. Commands run in
children of a process that has imported everything already, else the imports would be most of the time.
"""

from __future__ import annotations

import ctypes
import hashlib
import multiprocessing
import os
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
from typing import TYPE_CHECKING, Any, NamedTuple

from typing_extensions import override

from tests.faults.parts import load_part, part_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from multiprocessing.context import ForkServerProcess

STRACE = shutil.which("strace")
MISSING = "strace is not installed (Debian's package strace), or ptrace is forbidden here"
CHANGES = (
    "write", "pwrite64", "writev", "pwritev", "pwritev2", "copy_file_range", "sendfile", "fallocate", "truncate", "ftruncate",
    "fsync", "fdatasync", "sync", "syncfs", "rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir", "mkdir", "mkdirat",
    "link", "linkat", "symlink", "symlinkat",
)  # fmt: skip
"""System calls that change files, or wait until a change is on the disk."""
SECONDS = 300.0  # of one command at most, on a busy machine
_COMMANDS = "tests.faults.commands"
_ANYONE = -1  # may trace this process
_PR_SET_PTRACER = 0x59616D61


@dataclass(frozen=True)
class Command:
    """A command that writes files.

    Attributes:
        name: of the module that makes it, in `tests/faults/commands`.
        prepare: makes what the command reads, in an empty folder. It runs once.
        run: the command. Its folder always has the same path.
        again: what a user does after a kill.
        check: fails where a reader would take what a kill left for something whole.
        result: what must be the same in the end, as `contents` gives it.
    """

    name: str
    prepare: Callable[[Path], object]
    run: Callable[[Path], object]
    again: Callable[[Path], object]
    check: Callable[[Path], object]
    result: Callable[[Path], dict[str, str]]


class Change(NamedTuple):
    """A call that changes files, as strace counts: each call by its name, in each thread."""

    call: str
    number: int

    @override
    def __str__(self) -> str:
        return f"{self.call} {self.number}"


@dataclass
class Campaign:
    """What became of a command that was killed again and again."""

    command: str
    changes: int = 0
    """Calls that changed files in a run that nothing disturbed."""
    tries: int = 0
    cut_short: int = 0
    """Tries that ended the command; in the others the change did not come, or nothing depended on it."""
    faults: dict[Change, str] = field(default_factory=dict)
    """What was wrong, by where the command was killed."""

    def kinds(self) -> dict[str, list[Change]]:
        """Where the command was killed, by what was wrong."""
        kinds: dict[str, list[Change]] = {}
        for change, fault in self.faults.items():
            kinds.setdefault(fault, []).append(change)
        return kinds


def command_names() -> list[str]:
    """All commands, found by their files."""
    return part_names(_COMMANDS)


def load_command(name: str) -> Command:
    """The command of a file in `tests/faults/commands`, or of any module by its whole name."""
    command = load_part(_COMMANDS, name, "COMMAND")
    assert isinstance(command, Command)
    assert command.name == name
    return command


def harmful(name: str, write: Callable[[Path], object]) -> Command:
    """A command that does with one file what ours must not; the harness is tried with it.

    Args:
        name: of its module.
        write: the file, which is `result`.
    """
    return Command(
        name,
        prepare=lambda folder: (folder / "result").write_text("old"),
        run=write,
        again=write,
        check=lambda folder: assert_old_or_new(folder, "result"),
        result=contents,
    )


def contents(folder: Path, but: Iterable[str] = ()) -> dict[str, str]:
    """Digest of each file of a folder but lock files, by its path, and the folders and lock files in it, hidden ones too.

    A lock file that is left by a killed process has that process in it.

    Args:
        folder: need not be there.
        but: names of files whose content has times in it; they must be there.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        plain = path.is_file() and path.name not in but and path.suffix != ".lock"
        found[name] = hashlib.sha256(path.read_bytes()).hexdigest()[:16] if plain else "there"
    return found


def assert_old_or_new(folder: Path, name: str) -> None:
    """Refuse what is partly of before the command and partly of after it.

    Args:
        folder: in which the command ran.
        name: of a file, or of a folder with files, in it.
    """
    before, after = (folder.parent / state / name for state in ("prepared", "wanted"))
    found, allowed = _digests(folder / name), [_digests(state) for state in (before, after) if state.exists()]
    assert found in allowed, f"{name} is neither as before the command nor as after it: {found}"


def _digests(path: Path) -> dict[str, str]:
    if path.is_file():
        return {"": hashlib.sha256(path.read_bytes()).hexdigest()[:16]}
    return {
        name: digest for name, digest in contents(path).items() if not name.startswith(".")
    }  # no reader looks there


def astune(*arguments: object) -> None:
    """Run a command of ours in this process, as the shell would.

    Raises:
        AssertionError: it failed.
    """
    from astune.cli import main

    sys.argv = ["astune", *map(str, arguments)]
    code: object = None
    try:
        main()
    except SystemExit as end:
        code = end.code
    assert not code, f"{' '.join(sys.argv)} ended with {code}"


def can_trace() -> bool:
    """Whether strace is there and may trace."""
    if STRACE is None:
        return False
    return subprocess.run([STRACE, "-o", "/dev/null", "true"], capture_output=True, check=False).returncode == 0


@dataclass(frozen=True)
class Bench:
    """A command with its prepared folder, ready to be tried.

    Attributes:
        command: that is tried.
        folder: where it runs, every time.
        prepared: what is copied there before each try.
        wanted: its result where nothing disturbs it.
    """

    command: Command
    folder: Path
    prepared: Path
    wanted: dict[str, str]

    def restore(self) -> None:
        """Make the folder as the command finds it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.prepared, self.folder, symlinks=True)

    def act(self, action: str, *options: str) -> int:
        """Run something in a process of its own.

        Args:
            action: `run`, `again`, ... of the command.
            options: of strace, which traces the process where there are any.

        Returns:
            Its exit code; a negative one is a signal.
        """
        return _act(self.command.name, action, self.folder, options)

    def printed(self) -> str:
        """All that was printed."""
        return (self.folder.parent / "said.txt").read_text(encoding="utf-8", errors="replace")

    def said(self) -> str:
        """The last lines of it."""
        return self.printed()[-600:]

    def changes(self) -> list[Change]:
        """The calls by which the command changes something in its folder, in their order."""
        self.restore()
        log = self.folder.parent / "calls.txt"
        ended = self.act("run", "-y", "-o", str(log))
        assert ended == 0, self.said()
        counts: Counter[tuple[str, str]] = Counter()
        found: dict[Change, None] = {}
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            thread, call, rest = parsed(line)
            if not call:
                continue
            counts[thread, call] += 1
            if str(self.folder) in rest:
                found[Change(call, counts[thread, call])] = None
        return list(found)

    def try_kill(self, change: Change) -> tuple[bool, str | None]:
        """Kill the command at one of its changes, and do what a user does next.

        Args:
            change: before which it ends.

        Returns:
            Whether it was killed, and what was wrong.
        """
        self.restore()
        ended = self.act("run", "-o", "/dev/null", "-e", f"inject={change.call}:signal=KILL:when={change.number}")
        if ended not in {0, -signal.SIGKILL}:
            return False, f"the command ended with {ended}: {self.said()}"
        return ended != 0, self.fault()

    def fault(self, *, hidden_may_stay: bool = False) -> str | None:
        """What is wrong with a folder that something was left in.

        Args:
            hidden_may_stay: whether hidden files and folders may be left: the system has refused to delete one.
        """
        if self.act("check"):
            return f"half of something is taken for the whole: {self.said()}"
        if self.act("again"):
            return f"it does not go on: {self.said()}"
        found = self.command.result(self.folder)
        if hidden_may_stay:
            found = {name: what for name, what in found.items() if name in self.wanted or not name.startswith(".")}
        if found != self.wanted:
            other = [name for name in sorted({*found, *self.wanted}) if found.get(name) != self.wanted.get(name)]
            return f"another result: {', '.join(f'{n} ({self.wanted.get(n)} -> {found.get(n)})' for n in other[:8])}"
        return None


@contextmanager
def bench(name: str) -> Iterator[Bench]:
    """Prepare a command and run it once without a disturbance."""
    command = load_command(name)
    root = Path(tempfile.mkdtemp(prefix=f"kills-{name}-"))
    try:
        made = Bench(command, root / "work", root / "prepared", {})
        made.folder.mkdir()
        assert made.act("prepare") == 0, made.said()
        made.folder.rename(made.prepared)
        made.restore()
        assert made.act("run") == 0, made.said()
        made.wanted.update(command.result(made.folder))
        shutil.copytree(made.folder, root / "wanted", symlinks=True)
        assert made.act("check") == 0, made.said()
        yield made
    finally:
        shutil.rmtree(root, ignore_errors=True)


def run(name: str, most: int | None = None, seconds: float | None = None) -> Campaign:
    """Kill a command at each of its changes, or at some of them.

    Args:
        name: of the command.
        most: kills, spread over the whole run; all where None.
        seconds: after which no further kill is tried.

    Returns:
        What became of it.
    """
    return each_change(name, most, seconds, lambda made, change, _: made.try_kill(change))


def each_change(
    name: str,
    most: int | None,
    seconds: float | None,
    attempt: Callable[[Bench, Change, int], tuple[bool, str | None]],
) -> Campaign:
    """Try something at each change of a command, or at some of them.

    Args:
        name: of the command.
        most: tries, spread over the whole run; all where None.
        seconds: after which nothing further is tried.
        attempt: given the change and the number of the try, says whether the command ended by it, and what was wrong.
    """
    campaign, end = Campaign(name), time.monotonic() + (seconds or float("inf"))
    with bench(name) as made:
        changes = made.changes()
        campaign.changes = len(changes)
        for number, change in enumerate(spread(changes, most)):
            if time.monotonic() > end:
                break
            ended, fault = attempt(made, change, number)
            campaign.tries += 1
            campaign.cut_short += ended
            if fault is not None:
                campaign.faults[change] = fault
    return campaign


def spread(changes: Sequence[Change], most: int | None) -> list[Change]:
    """Some of the changes, from the first to the last one; half of them are of the last quarter, where results get their names."""
    if most is None or len(changes) <= most:
        return list(changes)
    half, late = max(1, most // 2), 3 * len(changes) // 4
    picked = {at * late // half for at in range(half)}
    picked |= {len(changes) - 1 - at * (len(changes) - late) // (most - half) for at in range(most - half)}
    return [changes[at] for at in sorted(picked)]


def parsed(line: str) -> tuple[str, str, str]:
    """A line of strace's: the thread, the call, and its arguments with what it gave; no call where the line is of something else.

    strace names no thread while there is only one.
    """
    thread, rest = line.split(maxsplit=1) if line[:1].isdigit() else ("", line)
    call, found, rest = rest.partition("(")
    return thread, call if found and call.isidentifier() else "", rest


def _spelled() -> str:
    return ",".join(f"?{call}" for call in CHANGES)  # a machine without one of them is not refused


def _act(name: str, action: str, folder: Path, options: Sequence[str]) -> int:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.warm"])
    ours, theirs = context.Pipe()
    process = context.Process(target=_child, args=(name, action, folder, theirs, bool(options)))
    process.start()
    theirs.close()
    tracer, said = None, folder.parent / "strace.txt"
    try:
        if options:
            ours.recv()
            assert STRACE is not None
            command = [STRACE, "-f", "-qqq", "-e", f"trace={_spelled()}", "-e", "signal=none", *options]
            with said.open("wb") as stderr:  # a pipe that nobody empties would stop strace, and what it traces
                tracer = subprocess.Popen([*command, "-p", str(process.pid)], stderr=stderr)
            _await_tracer(process, tracer, said)
            ours.send("go")
        process.join(SECONDS)
        assert process.exitcode is not None, f"{name}: {action} hangs"
        return process.exitcode
    finally:
        process.kill()
        process.join()
        if tracer is not None:
            try:
                tracer.wait(SECONDS)
            finally:
                tracer.kill()


def _await_tracer(process: ForkServerProcess, tracer: subprocess.Popen[bytes], said: Path) -> None:
    status = Path(f"/proc/{process.pid}/status")
    while "TracerPid:\t0\n" in status.read_text(encoding="ascii"):
        if tracer.poll() is not None:
            raise AssertionError(f"strace ended: {said.read_text(errors='replace')}")
        time.sleep(0.002)


def _child(name: str, action: str, folder: Path, pipe: Any, traced: bool) -> None:  # noqa: ANN401 - multiprocessing's own
    with (folder.parent / "said.txt").open("w", encoding="utf-8") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    os.environ |= {"ASTUNE_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    os.chdir(folder)
    command = load_command(name)
    if traced:
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(_ANYONE), 0, 0, 0)
        pipe.send("ready")
        pipe.recv()
    getattr(command, action)(folder)
