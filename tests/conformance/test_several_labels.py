"""One data set of several labels a clip, in every form that is read: the same clips, targets and division."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from astune.data import AudioDataset, load_data
from astune.data.splits import SPLITS
from astune.errors import DataError
from astune.tasks import MULTI_LABEL
from tests.example_layouts import SEVERAL, SEVERAL_FORMS

if TYPE_CHECKING:
    from pathlib import Path

LABELS = ("dog", "rain", "siren")
every_form = pytest.mark.parametrize("form", sorted(SEVERAL_FORMS))


def loaded(form: str, folder: Path, **options: Any) -> AudioDataset:
    source = SEVERAL_FORMS[form](folder)
    return load_data(source, **options | ({"audio_dir": folder} if form == "FSD50K" else {}))


@every_form
def test_clips_have_the_labels_that_were_written(form: str, tmp_path: Path) -> None:
    dataset = loaded(form, tmp_path / "data")
    assert dataset.task is MULTI_LABEL
    assert dataset.labels == LABELS
    assert tuple(clip.labels for clip in dataset.clips) == SEVERAL
    assert all(clip.path.is_file() for clip in dataset.clips)
    note = "Note: task multi-label: a clip may have several labels or none (1.20 on average, 2 at most, and 4 clips without a label)"
    assert note in dataset.notices  # 24 labels of 20 clips


@every_form
def test_targets_are_0_and_1(form: str, tmp_path: Path) -> None:
    dataset = loaded(form, tmp_path / "data")
    expected = [[float(label in labels) for label in LABELS] for labels in SEVERAL]
    assert list(dataset.targets) == expected
    assert torch.tensor(dataset.targets).sum(dim=0).tolist() == [8, 8, 8]


@every_form
def test_splits_are_disjoint_cover_every_clip_and_train_every_label(form: str, tmp_path: Path) -> None:
    dataset = loaded(form, tmp_path / "data")
    split = dataset.split()
    assert sorted(clip for part in SPLITS for clip in split.named(part)) == list(range(20))
    assert split.validation
    assert {label for clip in split.train for label in dataset.clips[clip].labels} == set(LABELS)


@every_form
def test_asking_for_the_task_that_they_are_of_changes_nothing(form: str, tmp_path: Path) -> None:
    dataset = loaded(form, tmp_path / "data")
    again = loaded(form, tmp_path / "data", task="multi-label")
    assert again.clips == dataset.clips
    assert again.task is MULTI_LABEL


@every_form
def test_they_are_no_data_of_one_label(form: str, tmp_path: Path) -> None:
    """The message names rows or clips, and the way out."""
    with pytest.raises(DataError, match=r"(?s)task=multi-label") as refused:
        loaded(form, tmp_path / "data", task="single-label")
    assert any(location in str(refused.value) for location in ("line 3", "line 4", "line 5", "clip/000001"))
