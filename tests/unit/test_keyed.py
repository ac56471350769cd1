"""Keyed randomness: the same numbers for a key wherever and whenever it is drawn, other numbers for every other key."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astune.keyed import keyed_generator

FIXED: list[tuple[tuple[int | str, ...], list[float]]] = [
    ((0, "shuffle", 0), [0.9131184730190949, 0.6133552892954528, 0.8385138941180301]),
    ((0, "shuffle", 1), [0.9554041307489076, 0.9193971965057128, 0.4127624456137221]),
    ((1, "spec-augment", 3, 17), [0.3464175083582467, 0.07411698131720523, 0.6081163390028835]),
    ((42, "validation", "1-100032-A-0"), [0.8319773579295441, 0.4670299504476466, 0.788158020162089]),
    ((1099511627776, "é"), [0.8987866158752212, 0.7661951661204348, 0.9655939761011774]),
]


@pytest.mark.parametrize(("key", "draws"), FIXED)
def test_draws_never_change(key: tuple[int | str, ...], draws: list[float]) -> None:
    assert keyed_generator(*key).random(3).tolist() == draws


def test_shuffles_never_change() -> None:
    assert keyed_generator(0, "shuffle", 0).permutation(10).tolist() == [7, 5, 6, 1, 9, 2, 4, 3, 0, 8]
    assert keyed_generator(0, "shuffle", 1).permutation(10).tolist() == [1, 6, 0, 7, 5, 4, 3, 9, 8, 2]


def test_another_process_draws_the_same() -> None:
    code = "from astune.keyed import keyed_generator; print(keyed_generator(7, 'shuffle', 2).permutation(20).tolist())"
    other = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert other.strip() == str(keyed_generator(7, "shuffle", 2).permutation(20).tolist())


def test_drawing_from_one_leaves_the_others_alone() -> None:
    expected = [keyed_generator(0, "shuffle", epoch).random(4).tolist() for epoch in range(3)]
    open_ones = [keyed_generator(0, "shuffle", epoch) for epoch in range(3)]
    open_ones[0].random(1000)
    assert open_ones[2].random(4).tolist() == expected[2]
    assert open_ones[1].random(4).tolist() == expected[1]
    assert keyed_generator(0, "shuffle", 0).random(4).tolist() == expected[0]


def test_numpys_global_generator_has_no_say() -> None:
    state = np.random.get_state()  # noqa: NPY002 - the generator that must not matter
    try:
        np.random.seed(1)  # noqa: NPY002
        one = keyed_generator(3, "x").random()
        np.random.seed(2)  # noqa: NPY002
        assert keyed_generator(3, "x").random() == one
    finally:
        np.random.set_state(state)  # noqa: NPY002


ALIKE: list[tuple[int | str, ...]] = [
    (), (0,), (0, 0), (0, 0, 0), (1,), (1, 0), (0, 1), (-1,), ("0",), ("1",), ("",), ("", 0), (1, 2), (12,), ("1", "2"), ("12",),
    ("1, 2",), (2**32,), (2**32 + 1,), (1, 0, 1), (1, 2**32), (2**64,),
    ("shuffle",), ("shuffle", 0), (0, "shuffle"), ("shuffle0",), ("é",), ("e\u0301",),
]  # fmt: skip


def test_keys_that_look_alike_are_different() -> None:
    draws = {key: keyed_generator(*key).random() for key in ALIKE}
    for one, other in combinations(ALIKE, 2):
        assert draws[one] != draws[other], (one, other)


parts = st.lists(st.one_of(st.integers(), st.text(max_size=5)), max_size=4).map(tuple)


@settings(derandomize=True)
@given(parts, parts)
def test_equal_keys_and_no_others_draw_equally(one: tuple[int | str, ...], other: tuple[int | str, ...]) -> None:
    assert (keyed_generator(*one).random() == keyed_generator(*other).random()) == (one == other)


def test_neighbouring_keys_are_independent() -> None:
    """Uniform, and uncorrelated from clip to clip, from epoch to epoch and from seed to seed."""
    draws = np.array(
        [[[keyed_generator(s, "mask", e, c).random() for c in range(40)] for e in range(10)] for s in range(10)]
    )
    assert draws.mean() == pytest.approx(0.5, abs=4 / np.sqrt(12 * 4000))  # four standard errors of a uniform mean
    assert draws.var() == pytest.approx(1 / 12, abs=4 / np.sqrt(180 * 4000))  # and of its variance
    for axis in range(3):
        ahead, behind = np.delete(draws, 0, axis), np.delete(draws, -1, axis)
        correlation = np.corrcoef(ahead.ravel(), behind.ravel())[0, 1]
        assert abs(correlation) < 4 / np.sqrt(ahead.size)
