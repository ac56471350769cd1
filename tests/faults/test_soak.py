"""Under a minute of training and serving under attack; `make soak` takes half an hour. And that what grows is found."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random

import pytest

from tests.faults.flat import trend
from tests.faults.soak import TOLERANCE, Soaked, soak

SHORT = {**TOLERANCE, "MiB": 250.0, "threads": 16.0, "descriptors": 80.0}
"""Caches still fill, and threads begin when they are first wanted."""


def figure(growth: float, noise: float, waves: float = 0.0) -> tuple[list[float], list[float]]:
    """Half an hour of samples, which grow by so much."""
    random, seconds = Random(0), [7.5 * number for number in range(240)]  # noqa: S311 - noise
    at = [second / 1_800 for second in seconds]
    return seconds, [100 + growth * one + random.gauss(0, noise) + waves * math.sin(40 * one) for one in at]


@pytest.mark.parametrize(("noise", "waves"), [(0.1, 0.0), (5.0, 0.0), (1.0, 10.0)])
def test_what_grows_is_found(noise: float, waves: float) -> None:
    one = trend(*figure(40, noise, waves))

    assert one.low < 80 < one.high  # in an hour
    assert one.grows(tolerance=8)


@pytest.mark.parametrize(("growth", "noise", "waves"), [(0, 0.0, 0.0), (0, 5.0, 0.0), (0, 1.0, 10.0), (4, 0.1, 0.0)])
def test_what_is_flat_or_within_the_tolerance_does_not_grow(growth: float, noise: float, waves: float) -> None:
    assert not trend(*figure(growth, noise, waves)).grows(tolerance=8)


def test_the_warm_up_is_not_judged() -> None:
    seconds, values = figure(0, 0.5)
    warming = [value - 80 * max(0.0, 0.3 - second / 1_800) for second, value in zip(seconds, values, strict=True)]

    assert not trend(seconds, warming).grows(tolerance=8)


def test_the_table_names_what_grows() -> None:
    seconds, values = figure(40, 1.0)
    seen = Soaked(seconds, {"service: MiB": values, "service: threads": [5.0] * len(values)})

    assert seen.grown(TOLERANCE) == ["service: MiB"]
    rows = [line for line in seen.table().splitlines() if line.startswith("| service")]
    assert [row.rpartition("| ")[2] for row in rows] == ["grows |", "flat |"]


def test_the_series_has_every_sample() -> None:
    seen = Soaked([0.0, 7.5], {"service: MiB": [480.25, 481.5], "service: threads": [12.0, 13.0]})

    assert seen.series() == "seconds,service: MiB,service: threads\n0,480.25,12\n7.5,481.5,13\n"


@pytest.mark.slow
def test_training_and_serving_under_attack_stay_flat_and_leave_nothing(tmp_path: Path) -> None:
    seen = soak(tmp_path, 40)

    assert seen.faults == []
    assert seen.grown(SHORT) == [], seen.table()
    assert seen.done["ordinary 200"] > 10
    assert seen.done["trainings"] > 2
