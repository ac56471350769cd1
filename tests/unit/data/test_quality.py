"""Level, silence, clipping and what is above 8 kHz, beside arithmetic."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from astune.data.quality import QualityMeter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from astune.data.quality import Quality

RATE = 44_100


def sine(hertz: float, seconds: float = 2.0, level: float = 0.5, rate: int = RATE) -> NDArray[np.float32]:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def measured(samples: NDArray[np.float32], rate: int = RATE, cuts: Sequence[int] = ()) -> Quality:
    """Figures of (frames,) or (frames, channels), given in blocks that end at ``cuts``."""
    whole = samples.reshape(len(samples), -1)
    meter = QualityMeter(rate, whole.shape[1])
    for block in np.split(whole, cuts):
        meter.add(block, block.mean(axis=1))
    return meter.quality()


def test_the_level_is_the_root_mean_square_of_what_is_not_silent() -> None:
    """A sine of amplitude a has a mean square of a² / 2; zeros behind it change the silent share alone."""
    tone = sine(440)
    assert measured(tone).level_dbfs == pytest.approx(10 * math.log10(0.5**2 / 2), abs=0.01)
    padded = measured(np.concatenate([tone, np.zeros(3 * len(tone), np.float32)]))
    assert padded.level_dbfs == pytest.approx(10 * math.log10(0.5**2 / 2), abs=0.01)
    assert padded.silent_share == pytest.approx(0.75, abs=0.001)
    assert padded.power == pytest.approx(0.125 / 4, rel=0.001)


@pytest.mark.parametrize(("below", "silent"), [(50, 0.0), (70, 0.5)])
def test_silent_is_60_db_below_the_loudest(below: float, silent: float) -> None:
    samples = np.concatenate([sine(440), sine(440, level=0.5 * 10 ** (-below / 20))])
    assert measured(samples).silent_share == pytest.approx(silent, abs=0.001)


def test_nothing_but_silence_and_a_constant_have_no_level() -> None:
    for samples in (np.zeros(RATE, np.float32), np.full(RATE, 0.3, np.float32), np.zeros(3, np.float32)):
        found = measured(samples)
        assert (found.level_dbfs, found.silent_share, found.above_8_khz_share) == (None, 1.0, 0.0)
        assert found.power == pytest.approx(0, abs=1e-12)


def test_channels_that_cancel_are_silent_in_what_is_heard() -> None:
    tone = sine(440)
    assert measured(np.stack([tone, -tone], axis=1)).level_dbfs is None


@pytest.mark.parametrize("cut", range(1, 19))
def test_clipped_samples_are_those_of_runs_of_three_or_more(cut: int) -> None:
    """Runs of 3, 2, 5 and 4 at full scale, of which the one of 2 does not count: 12 of 20 samples, wherever a block ends."""
    low = 32767 / 32768  # 16 bits' largest value
    samples = np.array([low] * 3 + [0] + [1] * 2 + [0.5, 0] + [-1] * 5 + [0, 0, 0] + [low] * 4, np.float32)
    assert measured(samples, cuts=[cut]).clipped_share == 12 / 20
    stereo = np.stack([samples, np.zeros_like(samples)], axis=1)
    assert measured(stereo, cuts=[cut]).clipped_share == 12 / 40


def test_a_loud_sine_is_not_clipped_and_a_cut_one_is() -> None:
    """Of a sine of amplitude 2, cut at 1, the share beyond asin(1/2) = 30 degrees is clipped: 2 / 3."""
    assert measured(sine(440, level=1.0)).clipped_share == 0
    assert measured(sine(440, level=2.0).clip(-1, 1)).clipped_share == pytest.approx(2 / 3, abs=0.01)
    assert measured(sine(440, level=20_000)).clipped_share == 0  # integers stored as floats have no full scale of 1


@pytest.mark.parametrize(("level", "share"), [(0.3, 0.5), (0.15, 0.2), (0.0, 0.0)])
def test_the_share_above_8_khz_is_that_of_the_power(level: float, share: float) -> None:
    samples = sine(1000, level=0.3) + sine(10_000, level=level) + np.float32(0.2)
    assert measured(samples).above_8_khz_share == pytest.approx(share, abs=0.001)


def test_white_noise_has_as_much_above_8_khz_as_there_are_frequencies() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 10 * RATE).astype(np.float32)
    assert measured(noise).above_8_khz_share == pytest.approx(1 - 8000 / (RATE / 2), abs=0.01)
    assert measured(noise, rate=16_000).above_8_khz_share == 0
    assert measured(noise[:500]).above_8_khz_share == pytest.approx(1 - 8000 / (RATE / 2), abs=0.1)


def test_blocks_change_nothing() -> None:
    generator = np.random.default_rng(1)
    samples = np.concatenate([generator.normal(0, scale, 40_001) for scale in (0.3, 0.5, 1e-5)]).astype(np.float32)
    samples = samples.clip(-1, 1)
    whole = measured(samples)
    for _ in range(5):
        cuts = np.sort(generator.integers(1, len(samples), 6)).tolist()
        found = measured(samples, cuts=cuts)
        assert found.clipped_share == whole.clipped_share
        assert found.silent_share == whole.silent_share == pytest.approx(1 / 3, abs=0.005)
        assert found.level_dbfs == pytest.approx(whole.level_dbfs, rel=1e-5)
        assert found.above_8_khz_share == pytest.approx(whole.above_8_khz_share, rel=1e-4)
