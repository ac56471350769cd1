"""Test folds that are made for data without any."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold

from astune.data import AudioDataset, Clip, DataRecipe, load_data
from astune.data.made_folds import usual_folds, with_folds
from astune.errors import ConfigError, DataError
from astune.inference.evaluation import as_trained
from astune.tasks import TASKS
from tests.example_layouts import write_csv, write_tone

if TYPE_CHECKING:
    from collections.abc import Iterable


def made(
    *labels: tuple[str, ...] | str, groups: Iterable[str] | None = None, task: str = "single-label"
) -> AudioDataset:
    names = groups if groups is not None else [None] * len(labels)
    clips = tuple(
        Clip(f"{n:03d}", Path(f"{n:03d}.wav"), (own,) if isinstance(own, str) else own, group=group)
        for n, (own, group) in enumerate(zip(labels, names, strict=True))
    )
    classes = tuple(sorted({label for clip in clips for label in clip.labels}))
    return AudioDataset("made", clips, classes, DataRecipe(), task=TASKS[task])


def shares(data: AudioDataset) -> dict[str, list[int]]:
    """Clips of each class in each fold."""
    counts = Counter((label, clip.fold) for clip in data.clips for label in clip.labels)
    return {label: [counts[label, fold] for fold in data.folds] for label in data.labels}


def test_each_class_is_spread_as_evenly_as_in_scikit_learn() -> None:
    labels = ["a"] * 23 + ["b"] * 11 + ["c"] * 5
    data = with_folds(made(*labels), 5)
    folds = StratifiedKFold(5).split(labels, labels)
    theirs = [Counter(np.array(labels)[held].tolist()) for _, held in folds]
    for label, counts in shares(data).items():
        assert sorted(counts) == sorted(fold[label] for fold in theirs)
    sizes = Counter(clip.fold for clip in data.clips)
    assert max(sizes.values()) - min(sizes.values()) <= 1


def test_a_group_is_a_fold_where_there_are_as_many() -> None:
    speakers = [f"s{n % 4}" for n in range(40)]
    data = made(*(["x", "y"][n // 20] for n in range(40)), groups=speakers)
    assert usual_folds(data) == 4
    folded = with_folds(data, 4)
    assert {tuple(sorted({str(clip.group) for clip in folded.clips if clip.fold == fold})) for fold in folded.folds} == {
        ("s0",), ("s1",), ("s2",), ("s3",),
    }  # fmt: skip
    assert folded.remarks == ("Note: 4 test folds are made of 4 groups, each class spread over them",)
    with pytest.raises(DataError, match=r"make_folds=5: made has 4 groups to divide.*give 4 or less"):
        with_folds(data, 5)


def test_groups_are_divided_only_where_a_class_would_have_nothing_to_train_on() -> None:
    data = made(*"xxxxyyyy", groups=["s0"] * 4 + ["s1"] * 4)  # each speaker has a class of their own
    folded = with_folds(data, usual_folds(data))
    assert [sorted(counts) for counts in shares(folded).values()] == [[0, 1, 1, 1, 1]] * 2
    assert any(
        line.startswith("Warning: a class would lose all its training clips with a whole group")
        for line in folded.remarks
    )
    assert any("groups are in several splits or folds" in line for line in folded.notices)


def test_windows_that_overlap_stay_together() -> None:
    clips = tuple(
        Clip(f"{n:03d}", Path(f"{n // 4}.wav"), ("xy"[n // 4 % 2],), start=0.5 * (n % 4), end=0.5 * (n % 4) + 1)
        for n in range(48)
    )
    data = with_folds(AudioDataset("made", clips, ("x", "y"), DataRecipe()), 3)
    files = {path: {clip.fold for clip in data.clips if clip.path == path} for path in data.paths}
    assert all(len(folds) == 1 for folds in files.values())
    assert "3 test folds are made of 12 stretches without overlap" in data.remarks[0]
    assert set(map(tuple, shares(data).values())) == {(8, 8, 8)}


def test_the_same_clips_give_the_same_folds_in_any_order() -> None:
    data = made(*("ab"[n % 2] for n in range(30)), groups=[f"g{n % 7}" for n in range(30)])
    backwards = replace(data, clips=data.clips[::-1])
    assert {clip.name: clip.fold for clip in with_folds(data, 3).clips} == {
        clip.name: clip.fold for clip in with_folds(backwards, 3).clips
    }


def test_several_labels_are_spread_too() -> None:
    data = made(*([("a",), ("a", "b"), ("b", "c"), ()] * 10), task="multi-label")
    assert shares(with_folds(data, 5)) == {"a": [4] * 5, "b": [4] * 5, "c": [2] * 5}


def test_labels_that_hang_together_may_allow_three_folds_and_not_two() -> None:
    data = made(("x", "y"), ("x", "z"), ("y", "z"), task="multi-label")
    assert len(with_folds(data, 3).folds) == usual_folds(data) == 3
    with pytest.raises(DataError, match="some class would lose all its training clips"):
        with_folds(data, 2)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 8)), min_size=6, max_size=40))
def test_every_fold_can_be_tested_and_every_class_trained(drawn: list[tuple[str, int]]) -> None:
    data = made(*"aabbcc", *(label for label, _ in drawn), groups=["p", "q"] * 3 + [f"g{n}" for _, n in drawn])
    folded = with_folds(data, usual_folds(data))
    assert 2 <= len(folded.folds) <= 5
    for fold in folded.folds:
        split = folded.split(fold)
        assert split.test
        assert {folded.clips[clip].label for clip in split.train} == set(folded.labels)
        sides = [{folded.clips[clip].group for clip in part} for part in (split.test, split.train)]
        assert not sides[0] & sides[1]  # every class has the groups p and q, so none has to be divided


def test_data_that_say_themselves_what_tests_are_left_as_they_are(generated: Path) -> None:
    folded = with_folds(made(*"aabb"), 2)
    with pytest.raises(DataError, match=r"has folds of its own \(1, 2\); leave make_folds out"):
        with_folds(folded, 2)
    with pytest.raises(DataError, match="says itself which clips test"):
        load_data(generated, make_folds=3)
    with pytest.raises(DataError, match="too few of 1 class: b"):
        with_folds(made(*"aaab"), 2)
    with pytest.raises(ConfigError, match="make_folds"):
        load_data(generated, make_folds=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for label, pitch in (("low", 300), ("high", 900)):
        for number in range(6):
            write_tone(tmp_path / label / f"{number}.wav", pitch=pitch + 10 * number)
    return tmp_path


def test_a_validation_split_becomes_clips_of_the_folds(folder: Path) -> None:
    for label in ("low", "high"):
        (folder / "train" / label).mkdir(parents=True)
        (folder / "validation" / label).mkdir(parents=True)
        for number, file in enumerate(sorted((folder / label).iterdir())):
            file.rename(folder / ("validation" if number < 2 else "train") / label / file.name)
        (folder / label).rmdir()
    data = load_data(folder, make_folds=3)
    assert "; the validation split is not used" in data.remarks[-1]
    assert [len(data.split(fold).test) for fold in data.folds] == [4, 4, 4]
    assert sorted(map(len, (data.split(1).train, data.split(1).validation))) == [2, 6]


def test_an_adapter_reads_its_data_with_the_folds_and_other_data_without(
    folder: Path, generated: Path, tmp_path: Path
) -> None:
    training = {"make_folds": 3, "group_by": "^elsewhere"}
    assert as_trained(str(folder), {"make_folds": 3}) == load_data(folder, make_folds=3)
    data = as_trained(str(folder), training)
    assert len(data.folds) == 3
    assert [line for line in data.remarks if "left out" in line] == [
        "Note: group_by='^elsewhere' of the training finds no groups in these data, and is left out"
    ]
    other = as_trained(str(generated), training)
    assert not other.folds
    assert sum("of the training cannot divide these data" in line for line in other.remarks) == 1
    with pytest.raises(DataError, match="folds of its own"):
        as_trained(f"csv:{write_csv(tmp_path / 'table')}", {}, make_folds=2)
