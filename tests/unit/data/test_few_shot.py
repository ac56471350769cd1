"""K training clips a class: how many, which, and what stays untouched."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astune.data import load_data
from astune.data.clip import Clip
from astune.data.dataset import AudioDataset, DataRecipe
from astune.data.few_shot import few_shot
from astune.errors import ConfigError, DataError


def dataset(sizes: dict[str, int]) -> AudioDataset:
    names = [(f"{label}/{n:03d}", label, n) for label, size in sorted(sizes.items()) for n in range(size)]
    clips = [Clip(name, Path(name), (label,), split=("train", "validation", "test")[n % 3]) for name, label, n in names]
    return AudioDataset("folder:/data", tuple(clips), tuple(sorted(sizes)), DataRecipe())


@given(
    sizes=st.dictionaries(st.sampled_from(["bark", "hiss", "rain", "owl"]), st.integers(9, 40), min_size=2),
    seed=st.integers(0, 2**31),
    shots=st.integers(1, 3),
)
def test_k_clips_a_class_nested_and_nothing_else_moves(sizes: dict[str, int], seed: int, shots: int) -> None:
    data = dataset(sizes)
    whole = data.split()
    drawn = few_shot(data, whole, shots, seed)
    assert Counter(data.clips[clip].label for clip in drawn.train) == dict.fromkeys(sizes, shots)
    assert set(drawn.train) <= set(whole.train)
    assert list(drawn.train) == sorted(drawn.train)
    assert replace(drawn, train=whole.train) == whole
    if shots > 1:
        assert set(few_shot(data, whole, shots - 1, seed).train) < set(drawn.train)


def test_a_seed_draws_other_clips() -> None:
    data = dataset({"bark": 90, "hiss": 90})
    draws = {few_shot(data, data.split(), 4, seed).train for seed in range(5)}
    assert len(draws) == 5


def test_the_draw_depends_on_names_alone() -> None:
    """As drawn on Linux with numpy 2.4; another place on disk, or clips added to another class, change nothing."""
    data = dataset({"bark": 30, "hiss": 30})
    names = {data.clips[clip].name for clip in few_shot(data, data.split(), 2, 7).train}
    assert names == {"bark/021", "bark/024", "hiss/000", "hiss/006"}
    moved = replace(data, clips=tuple(replace(clip, path=Path("/elsewhere") / clip.name) for clip in data.clips))
    assert few_shot(moved, moved.split(), 2, 7) == few_shot(data, data.split(), 2, 7)
    more = dataset({"bark": 30, "hiss": 60})
    again = {more.clips[clip].name for clip in few_shot(more, more.split(), 2, 7).train}
    assert {name for name in again if name.startswith("bark")} == {name for name in names if name.startswith("bark")}


def test_every_clip_of_a_class_may_be_drawn() -> None:
    data = dataset({"bark": 30, "hiss": 30})
    assert few_shot(data, data.split(), 10, 0) == data.split()


def test_too_few_clips_are_named() -> None:
    data = dataset({"bark": 30, "hiss": 3, "owl": 6})
    with pytest.raises(
        DataError, match=r"fewer than 4 training clips of hiss \(1\), owl \(2\); at most 1 a class can be drawn"
    ):
        few_shot(data, data.split(), 4, 0)
    with pytest.raises(ConfigError, match="shots=0"):
        few_shot(data, data.split(), 0, 0)


def test_esc10_at_the_shots_of_the_paper(real_audio: Path) -> None:
    data = load_data(real_audio / "esc10")
    split = data.split(5)
    sizes = [len(few_shot(data, split, shots, 0).train) for shots in (1, 2, 4, 8)]
    assert sizes == [10, 20, 40, 80]  # of 10 classes
