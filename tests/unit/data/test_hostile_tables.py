"""Tables and lists that no program wrote by accident: each is refused in one sentence, and nothing waits, loops or fills the memory."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from astune.data import load_data
from astune.data.layouts.audacity import Audacity
from astune.data.layouts.raven import Raven
from tests.example_layouts import (
    hub_table,
    write_csv,
    write_esc50,
    write_fluent_speech,
    write_speech_commands,
    write_text,
    write_tone,
    write_urbansound8k,
)
from tests.unit.data.refusals import refusal, table

if TYPE_CHECKING:
    from collections.abc import Callable

DIGITS = "1" * 5_000


def _replaced(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


NUMBERS: list[tuple[Callable[[Path], Path], str, str, str]] = [
    (write_csv, "metadata.csv", "no,1,", f"no,{DIGITS},"),
    (write_esc50, "meta/esc50.csv", "-A-0.wav,1,0,", f"-A-0.wav,{DIGITS},0,"),
    (write_esc50, "meta/esc50.csv", "-A-0.wav,1,0,", f"-A-0.wav,1,{DIGITS},"),
    (write_urbansound8k, "metadata/UrbanSound8K.csv", "0.05,1,1,", f"0.05,1,{DIGITS},"),
]


@pytest.mark.parametrize(("write", "name", "old", "new"), NUMBERS, ids=range(len(NUMBERS)))
def test_numbers_of_thousands_of_digits(
    tmp_path: Path, write: Callable[[Path], Path], name: str, old: str, new: str
) -> None:
    """Python refuses to convert them, with an error of its own."""
    write(tmp_path)
    _replaced(tmp_path / name, old, new)
    assert "has 5,000 digits; give at most 9" in refusal(tmp_path)


def test_a_fold_of_thousands_of_digits_in_a_table_of_the_hub(tmp_path: Path) -> None:
    rows = hub_table(6)
    rows.add_column("fold", ["1", "2", DIGITS, "1", "2", "1"]).save_to_disk(tmp_path / "data")
    assert "not a whole number" in refusal(f"hf:{tmp_path / 'data'}")


OUTSIDE: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    "esc50": (write_esc50, "meta/esc50.csv", "1-10001-A-0.wav"),
    "urbansound8k": (write_urbansound8k, "metadata/UrbanSound8K.csv", "1001-3-0-0.wav"),
    "fluent_speech": (write_fluent_speech, "data/train_data.csv", "wavs/speakers/speaker0/00000000-4474-11e9.wav"),
    "speech_commands": (write_speech_commands, "testing_list.txt", "yes/00000000_nohash_0.wav"),
}


@pytest.mark.parametrize("layout", OUTSIDE)
@pytest.mark.parametrize("way", ["{outside}", "{up}/other/x.wav"])
def test_published_tables_name_files_of_their_own_folder(tmp_path: Path, layout: str, way: str) -> None:
    """A table that came with a download could otherwise have any recording of the machine trained on, and copied into reports by name."""
    write, name, file = OUTSIDE[layout]
    write(tmp_path / "data")
    write_tone(tmp_path / "other" / "x.wav")
    _replaced(tmp_path / "data" / name, file, way.format(outside=tmp_path / "other" / "x.wav", up="../" * 8 + ".."))
    if way.startswith("{up"):
        _replaced(tmp_path / "data" / name, "../" * 8 + "..", os.path.relpath(tmp_path, _audio(layout, tmp_path)))
    message = refusal(f"{layout}:{tmp_path / 'data'}")
    assert "named there are in other folders" in message
    assert "give a table of your own as csv:PATH" in message


def _audio(layout: str, folder: Path) -> Path:
    inside = {"esc50": "data/audio", "urbansound8k": "data/audio/fold1"}
    return folder / inside.get(layout, "data")


@pytest.mark.parametrize("end", ["1000000000", "1e9", "1e300", "9" * 400])
def test_times_that_no_recording_has(tmp_path: Path, end: str) -> None:
    write_tone(tmp_path / "a.wav")
    said = "seconds; no recording lasts 1,000,000,000" if float(end) < float("inf") else "not a number of seconds"
    assert said in refusal(table(tmp_path, "file_name,start,end,label", f"a.wav,0,{end},dog"))
    write_text(tmp_path / "a.txt", f"0.0\t{end}\tdog")
    assert said in refusal(f"audacity:{tmp_path}")


@pytest.mark.parametrize("layout", [Audacity(), Raven()])
@pytest.mark.parametrize("name", ["garden.txt", "garden-9.txt"])
def test_pipes_among_tables_are_passed_over(tmp_path: Path, layout: Audacity | Raven, name: str) -> None:
    """Whoever opens one waits until somebody writes."""
    layout.write_example(tmp_path)
    os.mkfifo(tmp_path / name)
    dataset = load_data(f"{layout.name}:{tmp_path}")
    assert any(f"1 thing without an end (pipes, devices) was passed over: {name}" in line for line in dataset.notices)
    assert len(dataset.labels) == 2


def test_a_pipe_is_not_a_table(tmp_path: Path) -> None:
    write_tone(tmp_path / "a.wav")
    os.mkfifo(tmp_path / "a.csv")
    os.mkfifo(tmp_path / "predictions.jsonl")
    refusal(f"csv:{tmp_path / 'a.csv'}")
    refusal(f"crowsetta:{tmp_path}")
    refusal(tmp_path)


def test_a_table_larger_than_memory(tmp_path: Path) -> None:
    with (tmp_path / "clips.csv").open("wb") as file:
        file.truncate(2**30 + 1)  # takes no room
    assert "has 1,073,741,825 bytes; a CSV file may have up to 1,073,741,824" in refusal(tmp_path / "clips.csv")


def test_a_table_of_annotations_with_an_endless_line(tmp_path: Path) -> None:
    """The library would make an index of all columns but the last ten, for minutes."""
    pytest.importorskip("crowsetta")
    write_tone(tmp_path / "a.wav")
    header = "label,onset_s,offset_s,onset_sample,offset_sample,notated_path,annot_path,sequence,annotation"
    write_text(tmp_path / "all.csv", header, "," * 300_000)
    assert "line 2 has 50,000 bytes or more; is it damaged?" in refusal(f"crowsetta:{tmp_path}")


@pytest.mark.parametrize("content", [b"yes/\xff.wav", b"yes/a\0.wav", "yes/ä.wav".encode("utf-16-le"), b"\xff\xfe\x00"])
def test_lists_that_are_not_text(tmp_path: Path, content: bytes) -> None:
    write_speech_commands(tmp_path)
    (tmp_path / "testing_list.txt").write_bytes(content)
    assert "is not a readable text file" in refusal(tmp_path)


def test_a_record_of_predictions_that_nobody_wrote(tmp_path: Path) -> None:
    """It is data like any other file of the folder."""
    write_csv(tmp_path)
    whole = load_data(tmp_path).clips
    lines = [
        {"settings": {"format": "csv"}},
        {"file": 5, "table": "a.csv"},
        {"file": "a", "table": 7, "state": 1},
        None,
        [],
    ]
    for line in (*lines, "x", 1):
        text = "\n".join([json.dumps(lines[0]), json.dumps(line), ""])
        (tmp_path / "predictions.jsonl").write_text(text, encoding="utf-8")
        assert load_data(tmp_path).clips == whole
