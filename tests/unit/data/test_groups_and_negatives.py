"""Groups by a pattern in names, and draws that put no sound on two sides."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astune.data import LAYOUTS, AudioDataset, Clip, DataRecipe, load_data
from astune.data.few_shot import few_shot
from astune.data.limit import limit_dataset
from astune.data.options import DataOptions
from astune.data.regions import LabelledRegion, cut
from astune.errors import ConfigError, DataError
from astune.inference.evaluation import as_trained
from astune.training.inner_folds import inner_folds
from tests.example_layouts import write_text, write_tone

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for n in range(12):
        write_tone(tmp_path / "ab"[n % 2] / f"site{n // 4}_{n:02d}.wav", pitch=300 + 20 * n)
    return tmp_path


def test_groups_by_the_first_group_or_the_whole_match(folder: Path) -> None:
    data = load_data(folder, group_by="site[0-9]+")
    assert Counter(clip.group for clip in data.clips) == {"site0": 4, "site1": 4, "site2": 4}
    assert data.remarks == ("Note: 12 recordings in 3 groups by group_by, such as site0",)
    assert {clip.group for clip in load_data(folder, group_by="/site([0-9])").clips} == {"0", "1", "2"}
    split = data.split()
    sides = [{data.clips[clip].group for clip in part} for part in (split.train, split.validation)]
    assert sides[1]
    assert not sides[0] & sides[1]


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("site[01]", "4 of 12 recordings have no group in the name, a/site2_08.wav among them"),
        ("site(x?)", "12 of 12 recordings have no group"),
    ],
)
def test_recordings_without_a_group_are_refused(folder: Path, pattern: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        load_data(folder, group_by=pattern)


@pytest.mark.parametrize("pattern", ["site[", "a{99999999999}", "(" * 400 + ")" * 400, "x" * 1_001])
def test_what_is_not_a_regular_expression_is_refused(folder: Path, pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"group_by.*cannot be used as a regular expression"):
        load_data(folder, group_by=pattern)


def test_brackets_in_brackets_are_no_warning(folder: Path) -> None:
    assert {clip.group for clip in load_data(folder, group_by="[[s]ite[0-9]").clips} == {"site0", "site1", "site2"}


def test_a_pattern_that_takes_for_ever_is_refused(tmp_path: Path) -> None:
    write_tone(tmp_path / "a" / f"{'a' * 60}.wav")
    write_tone(tmp_path / "b" / "b.wav")
    with pytest.raises(DataError, match=r"takes more than 1 s with the name a/aaaa.*do not repeat what repeats itself"):
        load_data(tmp_path, group_by="/(a|a)+x|(a|aa)+x")


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_every_layout_takes_groups_and_negative_labels(name: str, tmp_path: Path) -> None:
    if name in ("hf", "crowsetta"):
        pytest.importorskip({"hf": "datasets", "crowsetta": "crowsetta"}[name])
    source = f"{name}:{LAYOUTS[name].write_example(tmp_path / name)}"
    plain = load_data(source)
    data = load_data(source, group_by="^(.)", negative=[plain.labels[0]])
    assert data.negatives == plain.labels[:1]
    assert [clip.group for clip in data.clips] == [clip.name[0] for clip in data.clips]
    replaced = any(clip.group not in (None, clip.name[0]) for clip in plain.clips)
    said = any("because of group_by" in remark for remark in data.remarks)
    assert said <= replaced


def test_a_negative_label_without_a_window_is_refused_with_the_reason(tmp_path: Path) -> None:
    """Wind that another sound touches gives no window of wind, so it is not a class that could be negative."""
    write_tone(tmp_path / "a.wav", seconds=2.0)
    write_text(tmp_path / "a.txt", "0.5\t1.5\twind", "1.2\t1.4\trobin")
    with pytest.raises(ConfigError) as fault:
        load_data(f"audacity:{tmp_path}", window=1.0, min_overlap=0.5, negative=["wind"])
    assert str(fault.value).splitlines() == [
        "unknown negative label 'wind'; choose one of: robin",
        "Warning: no window of 1 label can be used, so it is not a class: wind",
    ]


def test_other_data_are_read_without_the_groups_of_the_training(folder: Path) -> None:
    data = as_trained(str(folder), {"group_by": "^elsewhere", "negative": ["noise"]})
    assert "Note: group_by='^elsewhere' of the training finds no groups in these data, and is left out" in data.notices
    with pytest.raises(DataError, match="no group in the name"):
        as_trained(str(folder), {}, group_by="^elsewhere")


def dataset(clips: Sequence[Clip]) -> AudioDataset:
    labels = tuple(sorted({clip.label for clip in clips}))
    return AudioDataset("x:/", tuple(sorted(clips, key=lambda clip: clip.name)), labels, DataRecipe())


def share_sound(data: AudioDataset, one: Sequence[int], other: Sequence[int]) -> bool:
    regions = [[data.clips[number].region for number in part] for part in (one, other)]
    return any(
        a.path == b.path and max(a.start, b.start) < min(a.end or 0, b.end or 0) for a in regions[0] for b in regions[1]
    )


REGIONS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 30), st.integers(1, 6), st.sampled_from("ab")), min_size=1, max_size=25
)


@given(REGIONS, st.integers(1, 3), st.integers(0, 1000), st.booleans())
def test_windows_of_one_recording_stay_on_one_side(
    rows: list[tuple[int, int, int, str]], hop: int, seed: int, by_site: bool
) -> None:
    """Every draw: the tenth held out, few shots, a limit. Regions of one label are a row of seconds, so that none overlap."""
    regions = [
        LabelledRegion(
            f"{recording}.wav", Path(f"{recording}.wav"), 10.0 * start, 10.0 * start + seconds, label, f"line {line}",
            group=f"site{recording // 2}" if by_site else None,
        )
        for line, (recording, start, seconds, label) in enumerate({(r, s): (r, s, n, x) for r, s, n, x in rows}.values())
    ]  # fmt: skip
    made = _cut(regions, window=3.0, hop=float(hop))
    data = dataset(made)
    split = data.split(seed=seed)
    assert sorted(split.train + split.validation) == list(range(len(made)))
    assert {data.targets[clip] for clip in split.train} == set(range(len(data.labels)))
    parts = [(data, split)]
    if len(data.labels) == 2:
        parts += [(data, few_shot(data, split, 1, seed)), limit_dataset(data, split, 2, seed)]
    for some, part in parts:
        if "are on both sides" not in (split.notice or ""):
            groups = [{some.clips[clip].group for clip in side} for side in (part.train, part.validation)]
            assert not groups[0] & groups[1]
        if "overlap, so the epoch" not in (split.notice or ""):
            assert not share_sound(some, part.train, part.validation)


def _cut(regions: Sequence[LabelledRegion], **options: float) -> list[Clip]:
    """Of recordings of 400 s that are not there."""
    lengths = dict.fromkeys((one.recording for one in regions), 400.0)
    return cut(regions, DataOptions(**options), events=True, recordings={}, lengths=lengths).clips


def test_of_one_long_recording_whole_stretches_are_held_out() -> None:
    """Windows of 3 s every second over 20 calls of 6 s: four windows a call, of which all or none validate."""
    path = Path("long.wav")
    regions = [LabelledRegion("long.wav", path, 20.0 * n, 20.0 * n + 6, "ab"[n % 2], f"line {n}") for n in range(20)]
    data = dataset(_cut(regions, window=3.0, hop=1.0))
    assert len(data.clips) == 80
    split = data.split(seed=1)
    assert len(split.validation) == 8
    assert not share_sound(data, split.train, split.validation)
    assert split.notice is not None
    assert "2 of 20 stretches without overlap drawn whole with seed 1" in split.notice
    assert split.notice.endswith("; warning: there is only one group, so clips of one group are on both sides")


def test_where_all_windows_overlap_it_is_said() -> None:
    clips = [Clip(f"{n}", Path("x.wav"), ("ab"[n % 2],), start=n / 2, end=n / 2 + 1.0) for n in range(20)]
    split = dataset(clips).split()
    assert "warning: clips on both sides overlap, so the epoch is chosen by what was trained on" in (split.notice or "")
    assert len(split.validation) == 2


def test_inner_folds_of_the_baseline_keep_groups_whole() -> None:
    targets = np.array([0, 1] * 30)
    groups = [f"g{n // 6}" for n in range(60)]
    folds = inner_folds(targets, groups)
    assert len(folds) == 3
    for fit, held in folds:
        assert not {groups[n] for n in fit} & {groups[n] for n in held}
        assert set(targets[fit]) == {0, 1}
    assert sorted(np.concatenate([held for _, held in folds])) == list(range(60))
    assert inner_folds(targets, ["one"] * 60) == []
    # without its only group a class would not be trained on: that fold is left out, and of two groups there are too few
    for _, held in (some := inner_folds(np.repeat([0, 1], 30), ["a"] * 30 + ["b"] * 15 + ["c"] * 15)):
        assert min(held) >= 30
    assert len(some) == 2
    assert inner_folds(np.repeat([0, 1], 30), ["a"] * 30 + ["b"] * 30) == []
    assert len(inner_folds(targets, None)) == 3
    assert inner_folds(np.array([0, 0, 1]), None) == []
