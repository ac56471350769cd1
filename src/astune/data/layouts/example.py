"""Tones and tables that a layout's example is made of; no recording is copied."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import soundfile

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RATE = 8_000  # Hz, of an example
SECONDS = 0.05  # of an example: one of a hundred clips takes a millisecond to read


def write_tone(path: Path, seconds: float = SECONDS, pitch: float = 440.0, rate: int = RATE, channels: int = 1) -> Path:
    """Write a sine; another pitch is another content.

    Args:
        path: the path of the file, whose suffix decides the format; folders are made.
        seconds: how long.
        pitch: pitch in Hz.
        rate: samples a second.
        channels: all of them alike.

    Returns:
        The path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.repeat(_tone(seconds, pitch, rate)[:, None], channels, axis=1), rate)
    return path


def encoded_tone(pitch: float, container: str = "WAV") -> bytes:
    """A sine as the bytes of a file.

    Args:
        pitch: pitch in Hz.
        container: container in soundfile's words, such as ``FLAC``.

    Returns:
        The bytes.
    """
    stream = io.BytesIO()
    soundfile.write(stream, _tone(SECONDS, pitch, RATE), RATE, format=container)
    return stream.getvalue()


def write_text(path: Path, *lines: str) -> Path:
    """Write a text file.

    Args:
        path: the path of the file; folders are made.
        lines: lines without their ends.

    Returns:
        The path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def _tone(seconds: float, pitch: float, rate: int) -> NDArray[np.float64]:
    return np.asarray(0.5 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate))
