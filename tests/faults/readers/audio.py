"""Recordings: every format that libsndfile and PyAV write, with headers that ask for more than there is, and damaged bodies."""

from __future__ import annotations

import functools
import io
import os
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from astune.data.audio import duration, listen, read_audio, survey
from astune.data.clip import Region
from astune.data.measured import measure
from astune.data.streaming import stream
from astune.errors import AudioError
from tests.faults.fuzzing import Reader
from tests.faults.mutations import hostile_bytes
from tests.foreign_audio import KINDS, encode

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from numpy.typing import NDArray

_FORMATS = {
    "wav": ("WAV", "PCM_16"), "float.wav": ("WAV", "FLOAT"), "ulaw.wav": ("WAV", "ULAW"), "adpcm.wav": ("WAV", "IMA_ADPCM"),
    "gsm.wav": ("WAV", "GSM610"), "24.wav": ("WAVEX", "PCM_24"), "rf64": ("RF64", "PCM_16"), "w64": ("W64", "PCM_16"),

    "flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS"), "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff": ("AIFF", "PCM_16"), "aifc": ("AIFF", "DWVW_16"), "au": ("AU", "PCM_16"), "adpcm.au": ("AU", "G721_32"),
    "caf": ("CAF", "PCM_16"),
    "alac.caf": ("CAF", "ALAC_16"), "paf": ("PAF", "PCM_24"), "svx": ("SVX", "PCM_16"), "nist": ("NIST", "PCM_16"),
    "voc": ("VOC", "PCM_16"),
    "sf": ("IRCAM", "PCM_16"), "mat4": ("MAT4", "DOUBLE"), "mat5": ("MAT5", "DOUBLE"), "pvf": ("PVF", "PCM_16"), "xi": ("XI", "DPCM_16"),
    "htk": ("HTK", "PCM_16"), "sds": ("SDS", "PCM_16"), "avr": ("AVR", "PCM_16"), "mpc": ("MPC2K", "PCM_16"), "wve": ("WVE", "ALAW"),
}  # fmt: skip
"""By suffix: of libsndfile, and the kind of its samples."""
_MONO = {"WVE", "SDS", "XI", "HTK", "SVX", "GSM610", "DWVW_16", "G721_32"}
_RATES = [0, 1, 7, 39, 40, 100, 8_000, 44_100, 384_000, 10**6, 10**7, 10**8, 2**31 - 1, 2**31, 2**32 - 1]
_CHANNELS = [0, 1, 2, 6, 64, 255, 256, 257, 1_000, 1_024, 1_025, 65_535]
_BYTES = [0, 1, 100, 20_000, 400_000, 4_000_000]


@functools.cache
def _sound(name: str) -> bytes:
    """A fifth of a second."""
    if name in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            encode(Path(folder) / name, KINDS[name], seconds=0.2)
            return (Path(folder) / name).read_bytes()
    form, subtype = _FORMATS[name]
    rate, channels = (8_000, 1) if form in _MONO or subtype in _MONO else (16_000, 2)
    stream = io.BytesIO()
    samples = 0.1 * np.sin(np.arange(rate // 5 * channels)).reshape(-1, channels)
    soundfile.write(stream, samples, rate, format=form, subtype=subtype)
    return stream.getvalue()


def wav(rate: int, channels: int, content: bytes, *, stated: int | None = None, bits: int = 16, code: int = 1) -> bytes:
    """A WAV whose header says whatever it says."""
    frame = channels * bits // 8
    head = struct.pack("<HHIIHH", code, channels % 2**16, rate, rate * frame % 2**32, frame % 2**16, bits)
    length = len(content) if stated is None else stated
    return (
        b"RIFF"
        + struct.pack("<I", 2**32 - 1)
        + b"WAVEfmt \x10\0\0\0"
        + head
        + b"data"
        + struct.pack("<I", length)
        + content
    )


@functools.cache
def _silence(seconds: int) -> bytes:
    """FLAC packs silence to a thousandth."""
    stream = io.BytesIO()
    soundfile.write(stream, np.zeros(seconds * 8_000, np.int16), 8_000, format="FLAC")
    return stream.getvalue()


def make(folder: Path, random: Random) -> tuple[Path, str]:
    name, way = random.choice([*_FORMATS, *KINDS]), random.choice([*_WAYS])
    content = _sound(name)
    match random.randrange(12):
        case 0 | 1:
            name, content = (
                "made.wav",
                _made(random, _BYTES[:-2] if way == "measured" else _BYTES),
            )  # hours of sound take their time
        case 2:
            name, content = "silence.flac", _silence(600)
    for _ in range(0 if name == "made.wav" else random.choice([0, 1, 1, 1, 2])):
        content = hostile_bytes(content, random)
    shown = random.choice([name, name, "a.wav", "a.mp3", "a", "a.ogg"])
    (folder / shown).write_bytes(content)
    return folder / shown, way


def _made(random: Random, lengths: list[int]) -> bytes:
    length = random.choice(lengths)
    content = bytes(length) if random.random() < 0.5 else random.randbytes(length)
    stated = random.choice([None, None, 0, 2**31 - 1, 2**32 - 1, 10**9])
    bits, code = random.choice(
        [(8, 1), (16, 1), (24, 1), (32, 1), (32, 3), (64, 3), (8, 7), (4, 17), (0, 1), (65_535, 1)]
    )
    return wav(random.choice(_RATES), random.choice(_CHANNELS), content, stated=stated, bits=bits, code=code)


def _part(path: Path) -> NDArray[np.float32]:
    return listen(path, 0.01, 0.02, end=0.2).samples


def _late(path: Path) -> NDArray[np.float32]:
    """Nearly all of it is passed over, and its end is not there."""
    return listen(path, 1e-9, end=1e8).samples


def _measured(path: Path) -> object:
    """As `data check` does."""
    found = measure(Region(path), None)
    if isinstance(found, str):
        raise AudioError(found)
    return found


def _streamed(path: Path) -> int:
    """Without holding more than a block, as long recordings are read."""
    return sum(len(block) for block in stream(path))


def _surveyed(path: Path) -> object:
    return survey(path, len)


_WAYS: dict[str, Callable[[Path], object]] = {
    "whole": read_audio,
    "part": _part,
    "stream": _streamed,
    "duration": duration,
    "survey": _surveyed,
    "late": _late,
    "measured": _measured,
}


def read(given: tuple[Path, str]) -> None:
    path, way = given
    _WAYS[way](path)


def warm_up(folder: Path) -> None:
    for name in [*_FORMATS, *KINDS]:
        (folder / name).write_bytes(_sound(name))
        for way in _WAYS.values():
            way(folder / name)
    with Path(os.devnull).open("wb") as nothing:  # libsndfile, mpg123 and FFmpeg write remarks about most hostile files
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)


READER = Reader("audio", make, read, warm_up)
