"""Tables of findings, read back as those they are for would read them; the folder they are written into; the command."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from astune import AudioClassifier, Predictor, load_backbone
from astune.cli import app
from astune.errors import ConfigError
from astune.inference import result_folder
from astune.inference.findings import Findings, Row, of_windows, thresholds_of
from astune.inference.result_folder import RECORD, open_result_folder, table_names
from astune.inference.writers import WRITERS

RATE = 16_000  # Hz
LABELS = ("a", 'b "quoted", c', "d=e")
NASTY = 'it\'s a\t"tab"\nand;\ra, line\x1b[31m.wav'
ROWS = (Row(0.0, 1.5, "a", 0.75), Row(1.25, 3.0, LABELS[1], 1 / 3), Row(10_800.5, 10_801.123456, "x\ty\nz", 1e-7))


def findings(name: str = "rec/garden.wav", rows: tuple[Row, ...] = ROWS, **settings: Any) -> Findings:
    return Findings(name, rows, 10_802.0, 10_801.5, 9, 1.5, 1.25, **settings)


@pytest.mark.parametrize("name", ["rec/garden.wav", NASTY])
def test_csv_and_json_lines_are_read_back(name: str) -> None:
    texts = {kind: WRITERS[kind].text(findings(name, pool="mean")) for kind in ("csv", "jsonl")}
    table = list(csv.DictReader(io.StringIO(texts["csv"], newline="")))
    lines = [json.loads(line) for line in texts["jsonl"].splitlines()]
    assert len(table) == len(lines) == 3
    for cells, line, row in zip(table, lines, ROWS, strict=True):
        assert list(cells) == list(line)
        assert (cells["file_name"], cells["label"]) == (line["file_name"], line["label"]) == (name, row.label)
        assert [float(cells[key]) for key in ("start", "end", "score")] == pytest.approx(
            [row.start, row.end, row.score], abs=1e-6
        )
        assert {key: str(line[key]) for key in line} == cells
        assert (line["seconds"], line["heard_seconds"], line["windows"], line["pool"]) == (
            10_802.0,
            10_801.5,
            9,
            "mean",
        )
        assert (line["window"], line["hop"]) == (1.5, 1.25)


def test_label_tracks_are_what_audacity_reads() -> None:
    """A line each of onset, offset and label between tabs; the label is nothing but the label."""
    lines = WRITERS["audacity"].text(findings()).splitlines()
    assert lines[:2] == ["0.000000\t1.500000\ta", f"1.250000\t3.000000\t{LABELS[1]}"]
    assert lines[2] == "10800.500000\t10801.123456\tx\\ty\\nz"
    assert WRITERS["audacity"].text(findings(rows=())) == ""


@pytest.mark.parametrize(("rate", "highest"), [(44_100, "8000"), (8_000, "4000"), (None, "8000")])
def test_selection_tables_are_what_raven_reads(rate: int | None, highest: str) -> None:
    text = WRITERS["raven"].text(findings(sampling_rate=rate), "/data/" + NASTY)
    table = list(csv.DictReader(io.StringIO(text, newline=""), delimiter="\t", quoting=csv.QUOTE_NONE))
    assert [cells["Selection"] for cells in table] == ["1", "2", "3"]
    assert table[1]["Annotation"] == LABELS[1]
    assert table[2]["Annotation"] == "x\\ty\\nz"
    for cells, row in zip(table, ROWS, strict=True):
        assert None not in cells
        assert (cells["View"], cells["Channel"], cells["Low Freq (Hz)"]) == ("Spectrogram 1", "1", "0")
        assert cells["High Freq (Hz)"] == highest
        assert float(cells["Begin Time (s)"]) == pytest.approx(row.start)
        assert float(cells["End Time (s)"]) == pytest.approx(row.end)
        assert cells["Begin File"] == cells["Begin Path"].removeprefix("/data/")
        assert (cells["Heard (s)"], cells["Windows"]) == ("10801.500", "9")
    assert WRITERS["raven"].text(findings(rows=())).count("\n") == 1


def test_tables_are_named_as_recordings_are_and_never_alike() -> None:
    given = ["/d/x/a.wav", "/d/y/a.wav", "/d/x/b.flac", "/d/x/b.wav", "/d/x/b.wav.ogg", "/d/x/b", "-"]
    names = table_names([Path(one) for one in given], ".csv")
    assert [str(names[Path(one)]) for one in given] == [
        "x/a.csv", "y/a.csv", "x/b.flac.csv", "x/b.wav.csv", "x/b.wav.ogg.csv", "x/b.csv", "standard input.csv",
    ]  # fmt: skip
    assert table_names([Path("/d/x/a.wav")], ".txt") == {Path("/d/x/a.wav"): Path("a.txt")}
    assert table_names([Path("/d/predictions.wav")], ".jsonl")[Path("/d/predictions.wav")].name != RECORD
    relative = table_names([Path("x/../a.wav"), Path("x/a.wav")], ".csv")
    assert [str(name) for name in relative.values()] == ["a.csv", "x/a.csv"]


def test_thresholds_are_typed_for_all_labels_or_for_one() -> None:
    assert thresholds_of([], LABELS) is None
    assert thresholds_of(["0.5", "0.25"], LABELS) == 0.25
    assert thresholds_of(["a=0.9"], LABELS) == {"a": 0.9}
    assert thresholds_of(["d=e=1", "0.5"], LABELS) == {"a": 0.5, LABELS[1]: 0.5, "d=e": 1.0}
    for text, fault in (
        ("x", "give a score such as 0.5, or LABEL=SCORE"),
        ("nan", "from 0 to 1"),
        ("z=0.5", "unknown label 'z'"),
    ):
        with pytest.raises(ConfigError, match=fault):
            thresholds_of([text], LABELS)


def recordings(folder: Path) -> list[Path]:
    """Three: two of one name, and one longer than the others."""
    draw, paths = np.random.default_rng(0), []
    for name, seconds in (("one/a.wav", 0.4), ("two/a.wav", 1.5), ("b.flac", 4.0)):
        path = folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        soundfile.write(path, draw.normal(0, 0.1, round(44_100 * seconds)), 44_100)
        paths.append(path)
    return paths


def test_a_folder_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths, folder, settings, writer = recordings(tmp_path / "in"), tmp_path / "out", {"hop": 1.0}, WRITERS["csv"]
    with open_result_folder(folder, settings, writer, [*paths, paths[0]]) as results:
        assert results.pending == paths
        results.write(findings(str(paths[0])))
    (folder / "one/a.csv").write_text("corrected")
    monkeypatch.setattr(result_folder, "write_text", killed_after_writing)
    with pytest.raises(KeyboardInterrupt), open_result_folder(folder, settings, writer, paths) as results:
        results.write(findings(str(paths[1])))
    monkeypatch.undo()
    assert (folder / "two/a.csv").is_file()  # written, but nobody has said so yet
    with (folder / RECORD).open("a") as stream:
        stream.write('{"file": "/cut')  # and the last line is cut
    with open_result_folder(folder, settings, writer, paths) as results:
        assert results.pending == paths[1:]
        assert results.finished == 1
        for path in results.pending:
            results.write(findings(str(path)))
    assert (folder / "one/a.csv").read_text() == "corrected"
    lines = [json.loads(line) for line in (folder / RECORD).read_text().splitlines()]
    assert lines[0] == {"settings": settings}
    done = {line["file"]: line for line in lines[1:] if "state" in line}
    assert {line["table"] for line in done.values()} == {"one/a.csv", "two/a.csv", "b.csv"}
    assert done[str(paths[2])]["heard_seconds"] == 10_801.5
    assert not list(folder.rglob("*.partial"))


def killed_after_writing(path: Path, text: str) -> None:
    path.write_text(text)
    raise KeyboardInterrupt


def test_folders_of_others_are_refused(tmp_path: Path) -> None:
    paths, folder, writer = recordings(tmp_path / "in"), tmp_path / "out", WRITERS["audacity"]

    def refused(fault: str, settings: dict[str, Any], to: Path = folder) -> None:
        with pytest.raises(ConfigError, match=fault), open_result_folder(to, settings, writer, paths):
            pytest.fail("it was opened")

    refused("is a file; give a folder", {}, paths[0])
    refused(
        r"events\.txt would be a folder, with a table for each recording; give a name without \.txt",
        {},
        tmp_path / "events.txt",
    )
    (folder / "one").mkdir(parents=True)
    (folder / "one/a.txt").write_text("mine")
    refused(r"one/a\.txt exists already, and this command did not write it; give another folder", {"hop": 1})
    (folder / "one/a.txt").unlink()
    with open_result_folder(folder, {"adapter": "x", "hop": 1, "threshold": {"a": 0.5}}, writer, paths) as results:
        results.write(findings(str(paths[0])))
    refused(
        r"results of other settings: hop=1, now 2; give another folder",
        {"adapter": "x", "hop": 2, "threshold": {"a": 0.5}},
    )
    refused("holds results of another adapter", {"adapter": "y", "hop": 1, "threshold": {"a": 0.5}})
    os.utime(paths[0], (1, 1))
    refused(r"a\.wav has changed since .*a\.txt was written", {"adapter": "x", "hop": 1, "threshold": {"a": 0.5}})
    for text in ("", "[]\n", "no json\n", '{"other": 1}\n', '{"settings": {}}\n3\n'):
        (folder / RECORD).write_text(text)
        refused("is not what this command writes", {})


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(0)
    AudioClassifier(load_backbone("random:tiny", 48), "lora", LABELS).save_pretrained(folder)
    return folder


def table_at(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def command(*arguments: object) -> tuple[int, str, str]:
    ended = CliRunner().invoke(app, ["predict", *map(str, arguments)])
    assert ended.exception is None or isinstance(ended.exception, SystemExit | ConfigError), ended.exception
    return ended.exit_code, ended.stdout, ended.stderr + str(ended.exception or "")


def test_windows_are_printed_as_python_gives_them(adapter: Path, tmp_path: Path) -> None:
    paths = recordings(tmp_path)
    code, out, err = command(adapter, *paths, "--window", 0.4, "--hop", 0.2, "--top-k", 2)
    assert (code, err) == (0, "")
    table = list(csv.DictReader(io.StringIO(out)))
    expected = [of_windows(one, 2) for one in Predictor(adapter).timelines(paths, window=0.4, hop=0.2)]
    rows = [(found.name, row) for found in expected for row in found.rows]
    assert len(table) == len(rows) == 2 * (1 + 7 + 19)
    for cells, (name, row) in zip(table, rows, strict=True):
        assert (cells["file_name"], cells["label"]) == (name, row.label)
        assert [float(cells[key]) for key in ("start", "end", "score")] == pytest.approx(
            [*row[:2], row.score], abs=2e-6
        )
    assert [cells["heard_seconds"] for cells in table[:2]] == ["0.4", "0.4"]
    code, out, _ = command(adapter, *paths, "--threshold", 0.99, "--format", "jsonl")
    assert (code, out) == (0, "")


def test_events_are_printed_as_python_gives_them(adapter: Path, tmp_path: Path) -> None:
    path = recordings(tmp_path)[2]
    options = (
        "--events",
        "--threshold",
        0.2,
        "--threshold",
        "a=0.3",
        "--low",
        0.1,
        "--min-length",
        0.5,
        "--merge-gap",
        0.5,
    )
    code, out, _ = command(adapter, path, *options, "--format", "jsonl")
    assert code == 0
    high = dict.fromkeys(LABELS, 0.2) | {"a": 0.3}
    expected = Predictor(adapter).timeline(path).events(high, 0.1, 0.5, 0.5)
    found = [json.loads(line) for line in out.splitlines()]
    assert [(one["start"], one["end"], one["label"]) for one in found] == [
        (round(event.onset, 6), round(event.offset, 6), event.label) for event in expected
    ]
    assert expected
    code, out, _ = command(adapter, path, "--events", "--threshold", 0.2, "--format", "audacity")
    assert code == 0
    assert out.splitlines()
    assert all(line.split("\t")[2] in LABELS for line in out.splitlines())


def test_whole_recordings_are_written_in_every_format(adapter: Path, tmp_path: Path) -> None:
    paths = recordings(tmp_path / "in")
    for kind, writer in WRITERS.items():
        folder = tmp_path / kind
        code, out, err = command(adapter, *paths, "--format", kind, "--pool", "max", "-o", folder)
        assert (code, out) == (0, "")
        assert f"3 rows in 3 tables under {folder}" in err
        assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {
            RECORD, *(f"{name}{writer.suffix}" for name in ("one/a", "two/a", "b"))
        }  # fmt: skip
    (cells,) = table_at(tmp_path / "csv/b.csv")
    assert (cells["file_name"], cells["pool"], cells["windows"], cells["heard_seconds"]) == (
        str(paths[2]),
        "max",
        "9",
        "4.0",
    )
    assert (cells["start"], cells["end"]) == ("0.0", "4.0")


def test_the_same_command_again_goes_on(adapter: Path, tmp_path: Path) -> None:
    paths, folder = recordings(tmp_path / "in"), tmp_path / "out"
    broken = tmp_path / "in" / "broken.wav"
    broken.write_bytes(b"no sound")
    options = (adapter, tmp_path / "in", "--events", "--threshold", 0.2, "-o", folder)
    code, _, err = command(*options)
    assert code == 1
    assert "1 of 4 files could not be read or labelled" in err
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.csv")}
    assert len(before) == 3
    soundfile.write(broken, np.random.default_rng(1).normal(0, 0.1, RATE), RATE)
    code, _, err = command(*options)
    assert code == 0
    assert "3 files finished before and left as they are" in err
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (folder / "broken.csv").is_file()
    code, _, err = command(*options, "--merge-gap", 2)
    assert code == 1
    assert "holds results of other settings: --merge-gap 0.0, now 2.0; give another folder, or delete it" in err
    assert paths


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--merge-gap", "1"], "--merge-gap says what an event is; add --events"),
        (["--min-length", "1", "--window", "0.2"], "--min-length says what an event is"),
        (["--low", "0.1"], "--low says what an event is"),
        (["--events", "--top-k", "2"], "--top-k counts labels, and --events gives all that reach --threshold"),
        (["--events", "--pool", "max"], "--pool makes one score of all windows"),
        (["--window", "0.2", "--pool", "mean"], "--pool makes one score of all windows"),
        (["--events", "--json"], "--json has labels of whole files; .* give --format jsonl"),
        (["--format", "csv", "--json"], "--json has labels of whole files"),
        (["--window", "1"], r"--window 1 is longer than the adapter's input of 0\.495 s"),
        (["--hop", "0"], "--hop 0"),
        (["--events", "--threshold", "2"], "threshold '2': give a score from 0 to 1"),
        (["--threshold", "robin=0.5"], "unknown label 'robin'"),
        (["--events", "--threshold", "0.5", "--low", "0.6"], r"--low 0\.6 of 'a' is above its threshold"),
        (["--format", "raven"], "--format raven has a file for each recording; give --output-dir"),
        (["--events", "--format", "audacity"], "--format audacity has a file for each recording"),
        (["--top-k", "9"], "--top-k 9: the adapter has 3 labels"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    options: list[str], fault: str, adapter: Path, tmp_path: Path
) -> None:
    code, out, err = command(adapter, *recordings(tmp_path), *options)
    assert (code, out) == (1, "")
    assert re.search(fault, err), err


def test_a_pipe_that_was_finished_is_not_taken_for_the_next_one(adapter: Path, tmp_path: Path) -> None:
    recording = recordings(tmp_path)[0].read_bytes()
    run = ["predict", str(adapter), "-", "-o", str(tmp_path / "out")]
    first = CliRunner().invoke(app, run, input=recording)
    assert (first.exit_code, (tmp_path / "out/standard input.csv").is_file()) == (0, True)
    second = CliRunner().invoke(app, run, input=recording)
    assert "the content of a pipe cannot be compared; give another folder" in str(second.exception)


def test_gaps_are_said(adapter: Path, tmp_path: Path) -> None:
    code, _, err = command(adapter, recordings(tmp_path)[2], "--window", 0.2, "--hop", 0.5)
    assert code == 0
    assert "Note: windows of 0.2 s every 0.5 s: 0.3 s between two of them are not heard" in err


def test_the_steps_of_events_are_said_where_nobody_chose_a_hop(adapter: Path, tmp_path: Path) -> None:
    path = recordings(tmp_path)[2]
    for hop, said in (((), True), (("--hop", 0.1), False)):
        code, _, err = command(adapter, path, "--events", "--window", 0.2, *hop)
        assert code == 0
        assert (
            "Note: events begin and end in steps of 0.2 s, the window; a shorter hop has finer steps" in err
        ) is said


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_with_the_same_tables(adapter: Path, tmp_path: Path) -> None:
    for number in range(12):
        path = tmp_path / "in" / f"{number:02d}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, np.random.default_rng(number).normal(0, 0.1, 10 * RATE), RATE)
    options = [adapter, tmp_path / "in", "--window", "0.2", "--hop", "0.05", "-o"]
    run = [sys.executable, "-m", "astune", "predict", *map(str, options)]
    with subprocess.Popen([*run, str(tmp_path / "out")], stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and len(list((tmp_path / "out").rglob("*.csv"))) < 3:
            pass
        process.send_signal(signal.SIGKILL)
    assert len(list((tmp_path / "out").rglob("*.csv"))) < 12
    again = subprocess.run([*run, str(tmp_path / "out")], check=True, capture_output=True, text=True)
    assert "finished before and left as they are" in again.stderr
    subprocess.run([*run, str(tmp_path / "whole")], check=True, capture_output=True)
    for path in (tmp_path / "whole").rglob("*.csv"):
        rows, expected = table_at(tmp_path / "out" / path.name), table_at(path)
        assert [row | {"score": None} for row in rows] == [row | {"score": None} for row in expected]
        np.testing.assert_allclose(
            [float(row["score"]) for row in rows], [float(row["score"]) for row in expected], atol=2e-6
        )
