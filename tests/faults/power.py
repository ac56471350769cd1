"""Power cuts: what a disk may hold when the power goes, made from a record of all changes; and readers find old or new, never a mixture.

A command's calls are recorded with their data. A disk that loses power has at least what was synced:

- of a file, what was written before its last `fsync`, and of what was written since any beginning, or its length without its bytes;
- of names, all changes up to the last one in a folder that was synced after it, and of later ones any beginning, since journals keep
  their order. A new name does not bring its file's data with it.
"""

from __future__ import annotations

import re
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from tests.faults import kills
from tests.faults.kills import Campaign, Change

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

CALLS = (*kills.CHANGES, "open", "openat", "creat", "lseek", "close")
_LONGEST = 1 << 25
"""Bytes of one call that strace writes down."""
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_DESCRIPTOR = re.compile(r"(-?\w+)<((?:\\x[0-9a-f]{2})*)>")
_CACHES = ("digests.sqlite", ".lock")
"""Endings of files that may be gone after a power cut: what is in them is computed again."""
Apply = tuple[int, bytes | None]
"""Bytes at a place in a file; or, without bytes, a file cut to that length."""


@dataclass
class File:
    """A file, whatever its names are."""

    before: bytes = b""
    changes: list[Apply] = field(default_factory=list)
    synced: int = 0
    """Changes that are on the disk."""

    def content(self, kept: int, *, bytes_lost: bool = False) -> bytes:
        """What is in it where so many changes are kept.

        Args:
            kept: of the changes.
            bytes_lost: whether what was not synced has its length and zeros.
        """
        found = bytearray(self.before)
        for number, (start, written) in enumerate(self.changes[:kept]):
            if written is None:
                del found[start:]
                found.extend(bytes(start - len(found)))
                continue
            found.extend(bytes(max(0, start - len(found))))
            found[start : start + len(written)] = (
                bytes(len(written)) if bytes_lost and number >= self.synced else written
            )
        return bytes(found)


Tree = dict[str, File | None]
"""Files by their paths; folders are None."""
Rename = tuple[str, str | None, File | None]
"""A change of names: the path, what it becomes (None where it is gone), and the file (None of a folder)."""


@dataclass
class Moment:
    """When the power goes: how much of the record has happened, and how much of it must be there."""

    names: int
    """Changes of names that have happened."""
    synced_names: int
    """Those that are on the disk."""
    files: dict[int, tuple[int, int]]
    """For each file by its number: changes that have happened, and those that are on the disk."""


class Record:
    """All that a command did to files in a folder.

    Args:
        folder: as it was before.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.before: Tree = {}
        for path in sorted(folder.rglob("*")):
            self.before[str(path.relative_to(folder))] = None if path.is_dir() else File(path.read_bytes())
        self.tree: Tree = dict(self.before)
        self.files = [file for file in self.tree.values() if file is not None]
        self.renames: list[Rename] = []
        self.synced_names = 0
        self.moments: list[Moment] = []
        self._offsets: dict[str, int] = {}
        self._begun: dict[str, str] = {}

    def read(self, log: Path) -> None:
        """Take a log of strace with all strings in hexadecimal.

        Args:
            log: of one process; each call ends before the next one of its thread begins.
        """
        with log.open(encoding="ascii", errors="replace") as lines:
            for line in lines:
                thread, call, rest = kills.parsed(line)
                if rest.rstrip().endswith("<unfinished ...>"):
                    self._begun[thread] = rest.rpartition("<unfinished ...>")[0]
                    continue
                if "resumed>" in line[:80]:
                    call = line.partition("<... ")[2].partition(" ")[0]
                    rest = self._begun.pop(thread) + line.partition("resumed>")[2]
                assert '"...' not in rest, f"{call} writes more than {_LONGEST} bytes at once"
                arguments, equals, given = rest.rpartition(" = ")
                if call and equals and not given.startswith(("-1", "?")):
                    self._apply(call, arguments, given)

    def _apply(self, call: str, arguments: str, given: str) -> None:
        descriptors, texts = _DESCRIPTOR.findall(arguments), [_bytes(text) for text in _TEXT.findall(arguments)]
        before = (len(self.renames), self.synced_names, sum(len(file.changes) + file.synced for file in self.files))
        handler: Callable[[list[tuple[str, str]], list[bytes], str, str], None] | None = getattr(
            self, f"_{_KINDS.get(call, '')}", None
        )
        if handler is not None:
            handler(descriptors, texts, arguments, given)
        elif call in kills.CHANGES and str(self.folder).encode().hex() in arguments.replace("\\x", ""):
            raise AssertionError(f"the model disk does not know {call}({arguments[:200]}")
        if before != (
            len(self.renames),
            self.synced_names,
            sum(len(file.changes) + file.synced for file in self.files),
        ):
            files = {number: (len(file.changes), file.synced) for number, file in enumerate(self.files)}
            self.moments.append(Moment(len(self.renames), self.synced_names, files))

    def _name(self, path: bytes, descriptors: Sequence[tuple[str, str]], number: int = 0) -> str | None:
        """A path in the folder; None where it is elsewhere."""
        whole = Path(path.decode(errors="surrogateescape"))
        if not whole.is_absolute():
            whole = Path(_bytes(descriptors[number][1]).decode(errors="surrogateescape")) / whole
        return str(whole.relative_to(self.folder)) if whole.is_relative_to(self.folder) else None

    def _file(self, descriptor: tuple[str, str]) -> File | None:
        path = _bytes(descriptor[1])
        name = self._name(path, ()) if path.startswith(b"/") else None  # else it is a pipe or a socket
        return None if name is None else self.tree.get(name)

    def _change_name(self, path: str, target: str | None, file: File | None) -> None:
        self.renames.append((path, target, file))
        _rename(self.tree, path, target, file)

    def _open(self, descriptors: list[tuple[str, str]], texts: list[bytes], arguments: str, given: str) -> None:
        name, found = self._name(texts[0], descriptors), _DESCRIPTOR.match(given)
        if name is None or found is None:
            return
        if name not in self.tree and "O_CREAT" in arguments:
            file = File()
            self.files.append(file)
            self._change_name(name, name, file)
        opened = self.tree.get(name)
        if opened is not None:
            if "O_TRUNC" in arguments and opened.content(len(opened.changes)):
                opened.changes.append((0, None))
            self._offsets[found[1]] = len(opened.content(len(opened.changes))) if "O_APPEND" in arguments else 0

    def _seek(self, descriptors: list[tuple[str, str]], texts: list[bytes], arguments: str, given: str) -> None:
        del texts, arguments
        if descriptors:
            self._offsets[descriptors[0][0]] = int(given.split()[0])

    def _write(self, descriptors: list[tuple[str, str]], texts: list[bytes], arguments: str, given: str) -> None:
        del arguments
        file, count = self._file(descriptors[0]) if descriptors else None, int(given.split()[0])
        if file is not None and count:
            start = self._offsets.get(descriptors[0][0], 0)
            file.changes.append((start, b"".join(texts)[:count]))
            self._offsets[descriptors[0][0]] = start + count

    def _write_at(self, descriptors: list[tuple[str, str]], texts: list[bytes], arguments: str, given: str) -> None:
        file = self._file(descriptors[0]) if descriptors else None
        if file is not None:
            file.changes.append((int(arguments.rstrip(")").rpartition(", ")[2]), texts[0][: int(given.split()[0])]))

    def _send(self, descriptors: list[tuple[str, str]], texts: list[bytes], arguments: str, given: str) -> None:
        del texts
        file, count = self._file(descriptors[0]), int(given.split()[0])
        if file is None or not count:
            return
        source = self._file(descriptors[1])
        content = (
            source.content(len(source.changes)) if source else Path(_bytes(descriptors[1][1]).decode()).read_bytes()
        )
        given_start = re.search(r"\[(\d+)\]", arguments)
        start = int(given_start[1]) if given_start else self._offsets.get(descriptors[1][0], 0)
        at = self._offsets.get(descriptors[0][0], 0)
        file.changes.append((at, content[start : start + count]))
        self._offsets[descriptors[0][0]] = at + count
        if not given_start:
            self._offsets[descriptors[1][0]] = start + count

    def _cut(self, descriptors: list[tuple[str, str]], texts: list[bytes], arguments: str, given: str) -> None:
        del given
        name = self._name(texts[0], ()) if texts else None
        file = self.tree.get(name) if name is not None else self._file(descriptors[0]) if descriptors else None
        if file is not None:
            file.changes.append((int(arguments.rstrip(")").rpartition(", ")[2]), None))

    def _sync(self, descriptors: list[tuple[str, str]], texts: list[bytes], arguments: str, given: str) -> None:
        del texts, arguments, given
        name = self._name(_bytes(descriptors[0][1]), ())
        if name is None:
            return
        file = self.tree.get(name)
        if file is not None:
            file.synced = len(file.changes)
            return
        for number, (path, target, _) in enumerate(self.renames[self.synced_names :], start=self.synced_names + 1):
            if name in {str(Path(one).parent) for one in (path, target) if one is not None}:
                self.synced_names = number

    def _sync_all(self, descriptors: list[tuple[str, str]], texts: list[bytes], arguments: str, given: str) -> None:
        del descriptors, texts, arguments, given
        self.synced_names = len(self.renames)
        for file in self.files:
            file.synced = len(file.changes)

    def _move(self, descriptors: list[tuple[str, str]], texts: list[bytes], arguments: str, given: str) -> None:
        del arguments, given
        source, target = self._name(texts[0], descriptors), self._name(texts[1], descriptors, -1)
        assert (source is None) == (target is None), f"{texts} moves something in or out"
        if source is not None and target is not None:
            self._change_name(source, target, self.tree[source])

    def _remove(self, descriptors: list[tuple[str, str]], texts: list[bytes], arguments: str, given: str) -> None:
        del arguments, given
        name = self._name(texts[0], descriptors)
        if name is not None:
            self._change_name(name, None, self.tree[name])

    def _make(self, descriptors: list[tuple[str, str]], texts: list[bytes], arguments: str, given: str) -> None:
        del arguments, given
        name = self._name(texts[0], descriptors)
        if name is not None:
            self._change_name(name, name, None)

    def disks(self, moment: Moment, random: Random) -> Iterator[dict[str, bytes | None]]:
        """What the disk may hold after a power cut: as little as may be, all names without their data, and something between.

        Args:
            moment: when the power goes.
            random: chooses what is between.
        """
        between = random.randint(moment.synced_names, moment.names)
        for names, kept in (
            (moment.synced_names, lambda synced, _: (synced, False)),
            (moment.names, lambda synced, _: (synced, False)),
            (moment.names, lambda _, done: (done, True)),
            (between, lambda synced, done: (random.randint(synced, done), random.random() < 0.5)),
        ):
            yield self._disk(moment, names, kept)

    def _disk(
        self, moment: Moment, names: int, kept: Callable[[int, int], tuple[int, bool]]
    ) -> dict[str, bytes | None]:
        tree = dict(self.before)
        for path, target, file in self.renames[:names]:
            _rename(tree, path, target, file)
        numbers = {id(file): number for number, file in enumerate(self.files)}
        found: dict[str, bytes | None] = {}
        for path, file in tree.items():
            if file is None:
                found[path] = None
                continue
            done, synced = moment.files.get(numbers[id(file)], (0, 0))
            count, lost = kept(synced, done)
            found[path] = File(file.before, file.changes, synced).content(count, bytes_lost=lost)
        return found


_KINDS = {
    **dict.fromkeys(("open", "openat", "creat"), "open"),
    **dict.fromkeys(("write", "writev"), "write"),
    **dict.fromkeys(("pwrite64", "pwritev", "pwritev2"), "write_at"),
    **dict.fromkeys(("sendfile", "copy_file_range"), "send"),
    **dict.fromkeys(("truncate", "ftruncate"), "cut"),
    **dict.fromkeys(("fsync", "fdatasync"), "sync"),
    **dict.fromkeys(("sync", "syncfs"), "sync_all"),
    **dict.fromkeys(("rename", "renameat", "renameat2"), "move"),
    **dict.fromkeys(("unlink", "unlinkat", "rmdir"), "remove"),
    **dict.fromkeys(("mkdir", "mkdirat"), "make"),
    "lseek": "seek",
}


def _rename(tree: Tree, path: str, target: str | None, file: File | None) -> None:
    """Apply one change of names to a tree; what lies in a folder goes with it."""
    if target == path:
        tree[path] = file
        return
    for name in [name for name in tree if name == path or name.startswith(f"{path}/")]:
        moved = tree.pop(name)
        if target is not None:
            tree[target + name[len(path) :]] = moved


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def record(bench: kills.Bench) -> Record:
    """Run a command and record all that it does to files."""
    bench.restore()
    made, log = Record(bench.folder), bench.folder.parent / "data.txt"
    calls = ",".join(f"?{call}" for call in CALLS)
    ended = bench.act("run", "-y", "-xx", "-s", str(_LONGEST), "-o", str(log), "-e", f"trace={calls}")
    assert ended == 0, bench.said()
    made.read(log)
    log.unlink()
    for name, file in made.tree.items():
        real = bench.folder / name
        assert (file is None) == real.is_dir(), f"the model disk has another {name}"
        if file is not None and not name.endswith(_CACHES):  # sqlite maps parts of its files
            assert file.content(len(file.changes)) == real.read_bytes(), f"the model disk has another {name}"
    return made


def write_disk(folder: Path, disk: dict[str, bytes | None]) -> None:
    """Make a folder as a disk holds it; files that the command did not change have their time."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in disk.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            (folder / name).mkdir(exist_ok=True)
        else:
            (folder / name).write_bytes(content)
            before = folder.parent / "prepared" / name
            if before.is_file() and before.read_bytes() == content:
                shutil.copystat(before, folder / name)


def run(name: str, most: int | None = None, seconds: float | None = None) -> Campaign:
    """Cut the power at each change of a command, or at some of them.

    Args:
        name: of the command.
        most: moments, spread over the whole run; all where None. Each gives four disks.
        seconds: after which no further moment is tried.

    Returns:
        What became of it. Disks that were tried before are not tried again.
    """
    campaign, end, seen = Campaign(name), time.monotonic() + (seconds or float("inf")), set()
    with kills.bench(name) as bench:
        made = record(bench)
        campaign.changes = len(made.moments)
        fault = _lost_at_the_end(bench, made)
        if fault:
            campaign.faults[Change("end", 0)] = fault
        numbers = kills.spread([Change("moment", number) for number in range(len(made.moments))], most)
        for number in numbers:
            for kind, disk in enumerate(made.disks(made.moments[number.number], Random(f"{name}:{number}"))):  # noqa: S311
                if time.monotonic() > end:
                    return campaign
                state = hash(tuple(sorted(disk.items(), key=lambda item: item[0])))
                if state in seen:
                    continue
                seen.add(state)
                write_disk(bench.folder, disk)
                campaign.tries += 1
                campaign.cut_short += 1
                fault = bench.fault()
                if fault is not None:
                    campaign.faults[Change(f"moment {number.number}, disk", kind)] = fault
    return campaign


def _lost_at_the_end(bench: kills.Bench, made: Record) -> str | None:
    """What is not on the disk although the command has ended well."""
    least = next(made.disks(made.moments[-1], Random(0)))  # noqa: S311
    write_disk(bench.folder, least)
    wanted = {name for name in made.tree if not name.endswith(_CACHES)}
    lost = sorted(wanted - set(least)) + [
        name
        for name in sorted(wanted & set(least))
        if (file := made.tree[name]) is not None and least[name] != file.content(len(file.changes))
    ]
    return f"it had ended, and these are lost: {', '.join(lost[:8])}" if lost else None
