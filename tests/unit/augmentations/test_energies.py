"""Gain, time shift and background noise against features of the waveforms that they stand for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from astune.errors import ConfigError
from astune.features import BackgroundNoise, FrontEnd, Gain, LongFeatures, TimeShift, rounded_features
from astune.features.mel_energies import MelEnergies, mean_energy
from astune.keyed import keyed_generator
from tests.unit.augmentations.batches import FRONT_END, ROUNDING, batch_of, features, noise

ENERGIES = MelEnergies(FRONT_END)


def decibels(names: tuple[str, ...], largest: float, epoch: int = 0) -> list[float]:
    return [largest * keyed_generator(3, "gain", epoch, name).uniform(-1, 1) for name in names]


def test_gain_gives_the_features_of_the_scaled_waveform() -> None:
    sounds = [noise(seed, seconds) for seed, seconds in enumerate([1.0, 0.5, 0.7, 1.0])]
    batch = batch_of(features(*sounds), epoch=2)
    louder = Gain(12.0, FRONT_END, 3).augment(batch)
    drawn = decibels(batch.names, 12.0, 2)
    assert max(drawn) - min(drawn) > 6
    scaled = features(*(sound * np.float32(10 ** (db / 20)) for sound, db in zip(sounds, drawn, strict=True)))
    torch.testing.assert_close(louder.inputs, scaled, atol=ROUNDING, rtol=0)
    assert not torch.equal(louder.inputs[0], batch.inputs[0])


def test_gain_leaves_padding_and_digital_silence() -> None:
    half = noise(0, 0.5)
    half[4000:] = 0
    batch = batch_of(features(half, np.zeros(4000, np.float32)))
    louder = Gain(20.0, FRONT_END, 3).augment(batch).inputs
    frames = 1 + (8000 - 400) // 160
    assert torch.equal(louder[0, frames:], batch.inputs[0, frames:])
    assert torch.equal(louder[0, 26:frames], batch.inputs[0, 26:frames])  # whole frames after sample 4000
    assert torch.equal(louder[1], batch.inputs[1])
    assert float(batch.inputs[0, -1, 0]) == ENERGIES.padding
    assert float(batch.inputs[1, 0, 0]) == ENERGIES.floor


def test_what_gets_too_soft_reaches_the_floor() -> None:
    sound = noise(1, level=0.001)
    batch = batch_of(features(*[sound] * 6))
    drawn = decibels(batch.names, 60.0)
    softest = drawn.index(min(drawn))
    assert drawn[softest] < -20
    softer = Gain(60.0, FRONT_END, 3).augment(batch).inputs[softest : softest + 1]
    scaled = features(sound * np.float32(10 ** (min(drawn) / 20)))
    torch.testing.assert_close(softer, scaled, atol=ROUNDING, rtol=0)
    assert (scaled == ENERGIES.floor).any()


def test_a_shift_gives_the_frames_of_the_delayed_waveform() -> None:
    sound = noise(2, 0.4)
    batch = batch_of(features(*[sound] * 6))
    moved = TimeShift(0.3, 98, 5).augment(batch).inputs
    shifts = [int(keyed_generator(5, "time-shift", 0, name).integers(-30, 31)) for name in batch.names]
    assert min(shifts) < 0 < max(shifts)
    frames = 1 + (len(sound) - 400) // 160
    for row, shift in zip(moved, shifts, strict=True):
        assert torch.equal(row, batch.inputs[0].roll(shift, 0))  # a ring: nothing is lost
        if shift > 0:
            delayed = features(np.concatenate([np.zeros(160 * shift, np.float32), sound]))[0]
            assert torch.equal(row[shift : shift + frames], delayed[shift : shift + frames])


@given(st.integers(0, 10**6))
def test_a_shift_is_within_its_bounds(seed: int) -> None:
    inputs = torch.arange(98.0)[None, :, None].expand(1, 98, 2)
    moved = TimeShift(0.05, 98, seed).augment(batch_of(inputs)).inputs
    assert min(int(moved[0, 0, 0]), 98 - int(moved[0, 0, 0])) <= 5


def long(*sounds: np.ndarray, front_end: FrontEnd = FRONT_END) -> LongFeatures:
    """Recordings of a second or less, a row each."""
    rows = np.stack([rounded_features(sound, front_end) for sound in sounds])
    frames = tuple(1 + max(0, len(sound) - 400) // 160 for sound in sounds)
    return LongFeatures(rows, tuple(range(len(sounds))), frames, {})


def test_noise_is_added_at_the_drawn_ratio() -> None:
    sounds = [noise(seed, seconds) for seed, seconds in enumerate([1.0, 0.5, 0.3, 1.0] * 3)]
    batch = batch_of(features(*sounds), epoch=1)
    noises = long(noise(10), noise(11, 0.2), np.zeros(8000, np.float32))
    augmentation = BackgroundNoise(noises, -5.0, 20.0, FRONT_END, 8)
    noisy = augmentation.augment(batch).inputs
    seen = set()
    for row, plain, name in zip(noisy, batch.inputs, batch.names, strict=True):
        recording, first, ratio = augmentation.drawn(name, 1)
        seen.add(recording)
        assert 0 <= first < noises.frames[recording]
        real = ENERGIES.real_frames(plain[None])
        assert torch.equal(row[~real[0]], plain[~real[0]])
        sound, both = (ENERGIES.logs(one[None]).double() for one in (plain, row))
        if recording == 2:  # silence
            assert torch.allclose(row, plain, atol=1e-6)
            continue
        added = (both.exp() - sound.exp()).log()
        found = 10 * math.log10(float(mean_energy(sound, real)) / float(mean_energy(added, real)))
        assert found == pytest.approx(ratio, abs=0.01)
        # and what is added is the noise: in each bin as loud as it, but for one factor
        part = ENERGIES.logs(noises.part(recording, first)[None]).double()
        factor = (added - part)[real][
            part[real].isfinite()
        ]  # some Mel filters lie between two frequencies and hear nothing
        assert float(factor.exp().std() / factor.exp().mean()) < 0.01
    assert seen == {0, 1, 2}


def test_a_silent_clip_gets_no_noise() -> None:
    batch = batch_of(features(np.zeros(16_000, np.float32)))
    assert torch.equal(BackgroundNoise(long(noise(1)), 0.0, 0.0, FRONT_END, 0).augment(batch).inputs, batch.inputs)


def test_adding_energies_is_mixing_waveforms_on_average() -> None:
    """Two noises of one level.

    Of each FFT bin the energy of the sum is |X|² + |Y|² + 2 Re X Y*. The last term has mean 0, and variance 2 |X|² |Y|². Over frames that
    overlap by 60 % and bins that a Hann window joins, about one in 2.9 is independent; pre-emphasis weighs them unevenly, as 1.5 times
    fewer would be. For 198 frames of 256 bins the sum is off by sqrt(2 × 2.9 × 1.5 / 4 / 50,688) = 0.7 % (one deviation).
    """
    front_end = FrontEnd(198)
    one, other = noise(0, 2.0), noise(1, 2.0)
    batch = batch_of(features(one, front_end=front_end))
    augmentation = BackgroundNoise(long(other, front_end=front_end), 0.0, 0.0, front_end, 4)
    _, first, _ = augmentation.drawn(batch.names[0], 0)
    noisy = augmentation.augment(batch).inputs
    # the part that was drawn begins again where the recording ends; so does the waveform, at a frame
    second = np.concatenate([other[160 * first :], other[: 160 * first]])
    energies = MelEnergies(front_end)
    frames = torch.ones(1, 198, dtype=torch.bool)
    levels = [float(mean_energy(energies.logs(features(s, front_end=front_end)), frames)) for s in (one, other)]
    second = second * np.float32(math.sqrt(levels[0] / levels[1]))
    mixed = features(one + second, front_end=front_end)
    found, expected = (float(mean_energy(energies.logs(inputs), frames)) for inputs in (noisy, mixed))
    assert found == pytest.approx(expected, rel=5 * 0.007)


def test_bad_values_are_refused() -> None:
    with pytest.raises(ConfigError, match="gain=-1"):
        Gain(-1.0, FRONT_END, 0)
    with pytest.raises(ConfigError, match=r"time_shift=2.0 s; give 0.01 \(a frame\) to 0.98"):
        TimeShift(2.0, 98, 0)
    with pytest.raises(ConfigError, match=r"time_shift=0\.001 s"):
        TimeShift(0.001, 98, 0)
    with pytest.raises(ConfigError, match=r"min_snr_db=5.0 is above max_snr_db=3.0"):
        BackgroundNoise(long(noise(1)), 5.0, 3.0, FRONT_END, 0)
    with pytest.raises(ConfigError, match="none of the recordings"):
        BackgroundNoise(
            LongFeatures(np.zeros((1, 98, 128), np.float16), (0,), (0,), {0: "broken"}), 3.0, 5.0, FRONT_END, 0
        )
