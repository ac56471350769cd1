"""Commands that are killed at some of their changes; `python -m tests.faults kills` kills them at each."""

from __future__ import annotations

import pytest

from tests.faults import kills
from tests.faults.kills import Change

_QUICK = {"save": 8, "features": 4}
"""Kills in `make test`; all commands are killed so often in the slow tier, which takes minutes."""
_SOME = 12

pytestmark = pytest.mark.skipif(not kills.can_trace(), reason=kills.MISSING)


@pytest.mark.parametrize(("name", "most"), _QUICK.items())
def test_what_is_killed_is_whole_or_absent_and_the_next_command_gives_the_same_files(name: str, most: int) -> None:
    _expect_none(kills.run(name, most), most)


@pytest.mark.slow
@pytest.mark.parametrize("name", kills.command_names())
def test_every_command_may_be_killed(name: str) -> None:
    _expect_none(kills.run(name, _SOME), _SOME)


def _expect_none(campaign: kills.Campaign, tries: int) -> None:
    assert campaign.tries == min(tries, campaign.changes)
    assert campaign.cut_short > campaign.tries // 2  # the last call of a thread may come earlier in another run
    assert not campaign.faults, "\n".join(f"{change}: {fault}" for change, fault in campaign.faults.items())


def test_the_harness_finds_a_command_that_writes_half_of_a_file() -> None:
    campaign = kills.run("tests.faults.halfway")
    assert campaign.cut_short == campaign.tries == 3  # at each half, and before what it leaves behind is deleted
    assert [fault.partition(":")[0] for fault in campaign.faults.values()] == [
        "half of something is taken for the whole",  # the file is empty
        "half of something is taken for the whole",
        "another result",
    ]


@pytest.mark.parametrize(
    ("line", "thread", "call"),
    [
        ("18770 fsync(7</tmp/a>) = 0", "18770", "fsync"),
        ('rename("/a", "/b") = 0', "", "rename"),
        ("18770 <... write resumed>) = 3", "18770", ""),
        ("18770 +++ killed by SIGKILL +++", "18770", ""),
    ],
)
def test_lines_of_strace_are_read(line: str, thread: str, call: str) -> None:
    assert kills.parsed(line)[:2] == (thread, call)


def test_kills_are_spread_with_half_of_them_at_the_end() -> None:
    changes = [Change("write", number) for number in range(1, 101)]
    picked = [change.number for change in kills.spread(changes, 10)]
    assert picked == [1, 16, 31, 46, 61, 80, 85, 90, 95, 100]
    assert kills.spread(changes, None) == changes
    assert kills.spread(changes[:3], 10) == changes[:3]
