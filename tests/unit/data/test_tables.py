"""Tables that are easily misread: refused by line, or understood and announced."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from astune.data import LAYOUTS, load_data
from astune.data.columns import part_columns
from astune.data.rows import read_rows
from astune.errors import DataError
from tests.example_layouts import (
    write_fluent_speech,
    write_speech_commands,
    write_text,
    write_tone,
    write_urbansound8k,
)
from tests.unit.data.refusals import refusal, table

if TYPE_CHECKING:
    from pathlib import Path


def objects(file: Path, *rows: dict[str, Any]) -> Path:
    return write_text(file, *map(json.dumps, rows))


def test_more_cells_than_columns(tmp_path: Path) -> None:
    file = table(tmp_path, "file_name,label", "a.wav,song, distant", "b.wav,song", "c.wav,song, near,x")
    assert refusal(file).splitlines() == [
        f"{file}: 2 faults",
        "  - line 2: 3 cells under a header of 2; quote a cell that holds a comma",
        "  - line 4: 4 cells under a header of 2; quote a cell that holds a comma",
    ]
    spreadsheet = table(tmp_path, "file_name,label", "a.wav,dog,,", "b.wav,cat, ,")
    assert load_data(spreadsheet).labels == ("cat", "dog")
    quoted = table(tmp_path, "file_name,label", 'a.wav,"song, distant"', 'b.wav,"song ""near"""')
    assert load_data(quoted).labels == ('song "near"', "song, distant")


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    file = table(tmp_path, "file_name,label, label ,note,note,,", "a.wav,A,x,,,,")
    assert refusal(file).splitlines()[1:] == ["  - 2 columns are named label", "  - 2 columns are named note"]


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        (['a.wav,"low', "b.wav,low", "c.wav,high"], "line 2: a quote is opened in this line and never closed"),
        (
            ["a.wav,x", "", 'b.wav,"low', 'c.wav,high"', "d.wav,x"],
            "line 4: a cell goes over several lines; is a quote not closed?",
        ),
        (
            ["a.wav,x", 'b.wav,"low', 'c.wav,"high"'],
            "line 3: there is text after a closing quote; double a quote inside of a cell",
        ),
        (['a.wav,"low" x'], "line 2: there is text after a closing quote"),
    ],
)
def test_quotes(tmp_path: Path, lines: list[str], fault: str) -> None:
    assert fault in refusal(table(tmp_path, "file_name,label", *lines))


def test_published_tables_are_read_as_strictly(tmp_path: Path) -> None:
    for layout, name in (("esc50", "meta/esc50.csv"), ("urbansound8k", "metadata/UrbanSound8K.csv")):
        file = LAYOUTS[layout].write_example(tmp_path / layout) / name
        whole = file.read_text().splitlines()
        write_text(file, *whole[:2], f"{whole[2]},more", *whole[3:])
        assert f"line 3: {len(whole[0].split(',')) + 1} cells under a header of {len(whole[0].split(','))}" in refusal(
            file.parents[1]
        )
        write_text(file, *whole[:2], f'"{whole[2]}', *whole[3:])
        assert "line 3: a quote is opened in this line and never closed" in refusal(file.parents[1])


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (
            "file_name,label\na.wav,b\n".encode("utf-16")[:-1],
            "it is not UTF-16 text (byte 0x0a in line 2); save it as UTF-8",
        ),
        (b"file_name,label\na.wav,caf\xe9\n", "it is not UTF-8 text (byte 0xe9 in line 2); save it as UTF-8"),
        (b"file_name,label\na.wav,d\0g\n", "line 2 holds a NUL character"),
    ],
)
def test_other_texts(tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / "clips.csv").write_bytes(content)
    assert fault in refusal(tmp_path / "clips.csv")


def test_an_empty_table(tmp_path: Path) -> None:
    assert "a.csv: it is empty" in refusal(write_text(tmp_path / "a.csv"))


@pytest.mark.parametrize(("mark", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_other_separators_and_encodings_are_read(tmp_path: Path, mark: str, name: str, encoding: str) -> None:
    (tmp_path / "clips.csv").write_text(
        f"file_name{mark}label{mark}group\na.wav{mark}café{mark}1\nb.wav{mark}x,y{mark}2\n", encoding=encoding
    )
    dataset = load_data(tmp_path / "clips.csv")
    assert [(clip.name, clip.label, clip.group) for clip in dataset.clips] == [
        ("a.wav", "café", "1"),
        ("b.wav", "x,y", "2"),
    ]
    assert f"Note: clips.csv is separated by {name}" in dataset.notices


def test_the_line_with_which_excel_names_the_separator(tmp_path: Path) -> None:
    file = table(tmp_path, "sep=;", "file_name;label", "a.wav;dog", "b.wav;")
    assert refusal(file) == f"{file}: line 4: label is empty"


def test_published_tables_keep_their_separator(tmp_path: Path) -> None:
    write_urbansound8k(tmp_path)
    file = next(tmp_path.rglob("UrbanSound8K.csv"))
    file.write_text(file.read_text(encoding="utf-8").replace(",", ";"), encoding="utf-8")
    assert "it is separated by semicolons: save it with commas" in refusal(f"urbansound8k:{tmp_path}")


def test_a_table_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_rows(tmp_path)


def test_other_columns_are_not_taken_for_parts() -> None:
    columns = [
        "duration",
        "endangered",
        "offset_printing",
        "start_date",
        "min",
        "max",
        "begin_file",
        "vendor",
        "weekend",
    ]
    assert part_columns(columns) is None


def test_published_starts_and_ends_are_those_of_the_source_recording(tmp_path: Path) -> None:
    assert len(load_data(write_urbansound8k(tmp_path)).clips) == 40


def test_backslashes_are_folders_and_announced(tmp_path: Path) -> None:
    write_tone(tmp_path / "audio" / "dog.wav")
    write_tone(tmp_path / "odd\\name.wav")
    dataset = load_data(
        table(tmp_path, "file_name,label", "audio\\dog.wav,dog", "odd\\name.wav,cat", "x\\y\\z.wav,owl")
    )
    assert {clip.label: clip.name for clip in dataset.clips} == {
        "dog": "audio/dog.wav",
        "cat": "odd\\name.wav",
        "owl": "x/y/z.wav",
    }
    assert dataset.notices == (
        "Note: 2 names have backslashes between folders and file: audio\\dog.wav is read as audio/dog.wav",
    )


@pytest.mark.parametrize("path", ["C:\\audio\\a.wav", "D:/audio/a.wav", "\\\\server\\share\\a.wav"])
def test_windows_paths_are_refused_by_line(tmp_path: Path, path: str) -> None:
    message = refusal(table(tmp_path, "file_name,label", "b.wav,dog", f"{path},dog"))
    assert f"line 3: {path} is a path of Windows" in message


def test_lists_and_published_tables_understand_backslashes(tmp_path: Path) -> None:
    speech = write_speech_commands(tmp_path / "speech")
    before = load_data(speech)
    listed = speech / "testing_list.txt"
    listed.write_text(listed.read_text().replace("/", "\\"))
    assert load_data(speech).clips == before.clips
    assert load_data(speech).notices[-1].startswith("Note: 2 names have backslashes between folders and file: yes\\")
    write_text(listed, "C:\\yes\\00000000_nohash_0.wav")
    assert "line 1: C:\\yes\\00000000_nohash_0.wav is a path of Windows" in refusal(speech)
    fluent = write_fluent_speech(tmp_path / "fluent")
    before = load_data(fluent)
    file = fluent / "data" / "test_data.csv"
    file.write_text(file.read_text().replace("wavs/speakers/", "wavs\\speakers\\"))
    assert load_data(fluent).clips == before.clips


def test_a_drive_is_no_layout() -> None:
    message = refusal("C:\\Users\\me\\recordings")
    assert message.startswith("there is no 'C:\\Users\\me\\recordings' (looked in ")
    assert "a Windows path does not work here" in message
    assert len(message.splitlines()) == 3  # a slip of the hand is not answered with the trees of all layouts


def test_a_file_named_twice_in_other_words(tmp_path: Path) -> None:
    message = refusal(table(tmp_path, "file_name,label,split", "a/x.wav,dog,train", "a\\..\\a\\x.wav,dog,test"))
    assert (
        f"{tmp_path / 'a' / 'x.wav'} is named 2 times; if rows are parts of recordings, name the columns of times start"
        in message
    )


def test_json_lines(tmp_path: Path) -> None:
    """Hugging Face's audio folder: metadata.jsonl beside data/."""
    rows: list[dict[str, Any]] = [
        {"file_name": "data/a.wav", "label": "low", "split": "train", "text": "one\ntwo", "boxes": [1, {"x": None}]},
        {"file_name": "data/b.wav", "label": 7, "split": "test"},
    ]
    objects(tmp_path / "metadata.jsonl", *rows)
    dataset = load_data(tmp_path)
    assert dataset.source == f"csv:{tmp_path / 'metadata.jsonl'}"
    assert [(clip.name, clip.label, clip.split) for clip in dataset.clips] == [
        ("data/a.wav", "low", "train"),
        ("data/b.wav", "7", "test"),
    ]
    assert load_data(tmp_path / "metadata.jsonl") == dataset
    write_text(tmp_path / "metadata.csv", "file_name,label", "data/a.wav,low")
    assert load_data(tmp_path).notices == ("Note: 1 table beside one that is read was passed over: metadata.jsonl",)


def test_json_lines_name_all_faults(tmp_path: Path) -> None:
    lines = [
        '{"file_name": "a.wav", "label": "x"}', "", '{"file_name": "b.wav", "label": "x"', '["c.wav"]',
        '{"file_name": "d.wav", "label": "x", "label": "y"}', '{"file_name": "e.wav", "label": ["x", 0.5]}',
        '{"file_name": "f.wav", "label": true}',
    ]  # fmt: skip
    message = refusal(write_text(tmp_path / "a.jsonl", *lines))
    assert [line.partition(" (")[0] for line in message.splitlines()[1:]] == [
        "  - line 3: it is not JSON",
        "  - line 4: it is not a JSON object",
        "  - line 5: 2 columns are named label",
        '  - line 6: label is ["x", 0.5], neither text nor a number',
        "  - line 7: label is true, neither text nor a number",
    ]
    assert "line 1: it is not JSON" in refusal(write_text(tmp_path / "deep.jsonl", "[" * 100_000))
    message = refusal(objects(tmp_path / "b.jsonl", {"file_name": "a.wav", "label": None}, {"label": "x"}))
    assert "line 1: label is empty" in message
    assert "line 2: file_name is empty" in message


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_tables_inside_of_split_folders(tmp_path: Path, kind: str) -> None:
    for split, count in (("train", 2), ("dev", 1), ("test", 2)):
        rows = [{"file_name": f"{label}{n}.wav", "label": label} for label in ("low", "high") for n in range(count)]
        if kind == "csv":
            lines = [f"{row['file_name']},{row['label']}" for row in rows]
            write_text(tmp_path / split / "metadata.csv", "file_name,label", *lines)
        else:
            objects(tmp_path / split / "metadata.jsonl", *rows)
        for row in rows:
            write_tone(tmp_path / split / row["file_name"])
    write_tone(tmp_path / "test" / "extra.wav")
    dataset = load_data(tmp_path)
    split_of = dataset.split()
    assert (len(split_of.train), len(split_of.validation), len(split_of.test)) == (4, 2, 4)
    assert dataset.source == f"csv:{tmp_path}"
    assert dataset.clips[0].name == "dev/high0.wav"
    assert all(clip.path.is_file() for clip in dataset.clips)
    assert dataset.notices == ("Note: 1 recording that no row names was passed over: test/extra.wav",)
    write_tone(tmp_path / "dog" / "x.wav")
    assert (
        "2 recordings that no row names were passed over: dog/x.wav, test/extra.wav" in load_data(tmp_path).notices[0]
    )
    write_tone(tmp_path / "eval" / "x.wav")
    assert "is eval/ validation or test?" in refusal(tmp_path)
    (tmp_path / "eval").rename(tmp_path / "validation")
    assert "validation: there are recordings and no metadata.csv, which other split folders have" in refusal(tmp_path)


def test_split_folders_whose_tables_name_splits(tmp_path: Path) -> None:
    write_text(tmp_path / "train" / "metadata.csv", "file_name,label,split", "a.wav,x,test")
    assert "the folder says that these clips are train" in refusal(tmp_path)


def test_the_table_of_one_split_folder(tmp_path: Path) -> None:
    write_text(tmp_path / "test" / "metadata.csv", "file_name,label", "a.wav,x")
    dataset = load_data(tmp_path)
    assert [(clip.name, clip.split) for clip in dataset.clips] == [("test/a.wav", "test")]
    assert load_data(dataset.source) == dataset


def test_faults_in_tables_of_split_folders_name_the_file(tmp_path: Path) -> None:
    write_text(tmp_path / "train" / "metadata.csv", "file_name,label", "a.wav,1")
    file = write_text(tmp_path / "test" / "metadata.csv", "file_name,label", "b.wav,1.0", ",1")
    assert refusal(tmp_path) == f"{file}: line 3: file_name is empty"
    write_text(file, "file_name,label", "b.wav,1.0", "../train/a.wav,1")
    assert f"{tmp_path / 'train' / 'a.wav'} is named 2 times" in refusal(tmp_path)
    write_text(file, "file_name,label", "b.wav,1.0")
    assert "labels '1' (train/metadata.csv line 2) and '1.0' (test/metadata.csv line 2) are the same number" in refusal(
        tmp_path
    )


def test_parquet_tables_beside_recordings(tmp_path: Path) -> None:
    for label in ("low", "high"):
        write_tone(tmp_path / label / "a.wav")
    (tmp_path / "stats.parquet").write_bytes(b"PAR1")
    assert load_data(tmp_path).source.startswith("folder:")
    (tmp_path / "metadata.parquet").write_bytes(b"PAR1")
    message = refusal(tmp_path)
    assert f"{tmp_path / 'metadata.parquet'}: tables of parquet beside recordings are not read" in message
    write_tone(tmp_path / "b" / "train" / "a.wav")
    (tmp_path / "b" / "train" / "metadata.parquet").write_bytes(b"PAR1")
    assert "tables of parquet beside recordings are not read" in refusal(tmp_path / "b")


def test_a_table_of_other_things_beside_class_folders(tmp_path: Path) -> None:
    for label in ("low", "high"):
        write_tone(tmp_path / label / "a.wav")
    write_text(tmp_path / "metadata.csv", "file_name,transcription", "low/a.wav,hello")
    assert "has no column label; folder:PATH reads the class folders" in refusal(tmp_path)
    assert load_data(f"folder:{tmp_path}").labels == ("high", "low")


def test_a_folder_that_is_refused_by_the_system_is_no_traceback(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may list every folder")
    tmp_path.chmod(0)
    try:
        assert "cannot be listed" in refusal(tmp_path)
    finally:
        tmp_path.chmod(0o755)


@pytest.mark.parametrize(
    ("name", "cells", "meant"),
    [
        ("Split", ("a", "b"), "split"), ("subset", ("train", "test"), "split"), ("partition", ("Training", "eval"), "split"),
        ("is_test", ("0", "1"), "split"), ("Fold", ("1", "2"), "fold"), ("cv_fold", ("1", "2"), "fold"),
        ("valid", ("yes", "no"), None), ("source", ("test", "test"), None), ("quality", ("train", "good"), None),
    ],
)  # fmt: skip
def test_columns_that_divide_under_another_name(
    tmp_path: Path, name: str, cells: tuple[str, str], meant: str | None
) -> None:
    file = table(tmp_path, f"file_name,label,{name}", *(f"{cell}{n}.wav,dog,{cell}" for n, cell in enumerate(cells)))
    if meant:
        assert (
            f"column {name} seems to divide the clips, and it would not be used; write it as column {meant}"
            in refusal(file)
        )
    else:
        assert f"Note: 1 column was passed over: {name}" in load_data(file).notices
    divided = table(
        tmp_path, f"file_name,label,fold,{name}", *(f"{n}.wav,dog,{n},{cell}" for n, cell in enumerate(cells))
    )
    if meant != "fold":
        assert f"Note: 1 column was passed over: {name}" in load_data(divided).notices


@pytest.mark.parametrize("key", ["split", "fold", "group"])
def test_an_object_that_lacks_a_key_is_a_fault(tmp_path: Path, key: str) -> None:
    """Else a clip without split would train among others that test."""
    file = objects(
        tmp_path / "a.jsonl", {"file_name": "a.wav", "label": "x", key: 1}, {"file_name": "b.wav", "label": "y"}
    )
    assert f"line 2: {key} is " in refusal(file)


def test_missing_values_of_pandas(tmp_path: Path) -> None:
    file = objects(tmp_path / "a.jsonl", {"file_name": "a.wav", "label": float("nan")})
    assert refusal(file) == f"{file}: line 1: label is NaN, neither text nor a number"
    rows = table(tmp_path, "file_name,label,group", "a.wav,x,ann", "b.wav,y,nan")
    assert "a group is named 'nan', as a missing value is (b.wav)" in refusal(rows)


def test_a_header_in_the_middle(tmp_path: Path) -> None:
    file = table(tmp_path, "file_name,label", "a.wav,x", "file_name,label", "b.wav,y")
    assert refusal(file) == f"{file}: line 3: the header is there a second time; remove this line"


def test_a_name_in_the_other_form_of_unicode(tmp_path: Path) -> None:
    write_tone(tmp_path / "cafe\u0301.wav")  # as macOS writes it
    dataset = load_data(table(tmp_path, "file_name,label", "caf\u00e9.wav,x", "b.wav,y"))
    assert dataset.clips[1].path.is_file()
    assert any("1 name has another form of Unicode than the file" in notice for notice in dataset.notices)


def test_tables_in_the_folder_data(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_text(tmp_path / "data" / split / "metadata.csv", "file_name,label", "a.wav,x", "b.wav,y")
        write_tone(tmp_path / "data" / split / "a.wav")
    assert [clip.split for clip in load_data(tmp_path).clips] == ["test", "test", "train", "train"]
    write_text(tmp_path / "data" / "metadata.csv", "file_name,label", "train/a.wav,x", "train/b.wav,y")
    (notice, *_) = load_data(tmp_path).notices
    assert notice == "Note: 2 tables beside one that is read were passed over: test/metadata.csv, train/metadata.csv"
