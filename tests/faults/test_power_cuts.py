"""Power cuts at some changes of commands; `python -m tests.faults power` cuts it after each."""

from __future__ import annotations

import re
from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.faults import kills, power

if TYPE_CHECKING:
    from pathlib import Path

_QUICK = {"save": 3}
"""Moments in `make test`, of which each gives four disks at most."""
_SOME = 5

needs_strace = pytest.mark.skipif(not kills.can_trace(), reason=kills.MISSING)


@needs_strace
@pytest.mark.parametrize(("name", "most"), _QUICK.items())
def test_after_a_power_cut_there_is_old_or_new(name: str, most: int) -> None:
    campaign = power.run(name, most)
    assert campaign.tries >= most
    assert not campaign.faults


@needs_strace
@pytest.mark.slow
@pytest.mark.parametrize("name", kills.command_names())
def test_every_command_survives_a_power_cut(name: str) -> None:
    campaign = power.run(name, _SOME)
    assert campaign.tries >= _SOME
    assert not campaign.faults


@needs_strace
def test_the_harness_finds_a_name_without_its_data() -> None:
    assert not kills.run("tests.faults.unsynced").faults
    found = power.run("tests.faults.unsynced").kinds()
    assert [kind for kind in found if kind.startswith("half of something is taken for the whole")]
    assert "it had ended, and these are lost: result" in found


def recorded(folder: Path, *lines: str) -> power.Record:
    """What a model disk makes of calls in a folder, as strace shows them, with `$name` for a path in it."""
    folder.mkdir()
    made, log = power.Record(folder), folder.parent / "log"
    text = re.sub(r'"([^"$]+)"|"[^"]*"', lambda one: f'"{_hex(one[1])}"' if one[1] else one[0], "\n".join(lines))
    log.write_text(re.sub(r"\$([\w./]+)", lambda name: _hex(str(folder / name[1])), text), encoding="ascii")
    made.read(log)
    return made


def _hex(text: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in text.encode())


WRITTEN = ('openat(AT_FDCWD<$.>, "$a", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 3<$a>', 'write(3<$a>, "one", 3) = 3')
SYNCED = ("fsync(3<$a>) = 0", "fsync(4<$.>) = 0")


def disks(made: power.Record) -> list[dict[str, bytes | None]]:
    """All that may be there after a power cut at the end, as far as twenty draws show it."""
    found = []
    for seed in range(20):
        found += list(made.disks(made.moments[-1], Random(seed)))  # noqa: S311
    return [disk for at, disk in enumerate(found) if disk not in found[:at]]


def test_what_is_not_synced_may_be_there_or_not(tmp_path: Path) -> None:
    found = disks(recorded(tmp_path / "w", *WRITTEN))
    assert {None if not disk else disk["a"] for disk in found} == {None, b"", b"one", bytes(3)}


def test_what_is_synced_is_there(tmp_path: Path) -> None:
    assert disks(recorded(tmp_path / "w", *WRITTEN, *SYNCED)) == [{"a": b"one"}]


def test_a_file_that_is_synced_needs_its_folder_for_its_name(tmp_path: Path) -> None:
    found = disks(recorded(tmp_path / "w", *WRITTEN, "fsync(3<$a>) = 0"))
    assert found == [{}, {"a": b"one"}]


def test_of_two_names_the_later_one_is_never_there_alone(tmp_path: Path) -> None:
    made = recorded(tmp_path / "w", *WRITTEN, "fsync(3<$a>) = 0", 'mkdir("$d", 0777) = 0', 'rename("$a", "$d/b") = 0')
    assert [sorted(disk) for disk in disks(made)] == [[], ["d", "d/b"], ["a"], ["a", "d"]]


def test_a_renamed_folder_takes_its_files_along(tmp_path: Path) -> None:
    lines = ('mkdir("$d", 0777) = 0', 'openat(AT_FDCWD<$.>, "d/a", O_WRONLY|O_CREAT, 0666) = 3<$d/a>')
    made = recorded(tmp_path / "w", *lines, 'rename("$d", "$e") = 0', "fsync(4<$.>) = 0")
    assert disks(made) == [{"e": None, "e/a": b""}]


def test_calls_that_another_thread_interrupts_are_read(tmp_path: Path) -> None:
    begun = ('7 write(3<$a>, "one", 3 <unfinished ...>', '8 mkdir("$d", 0777) = 0', "7 <... write resumed>) = 3")
    made = recorded(tmp_path / "w", f"7 {WRITTEN[0]}", *begun, "7 fsync(3<$a>) = 0", "7 fsync(4<$.>) = 0")
    assert disks(made) == [{"a": b"one", "d": None}]


def test_failed_calls_change_nothing(tmp_path: Path) -> None:
    made = recorded(tmp_path / "w", *WRITTEN, *SYNCED, 'unlink("$a") = -1 EPERM (Operation not permitted)')
    assert disks(made) == [{"a": b"one"}]


def test_positions_are_followed(tmp_path: Path) -> None:
    lines = (
        "lseek(3<$a>, 1, SEEK_SET) = 1", 'write(3<$a>, "NE!", 3) = 3', 'pwrite64(3<$a>, "O", 1, 0) = 1', "ftruncate(3<$a>, 3) = 0",
        'openat(AT_FDCWD<$.>, "$a", O_WRONLY|O_APPEND) = 5<$a>', 'write(5<$a>, "+", 1) = 1',
    )  # fmt: skip
    assert disks(recorded(tmp_path / "w", *WRITTEN, *lines, *SYNCED)) == [{"a": b"ONE+"}]
