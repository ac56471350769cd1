"""Intervals of means and differences: Student's, widened for what folds share, and the part of the test clips."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy import stats

from astune.experiments.compared import Compared, ComparedMethod
from astune.experiments.paired import by_fold, difference_variance, estimate, share_variance
from astune.reporting.aggregate import compare, mean_interval


def row(name: str, scores: Mapping[Any, float], *, size: int = 1000, planned: int | None = None) -> ComparedMethod:
    return ComparedMethod(name, name, dict(scores), planned or len(scores), size // 4, size, 1.0, 0.0)


def test_without_anything_shared_it_is_students() -> None:
    values = [0.9, 0.8, 0.7, 0.85]
    ends = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert estimate(values).interval == pytest.approx(ends)


@pytest.mark.parametrize("values", [(0.5, 0.5), (0.1 + 0.2, 0.3, 0.3)])  # rounding is no spread either
def test_runs_that_all_give_the_same_tell_nothing_of_the_spread(values: tuple[float, ...]) -> None:
    """Two folds of nine clips that are both five clips ahead are no proof of "+55.6 points, [+55.6, +55.6]"."""
    found = estimate(values, tested_share=0.5)
    assert found.mean == pytest.approx(values[0])
    assert found.interval is None
    assert found.error is None
    assert mean_interval(values) is None
    pair = compare({(n, 0): value for n, value in enumerate(values)}, {(n, 0): 0.0 for n in range(len(values))})
    assert pair.difference == pytest.approx(values[0])
    assert pair.interval is None


def test_of_one_split_test_clips_are_left_where_all_seeds_give_the_same() -> None:
    found = estimate((0.5, 0.5), variance=0.01)
    assert found.interval == pytest.approx((0.5 - 1.959964 * 0.1, 0.5 + 1.959964 * 0.1))
    assert found.error == pytest.approx(0.1)


def test_folds_widen_it_by_what_tests_over_what_does_not() -> None:
    """By hand: s = 0.1 over three folds, a third tests: 0.1 * sqrt(1/3 + 1/2) = 0.0913, times 4.3027."""
    found = estimate([0.9, 0.8, 0.7], tested_share=0.5)
    assert found.mean == pytest.approx(0.8)
    assert found.interval == pytest.approx((0.8 - 0.392775, 0.8 + 0.392775), abs=1e-5)
    assert found.above_zero
    assert found.within(0, 1).interval == pytest.approx((0.8 - 0.392775, 1.0), abs=1e-5)


@pytest.mark.parametrize("folds", [3, 5, 10])
def test_the_widened_interval_holds_the_mean_as_often_as_it_says(folds: int) -> None:
    """Of folds whose figures are correlated as Nadeau and Bengio take them to be: by the share of the clips that tests."""
    draw = np.random.default_rng(0)
    runs, share = 3000, 1 / folds
    common = draw.standard_normal((runs, 1)) * math.sqrt(share)
    values = common + draw.standard_normal((runs, folds)) * math.sqrt(1 - share)

    def held(tested_share: float) -> float:
        ends = [estimate(one.tolist(), tested_share).interval or (0, 0) for one in values]
        return float(np.mean([low < 0 < high for low, high in ends]))

    assert held(1 / (folds - 1)) == pytest.approx(0.95, abs=0.015)
    assert held(0.0) < 0.9


def test_the_seeds_of_a_fold_are_averaged_and_those_of_one_split_are_not() -> None:
    assert by_fold({(1, 0): 0.5, (1, 1): 0.7, (2, 0): 1.0}) == pytest.approx([0.6, 1.0])
    assert by_fold({(None, 0): 0.5, (None, 1): 0.7}) == [0.5, 0.7]
    assert by_fold({(3, 0): 0.5, (3, 1): 0.7}) == [0.5, 0.7]


def test_test_clips_add_their_variance() -> None:
    """Agresti and Coull of 10 right of 10: 12/14; Agresti and Caffo of 7 and 5 of 10: 8/12 and 6/12."""
    assert share_variance(1.0, 10) == pytest.approx(12 / 14 * 2 / 14 / 14)
    assert difference_variance(0.7, 0.5, 10) == pytest.approx(8 / 12 * 4 / 12 / 12 + 6 / 12 * 6 / 12 / 12)
    seeds, clips = estimate([0.4, 0.6]), estimate([0.5], variance=0.01)
    assert clips.interval == pytest.approx((0.5 - 1.959964 * 0.1, 0.5 + 1.959964 * 0.1))
    both = estimate([0.4, 0.6], variance=0.01).interval
    assert seeds.interval
    assert both
    assert both[1] - 0.5 == pytest.approx(math.hypot(seeds.interval[1] - 0.5, 1.959964 * 0.1))
    assert estimate([0.4, 0.6], variance=0.01).error == pytest.approx(math.hypot(0.1, 0.1))  # s / sqrt(2) is 0.1
    alone = estimate([0.5])
    assert alone.interval is None
    assert alone.error is None
    assert alone.clear
    assert not alone.above_zero
    assert not estimate([-0.5]).clear


def test_the_interval_of_one_split_holds_the_true_difference() -> None:
    """Two methods that are right or wrong independently of each other; nothing else varies."""
    draw, clips = np.random.default_rng(0), 40
    right = draw.binomial(clips, [0.9, 0.8], (3000, 2)) / clips
    held = 0
    for one, other in right.tolist():
        low, high = estimate([one - other], variance=difference_variance(one, other, clips)).interval or (0, 0)
        held += low <= 0.1 <= high
    assert held / 3000 == pytest.approx(0.95, abs=0.015)


FOLDS = [(fold, 0) for fold in (1, 2, 3, 4)]


def test_methods_are_compared_on_the_runs_that_they_share() -> None:
    one = dict(zip(FOLDS, [0.9, 0.8, 0.7, 0.6], strict=True))
    other = {(1, 0): 0.8, (2, 0): 0.75, (3, 0): 0.62}
    compared = Compared("single-label", (row("a", one), row("b", other, planned=4)), 25, 1 / 3)
    found = compared.difference("a", "b")
    assert found
    assert found.pairs == 3
    assert found.estimate.mean == pytest.approx(0.23 / 3)
    assert found.estimate.interval == pytest.approx(estimate([0.1, 0.05, 0.08], 1 / 3).interval)
    nothing = Compared("single-label", (row("a", {(1, 0): 1.0}), row("b", {(2, 0): 1.0})), 25, 1 / 3)
    assert nothing.difference("a", "b") is None
    assert nothing.differences == ()


def test_a_mean_over_some_of_the_folds_is_not_the_best() -> None:
    easy = row("easy fold alone", {(1, 0): 1.0}, planned=4)
    whole = row("all folds", dict.fromkeys(FOLDS, 0.8))
    compared = Compared("single-label", (easy, whole), 25, 1 / 3)
    assert compared.best is whole
    assert compared.missing == 3
    assert Compared("single-label", (easy,), 25, 1 / 3).best is easy


def test_equal_means_go_to_the_smaller_adapter() -> None:
    scores = {(None, seed): 0.5 for seed in range(3)}
    compared = Compared("single-label", (row("large", scores, size=2000), row("small", scores)), 25, 0.0)
    assert compared.best
    assert compared.best.name == "small"


def test_one_split_counts_its_test_clips_where_clips_are_counted() -> None:
    scores = {(None, seed): 0.5 for seed in range(3)}  # seeds that agree say nothing of other clips
    methods = (row("a", scores), row("b", dict.fromkeys(scores, 0.6)))
    for task, clips in product(["single-label", "multi-label"], [20, 2000]):
        compared = Compared(task, methods, clips, 0.0)
        interval = compared.estimate("a").interval
        found = compared.difference("b", "a")
        assert found
        if task == "multi-label":  # no share of clips, so nothing is known of how far other ones would move it
            assert interval is None
            assert (found.estimate.clear, found.estimate.above_zero) == (True, False)
        else:
            assert interval
            assert interval[1] - 0.5 == pytest.approx(1.959964 * math.sqrt(share_variance(0.5, clips)))
            assert found.estimate.above_zero is (clips == 2000)
