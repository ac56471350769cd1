"""A few hundred hostile inputs for each reader; `make faults` gives each 20,000. And that the harness finds what it looks for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from astune.errors import ConfigError
from tests.faults import fuzzing, harmful

if TYPE_CHECKING:
    from collections.abc import Callable

INPUTS = 200


@pytest.mark.parametrize("name", fuzzing.reader_names())
def test_hostile_inputs_are_read_or_refused(name: str) -> None:
    campaign = fuzzing.run(name, range(INPUTS))

    assert campaign.escapes == []
    assert campaign.inputs == INPUTS
    assert campaign.counts["refused"] > INPUTS / 20  # else they are not hostile


def _refuse(given: object) -> None:
    raise ConfigError(f"{given} is refused")


def _raise(given: object) -> None:
    raise KeyError(given)


def _leave(given: object) -> None:
    assert isinstance(given, Path)
    given.with_name("up").write_text("up", encoding="utf-8")


def _leave_and_refuse(given: object) -> None:
    _leave(given)
    _refuse(given)


class EndlessError(ConfigError):
    @override
    def __str__(self) -> str:
        return "x" * 30_000


def _talk(given: object) -> None:
    raise EndlessError


@pytest.mark.parametrize(
    ("read", "kind", "what"),
    [
        (_refuse, "refused", "7 is refused"),
        (_raise, "escaped", "KeyError at test_fuzzing.py"),
        (_talk, "escaped", "its refusal is too long: 30,000"),
        (len, "read", ""),
        (_leave, "escaped", "left files outside"),
        (_leave_and_refuse, "escaped", "left files outside"),
    ],
)
def test_outcomes(read: Callable[[object], object], kind: str, what: str, tmp_path: Path) -> None:
    def make(folder: Path, random: object) -> object:
        return folder if what.startswith("left") else "7"

    found = fuzzing.outcome(fuzzing.Reader("one", make, read, warm_up=read), 0, tmp_path)

    assert found[0] == kind
    assert found[1].startswith(what)
    assert list(tmp_path.iterdir()) == []


def test_the_watch_finds_what_it_looks_for() -> None:
    does = [harmful.does(fuzzing.random_of(harmful.NAME, number)) for number in range(16)]
    assert set(does) == {*harmful.FOUND}  # each at least once

    campaign = fuzzing.run(harmful.NAME, range(16), cpu_seconds=1)

    assert campaign.inputs == 16
    expected = [(f"{harmful.NAME}:{n}", harmful.FOUND[what]) for n, what in enumerate(does) if harmful.FOUND[what]]
    assert [escape.case for escape in campaign.escapes] == [case for case, _ in expected]
    assert all(escape.what.startswith(begin) for escape, (_, begin) in zip(campaign.escapes, expected, strict=True))


def test_a_campaign_ends_with_its_time() -> None:
    assert 0 < fuzzing.run("specs", range(10**9), seconds=1).inputs < 10**6
