"""The examples of the layouts under short names, tables of the Hugging Face format, and one data set of several labels in every form."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from astune.data.layouts.esc50 import Esc50
from astune.data.layouts.example import encoded_tone as encoded
from astune.data.layouts.example import write_text, write_tone
from astune.data.layouts.fluent_speech import FluentSpeech
from astune.data.layouts.folder import Folder
from astune.data.layouts.hub import HuggingFace, example_table
from astune.data.layouts.speech_commands import SpeechCommands
from astune.data.layouts.table import Table
from astune.data.layouts.urbansound8k import UrbanSound8K

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = [
    "SEVERAL", "SEVERAL_FORMS", "encoded", "hub_table", "write_csv", "write_esc50", "write_fluent_speech", "write_folder", "write_hub",
    "write_speech_commands", "write_text", "write_tone", "write_urbansound8k",
]  # fmt: skip

write_csv = Table().write_example
write_esc50 = Esc50().write_example
write_fluent_speech = FluentSpeech().write_example
write_folder = Folder().write_example
write_hub = HuggingFace().write_example
write_speech_commands = SpeechCommands().write_example
write_urbansound8k = UrbanSound8K().write_example


def hub_table(clips: int = 6, offset: int = 0) -> Any:  # noqa: ANN401 - a Dataset of an optional library
    """Two classes in Hugging Face's format; a third name that no clip has."""
    return example_table(pytest.importorskip("datasets"), clips, offset)


SEVERAL = tuple([("dog",), ("dog", "rain"), ("rain", "siren"), (), ("siren",)] * 4)
"""Labels of twenty clips: the data set below."""


def _sounds(folder: Path) -> list[str]:
    names = [f"{number:02d}.wav" for number in range(len(SEVERAL))]
    for number, name in enumerate(names):
        write_tone(folder / name, pitch=300 + 20 * number)
    return names


def _cells(header: str, cell: Callable[[tuple[str, ...]], str]) -> Callable[[Path], str]:
    """A table with one cell of labels in each row."""

    def write(folder: Path) -> str:
        rows = (f"{name},{cell(labels)}" for name, labels in zip(_sounds(folder), SEVERAL, strict=True))
        return str(write_text(folder / "clips.csv", header, *rows))

    return write


def _one_hot(yes: str, no: str) -> Callable[[Path], str]:
    """A table with a column of each label; the columns are in no order."""
    columns = ("siren", "dog", "rain")
    return _cells(
        f"file_name,{','.join(columns)}", lambda labels: ",".join(yes if one in labels else no for one in columns)
    )


def _objects(folder: Path) -> str:
    rows = ({"file_name": name, "labels": labels} for name, labels in zip(_sounds(folder), SEVERAL, strict=True))
    write_text(folder / "metadata.jsonl", *map(json.dumps, rows))
    return str(folder)


def _windows(folder: Path) -> str:
    """As opensoundscape has it: parts of recordings, with a column of each label."""
    columns = ("dog", "rain", "siren")
    rows = []
    for number, labels in enumerate(SEVERAL):
        name, half = f"{number // 2:02d}.wav", number % 2
        if not half:
            write_tone(folder / name, seconds=0.1, pitch=300 + 20 * number)
        ones = ",".join(str(float(one in labels)) for one in columns)
        rows.append(f"{name},{0.05 * half:.2f},{0.05 * half + 0.05:.2f},{ones}")
    return str(write_text(folder / "clips.csv", f"file,start_time,end_time,{','.join(columns)}", *rows))


def _fsd50k(folder: Path) -> str:
    """As FSD50K's ground truth has it: names without a suffix, commas in quotes, and a column that is passed over."""
    names = [name.removesuffix(".wav") for name in _sounds(folder)]
    sides = ["val" if number % 5 == 4 else "train" for number in range(len(names))]
    rows = (
        f'{name},"{",".join(labels)}","/m/1",{side}' for name, labels, side in zip(names, SEVERAL, sides, strict=True)
    )
    return str(write_text(folder / "dev.csv", "fname,labels,mids,split", *rows))


def _hub(labels: Callable[[Any, tuple[str, ...]], Any], feature: Callable[[Any], Any]) -> Callable[[Path], str]:
    """A table of the Hugging Face format with a column of lists."""

    def write(folder: Path) -> str:
        datasets = pytest.importorskip("datasets")
        cell = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
        features = datasets.Features({"audio": cell, "labels": datasets.List(feature(datasets))})
        sounds = [{"bytes": encoded(300 + 20 * n), "path": f"{n}.wav"} for n in range(len(SEVERAL))]
        rows = {"audio": sounds, "labels": [labels(datasets, one) for one in SEVERAL]}
        table = datasets.Dataset.from_dict(rows, features=features).cast_column("audio", datasets.Audio())
        table.save_to_disk(folder)
        return f"hf:{folder}"

    return write


_NAMES = ("dog", "rain", "siren")
SEVERAL_FORMS: dict[str, Callable[[Path], str]] = {
    "semicolons": _cells("file_name,labels", ";".join),
    "semicolons with spaces": _cells("file_name,tags", "; ".join),
    "vertical bars": _cells("file_name,labels", " | ".join),
    "commas": _cells("file_name,labels", lambda labels: f'"{",".join(labels)}"'),
    "Python lists": _cells("file_name,label", lambda labels: f'"{list(labels)}"'),
    "NumPy lists": _cells("file_name,label", lambda labels: str(list(labels)).replace(",", "")),
    "columns of 0 and 1": _one_hot("1", "0"),
    "columns of true and false": _one_hot("True", "False"),
    "JSON Lines": _objects,
    "FSD50K": _fsd50k,
    "windows": _windows,
    "hub numbers": _hub(
        lambda _, one: [_NAMES.index(label) for label in one], lambda d: d.ClassLabel(names=list(_NAMES))
    ),
    "hub texts": _hub(lambda _, one: list(one), lambda d: d.Value("string")),
}
"""By form: what writes the data set into a folder, and returns its source."""
