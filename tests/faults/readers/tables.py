"""Data sets of every layout with a hostile table, list, label track, annotation, or folder."""

from __future__ import annotations

import csv
import functools
import io
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.io import savemat

from astune.data.check import check
from astune.data.layouts.base import LAYOUTS, load_data
from astune.data.layouts.crowsetta import Crowsetta
from astune.data.layouts.example import write_text, write_tone
from astune.data.options import DataOptions
from astune.training.config import TrainConfig
from tests.faults.fuzzing import Reader
from tests.faults.mutations import DEEP, hostile_bytes, hostile_text, hostile_value

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

_AUDIO = (".wav", ".flac")


def _sounds(folder: Path, *names: str) -> list[str]:
    for number, name in enumerate(names):
        write_tone(folder / name, seconds=0.3, pitch=300 + 20 * number)
    return list(names)


def _lines(folder: Path) -> None:
    names = _sounds(folder, "train/a.wav", "train/b.wav", "test/c.wav")
    for split in ("train", "test"):
        rows = [
            {"file_name": name.partition("/")[2], "labels": ["dog", "rain"][: 1 + n]}
            for n, name in enumerate(names)
            if split in name
        ]
        write_text(folder / split / "metadata.jsonl", *map(json.dumps, rows))


def _one_hot(folder: Path) -> None:
    names = _sounds(folder, "a.wav", "b.wav", "c.wav")
    write_text(
        folder / "clips.tsv",
        "file\tstart\tend\tdog\train",
        *(f"{name}\t0.05\t{0.1 + n / 20}\t1\t{n % 2}" for n, name in enumerate(names)),
    )


def _labels(folder: Path) -> None:
    names = _sounds(folder, "a.wav", "b.wav", "c.wav")
    cells = ["dog;rain", "['dog', 'rain']", '["rain"]']
    rows = (
        f'{name};"{cell.replace(chr(34), 2 * chr(34))}";{n};yes'
        for n, (name, cell) in enumerate(zip(names, cells, strict=True))
    )
    write_text(folder / "clips.csv", "filename;labels;fold;group", *rows)


def _several_recordings(folder: Path) -> None:
    names = _sounds(folder, "a.wav", "b.wav")
    header = "Selection\tBegin Time (s)\tEnd Time (s)\tBegin File\tFile Offset (s)\tspecies"
    write_text(
        folder / "all.txt", header, *(f"{n}\t{n}\t{n + 0.1}\t{name}\t0.1\trobin" for n, name in enumerate(names))
    )


def _predicted(folder: Path) -> None:
    names = _sounds(folder, "a.wav", "b.wav")
    tables = [{"file": str(folder / name), "table": f"{name[0]}.csv", "state": [1, 2]} for name in names]
    write_text(folder / "predictions.jsonl", json.dumps({"settings": {"format": "csv"}}), *map(json.dumps, tables))
    for name in names:
        write_text(
            folder / f"{name[0]}.csv",
            "file,start,end,label",
            f"{folder / name},0.0,0.1,dog",
            f"{folder / name},0.1,0.2,{name[0]}",
        )


def _crowsetta_table(folder: Path) -> None:
    _sounds(folder, "a.wav", "b.wav")
    rows = (
        "x,0.0,0.1,0,1600,a.wav,a.csv,0,0",
        "y,0.15,0.25,2400,4000,a.wav,a.csv,0,0",
        "x,0.1,0.2,1600,3200,b.wav,a.csv,0,1",
    )
    write_text(
        folder / "all.csv",
        "label,onset_s,offset_s,onset_sample,offset_sample,notated_path,annot_path,sequence,annotation",
        *rows,
    )


def _timit(folder: Path) -> None:
    _sounds(folder, "a.wav", "b.wav")
    for name in "ab":
        write_text(folder / f"{name}.phn", "0 500 h#", "500 1250 iy", "1250 2000 v")


def _simple_sequence(folder: Path) -> None:
    _sounds(folder, "a.wav", "b.wav")
    for name in "ab":
        write_text(folder / f"{name}.wav.csv", "onset_s,offset_s,label", "0.0,0.1,x", "0.1,0.25,y")


def _evsonganaly(folder: Path) -> None:
    for name in _sounds(folder, "a.cbin.wav", "b.cbin.wav"):
        times = {"onsets": np.array([10.0, 100.0]), "offsets": np.array([60.0, 200.0]), "labels": "xy", "Fs": 8_000.0}
        savemat(folder / f"{name}.not.mat", {**times, "fname": name, "min_int": 2.0, "min_dur": 2.0, "sm_win": 2.0})


def _weights(folder: Path) -> None:
    write_text(folder / "weights.csv", "label,weight", "dog,4", "rain,0.5")
    write_text(folder / "weights.json", '{"dog": 4, "rain": 0.5}')


def _example(name: str) -> Callable[[Path], object]:
    return LAYOUTS[name].write_example


_KINDS: dict[str, tuple[Callable[[Path], object], str, dict[str, Any]]] = {
    **{name: (_example(name), f"{name}:DIR", {}) for name in LAYOUTS if name != "hf"},
    "guessed": (_example("csv"), "DIR", {}),
    "windows": (_example("csv"), "csv:DIR", {"window": 0.03}),
    "lines": (_lines, "DIR", {}),
    "one_hot": (_one_hot, "csv:DIR/clips.tsv", {}),
    "one_hot_windows": (_one_hot, "csv:DIR/clips.tsv", {"window": 0.1, "task": "multi-label"}),
    "labels": (_labels, "csv:DIR/clips.csv", {}),
    "elsewhere": (_labels, "csv:DIR/clips.csv", {"audio_dir": "DIR"}),
    "several_recordings": (_several_recordings, "raven:DIR/all.txt", {}),
    "predicted": (_predicted, "DIR", {}),
    "tracks": (_example("audacity"), "DIR", {"window": 0.2, "background": "none"}),
    "crowsetta_table": (_crowsetta_table, "crowsetta:DIR", {}),
    "timit": (_timit, "crowsetta:DIR", {}),
    "simple-seq": (_simple_sequence, "crowsetta:DIR", {"annotation_format": "simple-seq"}),
    "evsonganaly": (_evsonganaly, "crowsetta:DIR", {}),
    "weights": (_weights, "", {}),
}
"""By name: what writes the data set, where it is, and how it is read."""


@functools.cache
def _files(kind: str) -> dict[str, bytes]:
    """A sound data set, by the paths of its files; DIR stands for the folder."""
    with tempfile.TemporaryDirectory() as folder:
        _KINDS[kind][0](Path(folder))
        found = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(Path(folder).rglob("*"))
            if path.is_file()
        }
    return {name: content.replace(folder.encode(), b"DIR") for name, content in found.items()}


def make(folder: Path, random: Random) -> tuple[str, Path, int]:
    kind = random.choice([*_KINDS])
    files = {name: content.replace(b"DIR", str(folder).encode()) for name, content in _files(kind).items()}
    tables = [name for name in files if not name.endswith(_AUDIO)]
    if tables and random.random() < 0.95:
        name = random.choice(tables)
        files[name] = _hostile(name, files[name], random, folder)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    if not tables or random.random() < 0.1:
        _rename(folder, random)
    return kind, folder, random.randrange(10)


def _hostile(name: str, content: bytes, random: Random, folder: Path) -> bytes:
    try:
        text = content.decode()
    except UnicodeDecodeError:  # a format of binary files
        return hostile_bytes(content, random)
    match random.randrange(10):
        case 0:
            return hostile_bytes(content, random)
        case 1 | 2 | 3:
            text = hostile_text(text, random)
        case 4 if ".json" in name:
            values = [hostile_value(json.loads(line), random) for line in text.splitlines()]
            text = "\n".join(map(json.dumps, values))
        case 5:
            text = _large(text, random)
        case _:
            text = _with_cells(text, random, folder)
    encoding = random.choice(["utf-8"] * 6 + ["utf-8-sig", "utf-16", "latin-1", "utf-32"])
    return text.encode(encoding, "replace" if encoding == "latin-1" else "surrogatepass")


def _large(text: str, random: Random) -> str:
    """As one row, one column, one cell, and as a whole."""
    first, _, rest = text.partition("\n")
    match random.randrange(6):
        case 0:
            return f"{first}{''.join(f',c{n}' for n in range(10_000))}\n{rest}"
        case 1:
            return f"{first}\n{'x' * 1_000_000}{rest}"
        case 2:
            return f"{first}\n{',' * 300_000}\n{rest}"
        case 3:
            return text + rest * 500
        case 4:
            return f"{first}\n{rest.rpartition(chr(10))[2]}" + '"' * 200_001
        case _:
            return f"{first}{',label' * 3_000}\n{rest}"


_CELLS = [
    "", " ", "nan", "inf", "-inf", "1e999", "1e308", "1e300", "-1", "1" * 5_000, "0." + "1" * 5_000, "1e-400", "0x10", "1_000", "١", "²",
    "1,5", "1:30", "999999999999", "1e9", "9" * 19, str(2**63), "True", "None", "[", "[]", "{}", "a" * 40_000, "[" * DEEP,
    "[" * 400 + "]" * 400, '["a"', "['a' 'b']", '["a", 1, null]', "[1e999]", '["\ud800"]', "['\\x']", f"['{'a' * 10_000}", "/etc/passwd",
    "../../../etc/passwd", "..", ".", "/", "//", "~/x.wav", "~nobody/x", "C:\\a.wav", "\\\\host\\a.wav", "file:///a.wav", "./a.wav",
    "a.wav/", "a.wav/../b.wav", "-", "/dev/zero", "/dev/stdin", "/proc/self/mem", "a\0b", "a\nb", "\x1b[31m", "\u202e", "\ud800", "=1+1",
    "\ufeffa", "e\u0301", "x" * 300 + ".wav", "d/" * 3_000 + "a.wav", "a|b;c,d", "FOLDER/a.wav", "FOLDER/../input/a.wav", "FOLDER",
]  # fmt: skip


def _with_cells(text: str, random: Random, folder: Path) -> str:
    """One to three cells replaced, written as CSV writes them or as they are."""
    lines = text.split("\n")
    for _ in range(random.choice([1, 1, 2, 3])):
        row = random.randrange(len(lines))
        separator = next((mark for mark in ("\t", ";", ",", " ") if mark in lines[row]), ",")
        cells = lines[row].split(separator)
        cell = random.choice(_CELLS).replace("FOLDER", str(folder))
        written = io.StringIO()
        csv.writer(written, lineterminator="").writerow([cell])
        cells[random.randrange(len(cells))] = random.choice([cell, written.getvalue(), json.dumps(cell)])
        lines[row] = separator.join(cells)
    return "\n".join(lines)


def _rename(folder: Path, random: Random) -> None:
    """A file or folder under another name, in its place, or of another kind."""
    path = random.choice(sorted(folder.rglob("*")))
    match random.randrange(6):
        case 0:
            names = [
                "a\nb.wav",
                "a\x1b[31m",
                os.fsdecode(b"\xff.wav"),
                "train",
                "nan",
                "x" * 250,
                "..wav",
                "~",
                "-",
                "\u202e.wav",
            ]
            path.rename(path.with_name(random.choice(names)))
        case 1:
            path.with_name("up").symlink_to(folder, target_is_directory=True)
        case 2:
            path.with_name("lost.wav").symlink_to(
                random.choice(["nowhere", "lost.wav", "/dev/zero", "/proc/self/fd/0"])
            )
        case 3:
            os.mkfifo(path.with_name(random.choice(["pipe.wav", "pipe.csv", "pipe.txt"])))
        case 4:
            path.with_name("folder.wav").mkdir()
        case _ if path.is_file():
            path.unlink()
            path.mkdir()


def read(given: tuple[str, Path, int]) -> None:
    kind, folder, number = given
    _, source, options = _KINDS[kind]
    if kind == "weights":
        for suffix in ("csv", "json"):
            settings: dict[str, Any] = {"class_weights": str(folder / f"weights.{suffix}")}
            TrainConfig(data="x", output_dir="x", **settings)
        return
    placed = {name: str(folder) if value == "DIR" else value for name, value in options.items()}
    dataset = load_data(source.replace("DIR", str(folder)), DataOptions(**placed))
    if number == 0:
        check(dataset, quiet=True)


def warm_up(folder: Path) -> None:
    assert isinstance(LAYOUTS["crowsetta"], Crowsetta)
    for kind in _KINDS:
        folder_of_kind = folder / kind
        for name, content in _files(kind).items():
            (folder_of_kind / name).parent.mkdir(parents=True, exist_ok=True)
            (folder_of_kind / name).write_bytes(content.replace(b"DIR", str(folder_of_kind).encode()))
        read((kind, folder_of_kind, 0))


READER = Reader("tables", make, read, warm_up)
