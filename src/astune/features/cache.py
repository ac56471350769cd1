"""Features of a data set, computed once and shared by folds, seeds, methods and processes.

One folder a data set and front end, ``<cache>/features/<key>/``: ``features.npy`` (clips, frames, bins) float16, memory-mapped, and
``index.json``. The key covers every setting of the front end, the path and content of every file, and what of it is read, so what is found
under it is never stale.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from typing_extensions import override

from astune.child_processes import end_with_parent
from astune.console import progress
from astune.data.audio import listen
from astune.data.audio_notices import audio_notices
from astune.data.clip import region_of
from astune.data.digests import content_digests
from astune.data.formats import decoders
from astune.data.store import cache_root
from astune.environment import usable_cores
from astune.errors import AudioError, DataError
from astune.features.arrays import Rows, by_row, stored_array
from astune.plurals import number_of
from astune.validated import strict_constructor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from astune.data.audio import Recording
    from astune.data.clip import Clip
    from astune.features.log_mel import FrontEnd

_FORMAT = 5  # raised when cached numbers change their meaning
_Result = TypeVar("_Result")
_IN_PROCESS = 64  # clips that are not worth starting workers for


class _Mapped(NamedTuple):
    """Where an array is mapped from."""

    file: str
    dtype: str
    offset: int
    shape: tuple[int, ...]

    def open(self) -> NDArray[Any]:
        """Map the file into memory again.

        Raises:
            DataError: it is not there any more.
        """
        try:
            return np.memmap(self.file, self.dtype, "r", self.offset, self.shape)
        except (OSError, ValueError) as fault:
            raise DataError(f"{self.file} of the feature cache cannot be read any more: {fault}") from fault


@strict_constructor
@dataclass(frozen=True)
class FeatureCache:
    """Features of all clips of a data set, in the order they were given."""

    features: NDArray[np.float16]
    """(clips, frames, bins), memory-mapped."""
    broken: dict[int, str] = field(default_factory=dict)
    """Why a clip has no features, by its index."""
    seconds: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """Length of each whole clip, (clips,); 0 where it is broken."""
    doubts: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """What is suspicious of a clip, by its index, as :attr:`astune.data.audio.Facts.doubts`; only of those where something is."""
    heard_seconds: float = math.inf
    """Of each clip at most: the length of the input."""

    @override
    def __getstate__(self) -> dict[str, Any]:
        """For worker processes: what is mapped is mapped again there, not copied."""
        state = dict(self.__dict__)
        if isinstance(self.features, np.memmap) and self.features.filename is not None:
            mapped = self.features
            state["features"] = _Mapped(str(mapped.filename), mapped.dtype.str, mapped.offset, mapped.shape)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        features = state["features"]
        self.__dict__.update(state, features=features.open() if isinstance(features, _Mapped) else features)

    def batch(self, clips: Sequence[int] | NDArray[np.int64]) -> torch.Tensor:
        """Features of some clips.

        Args:
            clips: their indices.

        Returns:
            (batch, frames, bins), float32.
        """
        return torch.from_numpy(self.features[np.asarray(clips, dtype=np.int64)]).float()

    def notices(self, clips: Iterable[int], names: Sequence[str]) -> list[str]:
        """Notes for the user about some clips: how much of them is not used, and which are suspicious.

        Args:
            clips: their indices; broken ones are passed over.
            names: of all clips.

        Returns:
            Sentences; none where there is nothing to say.
        """
        whole = sorted(set(clips) - self.broken.keys())
        lengths = {clip: float(self.seconds[clip]) for clip in whole}
        return audio_notices(lengths, self.doubts, names, self.heard_seconds)


@strict_constructor
@dataclass(frozen=True)
class ClipFeatures:
    """Features of one clip, and what is known of its recording."""

    features: NDArray[np.float16]
    """(max_length, num_mel_bins), rounded as the cache rounds them."""
    seconds: float
    """Of the whole clip."""
    heard_seconds: float
    """Of the part that the features are made of."""
    doubts: tuple[str, ...]
    """What is suspicious of it, as :attr:`astune.data.audio.Facts.doubts`."""


def listen_to_clip(clip: Clip | Path, front_end: FrontEnd, *, pipes: bool = False) -> ClipFeatures:
    """Features of one clip and what is known of it, in one reading.

    Args:
        clip: a clip, of which the part between its start and its end is read; or the path of an audio file, which is read from its
            beginning.
        front_end: how.
        pipes: whether it may be a pipe, or ``-`` for standard input; see :func:`astune.data.audio.listen`.

    Returns:
        Features and facts.

    Raises:
        AudioError: the recording cannot be read.
    """
    path, start, end = region_of(clip)
    return features_of(listen(path, start, front_end.seconds, end=end, pipes=pipes), front_end)


def features_of(recording: Recording, front_end: FrontEnd) -> ClipFeatures:
    """Features of a recording that was read.

    Args:
        recording: the recording.
        front_end: how.

    Returns:
        Features and facts.
    """
    return ClipFeatures(
        rounded_features(recording.samples, front_end), recording.seconds, recording.heard_seconds, recording.doubts
    )


def rounded_features(samples: NDArray[np.float32], front_end: FrontEnd) -> NDArray[np.float16]:
    """Features of samples, as the cache holds them.

    Args:
        samples: (samples,) at 16 kHz.
        front_end: how.

    Returns:
        (max_length, num_mel_bins).
    """
    rounded: NDArray[np.float16] = front_end(torch.from_numpy(samples)).numpy().astype(np.float16)
    return rounded


def build_cache(
    clips: Sequence[Clip | Path],
    front_end: FrontEnd,
    *,
    skip_broken: bool = False,
    root: Path | None = None,
    quiet: bool = False,
) -> FeatureCache:
    """Open the cache of a list of clips, computing it first if need be, on all cores.

    Args:
        clips: clips or audio files, in any mixture.
        front_end: how they become features.
        skip_broken: leave out what cannot be read, instead of raising.
        root: the cache's folder; :func:`cache_root` where None.
        quiet: no progress bar.

    Returns:
        Features, row by row as ``clips``.

    Raises:
        AudioError: clips cannot be read; all of them are counted, the first ones named.
        DataError: there are no clips.
        OutputError: the cache cannot be written.
    """
    if not clips:
        raise DataError("no clips are given to compute features of")
    key = cache_key(clips, front_end, quiet=quiet)
    folder = (root or cache_root()) / "features" / key

    def compute(append: Rows) -> dict[str, Any]:
        known = _write_features(append, clips, front_end, quiet=quiet)
        if known.broken and not skip_broken:
            raise AudioError(broken_message(known.broken, len(clips)))
        refuse_changed(clips, front_end, key)
        tried = {"decoders": decoders()} if known.broken else {}  # with others they may be readable
        return {**asdict(known), **tried, "paths": [str(region_of(clip).path) for clip in clips]}

    shape = (len(clips), front_end.max_length, front_end.num_mel_bins)
    features, known = stored_array(folder, shape, np.float16, compute, lambda index: _Known.read(index, len(clips)))
    if known.broken and not skip_broken:
        raise AudioError(broken_message(known.broken, len(clips)))
    return FeatureCache(features, known.broken, np.array(known.seconds), known.doubts, front_end.seconds)


@dataclass
class _Known:
    """What ``index.json`` says of the clips."""

    broken: dict[int, str] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    doubts: dict[int, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, index: dict[str, Any], clips: int) -> _Known:
        """Take it out of the file's content.

        Raises:
            ValueError: it is of another list of clips, or clips could not be read then that may be readable now.
        """
        seconds = [float(length) for length in index["seconds"]]
        if len(seconds) != clips or not all(0 <= length < math.inf for length in seconds):
            raise ValueError("another number of clips, or lengths that are none")
        if index["broken"] and index.get("decoders", ["libsndfile"]) != decoders():
            raise ValueError("other decoders")
        doubts = by_row(index["doubts"], clips, list)
        return cls(
            by_row(index["broken"], clips, str), seconds, {row: tuple(map(str, found)) for row, found in doubts.items()}
        )


def cache_key(clips: Sequence[Clip | Path], front_end: FrontEnd, *, quiet: bool = True) -> str:
    """Name of the features of a list of clips: another one wherever they could differ.

    Args:
        clips: clips or audio files.
        front_end: how they become features.
        quiet: no progress bar while files are read for the first time.

    Returns:
        32 hexadecimal digits.
    """
    digest = hashlib.sha256(json.dumps([_FORMAT, asdict(front_end)]).encode())
    regions = [region_of(clip) for clip in clips]
    contents = content_digests([region.path for region in regions], quiet=quiet)
    for (path, start, end), content in zip(regions, contents, strict=True):
        whole = os.path.abspath(path)  # noqa: PTH100 - resolve() would stat every parent
        digest.update(json.dumps([whole, content, start, end]).encode())
    return digest.hexdigest()[:32]


def refuse_changed(clips: Sequence[Clip | Path], front_end: FrontEnd, key: str) -> None:
    """Refuse features of files that are others by now: they would be taken for those of the files as they were.

    Args:
        clips: that features were computed of.
        front_end: how.
        key: of them, from :func:`cache_key` before.

    Raises:
        DataError: they are others.
    """
    if cache_key(clips, front_end) != key:
        raise DataError("audio files changed while their features were computed; start again when they are complete")


class _Clips(Dataset[tuple[int, "_Result | str"]], Generic[_Result]):
    def __init__(self, clips: Sequence[Clip | Path], hear: Callable[[Clip | Path], _Result]) -> None:
        self.clips, self.hear = clips, hear

    def __len__(self) -> int:
        return len(self.clips)

    @override
    def __getitem__(self, row: int) -> tuple[int, _Result | str]:
        try:
            return row, self.hear(self.clips[row])
        except AudioError as fault:
            return row, str(fault)


def _unchanged(item: Any) -> Any:  # noqa: ANN401 - batches are single clips, so the collate function has nothing to do
    return item


def _begin_worker(_: int) -> None:
    end_with_parent()  # torch's own watch ends the loop, and then the worker waits for room in the pipe of its results


def map_clips(
    clips: Sequence[Clip | Path], hear: Callable[[Clip | Path], _Result]
) -> Iterator[tuple[int, _Result | str]]:
    """Listen to many clips, on all cores.

    Args:
        clips: clips or audio files.
        hear: what is done with each.

    Yields:
        The index of a clip and what it gave, in order; or why it cannot be read.
    """
    # Only forked workers leave a script without a main guard alone; one that ran it again would wait for our lock for ever.
    workers = usable_cores() if len(clips) >= _IN_PROCESS and sys.platform == "linux" else 0
    yield from DataLoader(
        _Clips(clips, hear),
        batch_size=None,
        num_workers=workers,
        multiprocessing_context="fork" if workers else None,
        worker_init_fn=_begin_worker,
        collate_fn=_unchanged,
        generator=torch.Generator(),  # else it draws from torch's own, and a run that computes features ends otherwise
    )


def _write_features(append: Rows, clips: Sequence[Clip | Path], front_end: FrontEnd, *, quiet: bool) -> _Known:
    known = _Known()
    nothing = np.zeros((front_end.max_length, front_end.num_mel_bins), np.float16)

    def hear(clip: Clip | Path) -> ClipFeatures:
        return listen_to_clip(clip, front_end)

    with progress("Computing features", len(clips), quiet=quiet) as advance:
        for row, result in map_clips(clips, hear):
            if isinstance(result, str):
                known.broken[row] = result
            elif result.doubts:
                known.doubts[row] = result.doubts
            known.seconds.append(0.0 if isinstance(result, str) else round(result.seconds, 3))
            append(nothing if isinstance(result, str) else result.features)
            advance(1, f"{len(known.broken)} broken" if known.broken else "")
    return known


def broken_message(broken: dict[int, str], total: int) -> str:
    """Write the message that lists the files that cannot be read.

    Args:
        broken: why, by their index.
        total: how many files there are.

    Returns:
        Their number, the first reasons, and what can be done.
    """
    reasons = [broken[row] for row in sorted(broken)]
    shown = "".join(f"\n  - {reason}" for reason in reasons[:10])
    more = f"\n  - and {len(reasons) - 10:,} more" if len(reasons) > 10 else ""
    return (
        f"{len(reasons):,} of {number_of(total, 'audio file')} cannot be read:{shown}{more}\n"
        "Fix or remove them, or set skip_broken=True to leave them out"
    )
