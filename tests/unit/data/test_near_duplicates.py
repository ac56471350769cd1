"""Copies are found in whatever form, and nothing else is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
import soxr

from astune.data import load_data
from astune.data.audio import read_audio
from astune.data.check import check
from astune.data.clip import Region
from astune.data.fingerprints import Fingerprint
from astune.data.near_duplicates import SAME, coherence, near_duplicates, prints_per_kept

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from astune.data.near_duplicates import Match

RATE = 44_100


def scene(seed: int, seconds: float = 4.0) -> NDArray[np.float32]:
    """Bursts of tones that glide and of noise, over noise: no two seeds sound alike."""
    generator = np.random.default_rng(seed)
    times = np.arange(round(seconds * RATE)) / RATE
    sound = generator.normal(0, 0.003, len(times))
    for _ in range(round(4 * seconds)):
        start, length = generator.uniform(0, seconds), generator.uniform(0.1, 0.4)
        inside = (times >= start) & (times < start + length)
        glide = (
            generator.uniform(200, 3000) * (times[inside] - start)
            + generator.uniform(-2000, 2000) * (times[inside] - start) ** 2
        )
        burst = np.sin(2 * np.pi * glide) + generator.uniform(0, 0.5) * generator.normal(size=int(inside.sum()))
        sound[inside] += generator.uniform(0.02, 0.2) * burst
    return sound.clip(-1, 1).astype(np.float32)


def found(paths: Sequence[Path]) -> list[Match]:
    prints = []
    for path in paths:
        fingerprint = Fingerprint()
        fingerprint.add(read_audio(path))
        prints.append(fingerprint.prints())
    return near_duplicates(prints, [Region(path) for path in paths], quiet=True)


def resampled(path: Path, sound: NDArray[np.float32], rate: int) -> None:
    soundfile.write(path.with_suffix(".wav"), soxr.resample(sound, RATE, rate), rate)


CHANGES: dict[str, tuple[float, Callable[[Path, NDArray[np.float32]], None]]] = {
    "MP3 of low rate": (0.0, lambda p, x: soundfile.write(p.with_suffix(".mp3"), x, RATE, compression_level=0.9)),
    "Vorbis": (0.0, lambda p, x: soundfile.write(p.with_suffix(".ogg"), x, RATE, compression_level=0.9)),
    "20 dB quieter": (0.0, lambda p, x: soundfile.write(p.with_suffix(".wav"), 0.1 * x, RATE)),
    "8 kHz": (0.0, lambda p, x: resampled(p, x, 8000)),
    "other polarity": (0.0, lambda p, x: soundfile.write(p.with_suffix(".flac"), -x, RATE)),
    "10 ms later": (-0.01, lambda p, x: soundfile.write(p.with_suffix(".wav"), x[441:], RATE)),
    "37 ms earlier": (0.037, lambda p, x: soundfile.write(p.with_suffix(".wav"), np.pad(x, (1632, 0)), RATE)),
    "the second half": (-2.0, lambda p, x: soundfile.write(p.with_suffix(".wav"), x[2 * RATE :], RATE)),
    "within a longer one": (
        3.0,
        lambda p, x: soundfile.write(p.with_suffix(".wav"), np.concatenate([scene(91, 3), x, scene(92, 3)]), RATE),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_is_found_with_its_offset_among_others(change: str, tmp_path: Path) -> None:
    offset, write = CHANGES[change]
    for seed in range(6):
        soundfile.write(tmp_path / f"{seed}.wav", scene(seed), RATE)
    write(tmp_path / "copy", scene(2))
    paths = sorted(tmp_path.iterdir())
    names = [path.stem for path in paths]
    (match,) = found(paths)
    assert {names[match.first], names[match.second]} == {"2", "copy"}
    expected = offset if names[match.first] == "2" else -offset
    assert match.offset_seconds == pytest.approx(expected, abs=0.002)
    assert match.coherence >= SAME


@pytest.mark.parametrize("seconds", [0.4, 1.0])
def test_short_clips_are_found_wherever_their_frames_lie(seconds: float, tmp_path: Path) -> None:
    """The start of a copy lies somewhere within a frame of the spectrogram: at least nine of ten are found."""
    hits = 0
    for seed in range(10):
        sound = scene(seed, seconds)
        paths = [tmp_path / f"{seed}-{name}.wav" for name in "ab"]
        soundfile.write(paths[0], sound, RATE)
        soundfile.write(paths[1], sound[100 + 97 * seed :], RATE)
        hits += len(found(paths))
    assert hits >= 9


def test_fingerprints_do_not_depend_on_blocks() -> None:
    generator = np.random.default_rng(0)
    for length in (500, 20_000, 70_000):
        sound = generator.normal(0, 0.1, length).astype(np.float32)
        whole, parts = Fingerprint(), Fingerprint()
        whole.add(sound)
        for block in np.split(sound, np.sort(generator.integers(0, length, 12))):
            parts.add(block)
        one, other = whole.prints(), parts.prints()
        assert len(one.sought) > 100 or length == 500
        for name in ("hashes", "times", "sought", "sought_times"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_many_copies_are_one_group_and_each_is_compared_with_few(tmp_path: Path) -> None:
    """Sixty copies have 1,770 pairs; at most five of each are heard."""
    for number in range(60):
        folder = tmp_path / ("train" if number % 2 else "test") / "a"
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"{number:02d}.wav", (0.3 + 0.01 * number) * scene(0, 1.0), RATE)
    for split in ("train", "test"):
        (tmp_path / split / "b").mkdir()
        soundfile.write(tmp_path / split / "b" / "x.wav", scene(1 if split == "train" else 2, 1.0), RATE)
    report = check(load_data(tmp_path), quiet=True)
    (group,) = report.near_duplicates
    assert len(group.clips) == 60
    assert (group.parts, group.labels) == (["test", "train"], ["a"])
    assert len(group.pairs) <= 60 * 5
    assert "nearly the same sound is in different splits or folds, so scores may be too good: 1 time" in " ".join(
        report.sentences()
    )


def test_coherence_is_one_for_a_filtered_copy_and_small_for_another_sound() -> None:
    one, other = (scene(seed, 1.0)[:16_000] for seed in (0, 1))
    filtered = np.convolve(one, [0.3, 0.5, -0.2])[:16_000].astype(np.float32)
    assert coherence(one, filtered) > 0.98
    assert coherence(one, other) < 0.3
    assert coherence(one, np.zeros_like(one)) == 0


def test_real_takes_of_one_word_are_no_copies_and_real_copies_are(real_audio: Path) -> None:
    """No take of spoken digits is another. Three pairs of ESC-10 share a recording, as its file names suggest and as one hears."""
    assert check(load_data(real_audio / "spoken_digits"), quiet=True).near_duplicates == []
    groups = check(load_data(real_audio / "esc10"), quiet=True).near_duplicates
    assert [group.clips for group in groups] == [
        ["2-28314-A-12", "2-30322-A-12"],
        ["2-28314-B-12", "2-30322-B-12"],
        ["3-151080-A-20", "5-151085-A-20"],
    ]
    assert groups[2].parts == ["fold 3", "fold 5"]


def test_a_long_recording_keeps_one_print_in_eight_and_its_parts_are_found(tmp_path: Path) -> None:
    """Six minutes of noise, and five seconds of them, a decibel quieter and from the middle of a frame on."""
    noise = np.random.default_rng(0).normal(0, 0.1, 360 * 16_000).astype(np.float32)
    paths = [tmp_path / name for name in ("long.wav", "part.wav")]
    soundfile.write(paths[0], noise, 16_000)
    soundfile.write(paths[1], 0.9 * noise[200 * 16_000 + 77 : 205 * 16_000], 16_000)
    (match,) = found(paths)
    assert match.offset_seconds == pytest.approx(-200 - 77 / 16_000, abs=0.001)
    whole, thinned = Fingerprint(), Fingerprint(8)
    for fingerprint in (whole, thinned):
        fingerprint.add(noise[: 60 * 16_000])
    one, eighth = whole.prints().hashes, thinned.prints().hashes
    assert len(eighth) == pytest.approx(len(one) / 8, rel=0.1)
    assert np.isin(eighth, one).all()


def test_prints_are_thinned_from_25_000_clips_on() -> None:
    assert [prints_per_kept(clips) for clips in (1, 25_000, 25_001, 50_001, 75_000, 75_001, 100_001, 105_829)] == [
        1, 1, 2, 4, 4, 4, 8, 8,
    ]  # fmt: skip
