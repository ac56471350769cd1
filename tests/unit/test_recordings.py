"""What is known of a recording beside its samples: headers that lie, levels that are odd, pipes; the same bits whatever the blocks."""

from __future__ import annotations

import io
import os
import resource
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

import astune.data.opening as opening
import astune.data.sound as decoding
from astune.data import audio, levels
from astune.data.audio import SAMPLING_RATE, duration, listen, read_audio, survey
from astune.errors import AudioError

Edit = Callable[[bytearray], object]
FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "24.wav": ("WAV", "PCM_24"),
    "32.wav": ("WAV", "PCM_32"),
    "float.wav": ("WAV", "FLOAT"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "rf64": ("RF64", "PCM_16"),
}


def noise(seconds: float, rate: int = SAMPLING_RATE, channels: int = 1) -> NDArray[np.float64]:
    return 0.2 * np.random.default_rng(0).standard_normal((round(seconds * rate), channels))


def write(folder: Path, name: str, seconds: float = 2.0, rate: int = SAMPLING_RATE, channels: int = 1) -> Path:
    kind, subtype = FORMATS[name]
    path = folder / f"noise.{name}"
    soundfile.write(path, noise(seconds, rate, channels), rate, format=kind, subtype=subtype)
    return path


def edited(path: Path, edit: Edit) -> Path:
    data = bytearray(path.read_bytes())
    edit(data)
    path.write_bytes(data)
    return path


def kinds(path: Path, seconds: float | None = None) -> list[str]:
    return [doubt.partition(":")[0] for doubt in listen(path, seconds=seconds).doubts]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (48_000, 2)])
def test_blocks_give_the_bits_of_one_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, rate: int, channels: int
) -> None:
    path = write(tmp_path, name, 0.9, rate, channels)
    with soundfile.SoundFile(path) as file:
        direct = file.read(dtype="float32", always_2d=True).mean(axis=1)
    whole, start = read_audio(path), read_audio(path, seconds=0.2)
    if rate == SAMPLING_RATE:
        assert np.array_equal(whole, direct)
    for block in (1000, 4096, 30_003):
        monkeypatch.setattr(decoding, "_BLOCK", block)
        assert np.array_equal(read_audio(path), whole)
        assert np.array_equal(read_audio(path, seconds=0.2), start)


@pytest.mark.parametrize("name", FORMATS)
def test_whole_files_raise_no_doubt(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name, channels=2)
    for found in (listen(path), listen(path, seconds=0.5), survey(path, len)):
        assert found.doubts == ()
        assert found.seconds == duration(path) == 2.0
        assert (found.sampling_rate, found.channels) == (16_000, 2)
    assert listen(path, seconds=0.5).heard_seconds == 0.5
    assert listen(path, seconds=9.0).heard_seconds == 2.0


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("window", [None, 0.1])
def test_a_file_cut_in_half_is_never_taken_for_a_whole_one(tmp_path: Path, name: str, window: float | None) -> None:
    """Whatever is heard of it: it is cut, or cannot be read, and its length is counted."""
    path = write(tmp_path, name, 4.0)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    if name in {"flac", "caf"}:  # libsndfile gives nothing of them then
        with pytest.raises(AudioError, match="it is cut short: "):
            listen(path, seconds=window)
        return
    found = listen(path, seconds=window)
    assert kinds(path, window) == [audio.CUT]
    assert 0.8 < found.seconds < 2.2  # Ogg loses the page that is cut, a second
    assert duration(path) == found.seconds


def _field(before: bytes, value: bytes) -> Edit:
    def edit(data: bytearray) -> None:
        at = data.index(before) + len(before)
        data[at : at + len(value)] = value

    return edit


def _flac_total(frames: int) -> Edit:
    def edit(data: bytearray) -> None:
        packed = int.from_bytes(data[18:26], "big") >> 36 << 36
        data[18:26] = (packed | frames).to_bytes(8, "big")

    return edit


def _twice(data: bytearray) -> None:
    data.extend(bytes(data))


PROMISE_LESS: dict[str, tuple[str, Edit]] = {
    "wav": ("wav", _field(b"data", struct.pack("<I", 32_000))),
    "aiff without its order": ("au", _field(b".snd\0\0\0\x18", struct.pack(">I", 32_000))),
    "flac": ("flac", _flac_total(16_000)),
    "mp3 behind an mp3": ("mp3", _twice),
    "caf": ("caf", _field(b"data", struct.pack(">q", 32_004))),
}


@pytest.mark.parametrize("case", PROMISE_LESS)
@pytest.mark.parametrize("window", [None, 0.1])
def test_headers_that_promise_less_than_there_is(tmp_path: Path, case: str, window: float | None) -> None:
    name, edit = PROMISE_LESS[case]
    path = edited(write(tmp_path, name), edit)
    assert kinds(path, window) == [audio.LONGER]


PROMISE_MORE: dict[str, tuple[str, Edit]] = {
    "wav": ("wav", _field(b"data", struct.pack("<I", 128_000))),
    "w64": ("w64", _field(b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a", struct.pack("<Q", 10**12))),
    "aiff": ("aiff", _field(b"SSND", struct.pack(">I", 10**9))),
    "flac, a little": ("flac", _flac_total(40_000)),
    "flac, days": ("flac", _flac_total(2**36 - 1)),
    "mp3, days": ("mp3", _field(b"Xing\0\0\0\x0f", struct.pack(">I", 2**31 - 1))),
}


@pytest.mark.parametrize("case", PROMISE_MORE)
def test_headers_that_promise_more_than_there_is_ask_for_no_memory(tmp_path: Path, case: str) -> None:
    name, edit = PROMISE_MORE[case]
    path = edited(write(tmp_path, name), edit)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = listen(path)
    assert kinds(path) == [audio.CUT]
    assert found.seconds == duration(path) == pytest.approx(2.0, abs=0.1)
    assert abs(listen(path, seconds=0.3).seconds - 2.0) < 0.1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB; the promise is of many GB


UNFINISHED: dict[str, tuple[str, Edit]] = {
    "wav, all bits set": ("wav", _field(b"data", b"\xff" * 4)),
    "wav, as sox": ("wav", _field(b"data", struct.pack("<I", 0x7FFFF000))),
    "wav, as arecord": ("wav", _field(b"data", struct.pack("<I", 0x80000000))),
    "au": ("au", _field(b".snd\0\0\0\x18", b"\xff" * 4)),
    "aiff": ("aiff", _field(b"SSND", b"\0" * 4)),
    "flac": ("flac", _flac_total(0)),
}


@pytest.mark.parametrize("case", UNFINISHED)
def test_unfinished_headers_are_read_to_the_end(tmp_path: Path, case: str) -> None:
    name, edit = UNFINISHED[case]
    whole = read_audio(write(tmp_path, name))
    path = edited(write(tmp_path, name), edit)
    assert np.array_equal(read_audio(path), whole)
    assert listen(path, seconds=0.1).seconds == duration(path) == 2.0
    assert kinds(path) == []


@pytest.mark.parametrize(
    ("name", "before", "length"),
    [
        ("wav", b"data", b"\0" * 4),
        ("au", b".snd\0\0\0\x18", b"\0" * 4),
        ("rf64", b"ds64\x1c\0\0\0" + struct.pack("<Q", 64_096), b"\0" * 8),
        ("aiff", b"SSND", struct.pack(">I", 8)),
        ("caf", b"data", struct.pack(">q", 4)),
    ],
)
def test_an_unfinished_header_without_a_length_is_named_as_such(
    tmp_path: Path, name: str, before: bytes, length: bytes
) -> None:
    path = edited(write(tmp_path, name), _field(before, length))
    for read in (read_audio, duration):
        with pytest.raises(
            AudioError, match=r"its header was never finished: 64,000 bytes of sound follow it; .*ffmpeg"
        ):
            read(path)


def test_chunks_and_tags_behind_the_samples_are_no_sound(tmp_path: Path) -> None:
    for number, tail in enumerate(
        (
            b"LIST" + struct.pack("<I", 300) + b"INFO" * 75,
            b"TAG" + b"x" * 125 + b"y" * 100,
            bytes(3000),
            b"LIST" + struct.pack("<I", 9000) + b"cut" * 50,
        )
    ):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, noise(1.0), SAMPLING_RATE)
        path.write_bytes(path.read_bytes() + tail)
        assert listen(path).doubts == ()


def test_a_damaged_middle_is_counted(tmp_path: Path) -> None:
    def damage(data: bytearray) -> None:
        at = 2 * len(data) // 3
        data[at : at + 200] = bytes(200)

    assert kinds(edited(write(tmp_path, "opus", 8.0), damage)) == [audio.CUT]


def test_a_long_silence_is_as_long_as_it_is(tmp_path: Path) -> None:
    """More samples a byte than any sound: they are counted, and found to be there."""
    path = tmp_path / "silence.flac"
    soundfile.write(path, np.zeros(600 * 8000, np.int16), 8000)
    assert path.stat().st_size * 64 < 600 * 8000
    assert duration(path) == 600.0
    assert kinds(path) == [levels.SILENT]


@pytest.mark.parametrize("rate", [1, 39])
def test_rates_that_hold_nothing_to_hear_are_refused(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "slow.wav"
    soundfile.write(path, noise(1.0), rate)
    with pytest.raises(AudioError, match=f"its header states {rate} samples a second"):
        read_audio(path)


def _pair(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([left[:, 0], right[:, 0]], axis=1)


HISS = noise(1.0)
OTHER = 0.2 * np.random.default_rng(1).standard_normal(HISS.shape)
LEVELS: dict[str, tuple[NDArray[np.float64], list[str]]] = {
    "usual": (HISS, []),
    "clipped by a lossy codec": (HISS / np.abs(HISS).max() * 1.4, []),
    "integers as floats": (HISS * 32_767, [levels.LOUD]),
    "silence": (HISS * 0, [levels.SILENT]),
    "dither alone": (np.sign(HISS) / 32_768, [levels.QUIET]),
    "just loud enough": (HISS / np.abs(HISS).max() * 2e-3, []),
    "one value": (HISS * 0 + 0.25, [levels.CONSTANT]),
    "channels alike": (_pair(HISS, HISS), []),
    "independent channels": (_pair(HISS, OTHER), []),
    "one silent channel": (_pair(HISS, 0 * HISS), []),
    "opposite channels": (_pair(HISS, -HISS), [levels.CANCELLED]),
    "almost opposite": (_pair(HISS, -HISS + 0.01 * OTHER), [levels.CANCELLED]),  # -46 dB are left
    "half opposite": (_pair(HISS, -0.5 * HISS), []),  # 4 / 2.5 in power: -10 dB
    "loud and opposite": (_pair(HISS, -HISS) * 100, [levels.LOUD, levels.CANCELLED]),
}


@pytest.mark.parametrize("case", LEVELS)
@pytest.mark.parametrize("block", [1000, 1_008_000])
def test_levels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str, block: int) -> None:
    monkeypatch.setattr(decoding, "_BLOCK", block)
    samples, expected = LEVELS[case]
    path = tmp_path / "level.wav"
    soundfile.write(path, samples, SAMPLING_RATE, subtype="FLOAT")
    assert kinds(path) == expected


def test_twelve_independent_channels_do_not_cancel(tmp_path: Path) -> None:
    path = tmp_path / "array.wav"
    soundfile.write(path, noise(0.5, channels=12), SAMPLING_RATE)
    assert kinds(path) == []


def test_levels_are_those_of_what_is_heard(tmp_path: Path) -> None:
    path = tmp_path / "late.wav"
    soundfile.write(path, np.concatenate([np.zeros(2 * SAMPLING_RATE), noise(2.0)[:, 0]]), SAMPLING_RATE)
    assert listen(path).doubts == ()
    assert listen(path, seconds=1.0).doubts == ("digital silence: every sample is 0 in its first 1.0 s",)


def test_what_a_mac_leaves_beside_an_mp3_is_no_part_of_it(tmp_path: Path) -> None:
    path = write(tmp_path, "mp3")
    expected = read_audio(path)
    header = b"\0\x05\x16\x07\0\x02\0\0Mac OS X        " + struct.pack(">HIIIIII", 2, 9, 50, 0xEB0, 2, 0xEE2, 0x11E)
    path.with_name(f"._{path.name}").write_bytes(header.ljust(4096, b"\0"))
    assert np.array_equal(read_audio(path), expected)
    assert duration(path) == 2.0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
            "it is a Git LFS pointer.*git lfs pull",
        ),
        (b"/annex/objects/SHA256E-s1--00.wav\n", "it is a git-annex pointer.*git annex get"),
    ],
)
@pytest.mark.parametrize("suffix", ["wav", "mp3", "m4a"])
def test_pointers_to_a_recording_are_named(tmp_path: Path, content: bytes, reason: str, suffix: str) -> None:
    path = tmp_path / f"pointer.{suffix}"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=reason):
        read_audio(path)


def test_a_link_of_git_annex_without_its_content_says_how_to_fetch_it(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    path.symlink_to(".git/annex/objects/Xx/Yy/SHA256E-s1--00.wav/SHA256E-s1--00.wav")
    with pytest.raises(AudioError, match=r"there is no such file: its content is not here; .*git annex get"):
        read_audio(path)


def _pour(pipe: Path, content: bytes) -> threading.Thread:
    def pour() -> None:
        with suppress(BrokenPipeError), pipe.open("wb") as end:
            end.write(content)

    thread = threading.Thread(target=pour)
    thread.start()
    return thread


@pytest.mark.parametrize("name", FORMATS)
def test_a_pipe_gives_what_the_file_gives(tmp_path: Path, name: str) -> None:
    path, pipe = write(tmp_path, name, 0.5), tmp_path / "pipe"
    os.mkfifo(pipe)
    thread = _pour(pipe, path.read_bytes())
    assert np.array_equal(read_audio(pipe), read_audio(path))
    thread.join()


def test_standard_input_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "wav", 0.5)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    assert np.array_equal(read_audio("-"), read_audio(path))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"no sound")))
    with pytest.raises(AudioError, match=r"^-: it cannot be decoded \(Format not recognised\)"):
        read_audio("-")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    with pytest.raises(AudioError, match=r"^-: nothing came through it"):
        read_audio(Path("-"))


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("seconds", [None, 0.5])
def test_what_is_chained_to_an_ogg_file_is_named(tmp_path: Path, subtype: str, seconds: float | None) -> None:
    """As recorders of streams write it, and `cat`: libsndfile reads the first recording alone."""
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(3 * SAMPLING_RATE) / SAMPLING_RATE)
    first, second = tmp_path / "first.ogg", tmp_path / "second.ogg"
    soundfile.write(first, tone[: 2 * SAMPLING_RATE], SAMPLING_RATE, subtype=subtype)
    soundfile.write(second, tone, SAMPLING_RATE, subtype=subtype)
    assert listen(first, seconds=seconds).doubts == ()
    both = tmp_path / "both.ogg"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    recording = listen(both, seconds=seconds)
    assert recording.seconds == pytest.approx(2.0, abs=0.01)
    behind = f"{second.stat().st_size:,} bytes follow the end that it states"
    assert recording.doubts == (f"longer than its header says: {behind}",)


def test_a_pipe_that_never_ends_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_PIPE_LIMIT", 2**21)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    thread = _pour(pipe, bytes(2**23))
    with pytest.raises(AudioError, match="it gives more than 2 MiB; save it to a file"):
        read_audio(pipe)
    thread.join()


def test_a_pipe_is_refused_where_it_would_be_read_twice(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    for read in (duration, lambda path: listen(path, pipes=False)):
        with pytest.raises(AudioError, match="it is a pipe, which can be read only once"):
            read(pipe)


def test_devices_and_sockets_are_refused_as_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AudioError, match="/dev/zero: it is a device, not a recording"):
        read_audio("/dev/zero")
    monkeypatch.chdir(tmp_path)  # a socket's name may have a hundred characters
    with socket.socket(socket.AF_UNIX) as end:
        end.bind("socket.wav")
        with pytest.raises(AudioError, match="it is a socket, not a recording"):
            read_audio("socket.wav")


def test_what_does_not_fit_into_memory_is_an_error_in_words(tmp_path: Path) -> None:
    """In a process of its own that may have little: nothing may end in a MemoryError."""
    path = tmp_path / "long.wav"
    frames = 2**27
    header = b"RIFF" + struct.pack("<I", 2 * frames + 36) + b"WAVEfmt "
    header += struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16) + b"data" + struct.pack("<I", 2 * frames)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + 2 * frames)  # a hole, no disk
    code = (
        "import resource, sys\nfrom astune.data.audio import read_audio, survey\nfrom astune.errors import AudioError\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 300 * 2**20,) * 2)\n"
        "print(survey(sys.argv[1], len).seconds)\n"
        "try:\n    read_audio(sys.argv[1])\nexcept AudioError as fault:\n    print(fault)\n"
    )
    if not sys.platform.startswith("linux"):
        pytest.skip("needs /proc")
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[0] == str(frames / 16_000), done.stderr
    assert "memory" in done.stdout.splitlines()[1]
