"""What a search of folders finds and passes over: nothing vanishes in silence."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from astune.data import load_data
from astune.data.audio import read_audio
from astune.data.formats import AV_SUFFIXES, SUFFIXES, UNREADABLE
from astune.data.recordings import find_recordings, passed_over
from astune.errors import DataError
from astune.training.config import TrainConfig
from astune.training.loop import train
from tests.example_layouts import write_csv, write_esc50, write_speech_commands, write_text, write_tone
from tests.unit.data.refusals import refusal
from tests.unit.test_cli import run

if TYPE_CHECKING:
    from pathlib import Path

needs_permissions = pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")


def classes(folder: Path, *names: str, clips: int = 3) -> Path:
    """Class folders of tones."""
    for number, name in enumerate(names or ("high", "low")):
        for clip in range(clips):
            write_tone(folder / name / f"{clip:02d}.wav", pitch=300 + 200 * number + 10 * clip)
    return folder


def counts(folder: Path) -> dict[str, int]:
    return {one.kind: one.count for one in passed_over(find_recordings(folder).skipped)}


@pytest.mark.parametrize("suffix", [".m4p", ".AA", ".aup3", ".qcp", ".mid"])
def test_unreadable_formats_are_counted(tmp_path: Path, suffix: str) -> None:
    classes(tmp_path)
    for number in range(4):
        (tmp_path / "low" / f"{number}{suffix}").write_bytes(b"a phone's")
    (one,) = load_data(tmp_path).passed_over
    assert (one.kind, one.count) == (f"files in a format that cannot be read ({suffix.lower()})", 4)
    assert one.examples == tuple(f"low/{number}{suffix}" for number in range(3))
    assert load_data(tmp_path).notices == (
        f"Note: 4 files in a format that cannot be read ({suffix.lower()}) were passed over: "
        f"low/0{suffix}, low/1{suffix}, low/2{suffix}, ...",
    )


def test_no_suffix_is_both_readable_and_not() -> None:
    assert not SUFFIXES & UNREADABLE
    assert not AV_SUFFIXES & (SUFFIXES | UNREADABLE)


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        (".voc", "VOC"), (".nist", "NIST"), (".avr", "AVR"), (".iff", "SVX"), (".svx", "SVX"), (".paf", "PAF"),
        (".pvf", "PVF"), (".sf", "IRCAM"), (".ircam", "IRCAM"), (".sds", "SDS"), (".htk", "HTK"), (".wve", "WVE"),
        (".au", "AU"), (".caf", "CAF"), (".w64", "W64"), (".rf64", "RF64"),
    ],
)  # fmt: skip
def test_what_libsndfile_decodes_without_the_suffix_is_found(tmp_path: Path, suffix: str, kind: str) -> None:
    named, nameless = tmp_path / f"a{suffix}", tmp_path / "b"
    tone = 0.3 * np.sin(np.arange(8_000) / 5)
    soundfile.write(named, tone, 8_000, format=kind, subtype="ALAW" if kind == "WVE" else "PCM_16")
    nameless.write_bytes(named.read_bytes())
    assert len(read_audio(nameless)) > 1_000
    assert find_recordings(tmp_path).files == [named.name]


def test_links_to_nothing_are_counted(tmp_path: Path) -> None:
    classes(tmp_path)
    (tmp_path / "low" / "annexed.wav").symlink_to("../../.git/annex/objects/x.wav")
    (tmp_path / "low" / "phone.m4p").symlink_to("gone")
    (tmp_path / "low" / "round").symlink_to("round")
    assert counts(tmp_path) == {
        "links to nothing (content of git-annex, DVC or git-lfs that was not fetched?)": 3,
    }
    assert len(load_data(tmp_path).clips) == 6


def test_linked_folders_are_followed_and_named(tmp_path: Path) -> None:
    classes(tmp_path / "rec")
    classes(tmp_path / "store", "day2", clips=4)
    write_tone(tmp_path / "store" / "day2" / "deeper" / "x.wav")
    (tmp_path / "rec" / "low" / "day2").symlink_to(tmp_path / "store" / "day2")
    dataset = load_data(tmp_path / "rec")
    assert [clip.name for clip in dataset.clips if "day2" in clip.name] == [
        *(f"low/day2/{clip:02d}.wav" for clip in range(4)),
        "low/day2/deeper/x.wav",
    ]
    assert {clip.label for clip in dataset.clips} == {"high", "low"}
    assert dataset.notices == ("Note: 5 recordings come through the linked folder low/day2",)


def test_a_linked_class_folder_is_a_class(tmp_path: Path) -> None:
    classes(tmp_path / "rec", "high")
    (tmp_path / "rec" / "low").symlink_to(classes(tmp_path / "store", "x") / "x")
    assert load_data(tmp_path / "rec").labels == ("high", "low")


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    classes(tmp_path)
    (tmp_path / "low" / "up").symlink_to("..")
    (tmp_path / "all").symlink_to(".")
    dataset = load_data(tmp_path)
    assert (len(dataset.clips), dataset.labels) == (6, ("high", "low"))
    assert counts(tmp_path) == {"links to a folder above": 2}


def test_a_folder_is_read_once(tmp_path: Path) -> None:
    """A link to another class's folder would give its recordings two labels."""
    classes(tmp_path)
    (tmp_path / "shrill").symlink_to("high")
    assert "class folder shrill holds 1 link to a folder that is read already" in refusal(tmp_path)
    (tmp_path / "shrill").unlink()
    (tmp_path / "a-first").mkdir()
    write_tone(tmp_path / "a-first" / "x.wav")
    (tmp_path / "a-first" / "again").symlink_to("../high")
    assert len(load_data(tmp_path).clips) == 7
    assert counts(tmp_path) == {"links to a folder that is read already": 1}


def test_hidden_recordings_are_counted(tmp_path: Path) -> None:
    classes(tmp_path)
    write_text(tmp_path / "low" / "._00.wav", "macOS")
    write_tone(tmp_path / "low" / ".x.wav")
    write_tone(tmp_path / "low" / ".trash" / "deep" / "y.wav")
    write_text(tmp_path / "low" / ".DS_Store", "no recording")
    (one,) = load_data(tmp_path).passed_over
    assert (one.kind, one.count) == ("recordings with a hidden name (._ or .)", 3)
    assert one.examples == ("low/._00.wav", "low/.trash/deep/y.wav", "low/.x.wav")


def test_recordings_beside_the_class_folders_are_counted(tmp_path: Path) -> None:
    classes(tmp_path)
    write_tone(tmp_path / "stray.wav")
    assert load_data(tmp_path).notices == ("Note: 1 recording beside the class folders was passed over: stray.wav",)
    classes(tmp_path / "split" / "train")
    write_tone(tmp_path / "split" / "train" / "loose.wav")
    write_tone(tmp_path / "split" / "loose.wav")
    assert {one.examples for one in load_data(tmp_path / "split").passed_over} == {("train/loose.wav", "loose.wav")}


def test_a_class_without_a_clip_is_an_error_that_says_what_is_there(tmp_path: Path) -> None:
    classes(tmp_path)
    (tmp_path / "wren").mkdir()
    (tmp_path / "wren" / ".gitkeep").touch()
    (tmp_path / "owl").mkdir()
    for number in range(3):
        (tmp_path / "owl" / f"{number}.wav").symlink_to("nowhere")
        write_text(tmp_path / "noise" / f"{number}.m4p", "phone")
    (tmp_path / "gone").symlink_to("nowhere")
    write_tone(tmp_path / "stray.wav")
    lines = refusal(tmp_path).splitlines()
    assert lines[:5] == [
        f"{tmp_path}: 4 faults",
        "  - class folder noise holds 3 files in a format that cannot be read (.m4p)",
        "  - class folder owl holds 3 links to nothing (content of git-annex, DVC or git-lfs that was not fetched?)",
        "  - class folder wren holds nothing",
        "  - gone links to nothing",
    ]
    assert "  - 1 recording beside the class folders was passed over: stray.wav" in lines


def test_a_folder_of_other_files_is_no_class(tmp_path: Path) -> None:
    classes(tmp_path)
    write_text(tmp_path / "scripts" / "notes.txt", "no audio")
    dataset = load_data(tmp_path)
    assert dataset.labels == ("high", "low")
    assert dataset.notices == ("Note: 1 folder without recordings was passed over: scripts",)


def test_a_class_may_be_missing_in_a_split(tmp_path: Path) -> None:
    classes(tmp_path / "train")
    classes(tmp_path / "test", "low")
    (tmp_path / "test" / "high").mkdir()
    (tmp_path / "validation").mkdir()
    dataset = load_data(tmp_path)
    assert len(dataset.split().test) == 3
    assert dataset.notices == ("Note: 2 folders without recordings were passed over: test/high, validation",)


def test_no_clip_at_all_says_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    write_tone(tmp_path / "a.wav")
    write_text(tmp_path / "notes" / "a.txt", "x")
    assert "no audio files are found in class folders; 1 file is outside of them, a.wav for example" in refusal(
        tmp_path
    )


@needs_permissions
def test_folders_that_cannot_be_listed_are_an_error(tmp_path: Path) -> None:
    classes(tmp_path)
    (tmp_path / "low").chmod(0)
    try:
        assert "low cannot be listed (Permission denied)" in refusal(tmp_path)
    finally:
        (tmp_path / "low").chmod(0o755)


def test_what_the_system_refuses_is_no_traceback() -> None:
    assert "cannot be read (File name too long)" in refusal("x" * 5_000)
    assert "cannot be read (File name too long)" in refusal("folder:" + "x" * 5_000)


def test_a_table_counts_recordings_that_no_row_names(tmp_path: Path) -> None:
    write_csv(tmp_path)
    write_tone(tmp_path / "audio" / "extra.wav")
    write_text(tmp_path / "audio" / "extra.m4p", "phone")
    write_tone(tmp_path / "audio" / "._extra.wav")
    assert [(one.kind, one.count) for one in load_data(tmp_path).passed_over] == [
        ("columns", 1),
        ("recordings with a hidden name (._ or .)", 1),
        ("recordings that no row names", 2),
    ]
    elsewhere = write_text(tmp_path / "tables" / "a.csv", "file_name,label", f"{tmp_path}/audio/no_1_0.wav,no")
    assert load_data(elsewhere).passed_over[1].examples[0] == f"{tmp_path}/audio/extra.m4p"
    write_esc50(tmp_path / "esc")
    write_tone(tmp_path / "esc" / "audio" / "extra.wav")
    (one,) = load_data(tmp_path / "esc").passed_over
    assert (one.kind, one.examples) == ("recordings that no row names", ("audio/extra.wav",))


def test_speech_commands_counts_what_it_passes_over(tmp_path: Path) -> None:
    write_speech_commands(tmp_path)
    write_tone(tmp_path / "stray.wav")
    write_tone(tmp_path / "yes" / "deeper" / "x.wav")
    write_text(tmp_path / "yes" / "x.m4p", "phone")
    write_text(tmp_path / "tools" / "x.py", "no word")
    assert {one.kind: one.count for one in load_data(tmp_path).passed_over} == {
        "recordings in folders with a leading underscore": 1,
        "recordings beside the class folders": 1,
        "recordings in folders within a word's folder": 1,
        "files in a format that cannot be read (.m4p)": 1,
        "folders without recordings": 1,
    }
    (tmp_path / "no").mkdir()
    assert "word folder no holds nothing" in refusal(tmp_path)


def test_every_verb_says_what_was_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = classes(tmp_path / "rec", clips=4)
    write_text(data / "low" / "a.m4p", "phone")
    said = "Note: 1 file in a format that cannot be read (.m4p) was passed over: low/a.m4p"
    fields = {"data": str(data), "backbone": "random:tiny", "method": "linear", "num_train_epochs": 1}
    result = train(TrainConfig(**fields, output_dir=tmp_path / "out"))
    assert said in capsys.readouterr().err
    assert result.notices[0] == said
    assert result.notices[1].startswith("Note: no validation split is given: 2 of the training clips")
    code, out, err = run(capsys, monkeypatch, "data", "check", data, "--json")
    assert (code, json.loads(out)["notices"][0]) == (0, said)
    assert said in err
    code, out, err = run(capsys, monkeypatch, "evaluate", tmp_path / "out", data, "--split", "all", "--json")
    assert (code, json.loads(out)["notices"]) == (0, [said])
    assert said in err
    fields["output_dir"] = tmp_path / "new"
    file = write_text(tmp_path / "a.yaml", *(f"{name}: {value}" for name, value in fields.items()))
    code, out, err = run(capsys, monkeypatch, "validate", file)
    assert code == 0
    assert said in err


def test_predict_names_what_it_passes_over_and_ends_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = classes(tmp_path / "rec", clips=4)
    fields = {"data": str(data), "backbone": "random:tiny", "method": "linear", "num_train_epochs": 1}
    train(TrainConfig(**fields, output_dir=tmp_path / "out"), quiet=True)
    code, out, _ = run(capsys, monkeypatch, "predict", tmp_path / "out", data / "low")
    assert (code, len(out.splitlines())) == (0, 4)
    write_text(data / "high" / "._00.wav", "of a Mac")
    code, out, err = run(capsys, monkeypatch, "predict", tmp_path / "out", data / "high", "--json")
    assert (code, len(json.loads(out))) == (0, 5)  # no recording, so no failure; but counted
    assert json.loads(out)[4]["passed_over"] == "recordings with a hidden name (._ or .)"
    assert "Note: 1 recording with a hidden name (._ or .) was passed over: ._00.wav" in err
    (data / "high" / "._00.wav").unlink()
    write_text(data / "low" / "a.m4p", "phone")
    (data / "low" / "b.wav").symlink_to("nowhere")
    code, out, err = run(capsys, monkeypatch, "predict", tmp_path / "out", data / "low")
    assert (code, len(out.splitlines())) == (1, 4)
    assert f"{data / 'low' / 'a.m4p'}: passed over, as are all files in a format that cannot be read (.m4p)" in err
    assert "2 of 6 files could not be read" in err
    code, out, _ = run(capsys, monkeypatch, "predict", tmp_path / "out", data / "low", "--json")
    records = json.loads(out)
    assert (code, len(records)) == (1, 6)
    assert [record["file"] for record in records if "error" in record] == [
        str(data / "low" / "a.m4p"),
        str(data / "low" / "b.wav"),
    ]
    write_text(tmp_path / "phone" / "a.m4p", "phone")
    code, _, err = run(capsys, monkeypatch, "predict", tmp_path / "out", tmp_path / "phone")
    assert code == 1
    assert "holds no audio files that can be read: it holds 1 file in a format that cannot be read (.m4p)" in err
    write_text(data / "high" / "later.zip", "more")
    code, out, err = run(capsys, monkeypatch, "predict", tmp_path / "out", tmp_path / "phone", data / "high", "--json")
    assert (code, ["error" in record for record in json.loads(out)]) == (1, [False] * 4 + [True])
    assert "Note: 1 file in no audio format (.zip) was passed over: later.zip" in err


def test_evaluate_reads_the_chosen_split_alone_and_asks_for_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = classes(tmp_path / "rec", clips=4)
    fields = {"data": str(data), "backbone": "random:tiny", "method": "linear", "num_train_epochs": 1}
    train(TrainConfig(**fields, output_dir=tmp_path / "out"), quiet=True)
    classes(tmp_path / "later" / "test", "low")
    code, out, _ = run(capsys, monkeypatch, "evaluate", tmp_path / "out", tmp_path / "later", "--json")
    assert (code, json.loads(out)["clips"]) == (0, 3)
    classes(tmp_path / "later" / "train")
    write_text(tmp_path / "later" / "train" / "low" / "broken.wav", "no audio")
    code, out, _ = run(capsys, monkeypatch, "evaluate", tmp_path / "out", tmp_path / "later", "--json")
    assert (code, json.loads(out)["clips"]) == (0, 3)


def test_training_refuses_one_class_and_no_training_clips(tmp_path: Path) -> None:
    fields = {"backbone": "random:tiny", "output_dir": tmp_path / "out"}
    classes(tmp_path / "one", "low")
    with pytest.raises(DataError, match="training needs two classes or more, and the data have only low"):
        train(TrainConfig(data=str(tmp_path / "one"), **fields))
    classes(tmp_path / "tested" / "test")
    with pytest.raises(DataError, match="has no clips to train on"):
        train(TrainConfig(data=str(tmp_path / "tested"), **fields))


@pytest.mark.parametrize("folder", ["__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information"])
def test_folders_of_systems_are_no_classes(tmp_path: Path, folder: str) -> None:
    classes(tmp_path)
    (tmp_path / folder / "high").mkdir(parents=True)
    assert load_data(tmp_path).labels == ("high", "low")
    write_tone(tmp_path / folder / "high" / "._00.wav")
    assert load_data(tmp_path).labels == ("high", "low")
    assert counts(tmp_path) == {"recordings with a hidden name (._ or .)": 1}


def test_files_that_may_be_recordings_are_counted(tmp_path: Path) -> None:
    classes(tmp_path)
    for name in (
        "low/a.wav.part",
        "low/b.wav.part",
        "low/.c.wav.icloud",
        "high/d.flac.gz",
        "low/e.zip",
        "low/rec01",
        "f.csv",
    ):
        (tmp_path / name).write_bytes(b"x")
    for name in ("README.md", "LICENSE", "low/notes.txt", "low/Thumbs.db"):
        (tmp_path / name).write_bytes(b"no recording")
    assert {one.kind: one.count for one in load_data(tmp_path).passed_over} == {
        "recordings not finished, fetched or unpacked (.part)": 2,
        "recordings not finished, fetched or unpacked (.icloud)": 1,
        "recordings not finished, fetched or unpacked (.gz)": 1,
        "files in no audio format (.zip)": 1,
        "files in no audio format (without a suffix)": 1,
        "files in no audio format (.csv)": 1,
    }
    assert "Note: 1 file in no audio format (.csv) was passed over: f.csv" in load_data(tmp_path).notices


def test_a_class_of_unfinished_downloads_is_refused(tmp_path: Path) -> None:
    classes(tmp_path)
    (tmp_path / "owl").mkdir()
    (tmp_path / "owl" / "a.wav.crdownload").write_bytes(b"x")
    assert "class folder owl holds 1 recording not finished, fetched or unpacked (.crdownload)" in refusal(tmp_path)


def test_published_layouts_search_all_of_their_folder(tmp_path: Path) -> None:
    write_esc50(tmp_path)
    write_tone(tmp_path / "dev" / "a.wav")
    (one,) = load_data(tmp_path).passed_over
    assert one.sentence == "1 recording that no row names was passed over: dev/a.wav"


def test_a_link_above_the_data_set_is_not_followed(tmp_path: Path) -> None:
    """Else all that lies beside the data set would become clips of the class."""
    data = classes(tmp_path / "rec")
    write_tone(tmp_path / "other" / "a.wav")
    (data / "low" / "up").symlink_to("../..")
    dataset = load_data(data)
    assert len(dataset.clips) == 6
    assert dataset.notices == ("Note: 1 link to a folder above was passed over: low/up",)
