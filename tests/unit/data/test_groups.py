"""Groups: clips of one session, speaker or device stay on one side of the hold-out, and crossing ones are warned of."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astune.data import LAYOUTS, AudioDataset, Clip, DataRecipe, load_data
from astune.data.few_shot import few_shot
from astune.data.hold_out import NOTHING_HELD_OUT, group_keys, group_like
from astune.data.limit import limit_dataset
from astune.errors import DataError
from astune.training.config import TrainConfig
from astune.training.loop import train
from tests.example_layouts import (
    write_esc50,
    write_text,
    write_tone,
)
from tests.unit.test_cli import run

if TYPE_CHECKING:
    from collections.abc import Iterable


def dataset(*clips: Clip) -> AudioDataset:
    labels = tuple(sorted({clip.label for clip in clips}))
    return AudioDataset("csv:/data", tuple(sorted(clips, key=lambda clip: clip.name)), labels, DataRecipe())


def clips(group: str | None, counts: dict[str, int]) -> list[Clip]:
    return [
        Clip(f"{group}-{label}-{n}.wav", Path(f"{group}-{label}-{n}.wav"), (label,), group=group)
        for label, count in counts.items()
        for n in range(count)
    ]


def groups_of(data: AudioDataset, members: Iterable[int]) -> set[str | None]:
    return {data.clips[clip].group for clip in members}


def test_four_speakers() -> None:
    """Ten takes of every digit by each: one whole speaker is held out, a quarter being nearest to a tenth."""
    digits = {str(digit): 10 for digit in range(10)}
    data = dataset(*(clip for speaker in ("ann", "ben", "cem", "dee") for clip in clips(speaker, digits)))
    split = data.split(seed=3)
    (held,) = groups_of(data, split.validation)
    assert len(split.validation) == 100
    assert held not in groups_of(data, split.train)
    assert split.notice == (
        f"no validation split is given: 100 of the training clips, 1 of 4 groups drawn whole with seed 3 ({held}), "
        "are held out to choose the epoch"
    )
    assert {next(iter(groups_of(data, data.split(seed=seed).validation))) for seed in range(20)} == {
        "ann", "ben", "cem", "dee",
    }  # fmt: skip


def test_many_groups_give_about_a_tenth_of_each_class() -> None:
    data = dataset(*(clip for n in range(50) for clip in clips(f"g{n:02d}", {"no": 2, "yes": 4})))
    split = data.split()
    assert Counter(data.clips[clip].label for clip in split.validation) == {"no": 10, "yes": 20}
    assert not groups_of(data, split.train) & groups_of(data, split.validation)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abc"), st.integers(1, 4)), min_size=1, max_size=40),
    st.integers(0, 2**31),
)
def test_no_group_is_divided_and_no_class_is_lost(rows: list[tuple[int, str, int]], seed: int) -> None:
    counts: dict[str, Counter[str]] = {}
    for group, label, count in rows:
        counts.setdefault(f"g{group}", Counter())[label] += count
    data = dataset(*(clip for group, classes in counts.items() for clip in clips(group, classes)))
    split = data.split(seed=seed)
    assert sorted(split.train + split.validation) == list(range(len(data.clips)))
    assert {data.targets[clip] for clip in split.train} == set(range(len(data.labels)))
    if split.notice == NOTHING_HELD_OUT:
        assert not split.validation
    elif "warning: " not in (split.notice or ""):
        assert split.validation
        assert not groups_of(data, split.train) & groups_of(data, split.validation)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (clips("all", {"no": 20, "yes": 20}), "there is only one group"),
        (
            [*clips("a", {"no": 20}), *clips("b", {"yes": 20})],
            "no group can be held out without the last training clip",
        ),
    ],
)
def test_where_groups_cannot_be_kept_single_clips_are_drawn_with_a_warning(made: list[Clip], reason: str) -> None:
    split = dataset(*made).split()
    assert split.notice is not None
    assert f"; warning: {reason}" in split.notice
    alone = dataset(*(replace(clip, group=None) for clip in made)).split()
    assert (split.train, split.validation) == (alone.train, alone.validation)
    assert len(split.validation) == 4


def test_the_draw_of_groups_is_the_same_on_every_machine() -> None:
    """As drawn on Linux with numpy 2.4, whose PCG64 stream NEP 19 keeps."""
    data = dataset(*(clip for n in range(30) for clip in clips(f"g{n:02d}", {"a": 1, "b": 1})))
    assert groups_of(data, data.split(seed=0).validation) == {"g16", "g18", "g22"}


def test_classes_without_a_held_out_clip_are_named() -> None:
    made = [clip for n in range(20) for clip in clips(f"g{n:02d}", {"common": 5})] + clips("rare", {"owl": 1})
    split = dataset(*made).split()
    assert split.notice is not None
    assert split.notice.endswith("; 1 class has no clip among them: owl")


def test_a_class_of_few_sessions_gives_one_of_them() -> None:
    """Three sessions of each class, a third each: further from a tenth than nothing, but nothing chooses no epoch."""
    made = [clip for label in ("a", "b", "c") for n in range(3) for clip in clips(f"{label}{n}", {label: 5})]
    data = dataset(*made)
    split = data.split()
    assert Counter(data.clips[clip].label for clip in split.validation) == {"a": 5, "b": 5, "c": 5}
    assert len(groups_of(data, split.validation)) == 3


def test_clips_without_a_group_are_drawn_one_by_one() -> None:
    data = dataset(*clips(None, {"a": 40}), *clips("g", {"a": 10}))
    split = data.split()
    held = [data.clips[clip].group for clip in split.validation]
    assert len(held) == 5
    assert held.count("g") in (0, 10)


def test_few_shot_and_limit_move_no_clip_to_another_side() -> None:
    data = dataset(*(clip for n in range(10) for clip in clips(f"g{n}", {"a": 4, "b": 4})))
    split = data.split()
    few = few_shot(data, split, 3, seed=1)
    assert not groups_of(data, few.train) & groups_of(data, few.validation)
    smaller, part = limit_dataset(data, split, 6, seed=1)
    assert not groups_of(smaller, part.train) & groups_of(smaller, part.validation)
    assert groups_of(smaller, part.validation) <= groups_of(data, split.validation)


def test_columns_named_group(tmp_path: Path) -> None:
    rows = [f"{n}.wav,{'ab'[n % 2]},s{n // 4}" for n in range(40)]
    data = load_data(write_text(tmp_path / "a.csv", "file_name,label,group", *rows))
    assert Counter(clip.group for clip in data.clips) == {f"s{n}": 4 for n in range(10)}
    assert groups_of(data, data.split().validation).isdisjoint(groups_of(data, data.split().train))
    assert data.ungrouped() is None
    write_text(tmp_path / "a.csv", "file_name,label,group", rows[0], "1.wav,b,")
    with pytest.raises(DataError, match="line 3: group is empty"):
        load_data(tmp_path / "a.csv")


def test_published_layouts_know_their_groups(tmp_path: Path) -> None:
    groups = {"esc50": "1000", "urbansound8k": "1001", "fluent_speech": "speaker0", "speech_commands": "00000000"}
    for name, group in groups.items():
        assert load_data(LAYOUTS[name].write_example(tmp_path / name)).clips[0].group == group


def test_groups_in_several_splits_or_folds_are_warned_of(tmp_path: Path) -> None:
    rows = ["a.wav,x,train,ann", "b.wav,y,test,ann", "c.wav,y,train,ben", "d.wav,x,test,cem"]
    data = load_data(write_text(tmp_path / "a.csv", "file_name,label,split,group", *rows))
    assert data.notices == (
        "Warning: 1 group is in several splits or folds, so scores may be too good: group ann is in test, train",
    )
    folds = ["a.wav,x,1,ann", "b.wav,y,2,ann", "c.wav,y,1,ben", "d.wav,x,2,ben"]
    (notice,) = load_data(write_text(tmp_path / "b.csv", "file_name,label,fold,group", *folds)).notices
    assert "2 groups are in several splits or folds" in notice


def test_columns_that_look_like_groups() -> None:
    columns = [
        "speaker",
        "Speaker ID",
        "session_id",
        "src_file",
        "device",
        "transcription",
        "note",
        "gender",
        "client_id",
    ]
    assert group_like(columns) == ("speaker", "Speaker ID", "session_id", "src_file", "device", "client_id")


def test_a_hold_out_without_groups_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = []
    for n in range(8):
        write_tone(tmp_path / f"{n}.wav", pitch=300 + 20 * n)
        rows.append(f"{n}.wav,{'ab'[n % 2]},s{n // 2}")
    file = write_text(tmp_path / "a.csv", "file_name,label,speaker", *rows)
    said = (
        "nothing says which clips share a speaker, session or device (column group of a table): "
        "if speaker does, rename it to group"
    )
    code, _, err = run(capsys, monkeypatch, "data", "check", file)
    assert code == 0
    assert f"Warning: a tenth of training will be held out to choose the epoch, and {said}" in err
    fields = {"data": str(file), "backbone": "random:tiny", "method": "linear", "num_train_epochs": 1}
    train(TrainConfig(**fields, output_dir=tmp_path / "out"))
    assert f"are held out to choose the epoch; {said}" in capsys.readouterr().err
    grouped = write_text(tmp_path / "b.csv", "file_name,label,group", *rows)
    code, _, err = run(capsys, monkeypatch, "data", "check", grouped)
    assert code == 0
    (line,) = err.splitlines()
    assert line.startswith(
        "Note: the log-Mel energies"
    )  # of bare tones, which are nothing like what the backbone knows


def test_nothing_is_said_where_nothing_is_drawn(tmp_path: Path) -> None:
    rows = [f"{split}{n}.wav,{'ab'[n]},{split}" for split in ("train", "validation") for n in range(2)]
    assert load_data(write_text(tmp_path / "a.csv", "file_name,label,split", *rows)).ungrouped() is None
    assert load_data(write_esc50(tmp_path / "esc")).ungrouped() is None


def test_spoken_digits_by_speaker(real_audio: Path) -> None:
    """Four folds of one speaker each: with their column named group, the held-out tenth is an unseen speaker."""
    digits = load_data(real_audio / "spoken_digits")
    speakers = [clip.name.split("_")[1] for clip in digits.clips]
    grouped = replace(
        digits,
        clips=tuple(replace(c, fold=None, group=s) for c, s in zip(digits.clips, speakers, strict=True)),
    )
    split = grouped.split()
    assert (len(split.train), len(split.validation)) == (1500, 500)
    assert len(groups_of(grouped, split.validation)) == 1


def test_groups_of_two_unicode_forms_are_one(tmp_path: Path) -> None:
    rows = [f"{n}.wav,{label},{group}" for n, (label, group) in enumerate([("x", "Zo\u00eb"), ("y", "Zoe\u0308 ")])]
    assert {clip.group for clip in load_data(write_text(tmp_path / "a.csv", "file_name,label,group", *rows)).clips} == {
        "Zo\u00eb"
    }


def test_values_of_a_speaker_column_in_several_splits_are_said(tmp_path: Path) -> None:
    rows = ["a.wav,x,train,ann", "b.wav,y,train,ben", "c.wav,x,test,ann", "d.wav,y,test,cem"]
    said = (
        "Note: 1 of 3 values of column speaker occur in several splits or folds (ann): "
        "where clips of one value are alike, scores are too good"
    )
    assert said in load_data(write_text(tmp_path / "a.csv", "file_name,label,split,speaker", *rows)).notices
    folds = [row.replace("train", "1").replace("test", "2") for row in rows]
    assert said in load_data(write_text(tmp_path / "b.csv", "file_name,label,fold,speaker", *folds)).notices
    header = "file_name,label,speaker"
    for split in ("train", "test"):
        mine = [row.replace(f",{split}", "") for row in rows if split in row]
        write_text(tmp_path / "hf" / split / "metadata.csv", header, *mine)
    assert said in load_data(tmp_path / "hf").notices
    apart = [row.replace("c.wav,x,test,ann", "c.wav,x,test,dan") for row in rows]
    notices = load_data(write_text(tmp_path / "c.csv", "file_name,label,split,speaker", *apart)).notices
    assert notices == ("Note: 1 column was passed over: speaker",)


def parts(*spans: tuple[float, float | None, str | None]) -> AudioDataset:
    """Parts of one recording, of two classes in turn, each with two files of its own beside it."""
    made = [
        Clip(f"{path} {n}", Path(path), ("no" if n % 2 else "yes",), start=start, end=end, group=group)
        for n, (start, end, group) in enumerate(spans)
        for path in ("long.wav", f"{n}.wav", f"{n} again.wav")
    ]
    return dataset(*made)


@given(
    st.lists(
        st.tuples(st.integers(0, 12), st.integers(1, 5), st.sampled_from([None, "a", "b", "c", "d"])),
        min_size=2,
        max_size=9,
    ),
    st.integers(0, 3),
)
def test_clips_that_share_sound_or_a_group_are_on_one_side(spans: list[tuple[int, int, str | None]], seed: int) -> None:
    """Whatever a table says of groups: what chooses the epoch is not heard in training, unless the notice warns."""
    data = parts(*((float(start), float(start + length), group) for start, length, group in spans))
    split = data.split(seed=seed)
    if "on both sides" in str(split.notice):
        return
    for one in split.validation:
        for other in split.train:
            a, b = data.clips[one], data.clips[other]
            assert a.group is None or a.group != b.group
            assert a.path != b.path or (a.end or 0) <= (b.start or 0) or (b.end or 0) <= (a.start or 0)


def test_groups_of_which_clips_overlap_are_one() -> None:
    data = parts((0, 2, "a"), (1, 3, "b"), (3, 4, "c"), (8, None, None), (9, 10, "d"))
    keys = group_keys(data.clips, range(len(data.clips)))
    by_group = {
        data.clips[number].group: key for number, key in keys.items() if data.clips[number].path.name == "long.wav"
    }
    assert by_group["a"] == by_group["b"] != by_group["c"]
    assert by_group[None] == by_group["d"]


def test_overlapping_clips_in_several_splits_are_warned_of(tmp_path: Path) -> None:
    write_tone(tmp_path / "a.wav", seconds=4.0)
    rows = ["a.wav,0,2,x,train,ann", "a.wav,1,3,y,test,ben", "a.wav,3,4,y,train,cem", "a.wav,2.5,2.9,x,test,ben"]
    data = load_data(write_text(tmp_path / "a.csv", "file_name,start,end,label,split,group", *rows))
    assert data.notices == (
        "Warning: clips of 1 stretch of sound overlap and are in several splits or folds, so scores may be too good: "
        "a.wav 0.000-2.000 and those that overlap it are in test, train",
    )
