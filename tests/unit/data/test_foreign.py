"""Formats that PyAV decodes: FFmpeg's samples, the same rules for parts, pipes, lengths and damage as for all others."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from astune.data import load_data
from astune.data import sound as decoding
from astune.data.audio import SAMPLING_RATE, duration, listen, read_audio, survey
from astune.data.foreign import foreign_container
from astune.data.formats import AV_SUFFIXES
from astune.data.opening import open_sound
from astune.data.streaming import stream
from astune.errors import AudioError
from astune.features import FrontEnd, build_cache
from tests.foreign_audio import KINDS, av, decoded_by_ffmpeg, encode, tones

LOSSLESS = {"lossless.m4a", "a.mka", "double.mkv", "a.mov", "a.wv", "a.tta"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One file of each kind, 1.5 s long."""
    folder = tmp_path_factory.mktemp("foreign")
    for name, kind in KINDS.items():
        encode(folder / name, kind)
    return {name: folder / name for name in KINDS}


def decoded(path: Path) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    with open_sound(path, pipes=False) as sound:
        return np.concatenate(list(sound.blocks()))


@pytest.mark.parametrize("name", KINDS)
def test_the_samples_are_those_of_the_program_ffmpeg(files: dict[str, Path], name: str) -> None:
    ours, theirs = decoded(files[name]), decoded_by_ffmpeg(files[name], KINDS[name].channels)
    assert ours.dtype == np.float32
    assert ours.shape == theirs.shape
    # Codecs that compute with floats are summed in another order by another version: four steps of float32 at 1. Of MP2 in a transport
    # stream some versions give 16 bits: two of their steps.
    allowed = 2.0**-14 if name == "a.mts" else 0 if name in LOSSLESS else 5e-7
    assert np.abs(ours - theirs).max() <= allowed


@pytest.mark.parametrize("name", KINDS)
def test_they_are_those_that_were_written(files: dict[str, Path], name: str) -> None:
    kind, ours = KINDS[name], decoded(files[name])
    given = tones(1.5, kind.rate, kind.channels)
    assert len(ours) == pytest.approx(len(given), abs=4096 + 0.05 * kind.rate)
    if name in LOSSLESS:  # half a step of 16 bits, of 24 bits, of float32
        assert np.abs(ours[: len(given)] - given).max() < 2.0**-15
    power = np.abs(np.fft.rfft(ours * np.hanning(len(ours))[:, None], axis=0))
    pitches = power.argmax(axis=0) * kind.rate / len(ours)
    expected = 300 + 170 * np.arange(kind.channels)
    if kind.channels < 6:  # the order of six channels is the codec's
        assert pitches == pytest.approx(expected, abs=3)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("block", [1_000, 30_003])
def test_blocks_parts_and_streams_give_the_bits_of_one_reading(
    files: dict[str, Path], name: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = listen(files[name])
    assert whole.doubts == ()
    monkeypatch.setattr(decoding, "_BLOCK", block)
    assert np.array_equal(read_audio(files[name]), whole.samples)
    assert np.array_equal(np.concatenate(list(stream(files[name]))), whole.samples)
    # A part is resampled from a frame that both rates share: the resampler's own rounding, as for every other format.
    part = listen(files[name], 0.5, end=0.9).samples
    assert np.abs(part - whole.samples[8_000:14_400]).max() < 1e-6
    if KINDS[name].rate == SAMPLING_RATE:
        assert np.array_equal(part, whole.samples[8_000:14_400])


@pytest.mark.parametrize("name", KINDS)
def test_lengths_agree_with_the_samples(files: dict[str, Path], name: str) -> None:
    whole = listen(files[name])
    assert whole.sampling_rate == KINDS[name].rate
    assert whole.channels == KINDS[name].channels
    assert len(whole.samples) == pytest.approx(whole.seconds * SAMPLING_RATE, abs=1)
    # Headers leave out what fills the last frame of a codec: 1024 samples of AAC.
    assert duration(files[name]) == pytest.approx(whole.seconds, abs=1024 / KINDS[name].rate + 0.01)
    assert survey(files[name], len).seconds == whole.seconds
    recording = listen(files[name], seconds=0.25)
    assert recording.samples.shape == (4_000,)
    assert recording.seconds == pytest.approx(whole.seconds, abs=1024 / KINDS[name].rate + 0.01)


@pytest.mark.parametrize("name", KINDS)
def test_the_content_counts_and_not_the_name(files: dict[str, Path], name: str, tmp_path: Path) -> None:
    for other in ("clip", "clip.wav", "clip.mp3", "take: 2.ogg", "http:clip.flac"):
        (tmp_path / other).write_bytes(files[name].read_bytes())
        assert np.array_equal(read_audio(tmp_path / other), read_audio(files[name]))


@pytest.mark.parametrize("name", KINDS)
def test_pipes_and_standard_input_are_read(
    files: dict[str, Path], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    thread = threading.Thread(target=lambda: pipe.write_bytes(files[name].read_bytes()))
    thread.start()
    assert np.array_equal(read_audio(pipe), read_audio(files[name]))
    thread.join()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(files[name].read_bytes())))
    assert np.array_equal(read_audio("-"), read_audio(files[name]))


def test_threads_read_side_by_side(files: dict[str, Path]) -> None:
    alone = {name: read_audio(path) for name, path in files.items()}
    found: dict[str, list[bool]] = {name: [] for name in files}

    def read(names: list[str]) -> None:
        for name in names:
            found[name].append(np.array_equal(read_audio(files[name]), alone[name]))

    threads = [threading.Thread(target=read, args=(names,)) for names in (list(files), list(files)[::-1]) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {name: [True] * 4 for name in files}


CUT = {"fast.m4a", "parts.mp4", "a.webm", "a.mka", "double.mkv", "a.aac", "a.wma", "a.flv", "a.wv"}


@pytest.mark.parametrize("name", sorted(CUT))
def test_a_file_that_was_cut_is_in_doubt(files: dict[str, Path], name: str, tmp_path: Path) -> None:
    content = files[name].read_bytes()
    cut = tmp_path / name
    cut.write_bytes(content[: round(0.6 * len(content)) + 7])
    recording, whole = listen(cut), listen(files[name])
    assert 0.3 < recording.seconds < 1.2
    assert any(doubt.startswith("cut short: ") for doubt in recording.doubts)
    assert np.abs(recording.samples[:3_200] - whole.samples[:3_200]).max() < 1e-6
    assert listen(cut, seconds=0.1).seconds == duration(cut) == recording.seconds


def test_an_index_that_is_missing_and_a_second_recording_are_named(files: dict[str, Path], tmp_path: Path) -> None:
    content = files["a.m4a"].read_bytes()
    cut = tmp_path / "a.m4a"
    cut.write_bytes(content[: len(content) // 2])
    with pytest.raises(AudioError, match=r"a\.m4a: it cannot be decoded .*; it is cut short: its header promises"):
        read_audio(cut)
    index = content.rindex(b"moov") - 4
    cut.write_bytes(content[:index])
    with pytest.raises(AudioError, match=r"it is cut short: its index, which is written last, is missing"):
        duration(cut)
    for name in ("a.m4a", "a.webm"):
        twice = tmp_path / f"twice-{name}"
        twice.write_bytes(files[name].read_bytes() * 2)
        (doubt,) = listen(twice).doubts
        size = files[name].stat().st_size
        assert doubt == f"longer than its header says: {size:,} bytes follow the end that it states"


@pytest.mark.parametrize("name", KINDS)
def test_damage_ends_in_an_audio_error_or_in_samples(
    files: dict[str, Path], name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Bytes changed and ends cut at random. Nothing else escapes, and FFmpeg writes nothing to the terminal."""
    draw, content, path = np.random.default_rng(0), files[name].read_bytes(), tmp_path / name
    said = []
    for _ in range(60):
        damaged = bytearray(content)
        reach = len(content) if draw.random() < 0.3 else min(len(content), 2_000)
        for position in draw.integers(0, reach, draw.integers(1, 12)):
            damaged[position] = draw.integers(0, 256)
        path.write_bytes(damaged[: draw.integers(1, len(damaged)) if draw.random() < 0.2 else len(damaged)])
        try:
            assert len(read_audio(path))
        except AudioError as fault:
            said.append(str(fault))
    assert said
    assert all(text.startswith(f"{path}: ") and "\n" not in text for text in said)
    assert capfd.readouterr() == ("", "")


def test_damage_in_the_middle_is_an_error_and_not_a_gap(files: dict[str, Path], tmp_path: Path) -> None:
    content = bytearray(files["a.mka"].read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20] = bytes(20)
    path = tmp_path / "a.mka"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=r"a\.mka: it cannot be decoded after 0\.[67]\d s \(Invalid data"):
        read_audio(path)


def test_video_without_sound_and_several_streams_are_said(tmp_path: Path) -> None:
    silent = tmp_path / "silent.mp4"
    with av.open(str(silent), "w") as file:
        pictures = file.add_stream("mpeg4", rate=10)
        pictures.width = pictures.height = 32
        pictures.pix_fmt = "yuv420p"
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            file.mux(pictures.encode(frame))
        file.mux(pictures.encode(None))
    with pytest.raises(
        AudioError, match=r"silent\.mp4: it has no audio stream: as MPEG-4 \(\.m4a, \.mp4\) it holds only"
    ):
        read_audio(silent)
    encode(tmp_path / "two.mka", KINDS["a.mka"], streams=2)
    recording = listen(tmp_path / "two.mka")
    assert recording.doubts == ("several audio streams: only the first of 2 is used",)
    assert np.abs(decoded(tmp_path / "two.mka") - tones(1.5, 44_100, 2)).max() < 2.0**-15


def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    """Five minutes of stereo are 106 MB of float32; in a process of its own, over that of one minute."""
    peaks = []
    for minutes in (1, 5):
        path = tmp_path / f"{minutes}.m4a"
        encode(path, KINDS["a.m4a"], 60 * minutes)
        code = (
            "import sys\nfrom pathlib import Path\nfrom astune.data.streaming import stream\n"
            "print(sum(len(block) for block in stream(sys.argv[1])))\n"
            "print(next(line.split()[1] for line in Path('/proc/self/status').open() if line.startswith('VmHWM')))"
        )
        ran = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
        samples, peak = map(int, ran.stdout.split())
        assert samples == pytest.approx(60 * minutes * SAMPLING_RATE, abs=1_000)
        peaks.append(peak / 1024)
    assert peaks[1] - peaks[0] < 30


def test_they_are_found_and_trained_on_like_all_others(files: dict[str, Path], tmp_path: Path) -> None:
    for label, names in {"one": ("a.m4a", "a.webm"), "two": ("a.wma", "a.mov")}.items():
        (tmp_path / label).mkdir()
        for name in names:
            (tmp_path / label / name).write_bytes(files[name].read_bytes())
    dataset = load_data(tmp_path)
    assert [clip.name for clip in dataset.clips] == ["one/a.m4a", "one/a.webm", "two/a.mov", "two/a.wma"]
    assert dataset.passed_over == ()
    cache = build_cache(dataset.clips, FrontEnd(max_length=64))
    for row, clip in enumerate(dataset.clips):
        copy = tmp_path / "copy.wav"
        soundfile.write(copy, read_audio(clip.path), SAMPLING_RATE, subtype="FLOAT")
        alone = build_cache([copy], FrontEnd(max_length=64), root=tmp_path / str(row))
        assert np.array_equal(cache.features[row], alone.features[0])


def test_every_suffix_is_of_a_format_that_is_known_by_its_content() -> None:
    """Those that are written here, and those that PyAV can only read."""
    written = {Path(name).suffix for name in KINDS} | {".mpeg", ".webm", ".wav", ".mts"}
    same = {  # suffixes of one format
        ".m4a": "3g2 3ga 3gp f4a f4v m4b m4r m4v mp4 alac mov", ".aac": "adts", ".wma": "asf wmv", ".mka": "mkv weba", ".ac3": "eac3",
        ".amr": "awb", ".mpg": "mpeg", ".ogg": "ogv spx",
    }  # fmt: skip
    read = {
        ".ape": b"MAC ", ".tak": b"tBaK", ".dsf": b"DSD ", ".dff": b"FRM8", ".mpc": b"MPCK", ".dts": b"\x7f\xfe\x80\x01",
        ".ra": b".ra\xfd", ".rm": b".RMF",
    }  # fmt: skip
    for mark in read.values():
        found = foreign_container(io.BytesIO(mark + bytes(600)))
        assert found is not None
        assert av.ContainerFormat(found.format, "r").is_input
    others = {f".{suffix}" for suffixes in same.values() for suffix in suffixes.split()}
    assert written | others | read.keys() >= AV_SUFFIXES
