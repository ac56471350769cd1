"""The front end against transformers' ASTFeatureExtractor: the same numbers for every signal, length and setting."""

from __future__ import annotations

import math
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from transformers import ASTFeatureExtractor
from transformers.audio_utils import mel_filter_bank
from transformers.utils.import_utils import is_speech_available

from astune.data.audio import read_audio
from astune.errors import ConfigError
from astune.features import FrontEnd, LogMel, listen_to_clip
from astune.features.log_mel import mel_filters

RATE = 16_000
EXACT = 1e-5  # float64; transformers itself rounds to float32
SINGLE = 5e-3  # float32: where a loud tone stands beside an empty filter, the filter holds rounding of the tone
PADDING = 4.2677393 / (2 * 4.5689974)

Samples = NDArray[np.float32]


def reference(samples: Samples, front_end: FrontEnd) -> NDArray[np.float64]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # 128 filters leave the lowest ones empty, as they do in Kaldi
        extractor = ASTFeatureExtractor(  # type: ignore[no-untyped-call]
            max_length=front_end.max_length,
            num_mel_bins=front_end.num_mel_bins,
            mean=front_end.mean,
            std=front_end.std,
        )
    features = extractor(samples, sampling_rate=RATE, return_tensors="np")["input_values"][0]
    return np.asarray(features, dtype=np.float64)


def in_double(front_end: FrontEnd) -> FrontEnd:
    front_end.log_mel.double()
    return front_end


def tone(hertz: float, seconds: float, level: float = 1.0) -> Samples:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def noise(length: int, level: float, seed: int = 0) -> Samples:
    return (level * np.random.default_rng(seed).standard_normal(length)).astype(np.float32)


def chirp(seconds: float) -> Samples:
    t = np.arange(round(seconds * RATE)) / RATE
    return np.sin(2 * np.pi * (20 + 2500 * t) * t).astype(np.float32)


SIGNALS = {
    "noise": noise(RATE, 0.2),
    "quiet noise": noise(RATE, 1e-6),
    "noise under an offset": 0.9 + noise(RATE, 1e-4),
    "clipped": np.clip(noise(RATE, 3.0), -1, 1),
    "silence": np.zeros(RATE, np.float32),
    "offset alone": np.full(RATE, 0.5, np.float32),
    "impulse": np.eye(1, RATE, 5000, dtype=np.float32)[0],
    "square wave": np.sign(tone(300, 1)),
    "chirp": chirp(1.5),
    **{f"tone of {hertz} Hz": tone(hertz, 1) for hertz in (31, 125, 440, 1000, 3999, 7990)},
    "tone at -100 dB": tone(440, 1, 1e-5),
}


def test_the_reference_is_the_numpy_path() -> None:
    assert not is_speech_available()
    assert hasattr(ASTFeatureExtractor(num_mel_bins=40), "mel_filters")  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("signal", SIGNALS)
def test_equals_transformers(signal: str) -> None:
    samples = SIGNALS[signal]
    expected = reference(samples, FrontEnd(128))
    exact = in_double(FrontEnd(128))(torch.from_numpy(samples))
    assert exact.dtype == torch.float64
    assert np.abs(exact.numpy() - expected).max() < EXACT
    single = FrontEnd(128)(torch.from_numpy(samples))
    assert single.dtype == torch.float32
    assert np.abs(single.numpy() - expected).max() < SINGLE


@pytest.mark.parametrize("length", [400, 401, 559, 560, 561, 2000, 2001, 20_480, 40_000])
@pytest.mark.parametrize("max_length", [1, 11, 100])
def test_pads_and_cuts_as_transformers_does(length: int, max_length: int) -> None:
    samples, front_end = noise(length, 0.1), in_double(FrontEnd(max_length))
    ours = front_end(torch.from_numpy(samples)).numpy()
    assert ours.shape == (max_length, 128)
    assert np.abs(ours - reference(samples, front_end)).max() < EXACT


@pytest.mark.parametrize(
    "front_end",
    [
        FrontEnd(64, mean=-6.6268077, std=5.358466),  # AST's own for ESC-50
        FrontEnd(64, mean=0.0, std=0.5),
        FrontEnd(64, num_mel_bins=64, mean=-6.845978, std=5.5654526),  # for Speech Commands
        FrontEnd(64, num_mel_bins=40),
    ],
    ids=str,
)
def test_every_setting_means_what_it_means_to_transformers(front_end: FrontEnd) -> None:
    samples = noise(RATE // 2, 0.1)
    ours = in_double(front_end)(torch.from_numpy(samples)).numpy()
    assert ours.shape == (64, front_end.num_mel_bins)
    assert np.abs(ours - reference(samples, front_end)).max() < EXACT


@settings(max_examples=40, derandomize=True)
@given(
    length=st.integers(400, 12_000),
    decibels=st.floats(-140, 0),
    offset=st.floats(-0.5, 0.5),
    hertz=st.floats(20, 8000),
    max_length=st.integers(1, 90),
    seed=st.integers(0, 2**32),
)
def test_equals_transformers_at_any_length_and_level(
    length: int, decibels: float, offset: float, hertz: float, max_length: int, seed: int
) -> None:
    level = 10 ** (decibels / 20)
    pitched = tone(hertz, length / RATE, level)[:length]
    samples = np.clip(offset + pitched + noise(len(pitched), level / 10, seed), -1, 1).astype(np.float32)
    expected = reference(samples, FrontEnd(max_length))
    assert np.abs(in_double(FrontEnd(max_length))(torch.from_numpy(samples)).numpy() - expected).max() < EXACT
    assert np.abs(FrontEnd(max_length)(torch.from_numpy(samples)).numpy() - expected).max() < SINGLE


@pytest.mark.parametrize("bins", [23, 40, 64, 128])
def test_filters_equal_transformers(bins: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        expected = mel_filter_bank(
            257, bins, 20, 8000, RATE, norm=None, mel_scale="kaldi", triangularize_in_mel_space=True
        )
    assert np.abs(mel_filters(bins).numpy() - expected).max() < 1e-12
    assert np.abs(LogMel(bins).filters.numpy() - expected).max() < 1e-7


def test_a_tone_is_loudest_in_the_filter_of_its_frequency() -> None:
    low, high = (1127 * math.log1p(hertz / 700) for hertz in (20, 8000))
    for hertz in (500.0, 1000.0, 2500.0, 6000.0):  # centres lie (high - low) / 129 apart, the first one above low
        nearest = round((1127 * math.log1p(hertz / 700) - low) / ((high - low) / 129)) - 1
        energies = LogMel()(torch.from_numpy(tone(hertz, 0.5)))
        assert energies.mean(0).argmax() == nearest


def test_padding_is_louder_than_silence() -> None:
    features = FrontEnd(100)(torch.zeros(400))
    assert torch.allclose(features[1:], torch.tensor(PADDING), atol=1e-7)
    assert round(PADDING, 3) == 0.467
    floor = (math.log(2**-23) + 4.2677393) / (2 * 4.5689974)  # log of float32's epsilon
    assert torch.allclose(features[0], torch.tensor(floor), atol=1e-6)


@pytest.mark.parametrize("length", [0, 1, 159, 239, 240, 399])
def test_less_than_a_frame_is_a_frame_padded_with_zeros(length: int) -> None:
    samples = noise(length, 0.1)
    padded = np.pad(samples, (0, 400 - length))
    ours = in_double(FrontEnd(4))(torch.from_numpy(samples)).numpy()
    assert np.abs(ours - reference(padded, FrontEnd(4))).max() < EXACT
    assert LogMel()(torch.from_numpy(samples)).shape == (1, 128)


@pytest.mark.parametrize(("length", "frames"), [(400, 1), (559, 1), (560, 2), (16_000, 98), (160_240, 1000)])
def test_number_of_frames(length: int, frames: int) -> None:
    assert LogMel()(torch.zeros(length)).shape == (frames, 128)


@pytest.mark.parametrize(("max_length", "seconds"), [(1, 0.025), (2, 0.035), (98, 0.995), (1024, 10.255)])
def test_seconds_fill_the_input_exactly(max_length: int, seconds: float) -> None:
    front_end = FrontEnd(max_length)
    assert front_end.seconds == pytest.approx(seconds, abs=1e-12)
    samples = noise(round(seconds * RATE) + 5000, 0.1)
    used = round(front_end.seconds * RATE)
    short, long = torch.from_numpy(samples[:used]), torch.from_numpy(samples)
    assert LogMel()(short).shape[0] == max_length
    assert torch.equal(front_end(short), front_end(long))
    assert LogMel()(short[:-1]).shape[0] == max(1, max_length - 1)


def test_a_batch_equals_its_clips_one_by_one() -> None:
    samples = torch.from_numpy(noise(2 * 3 * 5000, 0.1)).reshape(2, 3, 5000)
    for front_end, tolerance in ((in_double(FrontEnd(20)), 1e-12), (FrontEnd(40), 1e-5)):
        together = front_end(samples)
        assert together.shape == (2, 3, front_end.max_length, 128)
        single = torch.stack([torch.stack([front_end(clip) for clip in group]) for group in samples])
        assert (together - single).abs().max() < tolerance


def test_autocast_changes_no_bit() -> None:
    samples = torch.from_numpy(noise(8000, 0.1))
    plain = FrontEnd(48)(samples)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16  # autocast is on
        cast = FrontEnd(48)(samples)
    assert cast.dtype == torch.float32
    assert torch.equal(cast, plain)


def test_samples_of_another_precision_are_taken_at_their_value() -> None:
    samples = torch.from_numpy(noise(4000, 0.1)).half()
    assert torch.equal(FrontEnd(20)(samples), FrontEnd(20)(samples.float()))
    assert torch.equal(FrontEnd(20)(samples.double()), FrontEnd(20)(samples.float()))


def test_samples_are_not_changed_and_carry_no_gradient() -> None:
    samples = torch.from_numpy(noise(4000, 0.1)).requires_grad_()
    before = samples.detach().clone()
    assert not FrontEnd(20)(samples).requires_grad
    assert torch.equal(samples.detach(), before)


def test_filterbank_leaves_no_trace_in_checkpoints() -> None:
    assert LogMel().state_dict() == {}
    assert list(LogMel().parameters()) == []


def test_double_has_constants_that_never_were_single() -> None:
    exact = LogMel().double()
    assert torch.equal(exact.filters, mel_filters(128))
    assert torch.equal(exact.window, torch.hann_window(400, periodic=False, dtype=torch.float64))
    assert not torch.equal(exact.filters, LogMel().filters.double())


def test_front_end_is_a_value() -> None:
    used = FrontEnd(32)
    samples = torch.from_numpy(noise(4000, 0.1))
    features = used(samples)
    assert used == FrontEnd(32)
    assert hash(used) == hash(FrontEnd(32))
    assert used != FrontEnd(33)
    assert torch.equal(pickle.loads(pickle.dumps(used))(samples), features)  # noqa: S301 - as a worker gets it


@pytest.mark.parametrize(
    ("settings_", "words"),
    [
        ({"max_length": 0}, ["max_length=0", "from 1 to 360000"]),
        ({"max_length": 64, "num_mel_bins": 0}, ["num_mel_bins=0"]),
        ({"max_length": 64, "std": 0.0}, ["std=0.0", "from 0.0001 to 10000"]),
        ({"max_length": 64, "std": math.nan}, ["std=nan"]),
        ({"max_length": 64, "mean": math.inf}, ["mean=inf", "from -10000 to 10000"]),
        ({"max_length": -1, "std": -1.0}, ["2 faults", "max_length=-1", "std=-1.0"]),
    ],
)
def test_settings_that_cannot_work_are_refused(settings_: dict[str, float], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        FrontEnd(**settings_)  # type: ignore[arg-type] # all fields are numbers
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "clip",
    ["esc10/audio/*.ogg", "spoken_digits/audio/*", "arabic_speech_commands/*/*.flac"],
    ids=lambda p: p.split("/")[0],
)
def test_real_recordings(real_audio: Path, clip: str) -> None:
    path = sorted(real_audio.glob(clip))[0]
    samples = read_audio(path)
    assert len(samples) > 0.2 * RATE
    for front_end in (FrontEnd(512), FrontEnd(64)):  # padded, cut
        expected = reference(samples, front_end)
        assert np.abs(in_double(front_end)(torch.from_numpy(samples)).numpy() - expected).max() < EXACT
        whole = listen_to_clip(path, FrontEnd(front_end.max_length)).features.astype(np.float64)
        assert np.abs(whole - expected).max() < SINGLE
