"""Trying out on a few clips: how many are left, of which classes, and that the draw is the seed's."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astune.data.clip import Clip
from astune.data.dataset import AudioDataset, DataRecipe, Split
from astune.data.limit import limit_dataset
from astune.data.splits import SPLITS
from astune.errors import ConfigError
from astune.training.check import check
from astune.training.config import TrainConfig

LABELS = ("cat", "dog", "owl")


def dataset(sizes: dict[str, int]) -> tuple[AudioDataset, Split]:
    """So many clips of each label in training, a third of them (rounded up) in the other two splits."""
    parts = {"train": sizes, "validation": {k: -(-v // 3) for k, v in sizes.items()}}
    parts["test"] = parts["validation"]
    clips = [
        Clip(f"{label}-{split}-{number}", Path(f"{label}-{split}-{number}.wav"), (label,), split=split)
        for split in SPLITS
        for label, count in parts[split].items()
        for number in range(count)
    ]
    data = AudioDataset("test", tuple(clips), LABELS, DataRecipe())
    return data, data.split()


@given(
    sizes=st.fixed_dictionaries({label: st.integers(1, 12) for label in LABELS}),
    clips=st.integers(len(LABELS), 40),
    seed=st.integers(0, 5),
)
def test_as_many_as_asked_for_and_as_even_as_can_be(sizes: dict[str, int], clips: int, seed: int) -> None:
    data, whole = dataset(sizes)
    fewer, split = limit_dataset(data, whole, clips, seed)
    assert fewer.labels == data.labels
    assert len(fewer.clips) == sum(len(split.named(name)) for name in SPLITS)
    for name in SPLITS:
        before = Counter(data.clips[clip].label for clip in whole.named(name))
        after = Counter(fewer.clips[clip].label for clip in split.named(name))
        assert sum(after.values()) == min(clips, sum(before.values()))
        # even: no class has two more than another that still had clips to give
        assert all(after[a] - after[b] <= 1 or after[b] == before[b] for a in LABELS for b in LABELS)
        names = {fewer.clips[clip].name for clip in split.named(name)}
        assert names <= {data.clips[clip].name for clip in whole.named(name)}
    assert limit_dataset(data, whole, clips, seed) == (fewer, split)


def test_another_seed_draws_others_and_fewer_clips_than_classes_are_refused() -> None:
    data, whole = dataset(dict.fromkeys(LABELS, 12))
    drawn = [{clip.name for clip in limit_dataset(data, whole, 6, seed)[0].clips} for seed in (0, 1)]
    assert drawn[0] != drawn[1]
    with pytest.raises(ConfigError, match="limit_clips=2: test has 3 classes; give 3 or more"):
        limit_dataset(data, whole, 2, 0)


def test_a_run_can_be_limited(generated: Path, tmp_path: Path) -> None:
    config = TrainConfig(
        data=str(generated), backbone="random:tiny", output_dir=tmp_path / "out", limit_clips=8, shots=2
    )
    checked = check(config)
    assert [len(checked.split.named(name)) for name in SPLITS] == [8, 8, 8]
    assert len(checked.dataset.paths) == 24  # features are computed of these alone
