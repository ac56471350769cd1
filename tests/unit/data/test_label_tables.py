"""Tables whose rows are parts of recordings, under the names that columns usually have."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from astune.data import load_data
from astune.data.columns import choose_column, time_columns
from astune.errors import ConfigError, DataError
from tests.example_layouts import write_text, write_tone
from tests.unit.data.refusals import refusal, table

if TYPE_CHECKING:
    from pathlib import Path

    from astune.data import AudioDataset


def parts(dataset: AudioDataset) -> list[tuple[str, str, float | None, float | None]]:
    """Recording, label, start and end of each clip."""
    return [(clip.path.name, clip.label, clip.start, clip.end) for clip in dataset.clips]


def recordings(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        write_tone(folder / name, seconds=4.0, pitch=300 + 50 * number)


@pytest.mark.parametrize(
    "columns",
    [
        ("start", "end"), ("start_time", "end_time"), ("onset", "offset"), ("Begin Time (s)", "End Time (s)"),
        ("t_start", "t_end"), ("begin_time", "stop"), ("startSec", "endSec"), ("segment_start", "segment_end"),
        ("tmin", "tmax"), ("from", "to"), ("t0", "t1"), ("Beginn", "Ende"), ("début", "fin"),
        ("chunk_start", "chunk_end"), ("start_in_s", "end_in_s"),
        ("START", " End "), ("onset_s", "offset_s"),
    ],
)  # fmt: skip
def test_start_and_end_under_their_usual_names(tmp_path: Path, columns: tuple[str, str]) -> None:
    recordings(tmp_path, "a.wav")
    first, second = columns
    dataset = load_data(table(tmp_path, f"file_name,{second},label,{first}", "a.wav,1.5,low,0.25", "a.wav,3,high,2"))
    assert parts(dataset) == [("a.wav", "low", 0.25, 1.5), ("a.wav", "high", 2.0, 3.0)]
    exact = columns == ("start", "end")
    said = f"Note: clips.csv: columns {first.strip()} and {second.strip()} are read as start and end"
    assert (said in dataset.notices) is not exact


@pytest.mark.parametrize(
    ("header", "cells", "expected"),
    [
        ("start,duration", "0.5,1.25", (0.5, 1.75)),
        ("offset,duration", "0.5,1.25", (0.5, 1.75)),
        ("Begin Time (s),Delta Time (s)", "1,2", (1.0, 3.0)),
        ("start,end,duration", "0.5,1,7", (0.5, 1.0)),
        ("start_ms,end_ms", "500,1250", (0.5, 1.25)),
        ("start_s,duration_ms", "0.5,250", (0.5, 0.75)),
        ("start,end,start_sample", "0.5,1,4000", (0.5, 1.0)),
    ],
)
def test_lengths_and_units(tmp_path: Path, header: str, cells: str, expected: tuple[float, float]) -> None:
    recordings(tmp_path, "a.wav", "b.wav")
    dataset = load_data(table(tmp_path, f"file_name,label,{header}", f"a.wav,x,{cells}", f"b.wav,y,{cells}"))
    assert [(clip.start, clip.end) for clip in dataset.clips] == [pytest.approx(expected)] * 2


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        ("start_sample,end_sample", "column start_sample counts sample, and times are read in seconds"),
        ("begin_frame,end_frame", "column begin_frame counts frame, and times are read in seconds"),
        ("start_minutes,end_minutes", "column start_minutes counts minutes"),
        ("start", "column start says where a clip begins, and no column where it ends; add a column end"),
        ("Offset", "column Offset says where a clip ends, and no column where it begins; add a column start"),
        ("begin,onset,stop", "column begin and column onset could each say where a clip begins; remove all but one"),
        ("onset,stop,finish", "column stop and column finish could each say where a clip ends; remove all but one"),
    ],
)
def test_columns_that_cannot_be_believed(tmp_path: Path, header: str, fault: str) -> None:
    cells = ",".join("1" for _ in header.split(","))
    assert fault in refusal(table(tmp_path, f"file_name,label,{header}", f"a.wav,x,{cells}"))


def test_a_length_without_a_beginning_is_another_column() -> None:
    assert time_columns(["duration", "seconds", "window", "min", "max", "weekend"]) == (None, None)


def test_rows_without_times_are_whole_recordings(tmp_path: Path) -> None:
    recordings(tmp_path, "a.wav", "b.wav", "c.wav")
    file = table(tmp_path, "file_name,label,start,end,group", "a.wav,x,,,1", "b.wav,y,1,2,2", "c.wav,x,,,1")
    dataset = load_data(file)
    assert parts(dataset) == [("a.wav", "x", None, None), ("b.wav", "y", 1.0, 2.0), ("c.wav", "x", None, None)]
    assert [clip.group for clip in dataset.clips] == ["1", "2", "1"]
    both = table(tmp_path, "file_name,label,start,end", "a.wav,x,,", "a.wav,y,1,2")
    assert refusal(both) == f"{both}: {tmp_path / 'a.wav'} is named as a whole, and parts of it in other rows"


def test_labels_of_parts_are_cleaned_and_announced(tmp_path: Path) -> None:
    recordings(tmp_path, "a.wav")
    rows = ["a.wav, robin,0,1", "a.wav,robin,1,2", "a.wav,caf\u0065\u0301,2,3"]
    dataset = load_data(table(tmp_path, "file_name,label,start,end", *rows))
    assert dataset.labels == ("café", "robin")
    assert any("2 labels are read without outer spaces" in notice for notice in dataset.notices)
    alike = table(tmp_path, "file_name,label,start,end", "a.wav, 1,0,1", "a.wav,1.0,1,2")
    assert "labels '1' (line 2) and '1.0' (line 3) are the same number" in refusal(alike)


def test_windows_of_whole_recordings(tmp_path: Path) -> None:
    """Rows without times are regions from beginning to end where windows are asked for; broken files stay whole."""
    recordings(tmp_path, "a.wav", "b.wav")
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    file = table(tmp_path, "file_name,label", "a.wav,x", "b.wav,y", "broken.wav,y")
    dataset = load_data(file, window=4.0)
    assert parts(dataset) == [
        ("a.wav", "x", 0.0, 4.0), ("b.wav", "y", 0.0, 4.0), ("broken.wav", "y", None, None),
    ]  # fmt: skip


def test_every_fault_of_times_is_named_by_line(tmp_path: Path) -> None:
    rows = {
        "-1,2": "start is -1, and a recording begins at 0",
        "2,1": "end 1 is before start 2; is it the other way round?",
        "2,2": "it has no duration (start and end are 2)",
        "one,2": "start is 'one', not a number of seconds",
        "1,inf": "end is 'inf', not a number of seconds",
        "nan,2": "start is 'nan', not a number of seconds",
        "1,1e999": "end is '1e999', not a number of seconds",
        "0:01,0:02": "start is '0:01'; write it in seconds",
        "1,": "end is empty",
        ",1": "start is empty",
    }
    file = table(tmp_path, "file_name,label,start,end", *(f"a.wav,x,{cells}" for cells in rows))
    for line, (cells, fault) in enumerate(rows.items(), 2):
        alone = table(tmp_path / "alone", "file_name,label,start,end", "a.wav,x,0,1", f"a.wav,x,{cells}")
        assert f"line 3: {fault}" in refusal(alone), cells
        assert f"line {line}: " in refusal(file) or line > 9
    assert "11 faults" in refusal(file)


@pytest.mark.parametrize("mark", [";", "\t"])
def test_decimal_commas(tmp_path: Path, mark: str) -> None:
    recordings(tmp_path, "a.wav")
    lines = [
        f"file_name{mark}label{mark}start{mark}end",
        f"a.wav{mark}x{mark}0,5{mark}1,25",
        f"a.wav{mark}y{mark}2{mark}3",
    ]
    dataset = load_data(table(tmp_path, *lines))
    assert parts(dataset) == [("a.wav", "x", 0.5, 1.25), ("a.wav", "y", 2.0, 3.0)]
    assert "Note: clips.csv has decimal commas: 0,5 (line 2) is read as 0.5" in dataset.notices
    mixed = table(tmp_path, *lines, f"a.wav{mark}y{mark}3.25{mark}3.5")
    assert "line 2: 0,5 has a comma, and 3.25 in line 4 a point; write all decimals in one way" in refusal(mixed)
    thousands = table(tmp_path, *lines, f"a.wav{mark}y{mark}1.234,5{mark}2")
    assert "line 4: start is '1.234,5', not a number of seconds" in refusal(thousands)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("filename,Class", ("filename is read as file_name", "Class is read as label")),
        ("file,species", ("file is read as file_name", "species is read as label")),
        ("Begin File,Annotation", ("Begin File is read as file_name", "Annotation is read as label")),
        ("audio_filepath,Common Name", ("audio_filepath is read as file_name", "Common Name is read as label")),
        ("file_name,label,species", ()),
    ],
)
def test_columns_of_usual_names_are_announced(tmp_path: Path, header: str, said: tuple[str, ...]) -> None:
    more = ",other" * (header.count(",") - 1)
    dataset = load_data(table(tmp_path, header, f"a.wav,x{more}", f"b.wav,y{more}"))
    assert dataset.labels == ("x", "y")
    assert {line for line in dataset.notices if "is read as" in line} == {
        f"Note: clips.csv: column {one}" for one in said
    }


def test_columns_are_asked_for_and_named(tmp_path: Path) -> None:
    file = table(tmp_path, "file,path,taxon,code", "x,a.wav,robin,1", "y,b.wav,wren,2")
    assert "column file and column path could each name the recording; say which with file_column" in refusal(file)
    dataset = load_data(file, file_column="path", label_column="taxon")
    assert [(clip.name, clip.label) for clip in dataset.clips] == [("a.wav", "robin"), ("b.wav", "wren")]
    assert dataset.notices[0] == "Note: 2 columns were passed over: file, code"
    with pytest.raises(
        Exception, match=r"there is no column pathh \(file_column\); the header has file, path, taxon, code"
    ):
        load_data(file, file_column="pathh", label_column="taxon")
    two = table(tmp_path, "file,species,Common Name", "a.wav,x,y")
    assert "column species and column Common Name could each name the label; say which with label_column" in refusal(
        two
    )
    assert choose_column("label", ["Label", "label"]).name == "label"


def test_json_lines_have_parts_too(tmp_path: Path) -> None:
    recordings(tmp_path, "a.wav")
    first = {"audio_filepath": "a.wav", "label": "x", "offset": 0.5, "duration": 1}
    second = {"label": "y", "audio_filepath": "a.wav", "offset": 2, "duration": 0.5}
    file = write_text(tmp_path / "manifest.jsonl", json.dumps(first), json.dumps(second))
    assert parts(load_data(file)) == [("a.wav", "x", 0.5, 1.5), ("a.wav", "y", 2.0, 2.5)]
    write_text(file, json.dumps(first | {"offset": [1]}))
    assert refusal(file) == f"{file}: line 1: offset is [1], neither text nor a number"


def test_audio_dir(tmp_path: Path) -> None:
    """Names are looked for below it: as they are, or by their last part, as a colleague's paths have to be."""
    recordings(tmp_path / "audio", "site1/a.wav", "site2/b.wav", "site1/twice.wav", "site2/twice.wav")
    file = table(
        tmp_path / "tables", "Begin Path,label,start,end", "site1/a.wav,x,0,1", "D:\\field\\b.wav,y,1,2", "D:\\field\\b.wav,x,2,3"
    )  # fmt: skip
    assert "give the folder of the recordings as audio_dir" in refusal(file)
    dataset = load_data(file, audio_dir=tmp_path / "audio")
    assert [clip.path for clip in dataset.clips] == [
        tmp_path / "audio" / name for name in ("site1/a.wav", *["site2/b.wav"] * 2)
    ]
    assert dataset.clips[1].name.startswith("site2/b.wav")
    assert r"Note: 1 recording is found by name alone: D:\field\b.wav as site2/b.wav" in dataset.notices
    assert "Note: 2 recordings that no row names were passed over: site1/twice.wav, site2/twice.wav" in dataset.notices
    lost = table(tmp_path / "tables", "file_name,label", "c.wav,x", "d.wav,y", "site9/twice.wav,x")
    with pytest.raises(Exception, match="fault") as caught:
        load_data(lost, audio_dir=str(tmp_path / "audio"))
    assert str(caught.value).splitlines() == [
        f"{lost}: 2 faults",
        f"  - line 2: there is no c.wav below {tmp_path / 'audio'}, and 1 more is missing; is audio_dir right?",
        "  - line 4: site9/twice.wav may be site1/twice.wav or site2/twice.wav; name it by its path below the folder",
    ]
    with pytest.raises(Exception, match="audio_dir: there is no folder"):
        load_data(lost, audio_dir=str(tmp_path / "nowhere"))


def test_options_of_other_layouts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="csv:PATH has no annotation_format, which is for crowsetta"):
        load_data(table(tmp_path, "file_name,label", "a.wav,x"), annotation_format="textgrid")


def test_a_folder_of_predicted_tables(tmp_path: Path) -> None:
    """As ``astune predict -o`` leaves it: absolute names, a record, a recording in which nothing was found, one that is not finished."""
    recordings(tmp_path / "field", "a.wav", "sub/b.wav", "quiet.wav", "late.wav")
    head = "file_name,start,end,label,score,seconds,heard_seconds,windows,window,hop,pool"
    folder = tmp_path / "events"
    names = {"a.wav": "a.csv", "sub/b.wav": "sub/b.csv", "quiet.wav": "quiet.csv"}
    for name, file in names.items():
        path = tmp_path / "field" / name
        rows = [] if name == "quiet.wav" else [f"{path},0.5,1.5,x,0.9,4,4,8,1,0.5,", f"{path},2,3,y,0.8,4,4,8,1,0.5,"]
        write_text(folder / file, head, *rows)
    lines: list[dict[str, object]] = [{"settings": {"format": "csv"}}]
    lines += [{"file": str(tmp_path / "field" / name), "table": file, "state": [1, 2]} for name, file in names.items()]
    lines += [{"file": str(tmp_path / "field" / "late.wav"), "table": "late.csv"}]
    write_text(folder / "predictions.jsonl", *map(json.dumps, lines))
    dataset = load_data(folder)
    assert dataset.source == f"csv:{folder}"
    assert parts(dataset) == [
        ("a.wav", "x", 0.5, 1.5),
        ("a.wav", "y", 2.0, 3.0),
        ("b.wav", "x", 0.5, 1.5),
        ("b.wav", "y", 2.0, 3.0),
    ]
    assert not any(str(tmp_path) in clip.name for clip in dataset.clips)
    assert "Note: 1 recording without a finished table was passed over: late.wav" in dataset.notices
    write_text(folder / "sub" / "b.csv", head, f"{tmp_path / 'field' / 'sub' / 'b.wav'},1,0,x,0.9,4,4,8,1,0.5,")
    assert refusal(folder) == f"{folder / 'sub' / 'b.csv'}: line 2: end 0 is before start 1; is it the other way round?"


def test_one_recording_under_two_names(tmp_path: Path) -> None:
    """Otherwise its windows could be divided."""
    recordings(tmp_path, "a.wav", "site/b.wav")
    rows = ["a.wav,0,1,low", "site/../a.wav,0.5,2,low", "site/b.wav,0,1,high"]
    dataset = load_data(table(tmp_path, "file_name,start,end,label", *rows))
    assert [(clip.name, clip.group) for clip in dataset.clips] == [
        ("a.wav 0.000-1.000", "a.wav"), ("a.wav 0.500-2.000", "a.wav"), ("site/b.wav 0.000-1.000", "site/b.wav"),
    ]  # fmt: skip


def test_a_table_of_kaleidoscope(tmp_path: Path) -> None:
    recordings(tmp_path, "a.wav", "b.wav")
    header = "INDIR,FOLDER,IN FILE,CHANNEL,OFFSET,DURATION,Fmin,DATE,AUTO ID*,MANUAL ID"
    rows = ["/d,,a.wav,0,1.5,0.75,12,2026-05-01,MYLU,low", "/d,,b.wav,0,2,1,12,2026-05-01,,high"]
    assert parts(load_data(table(tmp_path, header, *rows))) == [
        ("a.wav", "low", 1.5, 2.25),
        ("b.wav", "high", 2.0, 3.0),
    ]


def test_parts_of_recordings_that_are_not_there_are_named_by_line(tmp_path: Path) -> None:
    write_tone(tmp_path / "there.wav", seconds=1.0)
    write_text(
        tmp_path / "rows.csv", "file_name,start,end,label", "gone.wav,0,0.5,a", "there.wav,0,0.5,a", "there.wav,0.5,1,b",
        "lost.wav,0,0.5,b", "gone.wav,0.5,1,b",
    )  # fmt: skip
    with pytest.raises(
        DataError,
        match=r"2 faults\n  - line 2: there is no recording gone.wav\n  - line 5: there is no recording lost.wav",
    ):
        load_data(tmp_path / "rows.csv")
