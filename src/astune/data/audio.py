"""Any audio file to mono samples at 16 kHz: soundfile decodes, soxr resamples."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import soxr

from astune.errors import AudioError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLING_RATE = 16_000  # Hz
_READABLE = (
    "8svx aif aifc aiff au avr caf flac htk iff ircam mp1 mp2 mp3 nist oga ogg opus paf pvf rf64 sds sf snd sph svx "
    "voc w64 wav wave wavex wve"
)
SUFFIXES = frozenset(f".{name}" for name in _READABLE.split())
"""Of files taken for audio when a folder is searched; a file named by a table may have any."""
_UNREADABLE = (
    "3g2 3ga 3gp aa aac aax ac3 adts alac amr ape asf at3 avi awb dff dsf dts eac3 f4a flv g722 gsm m4a m4b m4p m4r m4v "
    "mka mkv mogg mov mp4 mpc mpeg mpg ofr ogv oma pcm qcp ra ram raw rm sd2 shn spx tak tta vqf weba webm wma wmv wv"
)
UNREADABLE = frozenset(f".{name}" for name in _UNREADABLE.split())
"""Of audio and video files that libsndfile does not decode; they are counted where they are passed over."""

_MARGIN = 0.1  # seconds decoded beyond what is asked for, so that the resampler's edge falls outside,
_MARGIN_FRAMES = 1000  # and at least so many frames, for its filter is counted in them
_LOUDEST = 1e10  # beyond this float32 cannot hold the power of a frame; integers stored as floats stay below
_ENDLESS = 2**35  # frames; nine days at 44.1 kHz
_FAULTS = (soundfile.SoundFileError, OSError, TypeError, ValueError)  # TypeError: of a suffix that means no header


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
        with soundfile.SoundFile(encodable(path)) as file:
            rate = file.samplerate
            _check_length(path, file.frames)
            frames = -1 if seconds is None else math.ceil(seconds * rate + max(_MARGIN * rate, _MARGIN_FRAMES))
            samples = file.read(frames, dtype="float32", always_2d=True)
    except _FAULTS as fault:
        raise AudioError(f"{path}: {_reason(Path(path), fault)}") from fault
    if not len(samples):
        raise AudioError(f"{path}: it holds no samples")
    if not np.abs(samples).max() < _LOUDEST:  # also where it is NaN
        raise AudioError(f"{path}: it holds samples that are no finite numbers, or far outside of -1 to 1")
    mono = samples.mean(axis=1)
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
        info = soundfile.info(encodable(path))
    except _FAULTS as fault:
        raise AudioError(f"{path}: {_reason(Path(path), fault)}") from fault
    _check_length(path, info.frames)
    return float(info.frames) / float(info.samplerate)


def encodable(path: str | Path) -> str | bytes:
    """A path as soundfile takes it, names that are not UTF-8 included.

    Args:
        path: any path.

    Returns:
        Bytes where the system's names are bytes.
    """
    return os.fsencode(path) if os.name == "posix" else str(path)  # soundfile cannot encode names that are not UTF-8


def _check_length(path: str | Path, frames: int) -> None:
    if frames > _ENDLESS:
        raise AudioError(f"{path}: its header does not say how long it is, as in a stream; decode it to .wav")


def _reason(path: Path, fault: Exception) -> str:
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except FileNotFoundError:
        return "there is no such file"
    except IsADirectoryError:
        return "it is a folder"
    except (OSError, ValueError) as refusal:
        return f"it cannot be opened ({getattr(refusal, 'strerror', refusal)})"
    if empty:
        return "the file is empty"
    suffix = path.suffix.lower()
    if suffix == ".raw":
        return ".raw samples come without their rate and channels; convert it to .wav or .flac"
    if suffix in UNREADABLE:
        return f"{suffix} is not a format libsndfile decodes; convert it to .wav or .flac"
    text = fault.error_string if isinstance(fault, soundfile.LibsndfileError) else str(fault)
    if "does not exist" in text:  # libsndfile's words for an MP3 without a frame
        text = "no audio was found in it"
    return f"it cannot be decoded ({text.removeprefix('Error : ').rstrip('.')})"
