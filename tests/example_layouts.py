"""A tiny data set in each published layout, written by the tests that need one; no recording is copied."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

from astune.data.generated import write_generated

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RATE = 8_000  # Hz


def write_tone(path: Path, seconds: float = 0.05, pitch: float = 440.0, rate: int = RATE, channels: int = 1) -> Path:
    """A sine; another pitch is another content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tone = 0.5 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate)
    soundfile.write(path, np.repeat(tone[:, None], channels, axis=1), rate)
    return path


def write_text(path: Path, *lines: str) -> Path:
    """A text file of some lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def write_esc50(folder: Path, suffix: str = ".wav") -> Path:
    """Two classes, five folds, two clips of each; target values with a gap, as in ESC-10, and not in the names' order."""
    rows = []
    for fold in range(1, 6):
        for target, category in ((0, "rain"), (7, "dog")):
            for take in "AB":
                stem = f"{fold}-{1000 + target}{fold}-{take}-{target}"
                write_tone(folder / "audio" / f"{stem}{suffix}", pitch=200 + 100 * fold + 10 * target + ord(take))
                rows.append(f"{stem}.wav,{fold},{target},{category},False,{1000 + target},{take}")
    write_text(folder / "meta" / "esc50.csv", "filename,fold,target,category,esc10,src_file,take", *rows)
    return folder


def write_csv(folder: Path) -> Path:
    """Two classes, three folds, a column the reader passes over."""
    rows = []
    for fold in (1, 2, 3):
        for label in ("no", "yes"):
            for take in range(4):
                name = f"audio/{label}_{fold}_{take}.wav"
                write_tone(folder / name, pitch=300 * fold + 20 * take + len(label))
                rows.append(f"{name},{label},{fold},speaker-{fold}")
    write_text(folder / "metadata.csv", "file_name,label,fold,speaker", *rows)
    return folder


def write_folder(folder: Path) -> Path:
    """Generated sounds in train, validation and test."""
    return write_generated(folder, clips_per_class=(2, 1, 1), seconds=0.1)


def write_urbansound8k(folder: Path, suffix: str = ".wav") -> Path:
    """Two of the ten classes, ten folds, two slices of each; the order of names is not that of numbers."""
    rows = []
    for fold in range(1, 11):
        for number, name in ((3, "dog_bark"), (0, "air_conditioner")):
            for occurrence in range(2):
                stem = f"{1000 + fold}-{number}-0-{occurrence}"
                pitch = 200 + 100 * fold + 10 * number + occurrence
                write_tone(folder / "audio" / f"fold{fold}" / f"{stem}{suffix}", pitch=pitch)
                rows.append(f"{stem}.wav,{1000 + fold},0.0,0.05,1,{fold},{number},{name}")
    header = "slice_file_name,fsID,start,end,salience,fold,classID,class"
    write_text(folder / "metadata" / "UrbanSound8K.csv", header, *rows)
    return folder


def write_speech_commands(folder: Path, suffix: str = ".flac") -> Path:
    """Two words, six speakers, lists that say .wav; background noise beside them."""
    lists: dict[str, list[str]] = {"validation_list.txt": [], "testing_list.txt": []}
    for number, word in enumerate(("yes", "bed")):
        for speaker in range(6):
            stem = f"{word}/{speaker:08x}_nohash_0"
            write_tone(folder / f"{stem}{suffix}", pitch=300 + 100 * speaker + 10 * number)
            if speaker < 2:
                lists["validation_list.txt" if speaker else "testing_list.txt"].append(f"{stem}.wav")
    for name, lines in lists.items():
        write_text(folder / name, *lines)
    write_tone(folder / "_background_noise_" / "hum.wav", pitch=50)
    write_text(folder / "README.md", "not audio")
    return folder


def write_fluent_speech(folder: Path, suffix: str = ".wav") -> Path:
    """Three intents, a speaker a split, the nameless first column of the published tables."""
    intents = (("increase", "heat", "bedroom"), ("change language", "none", "none"), ("activate", "lights", "kitchen"))
    for number, split in enumerate(("train", "valid", "test")):
        rows = []
        for row, (action, thing, place) in enumerate(intents):
            path = f"wavs/speakers/speaker{number}/{row:08x}-4474-11e9"
            write_tone(folder / f"{path}{suffix}", pitch=400 + 100 * number + 10 * row)
            rows.append(f'{row},{path}.wav,speaker{number},"Do, please",{action},{thing},{place}')
        header = ",path,speakerId,transcription,action,object,location"
        write_text(folder / "data" / f"{split}_data.csv", header, *rows)
    return folder


def encoded(pitch: float, container: str = "WAV") -> bytes:
    """A tone as the bytes of an audio file."""
    stream = io.BytesIO()
    tone = 0.5 * np.sin(2 * np.pi * pitch * np.arange(RATE // 20) / RATE)
    soundfile.write(stream, tone, RATE, format=container)
    return stream.getvalue()


def hub_table(clips: int = 6, offset: int = 0) -> Any:  # noqa: ANN401 - a Dataset of an optional library
    """Two classes in Hugging Face's format; a third name that no clip has."""
    datasets = pytest.importorskip("datasets")
    cell = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    features = datasets.Features({"audio": cell, "label": datasets.ClassLabel(names=["yes", "maybe", "no"])})
    rows = {
        "audio": [{"bytes": encoded(300 + 10 * (n + offset)), "path": f"{n}.wav"} for n in range(clips)],
        "label": [2 * (n % 2) for n in range(clips)],
    }
    return datasets.Dataset.from_dict(rows, features=features).cast_column("audio", datasets.Audio())


def write_hub(folder: Path) -> Path:
    """A dictionary of three splits, as ``save_to_disk`` leaves it."""
    datasets = pytest.importorskip("datasets")
    splits = {name: hub_table(4, offset=10 * n) for n, name in enumerate(("train", "validation", "test"))}
    datasets.DatasetDict(splits).save_to_disk(folder)
    return folder


EXAMPLES: dict[str, Callable[[Path], Path]] = {
    "csv": write_csv,
    "esc50": write_esc50,
    "fluent_speech": write_fluent_speech,
    "folder": write_folder,
    "hf": write_hub,
    "speech_commands": write_speech_commands,
    "urbansound8k": write_urbansound8k,
}
"""By the layout's name; each writes into the folder given and returns the path a user would name."""
