"""Label tracks and selection tables: what programs write, and what people do to it."""

from __future__ import annotations

import json
import unicodedata
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astune.data import load_data
from astune.errors import ConfigError, DataError
from tests.example_layouts import write_text, write_tone
from tests.unit.data.refusals import refusal

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tAnnotation"


def recordings(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        write_tone(folder / name, seconds=4.0, pitch=300 + 50 * number)


def names_and_labels(data: str | Path, **options: Any) -> list[tuple[str, str]]:
    """Recording and label of each clip."""
    return [(clip.path.name, clip.label) for clip in load_data(data, **options).clips]


def selections(*rows: str, header: str = HEADER) -> list[str]:
    return [header.replace(",", "\t"), *(row.replace(",", "\t") for row in rows)]


TRACK = ["0.5\t1.5\trobin", "2\t3\twren"]


@pytest.mark.parametrize(
    ("recording", "track"),
    [
        ("a.wav", "a.txt"), ("a.wav", "a.wav.txt"), ("a.flac", "a_labels.txt"), ("a.wav", "a labels.txt"),
        ("a.wav", "a.Label Track.txt"), ("a.wav", "a.BirdNET.results.txt"), ("site/a.b.wav", "site/a.b.txt"),
        ("labels.wav", "labels.txt"),
    ],
)  # fmt: skip
def test_a_track_is_of_the_recording_that_it_is_named_as(tmp_path: Path, recording: str, track: str) -> None:
    recordings(tmp_path, recording)
    write_text(tmp_path / track, *TRACK)
    name = recording.rpartition("/")[2]
    assert names_and_labels(f"audacity:{tmp_path}") == [(name, "robin"), (name, "wren")]
    assert names_and_labels(f"audacity:{tmp_path / track}") == [(name, "robin"), (name, "wren")]


def test_two_recordings_of_one_stem(tmp_path: Path) -> None:
    recordings(tmp_path, "a.wav", "a.flac")
    write_text(tmp_path / "a.wav.txt", *TRACK)
    assert names_and_labels(f"audacity:{tmp_path}") == [("a.wav", "robin"), ("a.wav", "wren")]
    assert "Note: 1 recording without a label track was passed over: a.flac" in load_data(tmp_path).notices
    write_text(tmp_path / "a.txt", *TRACK)
    assert refusal(f"audacity:{tmp_path}") == f"{tmp_path}: a.txt may be of a.flac or of a.wav; name it a.flac.txt"
    (tmp_path / "a.flac").unlink()
    assert refusal(f"audacity:{tmp_path}") == f"{tmp_path}: a.wav has two: a.txt and a.wav.txt; keep one of them"


def test_what_is_passed_over_is_counted(tmp_path: Path) -> None:
    recordings(tmp_path, "a.wav", "b.wav", "nobody.wav")
    (tmp_path / "phone.aup3").write_bytes(b"1")
    write_text(tmp_path / "a.txt", "0.5\t1.5\trobin", "\\\t2000.0\t5000.0", "", "2\t3\twren\t0.8731", "\\\t1000\t2000")
    write_text(tmp_path / "b.txt")
    write_text(tmp_path / "README.txt", "Recorded in May.")
    dataset = load_data(f"audacity:{tmp_path}")
    assert dataset.labels == ("robin", "wren")
    kinds = {one.kind: (one.count, one.examples) for one in dataset.passed_over}
    assert kinds["ranges of frequencies"] == (2, ("a.txt line 2", "a.txt line 5"))
    assert kinds["scores"] == (1, ("a.txt line 4",))
    assert kinds["files of another kind"] == (1, ("README.txt",))
    assert kinds["recordings without a label track"] == (1, ("nobody.wav",))
    assert any("phone.aup3" in names for _, names in kinds.values())


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        (["0.5\t1.5\t"], "a.txt line 1: a label is empty"),
        (["0.5\t1.5"], "a.txt line 1: a label is empty"),
        (["0.5\t1.5\tx", "-1\t1\tx"], "a.txt line 2: start is -1, and a recording begins at 0"),
        (["2\t1\tx"], "a.txt line 1: end 1 is before start 2; is it the other way round?"),
        (["0.5\tx\ty"], "a.txt line 1: end is 'x', not a number of seconds"),
        (["1\tnan\ty"], "a.txt line 1: end is 'nan', not a number of seconds"),
        (["1\tinf\ty"], "a.txt line 1: end is 'inf', not a number of seconds"),
        (["1 2 robin"], "a.txt line 1: 1 cell; a label track has start, end and label, with tabs between them"),
        (["1\t2\trobin\twren"], "a.txt line 1: 4 cells; a label track has start, end and label"),
        (["1\t1\tx"], "a.txt line 1: a point label at 1 s; give window for a window around each"),
        (["0,5\t1,5\tx", "2.5\t3\ty"], "a.txt line 1: 0,5 has a comma, and 2.5 in line 2 a point"),
    ],
)
def test_faults_of_a_track_are_named_by_file_and_line(tmp_path: Path, lines: list[str], fault: str) -> None:
    recordings(tmp_path, "a.wav")
    write_text(tmp_path / "a.txt", *lines)
    assert refusal(f"audacity:{tmp_path}").startswith(f"{tmp_path}: {fault}")


def test_faults_of_all_tracks_are_one_message(tmp_path: Path) -> None:
    recordings(tmp_path, "a.wav", "b.wav")
    write_text(tmp_path / "a.txt", "2\t1\tx")
    write_text(tmp_path / "b.txt", "1\t2\tx", "1\t\tx")
    write_text(tmp_path / "lost.txt", *TRACK)
    write_text(tmp_path / "lost2.txt", *TRACK)
    assert refusal(f"audacity:{tmp_path}").splitlines() == [
        f"{tmp_path}: 3 faults",
        "  - a.txt line 1: end 1 is before start 2; is it the other way round?",
        "  - b.txt line 2: end is empty",
        f"  - lost.txt: there is no recording of lost.txt below {tmp_path}, and 1 more is missing; is audio_dir right?",
    ]
    (tmp_path / "a.txt").write_bytes("1\t2\tGrünfink".encode("cp1252"))
    assert "a.txt is not a readable text file: it is not UTF-8 text (byte 0xfc in line 1); save it as UTF-8" in refusal(
        f"audacity:{tmp_path}"
    )


def test_points_become_windows(tmp_path: Path) -> None:
    recordings(tmp_path, "a.wav")
    write_text(tmp_path / "a.txt", "1\t1\tx", "3\t3\ty")
    dataset = load_data(f"audacity:{tmp_path}", window=1.0)
    assert dataset.labels == ("x", "y")
    assert "Note: 2 point labels become windows around them: a.txt line 1" in dataset.notices


def test_decimal_commas_of_a_track(tmp_path: Path) -> None:
    recordings(tmp_path, "a.wav")
    write_text(tmp_path / "a.txt", "0,500000\t1,500000\tx", "2\t3\ty")
    dataset = load_data(tmp_path)
    assert "Note: a.txt has decimal commas: 0,500000 (line 1) is read as 0.500000" in dataset.notices


def test_labels_are_taken_as_they_are_written(tmp_path: Path) -> None:
    r"""A label cannot have a tab, so ``\t`` in a track is a backslash and a t; quotes are letters; outer spaces are announced."""
    recordings(tmp_path, "a.wav")
    write_text(tmp_path / "a.txt", "0\t1\tcall\\two", '1\t2\t"song" of, one', "2\t3\t wren ")
    dataset = load_data(f"audacity:{tmp_path}")
    assert dataset.labels == ('"song" of, one', "call\\two", "wren")
    assert any("1 label is read without outer spaces" in notice for notice in dataset.notices)


def test_folders_of_splits(tmp_path: Path) -> None:
    for folder in ("train", "val", "test"):
        recordings(tmp_path, f"{folder}/{folder}.wav")
        write_text(tmp_path / folder / f"{folder}.txt", *TRACK)
    dataset = load_data(f"audacity:{tmp_path}")
    assert {clip.split for clip in dataset.clips if clip.path.name == "val.wav"} == {"validation"}
    assert "Note: folders are read as splits: test (test), train (train), val (validation)" in dataset.notices
    recordings(tmp_path, "extra.wav")
    write_text(tmp_path / "extra.txt", *TRACK)
    assert "is in a folder named as a split, and extra.wav does not" in refusal(f"audacity:{tmp_path}")


def test_tracks_in_another_folder(tmp_path: Path) -> None:
    """Mirrored folders, or a name that is there once."""
    recordings(tmp_path / "audio", "s1/a.wav", "s2/a.wav", "s2/b.wav")
    write_text(tmp_path / "tracks" / "s1" / "a.txt", "0\t1\tone", "1\t2\ttwo")
    write_text(tmp_path / "tracks" / "b.txt", "0\t1\tone")
    dataset = load_data(f"audacity:{tmp_path / 'tracks'}", audio_dir=tmp_path / "audio")
    assert {clip.path.relative_to(tmp_path / "audio").as_posix() for clip in dataset.clips} == {"s1/a.wav", "s2/b.wav"}
    write_text(tmp_path / "tracks" / "a.txt", "0\t1\tone")
    with pytest.raises(DataError, match=r"a.txt may be of s1/a.wav or of s2/a.wav"):
        load_data(f"audacity:{tmp_path / 'tracks'}", audio_dir=tmp_path / "audio")


def test_class_folders_with_texts_stay_class_folders(tmp_path: Path) -> None:
    for label in ("dog", "rain"):
        recordings(tmp_path, f"{label}/1.wav", f"{label}/2.wav")
        write_text(tmp_path / label / "1.txt", *TRACK)
    assert load_data(tmp_path).source == f"folder:{tmp_path}"
    recordings(tmp_path / "flat", "1.wav")
    write_text(tmp_path / "flat" / "1.txt", "a transcript")
    with pytest.raises(DataError, match="is not in a known layout"):
        load_data(tmp_path / "flat")


def test_a_track_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """One track in Latin-1, as an editor on Windows writes it, beside one that can be read."""
    recordings(tmp_path, "good.wav", "forest.wav")
    write_text(tmp_path / "good.txt", *TRACK)
    (tmp_path / "forest.txt").write_bytes("0.0\t0.5\tMöwe\n".encode("latin-1"))
    with pytest.raises(DataError) as refused:
        load_data(tmp_path)
    hint = "forest.txt stands beside its recording and cannot be used as it is; audacity:PATH or raven:PATH says why"
    assert hint in str(refused.value).splitlines()
    with pytest.raises(DataError, match=r"not UTF-8 text \(byte 0xf6 in line 1\)"):
        load_data(f"audacity:{tmp_path}")
    (tmp_path / "forest.txt").unlink()
    (tmp_path / "good.txt").unlink()
    with pytest.raises(DataError) as refused:
        load_data(tmp_path)
    assert "stands beside" not in str(refused.value)


def test_selections_in_two_views_are_one(tmp_path: Path) -> None:
    recordings(tmp_path, "a.wav")
    rows = [
        f"{n},{view} 1,1,{n}.0,{n}.5,100,900,{'robin' if n == 1 else 'wren'}"
        for n in (1, 2)
        for view in ("Waveform", "Spectrogram")
    ]
    write_text(tmp_path / "a.Table.1.selections.txt", *selections(*rows))
    dataset = load_data(tmp_path)
    assert dataset.source == f"raven:{tmp_path}"
    assert [(clip.label) for clip in dataset.clips] == ["robin", "wren"]
    kinds = {one.kind: (one.count, one.examples) for one in dataset.passed_over}
    assert kinds["rows of another view of one selection"] == (
        2, ("a.Table.1.selections.txt line 3", "a.Table.1.selections.txt line 5"),
    )  # fmt: skip
    assert kinds["columns"] == (2, ("Low Freq (Hz)", "High Freq (Hz)"))


def test_a_table_of_several_recordings(tmp_path: Path) -> None:
    """Raven counts its times over all of them: the offset in its own file is what counts."""
    recordings(tmp_path, "a.wav", "s/b.wav")
    header = "Selection,View,Channel,Begin Time (s),End Time (s),Begin Path,Begin File,End File,File Offset (s),Species"
    rows = [
        "1,Spectrogram 1,1,1,2,C:\\x\\a.wav,a.wav,a.wav,1,robin",
        "2,Spectrogram 1,1,6.5,7.25,C:\\x\\b.wav,b.wav,b.wav,2.5,wren",
    ]
    file = write_text(tmp_path / "all.selections.txt", *selections(*rows, header=header))
    dataset = load_data(f"raven:{tmp_path}")
    spans = {clip.path.name: (clip.start or 0.0, clip.end or 0.0) for clip in dataset.clips}
    assert set(spans) == {"a.wav", "b.wav"}
    assert spans["b.wav"][0] <= 2.5
    assert spans["b.wav"][1] >= 3.25
    assert "Note: column Species is read as label in selection tables" in dataset.notices
    write_text(file, *selections(*rows, "3,Spectrogram 1,1,3.5,4.5,C:\\x\\a.wav,a.wav,b.wav,3.5,wren", header=header))
    assert "all.selections.txt line 4: the selection goes from a.wav into b.wav; divide it in two" in refusal(
        f"raven:{file}"
    )
    write_text(file, *selections(*rows, "3,Spectrogram 1,1,3.5,4.5,C:\\x\\c.wav,c.wav,c.wav,3.5,wren", header=header))
    assert "all.selections.txt line 4: there is no C:\\x\\c.wav below" in refusal(f"raven:{file}")


def test_times_that_count_over_several_recordings_are_not_believed(tmp_path: Path) -> None:
    recordings(tmp_path, "a.wav", "b.wav")
    header = "Selection,Begin Time (s),End Time (s),Begin File,Annotation"
    rows = ["1,1,2,a.wav,robin", "2,5,6,b.wav,wren"]
    file = write_text(tmp_path / "all.selections.txt", *selections(*rows, header=header))
    assert "it is of several recordings and has no column File Offset (s)" in refusal(f"raven:{file}")
    header = f"{header},File Offset (s)"
    write_text(file, *selections("1,1,2,a.wav,robin,1", "2,5,6,b.wav,wren,1", header=header))
    assert (
        "it is a selection table of Raven, whose times may count over several recordings; give raven:PATH"
        in refusal(f"csv:{file}")
    )


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_in_another_form_of_unicode(
    tmp_path: Path, forms: tuple[Literal["NFC", "NFD"], Literal["NFC", "NFD"]]
) -> None:
    recording, track = (unicodedata.normalize(form, "grün") for form in forms)
    recordings(tmp_path / "audio", f"{recording}.wav")
    write_text(tmp_path / f"{track}.txt", *TRACK)
    assert len(names_and_labels(f"audacity:{tmp_path}", audio_dir=tmp_path / "audio")) == 2
    table = write_text(tmp_path / "t.csv", "file_name,label", f"D:\\{track}.wav,x")
    assert len(names_and_labels(table, audio_dir=tmp_path / "audio")) == 1


def test_tables_of_birdnet_analyzer(tmp_path: Path) -> None:
    recordings(tmp_path, "a.wav", "b.wav")
    header = (
        "Selection,View,Channel,Begin Time (s),End Time (s),Low Freq (Hz),High Freq (Hz),Common Name,Species Code,Confidence,"
        "Begin Path,File Offset (s)"
    )
    for name, label in (("a", "Eurasian Wren"), ("b", "European Robin")):
        row = f"1,Spectrogram 1,1,0,3.0,0,15000,{label},code,0.91,/elsewhere/{name}.wav,0.0"
        write_text(tmp_path / f"{name}.BirdNET.selection.table.txt", *selections(row, header=header))
    assert names_and_labels(tmp_path) == [("a.wav", "Eurasian Wren"), ("b.wav", "European Robin")]
    combined = tmp_path / "BirdNET_SelectionTable.txt"
    rows = [
        "1,Spectrogram 1,1,0,3.0,0,15000,Eurasian Wren,w,0.91,/elsewhere/a.wav,0.0",
        "2,Spectrogram 1,1,5,8.0,0,15000,European Robin,r,0.91,/elsewhere/b.wav,1.0",
    ]
    write_text(combined, *selections(*rows, header=header))
    assert names_and_labels(f"raven:{combined}") == [("a.wav", "Eurasian Wren"), ("b.wav", "European Robin")]


def test_label_columns_of_raven(tmp_path: Path) -> None:
    recordings(tmp_path, "a.wav")
    file = tmp_path / "a.Table.1.selections.txt"
    header = "Selection,Begin Time (s),End Time (s),Species,Call Type,Class"
    write_text(file, *selections("1,0,1,robin,song,S", "2,2,3,wren,call,C", header=header))
    assert "column Species and column Class could each name the label; say which with label_column" in refusal(tmp_path)
    assert names_and_labels(tmp_path, label_column="Call Type") == [("a.wav", "song"), ("a.wav", "call")]
    with pytest.raises(DataError, match=r"there is no column Kind \(label_column\); the header has Selection"):
        load_data(tmp_path, label_column="Kind")
    write_text(file, *selections("1,0,1,robin", "2,2,3,", header="Selection,Begin Time (s),End Time (s),Annotation"))
    assert refusal(tmp_path) == f"{tmp_path}: a.Table.1.selections.txt line 3: a label is empty"


def test_empty_tables_are_of_recordings_that_somebody_heard(tmp_path: Path) -> None:
    recordings(tmp_path, "a.wav", "b.wav", "c.wav")
    write_text(tmp_path / "a.selections.txt", *selections("1,S 1,1,0,1,0,1,robin"))
    write_text(tmp_path / "b.selections.txt", HEADER)
    notices = load_data(f"raven:{tmp_path}").notices
    assert "Note: 1 recording without a selection table was passed over: c.wav" in notices
    (tmp_path / "a.selections.txt").unlink()
    assert "there is no label in any selection table" in refusal(f"raven:{tmp_path}")
    (tmp_path / "b.selections.txt").unlink()
    assert "there is no selection table" in refusal(f"raven:{tmp_path}")


@pytest.mark.parametrize("kind", ["audacity", "raven"])
def test_a_folder_of_predictions_knows_its_recordings(tmp_path: Path, kind: str) -> None:
    """Elsewhere on this machine; or moved, and found by name below audio_dir."""
    recordings(tmp_path / "field", "a.wav", "s/b.wav", "quiet.wav")
    suffix = ".txt" if kind == "audacity" else ".Table.1.selections.txt"
    rows = TRACK if kind == "audacity" else selections("1,S 1,1,0.5,1.5,0,1,robin", "2,S 1,1,2,3,0,1,wren")
    empty = [] if kind == "audacity" else [HEADER]
    lines: list[dict[str, object]] = [{"settings": {"format": kind}}]
    for name in ("a.wav", "s/b.wav", "quiet.wav"):
        table = f"{name.removesuffix('.wav')}{suffix}"
        write_text(tmp_path / "events" / table, *(empty if name == "quiet.wav" else rows))
        lines.append({"file": str(tmp_path / "field" / name), "table": table, "state": [1, 1]})
    lines.append({"file": str(tmp_path / "field" / "late.wav"), "table": f"late{suffix}"})
    write_text(tmp_path / "events" / "predictions.jsonl", *map(json.dumps, lines))
    dataset = load_data(tmp_path / "events")
    assert dataset.source == f"{kind}:{tmp_path / 'events'}"
    assert [(clip.path.name, clip.label) for clip in dataset.clips] == [
        (f"{n}.wav", label) for n in "ab" for label in ("robin", "wren")
    ]
    assert not any(str(tmp_path) in clip.name for clip in dataset.clips)
    assert "Note: 1 recording without a finished table was passed over: late.wav" in dataset.notices
    (tmp_path / "field").rename(tmp_path / "moved")
    assert "a.txt: there is no" in refusal(tmp_path / "events").replace(suffix, ".txt")
    moved = load_data(tmp_path / "events", audio_dir=tmp_path / "moved")
    assert [clip.label for clip in moved.clips] == [clip.label for clip in dataset.clips]


VALID = {
    "csv": ("t.csv", "file_name;start;end;label\na.wav;0;1,5;robin\nb.wav;2;2,5;wren\n"),
    "audacity": ("a.txt", "0.5\t1\trobin\n\\\t1\t2\n1.5\t2\twren\n"),
    "raven": ("a.txt", "\n".join(selections("1,W 1,1,0,1,0,9,robin", "2,S 1,1,2,3,0,9,wren"))),
}
PIECES = [
    "",
    "-",
    "nan",
    "1e999",
    ",",
    ";",
    "\t",
    "\n",
    "\r\n",
    '"',
    "\\",
    "\ufeff",
    "\x1b",
    "\u202e",
    "é",
    "0:01",
    "label",
    "sep=;",
    "C:\\",
]


@pytest.mark.parametrize("kind", sorted(VALID))
@settings(max_examples=60)
@given(
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3), st.sampled_from(PIECES)), min_size=1, max_size=3),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
)
def test_a_changed_table_is_read_or_refused_in_words(
    kind: str, changes: list[tuple[float, int, str]], encoding: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever happened to a valid table: labels with clips, or one message that names the file."""
    name, text = VALID[kind]
    for share, length, piece in changes:
        start = int(share * len(text))
        text = text[:start] + piece + text[start + length :]
    folder = tmp_path_factory.mktemp("changed")
    recordings(folder, "a.wav", "b.wav")
    (folder / name).write_bytes(text.encode(encoding, errors="replace"))
    message, dataset = "", None
    try:
        dataset = load_data(f"{kind}:{folder / name}")
    except DataError as refused:
        message = str(refused)
    if dataset is None:
        assert name in message
    else:
        assert {clip.label for clip in dataset.clips} == set(dataset.labels) != set()


def test_a_recording_where_nothing_was_heard_stays_in_its_split(tmp_path: Path) -> None:
    """All of it is background; without its split it would train."""
    recordings(tmp_path, "train/a.wav", "test/a.wav", "test/quiet.wav")
    (tmp_path / "test" / "broken.wav").write_bytes(b"RIFF")
    for folder in ("train", "test"):
        write_text(tmp_path / folder / "a.txt", "1\t2\trobin")
    write_text(tmp_path / "test" / "quiet.txt")
    write_text(tmp_path / "test" / "broken.txt")
    clips = load_data(f"audacity:{tmp_path}", background="quiet").clips
    assert {(clip.name.partition(" ")[0], clip.split) for clip in clips} == {
        ("train/a.wav", "train"), ("test/a.wav", "test"), ("test/quiet.wav", "test"), ("test/broken.wav", "test"),
    }  # fmt: skip


def test_two_labels_of_a_broken_recording_overlap(tmp_path: Path) -> None:
    recordings(tmp_path, "a.wav")
    (tmp_path / "b.wav").write_bytes(b"RIFF")
    write_text(tmp_path / "a.txt", "1\t2\trobin")
    write_text(tmp_path / "b.txt", "1\t2\trobin", "1\t2\twren")
    assert refusal(f"audacity:{tmp_path}").startswith(
        "labelled regions: b.wav: 'wren' (b.txt line 2, 1.000-2.000 s) overlaps"
    )


def test_why_nothing_is_left_is_said(tmp_path: Path) -> None:
    recordings(tmp_path, "a.wav")
    write_text(tmp_path / "a.txt", "0\t1\trobin", "1\t2\twren", "2\t3\trobin")
    with pytest.raises(
        DataError, match=r"(?s)there are no clips\nNote: 1 window holds enough of several.*no window of 2 labels"
    ):
        load_data(f"audacity:{tmp_path}", window=4.0)
    write_text(tmp_path / "a.txt", "0\t2\trobin", "1.5\t1.6\tdoor")
    with pytest.raises(
        ConfigError, match=r"(?s)unknown negative label 'door'.*no window of 1 label .* not a class: door"
    ):
        load_data(f"audacity:{tmp_path}", window=1.0, negative=["door"])
