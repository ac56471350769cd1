"""Generated sounds: layout, repeatability, and that what sets their classes apart is what the module says."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from scipy.signal import stft
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from astune.data.generated import TASKS, write_generated
from astune.errors import ConfigError
from astune.keyed import keyed_generator

RATE = 16_000  # Hz
EVERY_SOUND = [(task, label) for task, sounds in TASKS.items() for label in sounds]


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.wav")}


def statistics(file: Path) -> NDArray[np.float64]:
    """Mean and deviation over time of the energies (log) in 40 bands: blind to order."""
    _, _, spectrum = stft(soundfile.read(file)[0], RATE, nperseg=400, noverlap=240)
    bands = np.array_split(np.abs(spectrum[:200]) ** 2, 40)
    energies = np.log(np.stack([band.mean(0) for band in bands]) + 1e-9)
    return np.concatenate([energies.mean(1), energies.std(1)])


@pytest.mark.parametrize("task", TASKS)
def test_layout(task: str, tmp_path: Path) -> None:
    written = files(write_generated(tmp_path, task, clips_per_class=(3, 1, 2), seconds=0.1))
    folders = Counter(name.rpartition("/")[0] for name in written)
    shares = {"train": 3, "validation": 1, "test": 2}
    assert folders == {f"{split}/{label}": clips for split, clips in shares.items() for label in TASKS[task]}
    assert len({name.rpartition("/")[2] for name in written}) == 6  # numbered through, so no name stands in two splits


def test_the_seed_decides_every_sample(tmp_path: Path) -> None:
    first, again, other = (
        files(write_generated(tmp_path / name, "words", clips_per_class=(1, 1, 0), seconds=0.2, seed=seed))
        for name, seed in (("first", 5), ("again", 5), ("other", 6))
    )
    assert first == again
    assert first.keys() == other.keys()
    assert not set(first.values()) & set(other.values())
    assert len(set(first.values())) == len(first)


@pytest.mark.parametrize(("task", "label"), EVERY_SOUND)
@pytest.mark.parametrize("n", [1_040, 8_000, 76_000])  # 65 % of 0.1 s to 95 % of 5 s
def test_sounds_are_finite_and_of_the_length_asked(task: str, label: str, n: int) -> None:
    sound = TASKS[task][label](n, keyed_generator(0, label))
    assert sound.shape == (n,)
    assert np.isfinite(sound).all()
    assert sound.std() > 0


@pytest.mark.parametrize("task", TASKS)
def test_clips_fit_their_files(task: str, tmp_path: Path) -> None:
    for file in write_generated(tmp_path, task, clips_per_class=(3, 0, 0), seconds=0.6).rglob("*.wav"):
        samples, rate = soundfile.read(file)
        assert (samples.shape, rate) == ((9_600,), RATE)
        assert 0.1 * 0.99 < np.abs(samples).max() <= 10**-0.1 * 1.01  # peaks are drawn from -20 to -2 dB


def spectrum(label: str) -> NDArray[np.float64]:
    """Mean power in the octaves from 125 Hz to 8 kHz, as shares, over 30 speakers."""
    sounds = [TASKS["words"][label](8_000, keyed_generator(0, "speaker", number)) for number in range(30)]
    power = np.mean([np.abs(np.fft.rfft(sound / sound.std())) ** 2 for sound in sounds], axis=0)
    edges = [int(125 * 2**octave * 8_000 / RATE) for octave in range(7)]
    shares = np.array([power[low:high].sum() for low, high in pairwise(edges)])
    return np.asarray(shares / shares.sum())


@pytest.mark.parametrize(("word", "other"), [("tami", "mita"), ("sone", "neso"), ("kubo", "boku")])
def test_words_of_a_pair_have_the_same_sounds(word: str, other: str) -> None:
    assert sorted((word[:2], word[2:])) == sorted((other[:2], other[2:]))
    np.testing.assert_allclose(spectrum(word), spectrum(other), atol=0.05)


def test_pairs_differ_more_than_their_words_do() -> None:
    assert np.abs(spectrum("tami") - spectrum("kubo")).max() > 0.1


def test_a_ball_bounces_ever_faster() -> None:
    sound = TASKS["environment"]["bouncing_ball"](16_000, keyed_generator(0, "ball"))
    level = np.abs(sound).reshape(-1, 80).max(1)  # 5 ms each
    strikes = np.flatnonzero((level[1:] > 0.05 * level.max()) & (level[1:] > 3 * level[:-1]))
    gaps = np.diff(np.r_[0, strikes[:6]])
    assert len(strikes) >= 4
    assert (np.diff(gaps[1:]) <= 1).all()


def test_a_bottles_note_climbs() -> None:
    halves = np.split(TASKS["environment"]["filling_bottle"](16_000, keyed_generator(0, "bottle")), 2)
    peaks = [int(np.abs(np.fft.rfft(half)).argmax()) for half in halves]
    assert peaks[1] > 1.2 * peaks[0]


def test_statistics_that_ignore_order_leave_half_of_the_words_open(tmp_path: Path) -> None:
    """They tell the three pairs apart, and no better than chance the two words of one: about one half of six classes."""
    write_generated(tmp_path, "words", clips_per_class=(12, 0, 12))
    inputs, labels = {}, {}
    for split in ("train", "test"):
        found = sorted((tmp_path / split).rglob("*.wav"))
        inputs[split], labels[split] = np.stack([statistics(file) for file in found]), [f.parent.name for f in found]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    accuracy = model.fit(inputs["train"], labels["train"]).score(inputs["test"], labels["test"])
    assert 0.32 < accuracy < 0.68  # 72 clips: one half, give or take three deviations of 5.9 points; chance is 17 %


def test_an_unknown_task_is_refused_with_the_choices(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="unknown task 'word'; choose one of: words, environment; did you mean 'words'"
    ):
        write_generated(tmp_path, "word")
