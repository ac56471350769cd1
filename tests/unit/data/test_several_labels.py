"""Clips with several labels: tables and regions by hand, who is refused, and how such clips are divided and drawn."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from astune.data import AudioDataset, Clip, DataRecipe, Split, load_data
from astune.data.few_shot import few_shot
from astune.data.hold_out import hold_out
from astune.data.labels import several_in_one
from astune.data.limit import limit_dataset
from astune.data.options import DataOptions
from astune.data.window_labels import Part, cut_recording
from astune.data.windowing import Measure
from astune.errors import ConfigError, DataError
from astune.inference.evaluation import as_trained
from astune.tasks import MULTI_LABEL, SINGLE_LABEL
from astune.training.check import refuse_untrained
from tests.example_layouts import encoded, write_esc50, write_folder, write_text, write_tone
from tests.unit.data.test_regions import LENGTH, MEASURES, PARTS, hears, inside

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def sounds(folder: Path, names: str, seconds: float = 0.05) -> None:
    for number, name in enumerate(names):
        write_tone(folder / f"{name}.wav", seconds=seconds, pitch=300 + 40 * number)


def read(folder: Path, *lines: str, **options: Any) -> AudioDataset:
    return load_data(write_text(folder / "clips.csv", *lines), **options)


def labels_of(dataset: AudioDataset) -> dict[str, tuple[str, ...]]:
    return {clip.name: clip.labels for clip in dataset.clips}


def test_one_label_in_each_cell_stays_a_task_of_one_label(tmp_path: Path) -> None:
    sounds(tmp_path, "abc")
    lines = ("file_name,labels", "a.wav,rain", "b.wav,dog", "c.wav,rain")
    assert read(tmp_path, *lines).task is SINGLE_LABEL
    several = read(tmp_path, *lines, task="multi-label")
    assert several.targets == ([0, 1], [1, 0], [0, 1])
    assert "(each has one; task=single-label gives one answer for each)" in several.notices[-1]
    with pytest.raises(DataError, match=r"line 3: labels is empty; if a clip may have none, set task=multi-label"):
        read(tmp_path, "file_name,labels", "a.wav,rain", "b.wav,", "c.wav,rain")


def test_a_label_made_of_others_is_no_class(tmp_path: Path) -> None:
    sounds(tmp_path, "abc")
    lines = ("file_name,label", "a.wav,dog", "b.wav,dog;rain", "c.wav,rain")
    with pytest.raises(DataError, match=r"label 'dog;rain' \(line 3\) is several labels in one.*set task=multi-label"):
        read(tmp_path, *lines)
    assert labels_of(read(tmp_path, *lines, task="multi-label"))["b.wav"] == ("dog", "rain")
    alone = read(tmp_path, "file_name,label", "a.wav,dog", "b.wav,cat;owl", "c.wav,rain")
    assert alone.labels == ("cat;owl", "dog", "rain")
    assert "looks like several labels in one, and is a class of its own" in alone.notices[-1]
    for name in ("dog", "rain", "dog;rain"):
        write_tone(tmp_path / "folders" / name / "x.wav")
    with pytest.raises(
        DataError, match=r"'dog;rain' .*name files and their labels in a table \(csv:PATH, column labels\)"
    ):
        load_data(tmp_path / "folders")


@pytest.mark.parametrize(
    ("labels", "first"),
    [
        (["dog", "dog;rain"], "dog;rain"),
        (["dog;rain", "dog;wind"], "dog;rain"),
        (["dog|rain", "rain"], "dog|rain"),
        (["a", "dog, rain", "dog", "rain"], "dog, rain"),
        (["Rain, heavy", "Rain"], None),  # a comma is often part of a label
        (["dog;rain", "cat"], None),
        (["dog/rain", "dog", "rain"], None),  # warned of
    ],
)
def test_which_labels_are_surely_several(labels: list[str], first: str | None) -> None:
    found = several_in_one(labels, lambda label: f"at {label}", "do this")
    assert [fault.partition("'")[2].partition("'")[0] for fault in found] == ([first] if first else [])
    assert all("do this, or write it without separators" in fault for fault in found)


def test_columns_of_0_and_1_are_labels_only_where_nothing_else_is_there(tmp_path: Path) -> None:
    sounds(tmp_path, "abc")
    lines = ("file_name,site,dog,rain", "a.wav,north,1,1", "b.wav,south,0,1", "c.wav,north,0,0")
    with pytest.raises(
        DataError, match=r"no column label.*if columns of 0 and 1 \(dog, rain\) are labels, give them as one_hot"
    ):
        read(tmp_path, *lines)
    asked = read(tmp_path, *lines, one_hot=["rain", "dog"])
    assert labels_of(asked) == {"a.wav": ("dog", "rain"), "b.wav": ("rain",), "c.wav": ()}
    assert "Note: 1 column was passed over: site" in asked.notices
    with pytest.raises(
        DataError, match=r"there is no column cat \(one_hot\); the header has file_name, site, dog, rain"
    ):
        read(tmp_path, *lines, one_hot=["cat", "dog"])
    with pytest.raises(DataError, match="give either label_column, of texts, or one_hot"):
        read(tmp_path, *lines, one_hot=["dog"], label_column="site")
    with pytest.raises(DataError, match=r"line 3: dog is '0.5', neither 0 nor 1"):
        read(tmp_path, "file_name,dog,rain", "a.wav,1,1", "b.wav,0.5,1", one_hot=["dog", "rain"])
    with pytest.raises(DataError, match="no column label"):
        read(tmp_path, "file_name,dog,rain,is_test", "a.wav,1,1,0", "b.wav,0,1,1")
    with pytest.raises(DataError, match="column is_test seems to divide the clips"):
        read(tmp_path, "file_name,dog,rain,is_test", "a.wav,1,1,0", "b.wav,0,1,1", one_hot=["dog", "rain"])
    with pytest.raises(ConfigError, match="folder:PATH has no one_hot"):
        load_data(write_folder(tmp_path / "folder"), one_hot=["dog"])


def test_a_column_without_a_one_is_no_class(tmp_path: Path) -> None:
    sounds(tmp_path, "ab")
    dataset = read(tmp_path, "file_name,dog,owl,rain", "a.wav,1,0,1", "b.wav,0,0,1")
    assert dataset.labels == ("dog", "rain")
    assert "Note: 1 label without a clip was passed over: owl" in dataset.notices


def test_columns_of_0_and_1_may_say_one_label(tmp_path: Path) -> None:
    sounds(tmp_path, "ab")
    dataset = read(tmp_path, "file_name,dog,rain", "a.wav,1,0", "b.wav,0,1", task="single-label")
    assert (dataset.task, dataset.targets) == (SINGLE_LABEL, (0, 1))
    with pytest.raises(DataError) as refused:
        read(tmp_path, "file_name,dog,rain", "a.wav,1,1", "b.wav,0,0", task="single-label")
    assert str(refused.value).splitlines()[1:] == [
        "  - line 2: columns dog, rain say 2 labels (dog, rain), and task is single-label; set task=multi-label",
        "  - line 3: columns dog, rain say no label",
    ]


def test_rows_of_one_recording_are_put_together(tmp_path: Path) -> None:
    sounds(tmp_path, "ab")
    lines = ("file_name,label,split", "a.wav,rain,train", "b.wav,dog,test", "a.wav,dog,train", "a.wav,rain,train")
    with pytest.raises(
        DataError, match=r"a.wav is named 3 times; .*if a clip may have several labels, set task=multi-label"
    ):
        read(tmp_path, *lines)
    dataset = read(tmp_path, *lines, task="multi-label")
    assert labels_of(dataset) == {"a.wav": ("dog", "rain"), "b.wav": ("dog",)}
    assert "Note: 1 recording has several rows, and the labels of all of them" in dataset.notices
    with pytest.raises(DataError, match=r"a.wav is in split train \(line 2\) and test \(line 4\)"):
        read(tmp_path, *lines[:3], "a.wav,dog,test", task="multi-label")


def test_tables_of_split_folders_are_read_in_one_way(tmp_path: Path) -> None:
    """No cell of the test table has two labels; a sign in the other table separates both."""
    for split, cells in (("train", ("dog;rain", "cat", "", "rain")), ("test", ("dog", "cat"))):
        rows = [f"{number}.wav,{cell}" for number, cell in enumerate(cells)]
        for number in range(len(rows)):
            write_tone(tmp_path / split / f"{number}.wav", pitch=300 + 10 * number + len(split))
        write_text(tmp_path / split / "metadata.csv", "file_name,labels", *rows)
    dataset = load_data(tmp_path)
    assert dataset.task is MULTI_LABEL
    assert labels_of(dataset)["train/2.wav"] == ()
    assert labels_of(dataset)["test/0.wav"] == ("dog",)


def test_labels_are_cleaned_and_come_once_in_one_order(tmp_path: Path) -> None:
    sounds(tmp_path, "abc")
    dataset = read(tmp_path, "file_name,labels", "a.wav,rain;dog", "b.wav,dog;rain;dog", "c.wav,cafe\u0301;caf\u00e9")
    assert labels_of(dataset) == {"a.wav": ("dog", "rain"), "b.wav": ("dog", "rain"), "c.wav": ("caf\u00e9",)}
    assert any("in composed Unicode" in note for note in dataset.notices)


def test_a_bar_in_a_label_is_refused(tmp_path: Path) -> None:
    """clips.csv has the labels of a clip in one cell with bars between them."""
    sounds(tmp_path, "ab")
    with pytest.raises(DataError, match=r"label 'dog\|x' has a vertical bar"):
        read(tmp_path, "file_name,labels", "a.wav,dog|x;rain", "b.wav,rain")


@pytest.mark.parametrize("write", [write_folder, write_esc50])
def test_layouts_of_one_label_can_be_learned_as_several(write: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = write(tmp_path / "data")
    single, several = load_data(folder), load_data(folder, task="multi-label")
    assert several.clips == single.clips
    assert [row.index(1.0) for row in several.targets] == list(single.targets)
    assert all(sum(row) == 1 for row in several.targets)
    assert load_data(folder, task="single-label") == single
    assert single.task is SINGLE_LABEL


def test_negative_labels_are_none_where_a_clip_may_have_none(tmp_path: Path) -> None:
    sounds(tmp_path, "abc")
    lines = ("file_name,labels", "a.wav,dog;noise", "b.wav,noise", "c.wav,rain;dog")
    dataset = read(tmp_path, *lines, negative=["noise"])
    assert (dataset.labels, dataset.negatives) == (("dog", "rain"), ())
    assert labels_of(dataset) == {"a.wav": ("dog",), "b.wav": (), "c.wav": ("dog", "rain")}
    assert (
        "Note: noise is not a class, because a clip may have no label (task multi-label): 1 clip has none"
        in dataset.notices
    )
    assert "Note: 1 clip with noise and other labels keeps the others alone" in dataset.notices
    with pytest.raises(ConfigError, match="negative label 'wind'"):
        read(tmp_path, *lines, negative=["wind"])
    with pytest.raises(DataError, match="all labels are negative"):
        read(tmp_path, *lines, negative=["noise", "dog", "rain"])


def test_evaluation_reads_data_as_an_adapter_of_several_labels_was_trained(tmp_path: Path) -> None:
    """Its negative labels are no classes of other data either, and need not be in them."""
    sounds(tmp_path, "abc")
    training = {"task": "multi-label", "negative": ["noise", "hum"]}
    file = write_text(tmp_path / "test.csv", "file_name,label", "a.wav,dog", "b.wav,noise", "c.wav,rain")
    found = as_trained(str(file), training)
    assert (found.task, found.labels) == (MULTI_LABEL, ("dog", "rain"))
    assert labels_of(found) == {"a.wav": ("dog",), "b.wav": (), "c.wav": ("rain",)}
    with pytest.raises(ConfigError, match="negative label 'hum'"):
        as_trained(str(file), training, negative=["hum"])


REGIONS = ("file_name,start,end,label", "a.wav,0.5,1.5,robin", "a.wav,1.2,2.2,wren", "b.wav,0,1,robin")


def test_windows_have_every_label_that_they_hold_enough_of(tmp_path: Path) -> None:
    """Windows of 1 s. At 0.5 s the robin sounds throughout, and the wren for 0.3 s, less than half; at 1.2 s the other way round."""
    sounds(tmp_path, "ab", seconds=4)
    with pytest.raises(DataError, match="a clip has one label; keep one of them, or set task=multi-label"):
        read(tmp_path, *REGIONS, window=1, min_overlap=0.3)
    dataset = read(tmp_path, *REGIONS, window=1, task="multi-label")
    assert labels_of(dataset) == {
        "a.wav 0.500-1.500": ("robin",),
        "a.wav 1.200-2.200": ("wren",),
        "b.wav 0.000-1.000": ("robin",),
    }
    more = read(tmp_path, *REGIONS, window=1, min_overlap=0.3, task="multi-label")
    assert labels_of(more)["a.wav 0.500-1.500"] == labels_of(more)["a.wav 1.200-2.200"] == ("robin", "wren")


def test_background_has_no_label_where_a_clip_may_have_none(tmp_path: Path) -> None:
    sounds(tmp_path, "ab", seconds=4)
    dataset = read(tmp_path, *REGIONS, window=1, background="none", task="multi-label")
    free = {name for name, labels in labels_of(dataset).items() if not labels}
    assert free == {"a.wav 2.200-3.200", "b.wav 1.000-2.000", "b.wav 2.000-3.000", "b.wav 3.000-4.000"}
    assert dataset.labels == ("robin", "wren")
    assert any("Note: none is not a class" in note for note in dataset.notices)


def test_a_part_that_somebody_heard_and_that_has_no_label_is_a_clip(tmp_path: Path) -> None:
    sounds(tmp_path, "a", seconds=4)
    lines = ("file,start_time,end_time,robin,wren", "a.wav,0,1,1,1", "a.wav,1,2,0,0", "a.wav,2,3,0,1", "a.wav,3,4,1,0")
    names = ["0.000-1.000", "1.000-2.000", "2.000-3.000", "3.000-4.000"]
    expected = dict(
        zip((f"a.wav {name}" for name in names), [("robin", "wren"), (), ("wren",), ("robin",)], strict=True)
    )
    assert labels_of(read(tmp_path, *lines)) == expected
    assert labels_of(read(tmp_path, *lines, window=1)) == expected
    halves = labels_of(read(tmp_path, *lines, window=0.5))
    assert Counter(halves.values()) == dict.fromkeys(expected.values(), 2)


def test_label_tracks_may_overlap_and_name_several(tmp_path: Path) -> None:
    sounds(tmp_path, "ab", seconds=4)
    write_text(tmp_path / "a.txt", "0.5\t1.5\trobin", "0.6\t1.6\twren", "3\t3.8\trobin; crow")
    write_text(tmp_path / "b.txt", "1\t2\twren, far")
    with pytest.raises(DataError, match="or set task=multi-label"):
        load_data(tmp_path, window=1)
    dataset = load_data(tmp_path, window=1, task="multi-label")
    assert dataset.labels == ("crow", "robin", "wren", "wren, far")
    assert Counter(labels_of(dataset).values()) == {("robin", "wren"): 2, ("crow", "robin"): 1, ("wren, far",): 1}
    assert "Note: a label's text is read as several labels, separated by ';'" in dataset.notices


@given(PARTS, MEASURES)
def test_windows_of_several_labels_claim_all_that_they_hear(parts: list[Part], measure: Measure) -> None:
    parts = list(dict.fromkeys(parts))
    made = cut_recording(parts, LENGTH, measure, {"n"}, background=True, several=True)
    assert made.mixed == []
    for span, labels in made.labelled:
        wanted = {label for label in "ab" if hears(span, parts, label, measure.min_overlap)}
        assert set(labels) == (wanted or {"n"})
        if not wanted:
            assert not inside(span, [part[:2] for part in parts if part.label != "n"])
    one = cut_recording(parts, LENGTH, measure, {"n"}, background=True)
    assert {(span, labels) for span, labels in made.labelled if len(labels) == 1} == set(one.labelled)
    assert {span for span, labels in made.labelled if len(labels) > 1} == set(one.mixed)
    assert (made.spoilt, made.background) == (one.spoilt, one.background)


def tagged(*labels: tuple[str, ...], groups: int = 0) -> AudioDataset:
    clips = tuple(
        Clip(f"{n:04d}", Path(f"{n:04d}.wav"), found, group=f"g{n % groups}" if groups else None)
        for n, found in enumerate(labels)
    )
    return AudioDataset(
        "tags", clips, tuple(sorted({one for found in labels for one in found})), DataRecipe(), task=MULTI_LABEL
    )


def counted(dataset: AudioDataset, clips: Sequence[int]) -> Counter[str]:
    return Counter(label for clip in clips for label in dataset.clips[clip].labels or ("",))


def drawn_labels(clips: int, seed: int) -> list[tuple[str, ...]]:
    """A frequent label, three that come with it, rare ones, and clips without a label."""
    draw = np.random.default_rng(seed)
    chances = {"bird": 0.7, "robin": 0.3, "wren": 0.2, "rain": 0.1, "owl": 0.02}
    return [tuple(sorted(label for label, chance in chances.items() if draw.random() < chance)) for _ in range(clips)]


@pytest.mark.parametrize("seed", range(5))
def test_a_tenth_of_each_label_and_of_the_clips_without_is_held_out(seed: int) -> None:
    """Within one clip of a tenth for the rarest label, within a fifth of it for the others."""
    dataset = tagged(*drawn_labels(1000, seed))
    split = dataset.split(seed=seed)
    whole, held = counted(dataset, range(1000)), counted(dataset, split.validation)
    assert set(whole) == {"", "bird", "robin", "wren", "rain", "owl"}
    for label, count in whole.items():
        assert abs(held[label] - count / 10) <= max(1, 0.2 * count / 10), label
    assert split == dataset.split(seed=seed)
    assert split.validation != dataset.split(seed=seed + 1).validation


def test_clips_without_a_label_stay_whole_with_their_group() -> None:
    dataset = tagged(*drawn_labels(400, 3), groups=40)
    split = dataset.split()
    groups = [{dataset.clips[clip].group for clip in side} for side in (split.train, split.validation)]
    assert not groups[0] & groups[1]
    whole, held = counted(dataset, range(400)), counted(dataset, split.validation)
    assert all(0.02 <= held[label] / whole[label] <= 0.25 for label in ("", "bird", "robin", "wren"))
    assert ("1 class has no clip among them: owl" in str(split.notice)) == (held["owl"] == 0)


def test_no_label_loses_its_last_clip_and_no_stratum_is_needed() -> None:
    """The only clip of ``c`` also has ``a``; all clips without a label may be held out, for no class is lost with them."""
    dataset = tagged(("a", "c"), ("a",), ("a",), ("b",), ("b",), ())
    held = hold_out(dataset.clips, range(6), 0, MULTI_LABEL)
    assert "c" in counted(dataset, held.train)
    assert counted(dataset, held.validation) == {"a": 1, "b": 1, "": 1}
    refuse_untrained(dataset, dataset.split())


@given(
    st.lists(
        st.lists(st.sampled_from("abcde"), unique=True).map(lambda one: tuple(sorted(one))), min_size=2, max_size=40
    )
)
def test_a_hold_out_divides_any_labels(labels: list[tuple[str, ...]]) -> None:
    dataset = tagged(*labels)
    made = hold_out(dataset.clips, range(len(labels)), 0, MULTI_LABEL)
    assert sorted(made.train + made.validation) == list(range(len(labels)))
    assert set(dataset.labels) <= set(counted(dataset, made.train))
    counts = counted(dataset, range(len(labels)))
    # Nothing is held out only where each clip with labels is the last one of a class.
    assert made.validation or all(any(counts[label] == 1 for label in found) for found in labels if found)


def test_nothing_is_held_out_where_each_clip_is_the_last_of_a_class() -> None:
    dataset = tagged(("a", "b"), ("a", "c"), ("d",))
    assert hold_out(dataset.clips, range(3), 0, MULTI_LABEL).validation == []


def test_where_clips_have_one_label_the_draw_is_as_it_was() -> None:
    """Of each class the first tenth in the order of their draws, as the one task of before had it."""
    labels = [(("a", "b", "c")[number % 3],) for number in range(90)]
    dataset = tagged(*labels)
    single = hold_out(dataset.clips, range(90), 4, SINGLE_LABEL)
    assert single == hold_out(dataset.clips, range(90), 4, MULTI_LABEL)
    assert counted(dataset, single.validation) == {"a": 3, "b": 3, "c": 3}


def test_few_shot_draws_for_each_label_and_for_none() -> None:
    dataset = tagged(*drawn_labels(400, 1))
    split = dataset.split()
    before: set[int] = set()
    for shots in (1, 2, 4):
        drawn = few_shot(dataset, split, shots, seed=0)
        counts = counted(dataset, drawn.train)
        assert min(counts.values()) == shots
        assert set(counts) == {"", *dataset.labels}
        assert len(drawn.train) <= shots * 6  # five labels and none
        assert before <= set(drawn.train) <= set(split.train)
        before = set(drawn.train)
    scarce = tagged(("a",), ("b",), ("a", "b"), ("a", "b"), ())
    assert (
        len(few_shot(scarce, Split((0, 1, 2, 3, 4), (), ()), 3, 0).train) == 5
    )  # one clip without a label, and it is drawn


def test_a_limit_keeps_every_label_before_clips_without_one() -> None:
    dataset = tagged(*[()] * 30, ("a",), ("b",), ("c",), ("a", "b"))
    split = Split(tuple(range(34)), (), ())
    for clips in (3, 4, 8):
        few, part = limit_dataset(dataset, split, clips, seed=1)
        assert {"a", "b", "c"} <= set(counted(few, part.train))
        assert len(part.train) == clips
    assert counted(few, part.train)[""] >= 4  # of eight clips, for there are four with a label


def test_one_label_is_not_enough_and_none_is_said(tmp_path: Path) -> None:
    for labels, there in ((("a",), "only a"), ((), "no class")):
        dataset = tagged(*[labels] * 4)
        with pytest.raises(DataError, match=f"training needs two classes or more, and the data have {there}"):
            refuse_untrained(dataset, dataset.split())


def test_hub_lists_of_0_and_1_are_labels_by_place(tmp_path: Path) -> None:
    datasets: Any = pytest.importorskip("datasets")
    cell = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    features = datasets.Features(
        {"audio": cell, "labels": datasets.List(datasets.Value("int64")), "kind": datasets.ClassLabel(names=["x", "y"])}
    )
    rows = {
        "audio": [{"bytes": encoded(300 + 40 * n), "path": f"{n}.wav"} for n in range(3)],
        "labels": [[0, 1, 1], [0, 0, 0], [0, 0, 1]],
        "kind": [0, 1, 0],
    }
    table = datasets.Dataset.from_dict(rows, features=features).cast_column("audio", datasets.Audio())
    table.save_to_disk(tmp_path / "d")
    assert load_data(tmp_path / "d").labels == ("x", "y")  # a column of one label is read where there is one
    for options in (DataOptions(task="multi-label"), DataOptions(label_column="labels")):
        dataset = load_data(tmp_path / "d", options)
        assert (dataset.task, dataset.labels) == (MULTI_LABEL, ("1", "2"))
        assert [clip.labels for clip in dataset.clips] == [("1", "2"), (), ("2",)]
        assert any(
            "column labels has lists of 3 values 0 or 1: labels are named by their place, from 0" in n
            for n in dataset.notices
        )
    with pytest.raises(
        DataError, match=r"clip/000000 has no label or several \(labels is \[0, 1, 1\]\).*set task=multi-label"
    ):
        load_data(tmp_path / "d", label_column="labels", task="single-label")
    with pytest.raises(DataError, match=r"there is no column tags \(label_column\)"):
        load_data(tmp_path / "d", label_column="tags")


def test_hub_texts_are_separated_where_several_labels_are_asked_for(tmp_path: Path) -> None:
    datasets: Any = pytest.importorskip("datasets")
    cell = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    features = datasets.Features({"audio": cell, "label": datasets.Value("string")})
    texts = ["dog;rain", "", "rain"]
    rows = {"audio": [{"bytes": encoded(300 + 40 * n), "path": f"{n}.wav"} for n in range(3)], "label": texts}
    table = datasets.Dataset.from_dict(rows, features=features).cast_column("audio", datasets.Audio())
    table.save_to_disk(tmp_path / "d")
    with pytest.raises(DataError, match="clip/000001 has no label"):
        load_data(tmp_path / "d")
    dataset = load_data(tmp_path / "d", task="multi-label")
    assert [clip.labels for clip in dataset.clips] == [("dog", "rain"), (), ("rain",)]


def test_lists_that_are_cut_short_are_refused(tmp_path: Path) -> None:
    sounds(tmp_path, "ab", seconds=1)
    with pytest.raises(
        DataError, match=r"line 2: labels is '\[\"dog\"', and no list of labels as other cells are; write"
    ):
        read(tmp_path, "file_name\tlabels", 'a.wav\t["dog"', 'b.wav\t["dog", "rain"]')
    tracks = tmp_path / "tracks"
    write_tone(tracks / "a.wav", seconds=2)
    write_text(tracks / "a.txt", '0\t1\t["dog"', '1\t2\t["dog", "rain"]')
    with pytest.raises(DataError, match=r"a.txt.*label is '\[\"dog\"', and no list"):
        load_data(tracks, task="multi-label")


def test_check_totals_clips_and_not_labels(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from astune.cli import app
    from astune.data.check import check

    sounds(tmp_path, "abc")
    data = read(tmp_path, "file_name,labels,split", "a.wav,dog;rain,train", "b.wav,rain,train", "c.wav,,test")
    assert check(data, quiet=True).part_clips == {"train": 2, "test": 1}
    shown = CliRunner().invoke(app, ["data", "check", str(tmp_path / "clips.csv")]).stdout
    assert ["clips", "2", "1", "3"] in [re.findall(r"\w+", line) for line in shown.splitlines()]
    unlabelled = read(tmp_path, "file_name,labels", "a.wav,", "b.wav,", "c.wav,", task="multi-label")
    assert check(unlabelled, quiet=True).parts == ["train"]


def test_check_counts_labels_and_sees_contradictions(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from astune.cli import app

    sounds(tmp_path, "abc")
    write_tone(tmp_path / "d.wav", pitch=300)  # as a.wav
    file = write_text(tmp_path / "clips.csv", "file_name,labels", "a.wav,dog;rain", "b.wav,rain", "c.wav,", "d.wav,dog")
    record = json.loads(CliRunner().invoke(app, ["data", "check", str(file), "--json"]).stdout)
    assert record["counts"] == {"dog": {"train": 2}, "rain": {"train": 2}}
    assert record["contradictions"] == [["a.wav", "d.wav"]]
    assert any("3 clips" not in note and "1 clip without a label" in note for note in record["notices"])


def test_written_records_tell_labels_apart(tmp_path: Path) -> None:
    """clips.csv of a run can be compared: other labels are another digest, in whatever order they were written."""
    from astune.training.data_record import DataRecord

    sounds(tmp_path, "abcd")
    digests = []
    for first in ("dog;rain", "rain;dog", "dog", ""):
        dataset = read(
            tmp_path,
            "file_name,labels",
            f"a.wav,{first}",
            "b.wav,rain;dog",
            "c.wav,dog",
            "d.wav,rain",
            task="multi-label",
        )
        record = DataRecord.of(dataset, dataset.split())
        record.write(tmp_path)
        again = DataRecord.read(tmp_path, dataset.labels)
        assert again is not None
        assert again.digest == record.digest
        digests.append(record.digest)
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_a_clip_is_heard_once_for_all_of_its_labels(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(8000), 8000)
    dataset = read(tmp_path, "file_name,start,end,label", "a.wav,0,0.5,dog", "a.wav,0,0.5,rain", task="multi-label")
    assert labels_of(dataset) == {"a.wav 0.000-0.500": ("dog", "rain")}
    with pytest.raises(DataError, match=r"a.wav 0.000-0.500 is in split train \(line 2\) and test \(line 3\)"):
        read(
            tmp_path,
            "file_name,start,end,label,split",
            "a.wav,0,0.5,dog,train",
            "a.wav,0,0.5,rain,test",
            task="multi-label",
        )
