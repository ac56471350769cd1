"""Which windows are chosen for review, by hand: criteria, shares of recordings, and windows that overlap."""

from __future__ import annotations

import numpy as np
import pytest

from astune.inference.review_choice import Candidate, Choice, ScoredWindows, candidates, choose, uncertainty
from astune.tasks import SINGLE_LABEL
from tests.conformance.test_tasks import AnyLabels

LABELS = ("a", "b", "c")


def scored_windows(
    scores: list[list[float]], name: str = "x.wav", distances: list[float] | None = None
) -> ScoredWindows:
    """Windows of a second, one after the other."""
    starts = np.arange(len(scores), dtype=np.float64)
    far = None if distances is None else np.array(distances)
    nearest = None if distances is None else np.zeros(len(scores), np.int64)
    return ScoredWindows(
        name, starts, starts + 1, np.array(scores, np.float32), far, nearest, np.ones(len(scores), bool)
    )


def chosen(choice: Choice, *some: ScoredWindows) -> list[tuple[str, float, str, str, int]]:
    found = [one for each in some for one in candidates(each, choice, LABELS, SINGLE_LABEL)]
    picks = choose(found, choice, len(some))
    return [(p.candidate.recording, p.candidate.start, p.candidate.criterion, p.candidate.label, p.rank) for p in picks]


def test_criteria_by_hand() -> None:
    scores = [
        [0.9, 0.05, 0.05],
        [0.5, 0.45, 0.05],
        [0.2, 0.7, 0.1],
        [0.34, 0.33, 0.33],
        [0.1, 0.1, 0.8],
        [0.6, 0.3, 0.1],
    ]
    one = scored_windows(scores, distances=[0.1, 0.2, 0.3, 0.1, 0.9, 0.1])
    choice = Choice(count=1, per_class=2, margin=0)
    assert chosen(choice, one) == [
        ("x.wav", 4, "unlike", "c", 1),
        ("x.wav", 3, "uncertain", "a", 1),
        ("x.wav", 0, "confident", "a", 1),
        ("x.wav", 5, "confident", "a", 2),
        ("x.wav", 2, "confident", "b", 1),
    ]
    # With a second around each, clips of neighbouring windows would overlap: 3 lies beside 4, and 1 is the next least certain.
    assert [pick[:3] for pick in chosen(Choice(count=1, per_class=1, margin=1), one)] == [
        ("x.wav", 4, "unlike"),
        ("x.wav", 1, "uncertain"),
    ]
    assert uncertainty(np.array([[0.6, 0.3, 0.1]]), SINGLE_LABEL) == pytest.approx([0.7])
    assert uncertainty(np.array([[0.9, 0.45, 0.1]]), AnyLabels()) == pytest.approx([0.9])


def test_recordings_share_and_what_is_left_is_filled() -> None:
    """Two an even share of four over four recordings; the third and fourth have nothing confident."""
    loud = [[0.9 - number / 100, 0.05, 0.05] for number in range(8)]
    quiet = [[0.4, 0.3, 0.3]] * 8
    some = [
        scored_windows(loud, "1"),
        scored_windows(loud, "2"),
        scored_windows(quiet, "3"),
        scored_windows(quiet, "4"),
    ]
    spread = Choice(criteria=("confident",), per_class=4, margin=0)
    assert [pick[:2] for pick in chosen(spread, *some)] == [("1", 0), ("2", 0), ("1", 1), ("2", 1)]
    assert [pick[:2] for pick in chosen(spread, scored_windows(loud, "1"), *some[2:])] == [("1", n) for n in range(4)]
    strict = Choice(criteria=("confident",), per_class=4, per_recording=1, margin=0)
    assert [pick[:2] for pick in chosen(strict, *some)] == [("1", 0), ("2", 0)]


def test_random_windows_depend_on_the_seed_alone() -> None:
    rows = [[0.5, 0.3, 0.2]] * 200
    draws = [
        chosen(Choice(criteria=("random",), count=9, margin=0, seed=seed), scored_windows(rows)) for seed in (0, 0, 1)
    ]
    assert draws[0] == draws[1] != draws[2]
    other = chosen(Choice(criteria=("random",), count=9, margin=0), scored_windows(rows, "y.wav"))
    assert [pick[1] for pick in other] != [pick[1] for pick in draws[0]]


def test_a_candidate_is_apart_from_another_by_both_margins() -> None:
    one, other = (Candidate("x", start, start + 1, "a", 1, "random", 1) for start in (0.0, 3.0))
    assert one.apart(other, 1)
    assert other.apart(one, 1)
    assert not one.apart(other, 1.01)
