"""Splits, rotating folds, the held-out tenth, the input length durations ask for."""

from __future__ import annotations

import wave
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astune.data import load_data
from astune.data.clip import Clip
from astune.data.dataset import AudioDataset, DataRecipe
from astune.data.splits import SPLITS
from astune.errors import ConfigError, DataError
from astune.training.config import TrainConfig
from astune.training.loop import train
from tests.example_layouts import write_text, write_tone


def dataset(*clips: Clip, by_fold: bool = False, recipe: DataRecipe | None = None) -> AudioDataset:
    ordered = tuple(sorted(clips, key=lambda clip: clip.name))
    labels = tuple(sorted({clip.label for clip in clips}))
    return AudioDataset("folder:/data", ordered, labels, recipe or DataRecipe(), by_fold)


def clips(count: int, label: str = "dog", fold: int | None = None) -> list[Clip]:
    names = [f"{label}-{fold}-{number:03d}.wav" for number in range(count)]
    return [Clip(name, Path(name), (label,), fold=fold) for name in names]


def folds_of(data: AudioDataset, part: tuple[int, ...]) -> set[int | None]:
    return {data.clips[clip].fold for clip in part}


@pytest.mark.parametrize(("test", "validation"), [(1, 5), (2, 1), (3, 2), (4, 3), (5, 4)])
def test_esc50_folds_rotate(test: int, validation: int) -> None:
    """Three folds train, the next validates, the next tests (paper/NOTES.md)."""
    data = dataset(*(clip for fold in range(1, 6) for clip in clips(2, fold=fold)), by_fold=True)
    split = data.split(test)
    assert folds_of(data, split.test) == {test}
    assert folds_of(data, split.validation) == {validation}
    assert folds_of(data, split.train) == {1, 2, 3, 4, 5} - {test, validation}
    assert split.fold == test
    assert split.notice is None


def test_the_first_fold_is_taken_and_announced() -> None:
    data = dataset(*(clip for fold in (3, 4, 7) for clip in clips(2, fold=fold)), by_fold=True)
    split = data.split()
    assert (split.fold, folds_of(data, split.test), folds_of(data, split.validation)) == (3, {3}, {7})
    assert split.notice is not None
    assert "fold 3 of 3 is the test split" in split.notice


@given(
    sizes=st.lists(st.lists(st.integers(0, 12), min_size=3, max_size=3), min_size=3, max_size=7),
    seed=st.integers(0, 2**31),
    by_fold=st.booleans(),
)
def test_every_clip_is_tested_once_and_never_in_two_splits(sizes: list[list[int]], seed: int, by_fold: bool) -> None:
    kinds = ("bark", "hiss", "rain")
    made = [
        clip
        for fold, row in enumerate(sizes)
        for kind, count in zip(kinds, row, strict=True)
        for clip in clips(count, kind, fold)
    ]
    data = dataset(*made, by_fold=by_fold)
    if len(data.folds) < 3:
        return
    tested: Counter[int] = Counter()
    for fold in data.folds:
        split = data.split(fold, seed)
        together = [clip for part in SPLITS for clip in split.named(part)]
        assert sorted(together) == list(range(len(made)))
        assert not folds_of(data, split.test) & folds_of(data, split.train + split.validation)
        if by_fold:
            assert not folds_of(data, split.train) & folds_of(data, split.validation)
        else:
            assert {data.clips[c].label for c in split.validation} <= {data.clips[c].label for c in split.train}
        tested.update(split.test)
    assert set(tested.values()) == {1}
    assert len(tested) == len(made)


def test_a_tenth_of_each_class_is_held_out_and_announced() -> None:
    data = dataset(*clips(40, "dog"), *clips(20, "rain"), *clips(3, "owl"), *clips(1, "bat"))
    split = data.split(seed=5)
    held = Counter(data.clips[clip].label for clip in split.validation)
    assert held == {"dog": 4, "rain": 2, "owl": 1}  # at least one, and never the only one
    assert len(split.train) == 64 - 7
    assert split.notice is not None
    assert "7 of the training clips, a tenth of each class drawn with seed 5" in split.notice


def test_csv_folds_hold_out_a_tenth_of_the_other_folds() -> None:
    data = dataset(*(clip for fold in (1, 2, 3) for kind in ("no", "yes") for clip in clips(10, kind, fold)))
    split = data.split(2)
    assert folds_of(data, split.test) == {2}
    assert folds_of(data, split.train) == {1, 3}
    assert Counter(data.clips[clip].label for clip in split.validation) == {"no": 2, "yes": 2}


def test_the_held_out_tenth_depends_on_the_seed_and_on_names_alone() -> None:
    many = clips(50)
    data, fewer = dataset(*many), dataset(*many[:-1])
    first = data.split(seed=1).validation
    assert first == data.split(seed=1).validation
    assert first != data.split(seed=2).validation
    names = {data.clips[clip].name for clip in first}
    # one clip less moves no draw of another clip; at most the freed place is filled
    assert len(names & {fewer.clips[clip].name for clip in fewer.split(seed=1).validation}) >= 4


def test_the_draw_is_the_same_on_every_machine() -> None:
    """As drawn on Linux with numpy 2.4, whose PCG64 stream NEP 19 keeps."""
    data = dataset(*clips(30))
    assert [data.clips[clip].name for clip in data.split(seed=0).validation] == [
        "dog-None-006.wav",
        "dog-None-014.wav",
        "dog-None-023.wav",
    ]


def test_a_published_validation_split_is_kept() -> None:
    given_split = [Clip(name, Path(f"{name}.wav"), ("dog",), split=name) for name in SPLITS]
    split = dataset(*given_split).split()
    assert (split.train, split.validation, split.test, split.notice) == ((1,), (2,), (0,), None)


def test_clips_of_no_split_train() -> None:
    data = dataset(*clips(10), Clip("t.wav", Path("t.wav"), ("dog",), split="test"))
    assert len(data.split().train) + len(data.split().validation) == 10
    assert [data.clips[clip].name for clip in data.split().test] == ["t.wav"]


def test_selection_decides_whether_a_tenth_is_held_out() -> None:
    last = dataset(*clips(20), recipe=DataRecipe(selection="last"))
    assert last.split().validation == ()
    assert len(last.split(selection="best-validation").validation) == 2
    best = dataset(*clips(20))
    assert len(best.split().validation) == 2
    assert best.split(selection="last").validation == ()
    assert best.split(selection="last").notice is None


def test_an_unknown_fold() -> None:
    data = dataset(*clips(2, fold=1), *clips(2, fold=2))
    with pytest.raises(ConfigError, match="unknown fold '3'; choose one of: 1, 2"):
        data.split(3)
    with pytest.raises(ConfigError, match="has no folds, so no fold 1"):
        dataset(*clips(2)).split(1)


def test_nothing_left_to_train_on_is_for_training_to_refuse() -> None:
    assert dataset(Clip("t.wav", Path("t.wav"), ("dog",), split="test")).split().train == ()
    alone = dataset(*clips(2, fold=1)).split(1)
    assert (alone.train, alone.validation, alone.test) == ((), (), (0, 1))


def test_length_percentile(tmp_path: Path) -> None:
    """A frame is 25 ms every 10 ms: n samples at 16 kHz are 1 + (n - 400) // 160 frames."""
    lengths = [0.5] * 18 + [0.7, 3.0]
    made = [
        Clip(f"{n:02d}", write_tone(tmp_path / f"{n:02d}.wav", seconds), ("dog",)) for n, seconds in enumerate(lengths)
    ]
    data = dataset(*made)
    everything = range(20)
    assert data.length_percentile(everything, quiet=True) == 1 + (11200 - 400) // 160  # the 19th of 20: 0.7 s
    assert data.length_percentile(everything, 0.9) == 48  # 0.5 s: 8000 samples
    assert data.length_percentile(everything, 1.0) == 298  # 3 s: 48000 samples
    assert data.length_percentile([0], 0.01) == 48


@pytest.mark.parametrize(("seconds", "frames"), [(0.03, 16), (20.0, 1024)])
def test_length_percentile_has_bounds(tmp_path: Path, seconds: float, frames: int) -> None:
    data = dataset(Clip("a", write_tone(tmp_path / "a.wav", seconds), ("dog",)))
    assert data.length_percentile([0]) == frames


def test_length_percentile_passes_over_broken_files(tmp_path: Path) -> None:
    broken = Clip("broken", write_text(tmp_path / "broken.wav", "no audio"), ("dog",))
    whole = Clip("whole", write_tone(tmp_path / "whole.wav", 1.0), ("dog",))
    assert dataset(broken, whole).length_percentile([0, 1]) == 98
    assert dataset(broken, whole).length_percentile([0]) == 1024


def test_length_percentile_of_spoken_digits(real_audio: Path) -> None:
    digits = load_data(real_audio / "spoken_digits")
    seconds = []
    for path in digits.paths:
        with wave.open(str(path)) as file:
            seconds.append(file.getnframes() / file.getframerate())
    share = np.quantile(seconds, 0.95, method="inverted_cdf")
    assert digits.length_percentile(range(2000), quiet=True) == 1 + int(share * 16000 - 400) // 160 == 68


def test_what_leaves_no_clip_to_train_on_is_said(tmp_path: Path) -> None:
    rows = write_text(tmp_path / "a.csv", "file_name,label,fold", "a.wav,x,1", "b.wav,y,1")
    fields: dict[str, Any] = {"backbone": "random:tiny", "method": "linear", "output_dir": tmp_path / "out"}
    with pytest.raises(DataError, match="no clips to train on: its only fold, 1, tests"):
        train(TrainConfig(data=str(rows), **fields))
    for label in ("x", "y"):
        write_tone(tmp_path / "rec" / "dev" / label / "a.wav")
    with pytest.raises(DataError, match="no clips to train on: all of them validate or test"):
        train(TrainConfig(data=str(tmp_path / "rec"), **fields))
