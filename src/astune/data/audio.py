"""Any audio file to mono samples at 16 kHz: soundfile decodes, soxr resamples."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import soxr

from astune.errors import AudioError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLING_RATE = 16_000  # Hz
_SUFFIX_NAMES = "aif aiff aifc au caf flac mp1 mp2 mp3 oga ogg opus rf64 snd sph w64 wav wave wavex"
_SUFFIX_NAMES = "aif aiff aifc au caf flac mp1 mp2 mp3 oga ogg opus rf64 snd sph w64 wav wave wavex"
SUFFIXES = frozenset(f".{name}" for name in _SUFFIX_NAMES.split())
"""Of files taken for audio when a folder is searched; a file named by a table may have any."""

_MARGIN = 0.1  # seconds decoded beyond what is asked for, so that the resampler's edge falls outside


def read_audio(path: str | Path, seconds: float | None = None) -> NDArray[np.float32]:
    """Read a file as mono samples at 16 kHz.

    Args:
        path: any file libsndfile can decode; any rate, any channel count (averaged).
        seconds: how much of its beginning is wanted; all where None.

    Returns:
        (samples,) in -1 to 1.

    Raises:
        AudioError: it is missing, cannot be decoded, is empty, or holds samples that are no numbers.
    """
    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            frames = -1 if seconds is None else math.ceil((seconds + _MARGIN) * rate)
            samples = file.read(frames, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as fault:
        raise AudioError(f"{path}: {_reason(Path(path), fault)}") from fault
    if not len(samples):
        raise AudioError(f"{path}: it holds no samples")
    mono = samples.mean(axis=1)
    if not np.isfinite(mono).all():
        raise AudioError(f"{path}: it holds samples that are no finite numbers")
    if rate != SAMPLING_RATE:
        mono = soxr.resample(mono, rate, SAMPLING_RATE)
    if seconds is not None:
        mono = mono[: round(seconds * SAMPLING_RATE)]
    if not len(mono):
        raise AudioError(f"{path}: it is shorter than one sample at {SAMPLING_RATE} Hz")
    return np.ascontiguousarray(mono, dtype=np.float32)


def duration(path: str | Path) -> float:
    """Length of a file by its header.

    Args:
        path: an audio file.

    Returns:
        Seconds.

    Raises:
        AudioError: it is missing or no audio file.
    """
    try:
        info = soundfile.info(str(path))
    except (soundfile.SoundFileError, OSError) as fault:
        raise AudioError(f"{path}: {_reason(Path(path), fault)}") from fault
    return float(info.frames) / float(info.samplerate)


def _reason(path: Path, fault: Exception) -> str:
    if not path.exists():
        return "there is no such file"
    if path.is_dir():
        return "it is a folder"
    if path.stat().st_size == 0:
        return "the file is empty"
    if path.suffix.lower() in (".m4a", ".aac", ".mp4", ".wma", ".webm"):
        return f"{path.suffix} is not a format libsndfile decodes; convert it to .wav or .flac"
    text = str(fault)
    return f"it cannot be decoded ({text.partition(': ')[2] or text})".replace(str(path), path.name)
