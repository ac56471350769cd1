"""What divides, draws and counts clips asks the task of the data set: a task of several labels is one class."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from typing_extensions import override

from astune.data import AudioDataset, Clip, DataRecipe
from astune.data.balance import balance_notices
from astune.data.check import check
from astune.data.few_shot import few_shot
from astune.data.limit import limit_dataset
from astune.errors import DataError
from astune.tasks import SingleLabel
from astune.training.check import refuse_untrained
from tests.example_layouts import write_tone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class Tags(SingleLabel):
    """Any number of labels a clip."""

    @override
    def strata(self, clip: Clip) -> tuple[str, ...]:
        """All of its labels."""
        return clip.labels

    @override
    def encode(self, clips: Sequence[Clip], labels: Sequence[str]) -> Tensor:
        """One where a label holds, (clips, labels)."""
        return torch.tensor([[float(label in clip.labels) for label in labels] for clip in clips])


def tagged(*labels: tuple[str, ...], group: bool = False) -> AudioDataset:
    clips = tuple(
        Clip(f"{n:03d}", Path(f"{n:03d}.wav"), found, group=f"g{n % 10}" if group else None)
        for n, found in enumerate(labels)
    )
    names = tuple(sorted({label for found in labels for label in found}))
    return AudioDataset("tags", clips, names, DataRecipe(), task=Tags())


MANY = tagged(*([("a",), ("a", "b"), ("b", "c"), ()] * 20))


def labels_of(data: AudioDataset, clips: Sequence[int]) -> Counter[str]:
    return Counter(label for clip in clips for label in data.clips[clip].labels)


@pytest.mark.parametrize("group", [False, True])
def test_a_hold_out_has_a_tenth_of_each_label_and_leaves_each_in_training(group: bool) -> None:
    data = tagged(*(clip.labels for clip in MANY.clips), group=group)
    split = data.split()
    held, left = labels_of(data, split.validation), labels_of(data, split.train)
    assert set(held) == set(left) == set("abc")
    assert all(held[label] <= (left[label] if group else 6) for label in "abc")
    assert sorted(split.train + split.validation) == list(range(80))
    alone = tagged(("a", "b"), *([("a",)] * 9))
    assert alone.split().validation
    assert labels_of(alone, alone.split().train)["b"] == 1


def test_targets_are_as_the_task_encodes_them() -> None:
    assert MANY.targets[:4] == ([1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 0])


def test_draws_count_each_label() -> None:
    split = MANY.split()
    drawn = few_shot(MANY, split, 3, seed=0).train
    assert min(labels_of(MANY, drawn).values()) >= 3
    assert len(drawn) <= 9
    fewer, part = limit_dataset(MANY, split, 7, seed=0)
    assert len(part.train) == 7
    assert set(labels_of(fewer, part.train)) == set("abc")


def test_a_label_without_a_training_clip_is_refused() -> None:
    split = MANY.split()
    refuse_untrained(MANY, split)
    without_c = tuple(clip for clip in split.train if "c" not in MANY.clips[clip].labels)
    with pytest.raises(DataError, match=r"\w: 1 class has no training clip: c"):
        refuse_untrained(MANY, type(split)(without_c, split.validation, split.test))
    with pytest.raises(DataError, match=r"\w, where fold 2 tests: 1 class has no training clip: c"):
        refuse_untrained(MANY, type(split)(without_c, split.validation, split.test, fold=2))
    with pytest.raises(DataError, match=r"fewer than 1 training clips of c \(0\)"):
        few_shot(MANY, type(split)(without_c, split.validation, split.test), 1, seed=0)


def test_counts_are_of_labels(tmp_path: Path) -> None:
    assert balance_notices(tagged(*([("a",)] * 9), ("b",)))[0].startswith("Note: 90% of the training clips")
    clips = [Clip(n, write_tone(tmp_path / f"{n}.wav"), found) for n, found in (("1", ("a", "b")), ("2", ("b",)))]
    report = check(AudioDataset("tags", tuple(clips), ("a", "b"), DataRecipe(), task=Tags()), quiet=True)
    assert report.counts == {"a": {"train": 1}, "b": {"train": 2}}
    assert report.contradictions == [["1", "2"]]


def test_labels_of_every_clip_are_among_the_labels() -> None:
    with pytest.raises(DataError, match="clips have labels that are not among the labels: 'c'"):
        AudioDataset("tags", (Clip("a", Path("a"), ("a", "c")),), ("a",), DataRecipe(), task=Tags())
