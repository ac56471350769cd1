"""Layouts as found on disk: folder, csv, esc50; recognition; messages."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from astune.data import LAYOUTS, load_data
from astune.data.generated import TASKS
from astune.errors import ConfigError, DataError
from tests.example_layouts import write_csv, write_esc50, write_text, write_tone
from tests.unit.data.refusals import refusal, table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_folder_a_class(tmp_path: Path) -> None:
    for name in ("rain/b.wav", "dog/a.wav", "dog/deep/er/c.FLAC", ".hidden/d.wav", "dog/.e.wav", "dog/notes.txt"):
        write_tone(tmp_path / name) if not name.endswith("txt") else write_text(tmp_path / name, "no audio")
    dataset = load_data(tmp_path)
    assert [(clip.name, clip.label, clip.split, clip.fold) for clip in dataset.clips] == [
        ("dog/a.wav", "dog", None, None),
        ("dog/deep/er/c.FLAC", "dog", None, None),
        ("rain/b.wav", "rain", None, None),
    ]
    assert dataset.labels == ("dog", "rain")
    assert dataset.targets == (0, 0, 1)


def test_generated_sounds_have_the_splits_they_were_written_in(generated: Path) -> None:
    dataset = load_data(generated)
    split = dataset.split()
    assert dataset.labels == tuple(sorted(TASKS["environment"]))
    # 12 clips of each of 6 classes, 2 : 1 : 1
    assert (len(split.train), len(split.validation), len(split.test)) == (36, 18, 18)
    assert split.notice is None
    assert {dataset.clips[clip].name.partition("/")[0] for clip in split.test} == {"test"}


@pytest.mark.parametrize(
    ("folders", "validation"),
    [(("train", "val", "test"), 2), (("Train", "Valid", "TEST"), 2), (("training", "validation", "testing"), 2)],
)
def test_split_folders_by_their_usual_names(tmp_path: Path, folders: tuple[str, ...], validation: int) -> None:
    for folder in folders:
        for label in ("dog", "rain"):
            write_tone(tmp_path / folder / label / "a.wav")
    dataset = load_data(tmp_path)
    assert dataset.labels == ("dog", "rain")
    split = dataset.split()
    assert (len(split.train), len(split.validation), len(split.test)) == (2, validation, 2)


def test_trains_may_be_a_class(tmp_path: Path) -> None:
    for label in ("train", "tram"):
        write_tone(tmp_path / label / "a.wav")
    assert load_data(tmp_path).labels == ("train", "tram")


def test_split_folders_beside_classes_are_refused(tmp_path: Path) -> None:
    for name in ("train/dog/a.wav", "test/dog/a.wav", "rain/a.wav"):
        write_tone(tmp_path / name)
    assert "split folders (test) and class folders (rain) are in the same folder" in refusal(tmp_path)


def test_a_test_folder_alone_can_be_evaluated(tmp_path: Path) -> None:
    for name in ("test/dog/a.wav", "test/rain/a.wav"):
        write_tone(tmp_path / name)
    split = load_data(tmp_path).split()
    assert (split.train, split.validation, split.test, split.notice) == ((), (), (0, 1), None)


def test_one_class_can_be_evaluated(tmp_path: Path) -> None:
    write_tone(tmp_path / "dog" / "a.wav")
    assert load_data(tmp_path).labels == ("dog",)


def test_csv_columns(tmp_path: Path) -> None:
    elsewhere = write_tone(tmp_path / "elsewhere.wav")
    file = table(
        tmp_path / "in",
        "label , file_name,note,split",
        "dog,a.wav,x,train",
        f"rain,{elsewhere},y,val",
        "dog,b.wav,,TEST",
    )
    dataset = load_data(file)
    found = {clip.name: (clip.path, clip.label, clip.split) for clip in dataset.clips}
    assert found == {
        "a.wav": (tmp_path / "in" / "a.wav", "dog", "train"),
        "b.wav": (tmp_path / "in" / "b.wav", "dog", "test"),
        elsewhere.name: (elsewhere, "rain", "validation"),
    }


def test_csv_with_a_byte_order_mark_and_blank_lines(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_bytes(b"\xef\xbb\xbffile_name,label\r\n\r\na.wav,dog\r\nb.wav,rain\r\n")
    assert load_data(tmp_path).labels == ("dog", "rain")


def test_csv_names_all_faults_with_their_lines(tmp_path: Path) -> None:
    file = table(
        tmp_path,
        "file_name,label,split",
        "a.wav,dog,train",
        ",dog,train",
        "c.wav,,trian",
        "",
        "e.wav,rain,",
        "f.wav,rain",
    )
    message = refusal(file)
    assert message.splitlines() == [
        f"{file}: 5 faults",
        "  - line 3: file_name is empty",
        "  - line 4: label is empty",
        "  - line 4: unknown split 'trian'; choose one of: train, validation, test; did you mean 'train'?",
        "  - line 6: split is empty",
        "  - line 7: split is empty",
    ]


def test_csv_counts_the_faults_beyond_ten(tmp_path: Path) -> None:
    lines = refusal(table(tmp_path, "file_name,label,fold", *(f"{n}.wav,dog,x{n}" for n in range(13)))).splitlines()
    assert lines[1] == "  - line 2: fold is 'x0', not a whole number"
    assert len(lines) == 12
    assert "13 faults" in lines[0]
    assert lines[-1] == "  - and 3 more"


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        (
            "thing,label",
            "the header (thing, label) has no column file_name; if it has another name, give it as file_column",
        ),
        ("a.wav,dog", "has no column file_name and no column label; is the first line a row already?"),
        ("a;b", "no column file_name and no column label"),
        ("file_name,label,split,fold", "both a column split and a column fold"),
        ("file_name,label", "it has no rows"),
    ],
)
def test_csv_header_faults_show_the_layout(tmp_path: Path, header: str, fault: str) -> None:
    message = refusal(table(tmp_path, header))
    assert fault in message
    assert "csv:PATH expects" in message


def test_csv_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_bytes(b"\xff\xfe\x00labels")
    assert "not a readable CSV file" in refusal(tmp_path / "clips.csv")


def test_a_file_named_twice_is_refused(tmp_path: Path) -> None:
    message = refusal(table(tmp_path, "file_name,label", "a.wav,dog", "./a.wav,rain"))
    assert f"{tmp_path / 'a.wav'} is named 2 times" in message


def test_esc50_reads_any_suffix_and_ranks_targets(tmp_path: Path) -> None:
    dataset = load_data(write_esc50(tmp_path, suffix=".ogg"))
    assert dataset.labels == ("rain", "dog")  # targets 0 and 7
    assert len(dataset.clips) == 20
    assert dataset.folds == (1, 2, 3, 4, 5)
    assert {clip.path.suffix for clip in dataset.clips} == {".ogg"}
    assert dataset.clips[0].name == "1-10001-A-0"
    assert (dataset.recipe.max_length, dataset.recipe.num_train_epochs, dataset.recipe.time_mask) == (500, 50, 80)


def test_esc50_passes_over_files_that_are_no_audio(tmp_path: Path) -> None:
    write_esc50(tmp_path)
    write_text(tmp_path / "audio" / "1-10001-A-0.xml", "a note about the clip")
    assert {clip.path.suffix for clip in load_data(tmp_path).clips} == {".wav"}


def test_esc50_names_lost_files(tmp_path: Path) -> None:
    write_esc50(tmp_path)
    (tmp_path / "audio" / "3-10003-B-0.wav").unlink()
    message = refusal(tmp_path)
    assert "1 of 20 files named there is missing: audio/3-10003-B-0.wav" in message
    assert "meta/esc50.csv" in message


def test_esc50_names_all_bad_lines(tmp_path: Path) -> None:
    file = write_esc50(tmp_path) / "meta" / "esc50.csv"
    lines = file.read_text().splitlines()
    lines[2], lines[4] = lines[2].replace(",1,0,", ",one,0,"), lines[4].replace(",7,", ",,")
    write_text(file, *lines)
    message = refusal(tmp_path)
    assert "line 3: fold is 'one', not a whole number" in message
    assert "line 5: target is '', not a whole number" in message


@pytest.mark.parametrize(("old", "new"), [(",7,dog,", ",0,dog,"), (",0,rain,", ",0,dog,"), ("1,7,dog,", "1,7,rain,")])
def test_esc50_target_and_category_must_agree(tmp_path: Path, old: str, new: str) -> None:
    file = write_esc50(tmp_path) / "meta" / "esc50.csv"
    file.write_text(file.read_text().replace(old, new))
    assert "target and category do not name the same classes" in refusal(tmp_path)


def test_esc50_columns(tmp_path: Path) -> None:
    write_text(tmp_path / "meta" / "esc50.csv", "filename,target")
    assert "no column fold and no column category" in refusal(tmp_path)


def test_bare_paths_are_tried_special_layouts_first(tmp_path: Path) -> None:
    both = write_csv(write_esc50(tmp_path / "esc"))
    assert load_data(both).source == f"esc50:{both}"
    assert load_data(f"csv:{both}").source == f"csv:{both / 'metadata.csv'}"
    assert load_data(write_csv(tmp_path / "table")).source.startswith("csv:")


def test_unknown_layout_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown data layout 'esc5O'; choose one of: .*; did you mean 'esc50'\?"):
        load_data(f"esc5O:{tmp_path}")


def test_a_colon_in_a_path_is_no_layout(tmp_path: Path) -> None:
    for label in ("dog", "rain"):
        write_tone(tmp_path / "sunday:morning" / label / "a.wav")
    assert len(load_data(str(tmp_path / "sunday:morning")).clips) == 2


def test_nothing_there_is_three_lines_with_the_mistake_first(tmp_path: Path) -> None:
    (tmp_path / "recordings").mkdir()
    message = refusal(tmp_path / "recordingz")
    first, *more = message.splitlines()
    assert first.startswith(f"there is no '{tmp_path / 'recordingz'}'")
    assert first.endswith(f"did you mean '{tmp_path / 'recordings'}'?")
    assert len(more) == 2
    assert "`astune data layouts`" in more[1]


def test_a_misspelt_path_of_a_layout_is_three_lines(tmp_path: Path) -> None:
    (tmp_path / "ESC-50").mkdir()
    with pytest.raises(DataError) as raised:
        load_data(f"esc50:{tmp_path / 'ESC50' / 'audio'}")
    first, *more = str(raised.value).splitlines()
    assert "there is no such file or folder" in first
    assert f"did you mean '{tmp_path / 'ESC-50'}'?" in first
    assert len(more) == 2


def test_nothing_alike_is_not_guessed(tmp_path: Path) -> None:
    assert "did you mean" not in refusal(tmp_path / "nowhere")


def test_a_folder_of_loose_files_is_in_no_layout(tmp_path: Path) -> None:
    write_tone(tmp_path / "a.wav")
    message = refusal(tmp_path)
    assert f"is not in a known layout: {', '.join(LAYOUTS)}" in message
    assert len(message.splitlines()) == 3


def test_the_home_folder_may_be_written_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_csv(tmp_path / "table")
    assert load_data("~/table") == load_data("csv:~/table")


def test_order_does_not_come_from_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pathlib import Path as AnyPath

    write_esc50(tmp_path / "esc")
    for label in ("b", "a"):
        for name in ("2.wav", "1.wav"):
            write_tone(tmp_path / "classes" / label / name)
    before = [load_data(tmp_path / name) for name in ("esc", "classes")]
    for method in ("iterdir", "glob", "rglob"):
        monkeypatch.setattr(AnyPath, method, _backwards(getattr(AnyPath, method)))
    scandir = os.scandir
    assert next(AnyPath(tmp_path / "classes").iterdir()).name == "b"
    assert [load_data(tmp_path / name) for name in ("esc", "classes")] == before
    assert os.scandir is scandir


def _backwards(method: object) -> object:
    def reverse(self: Path, *given: str) -> Iterator[Path]:
        return iter(sorted(method(self, *given), reverse=True))  # type: ignore[operator]

    return reverse


def test_esc10(real_audio: Path) -> None:
    dataset = load_data(real_audio / "esc10")
    assert (len(dataset.clips), len(dataset.labels), dataset.folds) == (400, 10, (1, 2, 3, 4, 5))
    for fold in dataset.folds:  # 5 folds of 80, in which the 10 classes are balanced
        split = dataset.split(fold)
        assert (len(split.train), len(split.validation), len(split.test)) == (240, 80, 80)
        assert {dataset.targets[clip] for clip in split.test} == set(range(10))


def test_spoken_digits(real_audio: Path) -> None:
    dataset = load_data(real_audio / "spoken_digits")
    assert (len(dataset.clips), dataset.labels) == (2000, tuple("0123456789"))
    for fold in dataset.folds:  # a fold is a speaker: 10 digits x 50 takes
        split = dataset.split(fold)
        assert (len(split.train), len(split.validation), len(split.test)) == (1350, 150, 500)
        assert len({dataset.clips[clip].name.split("_")[1] for clip in split.test}) == 1


def test_absolute_paths_do_not_name_the_machine(tmp_path: Path) -> None:
    names = []
    for root in ("one", "two/deeper"):
        folder = tmp_path / root
        for label in ("a", "b"):
            (folder / label).mkdir(parents=True)
            (folder / label / "x.wav").write_bytes(b"")
        rows = [f"{folder / label / 'x.wav'},{label}" for label in ("a", "b")]
        table = tmp_path / f"{root.replace('/', '-')}.csv"
        table.write_text("\n".join(["file_name,label", *rows]) + "\n")
        names.append([clip.name for clip in load_data(f"csv:{table}").clips])
    assert names == [["a/x.wav", "b/x.wav"]] * 2


def test_a_file_named_relative_and_absolute_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"")
    rows = ["file_name,label,split", "x.wav,a,train", f"{tmp_path / 'x.wav'},b,test"]
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    with pytest.raises(DataError, match="is named 2 times"):
        load_data(tmp_path / "t.csv")
