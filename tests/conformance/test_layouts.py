"""What every registered layout must do; a new one brings its own example and needs nothing here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from astune.data import LAYOUTS, load_data
from astune.data.splits import SPLITS
from astune.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pathlib import Path

NAMES = sorted(LAYOUTS)
every_layout = pytest.mark.parametrize("name", NAMES)


def example(name: str, folder: Path) -> Path:
    """The layout's own example; skipped where it takes a library that is not installed."""
    try:
        return LAYOUTS[name].write_example(folder)
    except ConfigError as absent:
        pytest.skip(str(absent))


def test_there_are_layouts() -> None:
    assert len(NAMES) >= 7


@every_layout
def test_loads_by_name(name: str, tmp_path: Path) -> None:
    path = example(name, tmp_path / "data")
    dataset = load_data(f"{name}:{path}")
    assert dataset.source.startswith(f"{name}:{path.resolve()}")
    assert dataset.recipe == LAYOUTS[name].recipe
    assert all(clip.path.is_file() for clip in dataset.clips)
    assert [clip.name for clip in dataset.clips] == sorted(clip.name for clip in dataset.clips)


@every_layout
def test_the_data_set_knows_its_windows(name: str, tmp_path: Path) -> None:
    """An adapter keeps the window, and other data are cut as those of its training were."""
    source = f"{name}:{example(name, tmp_path / 'data')}"
    if "window" not in LAYOUTS[name].reads:
        with pytest.raises(ConfigError, match=f"{name}:PATH has no window, which is for"):
            load_data(source, window=0.3)
        return
    dataset = load_data(source, window=0.3)
    assert dataset.window == 0.3
    assert dataset.settled_length == 29  # which end at 305 ms; 28 end at 295


@every_layout
def test_every_label_is_used_and_every_target_is_a_label(name: str, tmp_path: Path) -> None:
    dataset = load_data(f"{name}:{example(name, tmp_path / 'data')}")
    assert len(set(dataset.labels)) == len(dataset.labels) >= 2
    assert set(dataset.targets) == set(range(len(dataset.labels)))
    assert [dataset.labels[target] for target in dataset.targets] == [clip.label for clip in dataset.clips]


@every_layout
def test_recognised_from_the_bare_path(name: str, tmp_path: Path) -> None:
    path = example(name, tmp_path / "data")
    assert load_data(path) == load_data(f"{name}:{path}")


@every_layout
def test_splits_are_disjoint_and_cover_every_clip(name: str, tmp_path: Path) -> None:
    dataset = load_data(example(name, tmp_path / "data"))
    for fold in dataset.folds or (None,):
        split = dataset.split(fold)
        clips = [clip for part in SPLITS for clip in split.named(part)]
        assert sorted(clips) == list(range(len(dataset.clips)))
        assert {dataset.targets[clip] for clip in split.train} == set(range(len(dataset.labels)))


@every_layout
def test_a_missing_path_is_said_first_and_in_three_lines(name: str, tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    with pytest.raises(DataError) as caught:
        load_data(f"{name}:{missing}")
    mistake, *rest = str(caught.value).splitlines()
    mistake, *rest = str(caught.value).splitlines()
    assert str(missing) in mistake
    assert LAYOUTS[name].tree.strip()
    if LAYOUTS[name].may_be_remote:  # it may be the name of a repository
        return
    assert len(rest) == 2
    assert "`astune data layouts`" in rest[-1]  # which shows the tree of each


@every_layout
@pytest.mark.parametrize("kind", ["empty folder", "audio file"])
def test_a_path_of_another_kind_is_a_data_error(name: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "thing.wav"
    path.mkdir() if kind == "empty folder" else path.write_bytes(b"RIFF")
    assert not LAYOUTS[name].recognises(path)
    with pytest.raises(DataError, match=f"{name}:PATH expects"):
        load_data(f"{name}:{path}")
