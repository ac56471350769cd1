"""Windows over a stream: where they are, and what of a recording they leave out."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astune.errors import ConfigError
from astune.features import FrontEnd
from astune.inference.windows import Windows

RATE = 16_000  # Hz
INPUT = FrontEnd(max_length=98)  # 0.995 s


def spans(windows: Windows, samples: int, block: int = 1_000) -> list[tuple[float, float]]:
    sound = np.arange(samples, dtype=np.float32)
    found = list(windows.over(sound[start : start + block] for start in range(0, samples, block)))
    for one in found:
        assert np.array_equal(one.samples, sound[round(one.start * RATE) : round(one.end * RATE)])
    return [(one.start, one.end) for one in found]


@pytest.mark.parametrize(
    ("window", "hop", "seconds", "expected"),
    [
        (0.5, 0.5, 0.2, [(0, 0.2)]),  # shorter than a window
        (0.5, 0.5, 0.5, [(0, 0.5)]),
        (0.5, 0.5, 0.51, [(0, 0.5)]),  # 10 ms are less than a frame
        (0.5, 0.5, 1.2, [(0, 0.5), (0.5, 1.0), (1.0, 1.2)]),
        (0.5, 0.25, 1.0, [(0, 0.5), (0.25, 0.75), (0.5, 1.0)]),  # the last one ends with the recording
        (0.5, 0.25, 1.1, [(0, 0.5), (0.25, 0.75), (0.5, 1.0), (0.75, 1.1)]),
        (0.5, 1.0, 1.3, [(0, 0.5), (1.0, 1.3)]),  # gaps
        (0.5, 1.0, 0.9, [(0, 0.5)]),  # ends within a gap
        (0.1, 0.3, 0.5, [(0, 0.1), (0.3, 0.4)]),
    ],
)
def test_where_windows_are(window: float, hop: float, seconds: float, expected: list[tuple[float, float]]) -> None:
    windows = Windows.of(INPUT, window, hop)
    found = spans(windows, round(seconds * RATE))
    assert found == [pytest.approx(span) for span in expected]
    assert windows.one_is_enough(seconds) == (len(expected) == 1)


@given(
    samples=st.integers(1, 60_000),
    window=st.integers(400, 15_920),
    hop=st.integers(160, 20_000),
    block=st.integers(1, 30_000),
)
def test_any_windows_over_any_blocks(samples: int, window: int, hop: int, block: int) -> None:
    windows = Windows.of(INPUT, window / RATE, hop / RATE)
    found = spans(windows, samples, max(block, samples // 50))
    assert found == spans(windows, samples, samples)
    assert windows.one_is_enough(samples / RATE) == (len(found) == 1)
    assert [round(start * RATE) for start, _ in found] == [number * hop for number in range(len(found))]
    assert all(round((end - start) * RATE) == window for start, end in found[:-1])
    ends = [round(end * RATE) for _, end in found]
    assert all(before < after <= samples for before, after in pairwise([0, *ends]))
    if hop <= window:
        assert samples - ends[-1] < 400  # less than a frame is left out


def test_what_is_not_told_follows_the_input() -> None:
    assert Windows.of(INPUT) == Windows(INPUT.seconds, INPUT.seconds)
    assert Windows.of(INPUT, 0.5) == Windows(0.5, 0.5)
    assert Windows.of(INPUT, hop=0.25) == Windows(INPUT.seconds, 0.25)
    assert (Windows(0.5, 0.25).gap, Windows(0.5, 0.75).gap) == (0, 0.25)


@pytest.mark.parametrize(
    ("window", "hop", "fault"),
    [
        (2, None, r"window=2 is longer than the adapter's input of 0\.995 s; give at most .* max_length=199"),
        (0.01, None, r"window=0\.01: give at least 0\.025 seconds"),
        (0, None, "window=0: give seconds, a number above 0"),
        (float("nan"), None, "window=nan"),
        (True, None, "window=True"),
        ("1", None, "window='1'"),
        (0.5, 0, "hop=0: give seconds"),
        (0.5, -1, "hop=-1"),
        (0.5, float("inf"), "hop=inf"),
        (0.5, 1e300, r"hop=1e\+300: give at most 1e\+09"),
        (1e300, None, r"window=1e\+300: give at most"),
        (0.5, 1e-9, r"hop=1e-09: give at least 0\.01 seconds"),
    ],
)
def test_what_cannot_be_heard_is_refused(window: float, hop: float | None, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        Windows.of(INPUT, window, hop)
    assert FrontEnd(max_length=199).seconds >= 2  # as the first message says
