"""A recording as a stream: the samples of reading it whole, the same errors, and memory that its length does not decide."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astune.data import sound as decoding
from astune.data import streaming
from astune.data.audio import SAMPLING_RATE, listen, read_audio
from astune.data.streaming import Stream, stream, stream_of_samples
from astune.errors import AudioError

RATES = (8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000)


def sound(frames: int, channels: int = 1) -> np.ndarray[Any, Any]:
    return np.random.default_rng(frames).normal(0, 0.1, (frames, channels)).astype(np.float32)


def joined(drawn: Stream) -> np.ndarray[Any, Any]:
    return np.concatenate(list(drawn))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rate=st.sampled_from(RATES),
    channels=st.integers(1, 3),
    frames=st.integers(20, 60_000),
    block=st.integers(1, 8).map(lambda exponent: 10 * 4**exponent),
    suffix=st.sampled_from(["wav", "flac"]),
)
def test_a_stream_gives_the_samples_of_the_whole(
    rate: int,
    channels: int,
    frames: int,
    block: int,
    suffix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bit for bit, edges included, at every rate: soxr gives the same however its input is cut."""
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, sound(frames, channels), rate)
    whole = listen(path)
    with monkeypatch.context() as patched:
        patched.setattr(decoding, "_BLOCK", block)
        patched.setattr(streaming, "_BLOCK", 4 * block)
        drawn = stream(path)
        assert np.array_equal(joined(drawn), whole.samples)
        assert drawn.facts == whole.facts
        held = stream_of_samples(soundfile.read(path, dtype="float32", always_2d=True)[0], rate)
        assert np.array_equal(joined(held), whole.samples)
        assert held.facts == whole.facts


@pytest.mark.parametrize("suffix", ["mp3", "ogg", "opus"])
def test_formats_that_are_decoded_frame_by_frame_stream_alike(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    how = {"format": "OGG", "subtype": "OPUS"} if suffix == "opus" else {}
    soundfile.write(path, sound(48_000 * 30, 2), 48_000, **how)
    assert np.array_equal(joined(stream(path)), read_audio(path))


def test_what_is_wrong_is_said_in_the_words_of_reading_it_whole(tmp_path: Path) -> None:
    loud, nan, slow, empty, text, short = (tmp_path / f"{name}.wav" for name in ("l", "n", "s", "e", "t", "h"))
    samples = sound(40_000)
    for path, wild in ((loud, 1e12), (nan, np.nan)):
        samples[-1] = wild
        soundfile.write(path, samples, SAMPLING_RATE, subtype="FLOAT")
    soundfile.write(slow, sound(900), 30)
    soundfile.write(empty, sound(0), SAMPLING_RATE)
    soundfile.write(short, sound(1), 44_100)
    text.write_text("no sound")
    for path in (loud, nan, slow, empty, text, short, tmp_path / "missing.wav", tmp_path):
        with pytest.raises(AudioError) as expected:
            listen(path)
        with pytest.raises(AudioError) as found:
            joined(stream(path))
        assert str(found.value) == str(expected.value)


@pytest.mark.parametrize(
    ("samples", "rate", "fault"),
    [
        (np.zeros((0, 1)), SAMPLING_RATE, "x: it holds no samples"),
        (np.zeros((9, 0)), SAMPLING_RATE, "x: it holds no samples"),
        (np.zeros((9, 1)), 2**40, "from 40 to 10,000,000"),
        (np.full((9, 1), np.nan), SAMPLING_RATE, "not finite numbers"),
        (np.zeros((9, 1)), 20, "its sampling_rate is 20 samples a second"),
    ],
)
def test_arrays_are_refused_alike(samples: np.ndarray[Any, Any], rate: int, fault: str) -> None:
    with pytest.raises(AudioError, match=fault):
        joined(stream_of_samples(samples, rate, name="x"))


def test_pipes_are_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, sound(90_000, 2), 44_100)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    assert np.array_equal(joined(stream("-")), read_audio(path))
    with pytest.raises(AudioError, match="it is a pipe"):
        joined(stream("-", pipes=False))


def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    """Of everything that Python and NumPy allocate; an hour at 16 kHz is 230 MB of samples, and 635 at 44.1 kHz in stereo."""
    peaks = []
    for name, minutes in (("short", 1), ("long", 60)):
        path = tmp_path / f"{name}.flac"
        with soundfile.SoundFile(path, "w", 44_100, 2, "PCM_16") as file:
            for _ in range(minutes):
                file.write(np.zeros((44_100 * 60, 2), np.int16))
        tracemalloc.start()
        decoded = sum(len(block) for block in stream(path))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert decoded == minutes * 60 * SAMPLING_RATE
    assert peaks[1] < peaks[0] + 2e6


def test_a_stream_that_is_closed_lets_its_file_go(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, sound(3_000_000), SAMPLING_RATE)
    drawn = stream(path)
    next(iter(drawn))
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else 1
    drawn.close()
    after = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else 0
    assert after < before
    assert drawn.facts is None
