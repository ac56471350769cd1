"""Reading audio: every rate, channel count and format becomes the same tone at 16 kHz, or one sentence that says why not."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from astune.data.audio import SAMPLING_RATE, duration, listen_to_samples, read_audio, survey
from astune.data.formats import SUFFIXES
from astune.data.streaming import stream
from astune.errors import AudioError
from astune.printable import printable

LEVEL = 0.5
EDGE = 800  # samples left out at both ends, where resamplers and codecs fade

Samples = NDArray[np.float32]


def tone(hertz: float, seconds: float, rate: int, level: float = LEVEL) -> Samples:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def projection(samples: Samples, hertz: float) -> tuple[float, float]:
    """Amplitude of a frequency by least squares, and the root mean square of what else there is."""
    t = np.arange(len(samples)) / SAMPLING_RATE
    basis = np.stack([np.sin(2 * np.pi * hertz * t), np.cos(2 * np.pi * hertz * t)], axis=1)
    weights = np.linalg.lstsq(basis, samples.astype(np.float64), rcond=None)[0]
    return float(np.hypot(*weights)), float(np.sqrt(np.mean((samples - basis @ weights) ** 2)))


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000])
def test_any_rate_keeps_length_frequency_and_amplitude(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(1234.5, 1.0, rate), rate, subtype="FLOAT")
    samples = read_audio(path)
    assert samples.shape == (SAMPLING_RATE,)
    assert samples.dtype == np.float32
    assert samples.flags.c_contiguous
    amplitude, rest = projection(samples[EDGE:-EDGE], 1234.5)
    assert amplitude == pytest.approx(LEVEL, abs=1e-4)
    assert rest < 1e-4


def test_what_16_khz_cannot_hold_is_filtered_out(tmp_path: Path) -> None:
    path = tmp_path / "high.wav"
    soundfile.write(path, tone(11_000, 1.0, 44_100), 44_100, subtype="FLOAT")
    assert np.abs(read_audio(path)[EDGE:-EDGE]).max() < 1e-4  # not folded down to 5 kHz


@pytest.mark.parametrize(
    ("suffix", "kind", "subtype", "error"),
    [  # error: half a step of the integers; for lossy codecs what libsndfile's encoders leave of this tone, with room
        (".wav", "WAV", "PCM_16", 2**-15),
        (".wav", "WAV", "PCM_24", 2**-22),
        (".wav", "WAV", "FLOAT", 1e-7),
        (".wav", "WAV", "PCM_U8", 2**-7),
        (".flac", "FLAC", "PCM_16", 2**-15),
        (".aiff", "AIFF", "PCM_16", 2**-15),
        (".ogg", "OGG", "VORBIS", 0.05),
        (".opus", "OGG", "OPUS", 0.05),
        (".mp3", "MP3", "MPEG_LAYER_III", 0.05),
    ],
)
def test_formats(tmp_path: Path, suffix: str, kind: str, subtype: str, error: float) -> None:
    path, original = tmp_path / f"tone{suffix}", tone(440, 1.0, SAMPLING_RATE)
    soundfile.write(path, original, SAMPLING_RATE, format=kind, subtype=subtype)
    samples = read_audio(path)
    assert suffix in SUFFIXES
    assert len(samples) == len(original)
    assert np.abs(samples - original)[EDGE:-EDGE].max() <= error
    amplitude, _ = projection(samples[EDGE:-EDGE], 440)
    assert amplitude == pytest.approx(LEVEL, abs=min(error, 0.02))
    assert duration(path) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_channels_are_averaged(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"five{suffix}"
    pitches, levels = (300, 500, 700, 1100, 1300), (0.1, 0.2, 0.3, 0.4, 0.5)
    channels = np.stack([tone(p, 1.0, 16_000, a) for p, a in zip(pitches, levels, strict=True)], axis=1)
    soundfile.write(path, channels, 16_000)
    samples = read_audio(path)
    assert samples.shape == (16_000,)
    for pitch, level in zip(pitches, levels, strict=True):
        assert projection(samples[EDGE:-EDGE], pitch)[0] == pytest.approx(level / 5, abs=2e-3)


def test_stereo_of_opposite_phase_is_silence(tmp_path: Path) -> None:
    path, mono = tmp_path / "opposite.wav", tone(440, 0.5, 16_000)
    soundfile.write(path, np.stack([mono, -mono], axis=1), 16_000, subtype="FLOAT")
    assert np.abs(read_audio(path)).max() == 0


def test_samples_beyond_one_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "loud.wav"
    soundfile.write(path, np.array([1.5, -32_768.0], np.float32), 16_000, subtype="FLOAT")
    assert read_audio(path).tolist() == [1.5, -32_768.0]


WRITTEN = {  # suffix: how far a beginning may lie from the whole
    ".wav": 1e-5,
    ".flac": 1e-5,
    ".ogg": 1e-5,
    ".mp3": 1e-5,
}


@settings(max_examples=40, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rate=st.sampled_from([8000, 16_000, 22_050, 44_100, 48_000]),
    length=st.floats(0.05, 1.5),
    seconds=st.floats(0.01, 2.0),
    suffix=st.sampled_from(sorted(WRITTEN)),
)
def test_a_beginning_equals_the_beginning_of_the_whole(
    tmp_path: Path, rate: int, length: float, seconds: float, suffix: str
) -> None:
    path = tmp_path / f"noise{suffix}"
    soundfile.write(path, 0.2 * np.random.default_rng(0).standard_normal(round(length * rate)), rate)
    whole, part = read_audio(path), read_audio(path, seconds=seconds)
    assert len(part) == min(len(whole), round(seconds * SAMPLING_RATE))
    assert np.abs(part - whole[: len(part)]).max() < WRITTEN[suffix]


@pytest.mark.parametrize("rate", [100, 500, 1000, 2000])
def test_a_beginning_at_very_low_rates(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "slow.wav"
    soundfile.write(path, 0.2 * np.random.default_rng(0).standard_normal(20 * rate), rate, subtype="FLOAT")
    whole, part = read_audio(path), read_audio(path, seconds=1.0)
    assert part.shape == (SAMPLING_RATE,)
    assert np.abs(part - whole[:SAMPLING_RATE]).max() < 1e-5


def test_a_beginning_reads_no_more_than_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, tone(440, 20, 8000), 8000)
    asked: list[int] = []
    read = soundfile.SoundFile.read

    def counted(self: soundfile.SoundFile, frames: int = -1, **options: object) -> object:
        asked.append(frames)
        return read(self, frames, **options)

    monkeypatch.setattr(soundfile.SoundFile, "read", counted)
    assert len(read_audio(path, seconds=1.0)) == SAMPLING_RATE
    assert asked == [9000]  # a second and the margin of 1000 frames, of 160 000


def test_paths_may_be_strings_and_hold_any_bytes(tmp_path: Path) -> None:
    expected = tone(440, 0.1, SAMPLING_RATE)
    for name in (
        "plain.wav",
        "with space.wav",
        "ünï ☃.wav",
        "take: 2.wav",
        "caps.WAV",
        "no_suffix",
        os.fsdecode(b"caf\xe9.wav"),
    ):
        path = tmp_path / name
        soundfile.write(os.fsencode(path), expected, SAMPLING_RATE, format="WAV", subtype="FLOAT")
        assert np.array_equal(read_audio(str(path)), expected)
        assert duration(str(path)) == 0.1


def test_what_a_file_holds_counts_not_its_name(tmp_path: Path) -> None:
    path = tmp_path / "really_a_flac.wav"
    soundfile.write(path, tone(440, 0.1, SAMPLING_RATE), SAMPLING_RATE, format="FLAC")
    assert len(read_audio(path)) == 1600


def test_a_streamed_wav_reads_to_its_end(tmp_path: Path) -> None:
    path = _streamed_wav(tmp_path / "streamed.wav")
    assert len(read_audio(path)) == SAMPLING_RATE
    assert duration(path) == 1.0


def _streamed_wav(path: Path) -> Path:
    """As ffmpeg writes to a pipe: it cannot go back to fill in the sizes."""
    soundfile.write(path, tone(440, 1, SAMPLING_RATE), SAMPLING_RATE)
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[4:8] = data[at : at + 4] = b"\xff" * 4
    path.write_bytes(data)
    return path


def test_a_wav_cut_short_gives_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "cut.wav"
    soundfile.write(path, tone(440, 1, SAMPLING_RATE), SAMPLING_RATE)
    path.write_bytes(path.read_bytes()[: 44 + 2 * 6000])
    assert len(read_audio(path)) == 6000


def _nothing(path: Path) -> None:
    assert not path.exists()


def _text(path: Path) -> None:
    path.write_text("This is no sound.\n" * 50)


def _garbage(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(5000))


def _cut(keep: float) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        soundfile.write(path, 0.2 * np.random.default_rng(0).standard_normal(SAMPLING_RATE), SAMPLING_RATE)
        data = path.read_bytes()
        path.write_bytes(data[: round(keep * len(data))])

    return write


def _samples(
    *values: float, channels: int = 1, rate: int = SAMPLING_RATE, subtype: str = "FLOAT"
) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        soundfile.write(path, np.array(values, np.float32).reshape(-1, channels), rate, subtype=subtype)

    return write


def _flac_of_length(frames: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        soundfile.write(path, tone(440, 1, SAMPLING_RATE), SAMPLING_RATE)
        data = bytearray(path.read_bytes())
        at = 4 + 4 + 10  # "fLaC", a block's header, then rate, channels and depth in 28 bits and the length in 36
        packed = struct.unpack(">Q", data[at : at + 8])[0] >> 36 << 36
        data[at : at + 8] = struct.pack(">Q", packed | frames)
        path.write_bytes(data)

    return write


NAN, INF = float("nan"), float("inf")


def _bytes(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


BROKEN: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "missing": ("no.wav", _nothing, "there is no such file"),
    "missing m4a": ("no.m4a", _nothing, "there is no such file"),
    "link to nothing": ("link.wav", lambda path: path.symlink_to(path.with_name("gone")), "there is no such file"),
    "folder": ("folder.wav", Path.mkdir, "it is a folder"),
    "under a file": ("file/clip.wav", lambda path: path.parent.write_text("x"), "cannot be opened (Not a directory)"),
    "name too long": ("x" * 300 + ".wav", lambda _: None, "it cannot be opened (File name too long)"),
    "no name": ("nul\0byte.wav", lambda _: None, "it cannot be opened (embedded null byte)"),
    "link to itself": ("loop.wav", lambda path: path.symlink_to(path), "it cannot be opened (Too many levels"),
    "empty file": ("empty.wav", Path.touch, "the file is empty"),
    "text named wav": ("text.wav", _text, "it cannot be decoded (Format not recognised)"),
    "text under a colon": ("take: 2.wav", _text, "it cannot be decoded (Format not recognised)"),
    "text named mp3": ("text.mp3", _text, "it cannot be decoded (no audio was found in it)"),
    "zip named mp3": ("clip.mp3", _bytes(b"PK\x03\x04" + bytes(500)), "its content is a zip archive, which"),
    "web page named wav": ("clip.wav", _bytes(b"<!DOCTYPE html><title>404</title>"), "its content is a web page"),
    "hole named wav": ("clip.wav", _bytes(bytes(4096)), "it begins with zeros alone"),
    "lines and tabs in a name": ("a\nb\tc\x1b[31m.wav", _text, "it cannot be decoded (Format not recognised)"),
    "garbage named wav": ("garbage.wav", _garbage, "it cannot be decoded (Format not recognised)"),
    "garbage named ogg": ("garbage.ogg", _garbage, "it cannot be decoded ("),
    "header alone": ("header.wav", _cut(0.0005), "it cannot be decoded ("),
    "flac cut short": ("cut.flac", _cut(0.5), "it cannot be decoded (flac decoder lost sync)"),
    "ogg cut in its header": ("cut.ogg", _cut(0.05), "it cannot be decoded ("),
    "m4p": ("clip.m4p", _garbage, ".m4p is not a format libsndfile decodes; convert it to .wav or .flac"),
    "M4P": ("clip.M4P", _garbage, ".m4p is not a format libsndfile decodes; convert it to .wav or .flac"),
    "raw": ("clip.raw", _garbage, ".raw samples come without their rate and channels; convert it to .wav or .flac"),
    "no samples": ("none.wav", _samples(), "it holds no samples"),
    "NaN": ("nan.wav", _samples(0, NAN, 0), "it holds samples that are not finite numbers"),
    "NaN in one channel": ("nan.wav", _samples(0, NAN, 0, 0, channels=2), "it holds samples that are not finite"),
    "infinity": ("inf.wav", _samples(0, -INF), "it holds samples that are not finite numbers"),
    "opposite infinities": ("infs.wav", _samples(INF, -INF, channels=2), "it holds samples that are not finite numbers"),
    "overflow": ("big.wav", _samples(3e38, 3e38, channels=2), "far outside of -1 to 1"),
    "power overflow": ("big.wav", _samples(1e30), "far outside of -1 to 1"),
    "one sample at 96 kHz": ("one.wav", _samples(0.5, rate=96_000), "it is shorter than one sample at 16000 Hz"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("seconds", [None, 1.0])
def test_what_cannot_be_read_is_named_with_its_reason(tmp_path: Path, case: str, seconds: float | None) -> None:
    name, write, reason = BROKEN[case]
    path = tmp_path / name
    write(path)
    if case == "flac cut short" and seconds is not None:
        seconds = 2.0  # its first half is whole
    with pytest.raises(AudioError) as caught:
        read_audio(path, seconds=seconds)
    message = str(caught.value)
    assert message.startswith(f"{printable(path)}: ")
    assert reason in message
    assert message.count(printable(path)) == 1
    assert "\n" not in message


BEHIND_THE_HEADER = {"flac cut short", "one sample at 96 kHz", "no samples", "overflow", "power overflow"} | {
    case for case in BROKEN if "NaN" in case or "infinit" in case
}


@pytest.mark.parametrize("case", sorted(BROKEN.keys() - BEHIND_THE_HEADER))
def test_duration_refuses_what_has_no_header(tmp_path: Path, case: str) -> None:
    name, write, reason = BROKEN[case]
    write(tmp_path / name)
    with pytest.raises(AudioError) as caught:
        duration(tmp_path / name)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("clips", "rate", "seconds"), [("esc10/audio/*.ogg", 44_100, 5.0), ("spoken_digits/audio/*", 8000, None)]
)
def test_real_recordings(real_audio: Path, clips: str, rate: int, seconds: float | None) -> None:
    for path in sorted(real_audio.glob(clips))[:3]:
        assert soundfile.info(path).samplerate == rate
        samples = read_audio(path)
        assert 1e-3 < np.abs(samples).max() < 1.5
        assert len(samples) == pytest.approx(duration(path) * SAMPLING_RATE, abs=1)
        if seconds is not None:
            assert duration(path) == pytest.approx(seconds, abs=0.02)
        part = read_audio(path, seconds=0.2)
        assert part.shape == (3200,)
        assert np.abs(part - samples[:3200]).max() < 1e-5


def _header(rate: int, channels: int, content: bytes = bytes(3_000)) -> Callable[[Path], object]:
    head = struct.pack("<HHIIHH", 1, channels, rate, rate * channels % 2**32, channels, 8)
    return _bytes(
        b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + head + b"data" + struct.pack("<I", len(content)) + content
    )


@pytest.mark.parametrize(
    "work", [read_audio, duration, lambda path: list(stream(path)), lambda path: survey(path, len)]
)
@pytest.mark.parametrize(
    ("rate", "channels", "fault"),
    [
        (1, 255, "its header states 1 samples a second; a rate below 40 holds nothing to hear"),
        (39, 1, "its header states 39 samples a second"),
        (2**31 - 1, 1, "its header states 2147483647 samples a second; a recording may have from 40 to 10,000,000"),
        (10_000_001, 1, "a recording may have from 40 to 10,000,000"),
    ],
)
def test_rates_that_no_recording_has(
    tmp_path: Path, work: Callable[[Path], object], rate: int, channels: int, fault: str
) -> None:
    """Before anything is decoded: at 2 GHz the resampler takes two seconds for a million samples."""
    _header(rate, channels)(tmp_path / "a.wav")
    with pytest.raises(AudioError, match=fault):
        work(tmp_path / "a.wav")


@pytest.mark.parametrize(("rate", "channels"), [(40, 1), (10_000_000, 1), (16_000, 1_024)])
def test_the_rates_and_channels_that_a_recording_may_have(tmp_path: Path, rate: int, channels: int) -> None:
    _header(rate, channels, bytes([128]) * channels * 800)(tmp_path / "a.wav")
    assert len(read_audio(tmp_path / "a.wav")) == round(800 * SAMPLING_RATE / rate)


def test_arrays_of_more_channels_than_any_recording_has() -> None:
    with pytest.raises(AudioError, match="it has 1,025 channels; a recording may have from 1 to 1,024"):
        listen_to_samples(np.zeros((9, 1_025), np.float32), SAMPLING_RATE)


@pytest.mark.parametrize(
    "part",
    [{"start": 1e308}, {"seconds": 1e308}, {"seconds": INF}, {"seconds": NAN}, {"seconds": -1.0}, {"start": NAN}],
)
def test_moments_that_no_recording_has(tmp_path: Path, part: dict[str, float]) -> None:
    soundfile.write(tmp_path / "a.wav", tone(440, 1, 44_100), 44_100)
    with pytest.raises(AudioError, match=r"(start|seconds)=.*; give .*0 or more and less than 1,000,000,000"):
        read_audio(tmp_path / "a.wav", **part)


def test_what_does_not_fit_into_memory_is_refused_before_it_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two megabytes at 40 Hz are 14 hours, and 3 GB at 16 kHz; as if there were 2."""
    _header(40, 1, bytes(2_000_000))(tmp_path / "a.wav")
    monkeypatch.setattr("astune.data.samples.memory", lambda: 2 * 10**9)
    with pytest.raises(AudioError, match="its 50,000 s do not fit into memory; cut it into shorter files"):
        read_audio(tmp_path / "a.wav")
    assert duration(tmp_path / "a.wav") == 50_000
    assert len(read_audio(tmp_path / "a.wav", seconds=1.0)) == SAMPLING_RATE
