"""Recordings in formats that libsndfile does not decode, written by PyAV; and FFmpeg's own decoding of them."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator

av = pytest.importorskip("av", reason="PyAV is not installed: pip install 'astune[av]'")


@dataclass(frozen=True)
class Kind:
    """One container with one codec."""

    container: str
    codec: str
    sample: str
    """FFmpeg's name of the encoder's sample format."""
    rate: int = 44_100
    channels: int = 2
    options: tuple[tuple[str, str], ...] = ()


KINDS = {
    "a.m4a": Kind("ipod", "aac", "fltp"),
    "fast.m4a": Kind("ipod", "aac", "fltp", options=(("movflags", "+faststart"),)),
    "parts.mp4": Kind("mp4", "aac", "fltp", options=(("movflags", "+frag_keyframe+empty_moov"), ("frag_duration", "500000"))),
    "lossless.m4a": Kind("ipod", "alac", "s16p"),
    "six.m4a": Kind("ipod", "aac", "fltp", 48_000, 6),
    "low.m4a": Kind("ipod", "aac", "fltp", 16_000, 1),
    "a.webm": Kind("webm", "libopus", "flt", 48_000),
    "a.mka": Kind("matroska", "flac", "s16"),
    "double.mkv": Kind("matroska", "pcm_f64le", "dbl", 22_050, 1),
    "bytes.mkv": Kind("matroska", "pcm_u8", "u8", 11_025),
    "a.mov": Kind("mov", "pcm_s24le", "s32", 96_000, 1),
    "a.aac": Kind("adts", "aac", "fltp"),
    "a.wma": Kind("asf", "wmav2", "fltp"),
    "a.amr": Kind("amr", "libopencore_amrnb", "s16", 8_000, 1),
    "a.ac3": Kind("ac3", "ac3", "fltp"),
    "a.wv": Kind("wv", "wavpack", "s16p"),
    "a.tta": Kind("tta", "tta", "s16"),
    "a.flv": Kind("flv", "aac", "fltp"),
    "a.avi": Kind("avi", "wmav2", "fltp"),
    "a.mpg": Kind("mpeg", "mp2", "s16"),
    "a.mts": Kind("mpegts", "mp2", "s16"),
    "telephone.wav": Kind("wav", "g726", "s16", 8_000, 1),
}  # fmt: skip
"""By the name of the file."""

_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}


def tones(seconds: float, rate: int, channels: int) -> NDArray[np.float32]:
    """(frames, channels), another tone in each, with noise."""
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(0).normal(0, 0.01, (len(time), channels))
    pitches = np.array([300 + 170 * channel for channel in range(channels)])
    made: NDArray[np.float64] = 0.3 * np.sin(2 * np.pi * time[:, None] * pitches) + noise
    return made.astype(np.float32)


def encode(path: Path, kind: Kind, seconds: float = 1.5, streams: int = 1) -> NDArray[np.float32]:
    """Write tones, and give them."""
    given, layout = tones(seconds, kind.rate, kind.channels), _LAYOUTS[kind.channels]
    with av.open(str(path), "w", format=kind.container, options=dict(kind.options)) as file:
        for stream in [_stream(file, kind, layout) for _ in range(streams)]:
            size = stream.codec_context.frame_size or 1024
            for part in _frames(given, kind, layout, size):
                file.mux(stream.encode(part))
            file.mux(stream.encode(None))
    return given


def _stream(file: Any, kind: Kind, layout: str) -> Any:  # noqa: ANN401 - of a package that may not be there
    stream = file.add_stream(kind.codec, rate=kind.rate, layout=layout, format=kind.sample)
    if kind.codec == "wmav2":
        stream.codec_context.bit_rate = 128_000
    stream.codec_context.open()
    return stream


def _frames(given: NDArray[np.float32], kind: Kind, layout: str, size: int) -> Iterator[Any]:
    """Frames of so many samples as the encoder takes."""
    resampler, fifo = av.AudioResampler(kind.sample, layout, kind.rate), av.AudioFifo()
    for begin in range(0, len(given), kind.rate):
        frame = av.AudioFrame.from_ndarray(given[begin : begin + kind.rate].reshape(1, -1), "flt", layout)
        frame.rate, frame.pts = kind.rate, begin
        for converted in resampler.resample(frame):
            fifo.write(converted)
        while part := fifo.read(size):
            yield part
    if rest := fifo.read(0, True):
        yield rest


def decoded_by_ffmpeg(path: Path, channels: int) -> NDArray[np.float32]:
    """What the program makes of the first audio stream: (frames, channels)."""
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("the program ffmpeg is not there to compare with")
    command = [program, "-v", "error", "-i", str(path), "-map", "0:a:0", "-f", "f32le", "-"]
    raw = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    return np.frombuffer(raw, np.float32).reshape(-1, channels)
