"""Features of whole recordings, for what hears another part of them each time: random crops and background noise.

A recording is cut into stretches of one input each, one after the other, and each stretch is a row of the cache. A frame of features
depends on its own 25 ms alone, so any part of a recording is found in at most two rows, with the bits that it would have by itself.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from astune.console import progress
from astune.data.audio import SAMPLING_RATE, listen
from astune.data.clip import region_of
from astune.data.durations import measure_durations
from astune.data.formats import decoders
from astune.data.store import cache_root
from astune.errors import AudioError
from astune.features.arrays import Rows, by_row, stored_array
from astune.features.cache import broken_message, cache_key, map_clips, refuse_changed
from astune.names import FRAME, HOP
from astune.validated import strict_constructor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from astune.data.clip import Clip
    from astune.features.log_mel import FrontEnd

LONGEST_USED = 600.0
"""Seconds of a recording that are computed; bounds the memory and the disk that one file takes."""
_FORMAT = 1  # raised when cached numbers change their meaning


@strict_constructor
@dataclass(frozen=True)
class LongFeatures:
    """Features of whole recordings, memory-mapped."""

    features: NDArray[np.float16]
    """(rows, frames, bins): the stretches of all recordings."""
    first_rows: tuple[int, ...]
    """Of each recording."""
    frames: tuple[int, ...]
    """Of each recording; 0 where it cannot be read."""
    broken: dict[int, str]
    """Why a recording cannot be read, by its index."""

    def part(self, recording: int, first: int) -> Tensor:
        """One input's length of a recording; it begins again where the recording ends.

        Args:
            recording: its index.
            first: frame that the part begins with.

        Returns:
            (frames, bins), float32, normalised.
        """
        length = self.features.shape[1]
        frames = (first + np.arange(length)) % self.frames[recording]
        rows = self.first_rows[recording] + frames // length
        return torch.from_numpy(self.features[rows, frames % length]).float()


def frames_in(seconds: float) -> int:
    """Frames of features in a recording.

    Args:
        seconds: its length.

    Returns:
        Frames of 25 ms, one each 10 ms; one at least.
    """
    samples = round(min(seconds, LONGEST_USED) * SAMPLING_RATE)
    return 1 + max(0, samples - FRAME) // HOP


def build_long_cache(
    clips: Sequence[Clip | Path],
    front_end: FrontEnd,
    seconds: Sequence[float | None] | None = None,
    *,
    skip_broken: bool = False,
    quiet: bool = False,
) -> LongFeatures:
    """Open the features of whole recordings, computing them first if need be, on all cores.

    Args:
        clips: clips or audio files; of each, the first ten minutes are computed.
        front_end: how audio becomes features; its length is that of a stretch.
        seconds: length of each, where they are known; None of what cannot be read.
        skip_broken: leave out what cannot be read, instead of raising.
        quiet: no progress bar.

    Returns:
        Features, recording by recording as ``clips``.

    Raises:
        AudioError: recordings cannot be read; all of them are counted, the first ones named.
        DataError: files changed while they were read.
        OutputError: the cache cannot be written.
    """
    lengths = measure_durations([region_of(clip) for clip in clips], quiet=quiet) if seconds is None else seconds
    stretches = [-(-frames_in(length or 0.0) // front_end.max_length) for length in lengths]
    plain = cache_key(clips, front_end, quiet=quiet)
    key = hashlib.sha256(json.dumps(["whole", _FORMAT, LONGEST_USED, plain]).encode()).hexdigest()[:32]

    def compute(append: Rows) -> dict[str, Any]:
        frames, broken = _write(append, clips, front_end, stretches, quiet=quiet)
        if broken and not skip_broken:
            raise AudioError(broken_message(broken, len(clips)))
        refuse_changed(clips, front_end, plain)
        tried = {"decoders": decoders()} if broken else {}  # with others they may be readable
        return {"frames": frames, "broken": broken, **tried, "paths": [str(region_of(clip).path) for clip in clips]}

    shape = (sum(stretches), front_end.max_length, front_end.num_mel_bins)
    folder = cache_root() / "features" / key
    read = partial(_read, most=[length * front_end.max_length for length in stretches])
    features, (frames, broken) = stored_array(folder, shape, np.float16, compute, read)
    if broken and not skip_broken:
        raise AudioError(broken_message(broken, len(clips)))
    first_rows = tuple(int(row) for row in np.cumsum([0, *stretches])[:-1])
    return LongFeatures(features, first_rows, frames, broken)


def _read(index: dict[str, Any], most: Sequence[int]) -> tuple[tuple[int, ...], dict[int, str]]:
    """Take out of ``index.json`` what it says of the recordings, which have so many frames at most.

    Raises:
        ValueError: it is of others, or some could not be read then that may be readable now.
    """
    frames = tuple(int(number) for number in index["frames"])
    if len(frames) != len(most) or not all(0 <= number <= last for number, last in zip(frames, most, strict=True)):
        raise ValueError("another number of recordings, or of their frames")
    broken = by_row(index["broken"], len(most), str)
    if broken and index["decoders"] != decoders():
        raise ValueError("other decoders")
    if any(not number and row not in broken for row, number in enumerate(frames)):
        raise ValueError("a recording without frames that could be read")
    return frames, broken


def _write(
    append: Rows, clips: Sequence[Clip | Path], front_end: FrontEnd, stretches: Sequence[int], *, quiet: bool
) -> tuple[list[int], dict[int, str]]:
    """All rows; the frames of each recording, and why others have none."""
    frames: list[int] = []
    broken: dict[int, str] = {}
    nothing = np.zeros((front_end.max_length, front_end.num_mel_bins), np.float16)
    with progress("Computing features", len(clips), quiet=quiet) as advance:
        for clip, found in map_clips(clips, partial(_stretches, front_end=front_end)):
            rows, number = ([], 0) if isinstance(found, str) else found
            if isinstance(found, str):
                broken[clip] = found
            wanted = stretches[clip]  # by the header, which need not be right
            for row in [*rows, *[nothing] * wanted][:wanted]:
                append(row)
            frames.append(min(number, wanted * front_end.max_length))
            advance(1, f"{len(broken)} broken" if broken else "")
    return frames, broken


def _stretches(clip: Clip | Path, front_end: FrontEnd) -> tuple[list[NDArray[np.float16]], int]:
    """Features of a recording, stretch by stretch, and how many frames it has."""
    path, start, end = region_of(clip)
    samples = torch.from_numpy(listen(path, start, LONGEST_USED, end=end, pipes=False).samples)
    frames = 1 + max(0, len(samples) - FRAME) // HOP
    rows = [
        front_end(samples[first * HOP :]).numpy().astype(np.float16) for first in range(0, frames, front_end.max_length)
    ]
    return rows, frames
