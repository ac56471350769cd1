"""Features of a data set, computed once and shared by folds, seeds, methods and processes.

One folder a data set and front end, ``<cache>/features/<key>/``: ``features.npy`` (clips, frames, bins) float16, memory-mapped, and
``index.json``. The key covers every setting of the front end, and the path and content of every file, so what is found under it is
never stale.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from astune.console import progress
from astune.data.audio import read_audio
from astune.data.digests import content_digests
from astune.data.store import cache_root
from astune.errors import AudioError, DataError
from astune.features.arrays import Rows, stored_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from astune.features.log_mel import FrontEnd

_FORMAT = 3  # raised when cached numbers change their meaning
_IN_PROCESS = 64  # clips that are not worth starting workers for


@dataclass(frozen=True)
class FeatureCache:
    """Features of all clips of a data set, in the order they were given."""

    features: NDArray[np.float16]
    """(clips, frames, bins), memory-mapped."""
    broken: dict[int, str] = field(default_factory=dict)
    """Why a clip has no features, by its index."""

    def batch(self, clips: Sequence[int] | NDArray[np.int64]) -> torch.Tensor:
        """Features of some clips.

        Args:
            clips: their indices.

        Returns:
            (batch, frames, bins), float32.
        """
        return torch.from_numpy(self.features[np.asarray(clips, dtype=np.int64)]).float()


def clip_features(path: Path, front_end: FrontEnd) -> NDArray[np.float16]:
    """Features of one file, rounded as the cache rounds them.

    Args:
        path: an audio file.
        front_end: how.

    Returns:
        (max_length, num_mel_bins).

    Raises:
        AudioError: the file cannot be read.
    """
    samples = torch.from_numpy(read_audio(path, front_end.seconds))
    return front_end(samples).numpy().astype(np.float16)


def build_cache(
    paths: Sequence[Path],
    front_end: FrontEnd,
    *,
    skip_broken: bool = False,
    root: Path | None = None,
    quiet: bool = False,
) -> FeatureCache:
    """Open the cache of a list of files, computing it first if need be, on all cores.

    Args:
        paths: the audio files.
        front_end: how they become features.
        skip_broken: leave out the files that cannot be read, instead of raising.
        root: the cache's folder; :func:`cache_root` where None.
        quiet: no progress bar.

    Returns:
        Features, row by row as ``paths``.

    Raises:
        AudioError: files cannot be read; all of them are counted, the first ones named.
        DataError: there are no files, or the cache cannot be written.
    """
    if not paths:
        raise DataError("there are no clips to compute features of")
    key = cache_key(paths, front_end, quiet=quiet)
    folder = (root or cache_root()) / "features" / key

    def compute(append: Rows) -> dict[str, Any]:
        broken = _write_features(append, paths, front_end, quiet=quiet)
        if broken and not skip_broken:
            raise AudioError(_broken_message(broken, len(paths)))
        if cache_key(paths, front_end) != key:  # else these features would be taken for those of the files as they were
            raise DataError(
                "audio files changed while their features were computed; start again when they are complete"
            )
        return {"broken": broken, "paths": [str(path) for path in paths]}

    shape = (len(paths), front_end.max_length, front_end.num_mel_bins)
    features, broken = stored_array(folder, shape, np.float16, compute, _broken)
    if broken and not skip_broken:
        raise AudioError(_broken_message(broken, len(paths)))
    return FeatureCache(features, broken)


def _broken(index: dict[str, Any]) -> dict[int, str]:
    return {int(row): str(reason) for row, reason in index["broken"].items()}


def cache_key(paths: Sequence[Path], front_end: FrontEnd, *, quiet: bool = True) -> str:
    """Name of the features of a list of files: another one wherever they could differ.

    Args:
        paths: the audio files.
        front_end: how they become features.
        quiet: no progress bar while files are read for the first time.

    Returns:
        32 hexadecimal digits.
    """
    digest = hashlib.sha256(json.dumps([_FORMAT, asdict(front_end)]).encode())
    for path, content in zip(paths, content_digests(paths, quiet=quiet), strict=True):
        digest.update(json.dumps([os.path.abspath(path), content]).encode())  # noqa: PTH100 - resolve() would stat every parent
    return digest.hexdigest()[:32]


class _Clips(Dataset[tuple[int, "NDArray[np.float16] | str"]]):
    def __init__(self, paths: Sequence[Path], front_end: FrontEnd) -> None:
        self.paths, self.front_end = paths, front_end

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[int, NDArray[np.float16] | str]:
        try:
            return row, clip_features(self.paths[row], self.front_end)
        except AudioError as fault:
            return row, str(fault)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _unchanged(item: Any) -> Any:  # noqa: ANN401 - batches are single clips, so the collate function has nothing to do
    return item


def _write_features(append: Rows, paths: Sequence[Path], front_end: FrontEnd, *, quiet: bool) -> dict[int, str]:
    broken: dict[int, str] = {}
    # Only forked workers leave a script without a main guard alone; one that ran it again would wait for our lock for ever.
    workers = _cores() if len(paths) >= _IN_PROCESS and sys.platform == "linux" else 0
    nothing = np.zeros((front_end.max_length, front_end.num_mel_bins), np.float16)
    loader = DataLoader(
        _Clips(paths, front_end),
        batch_size=None,
        num_workers=workers,
        multiprocessing_context="fork" if workers else None,
        collate_fn=_unchanged,
        generator=torch.Generator(),  # else it draws from torch's own, and a run that computes features ends otherwise
    )
    with progress("Computing features", len(paths), quiet=quiet) as advance:
        for row, result in loader:  # in order
            if isinstance(result, str):
                broken[row] = result
            append(nothing if isinstance(result, str) else result)
            advance(1, f"{len(broken)} broken" if broken else "")
    return broken


def _broken_message(broken: dict[int, str], total: int) -> str:
    reasons = [broken[row] for row in sorted(broken)]
    shown = "".join(f"\n  - {reason}" for reason in reasons[:10])
    more = f"\n  - and {len(reasons) - 10} more" if len(reasons) > 10 else ""
    return f"{len(reasons)} of {total} audio files cannot be read:{shown}{more}\nMend or remove them, or leave them out with --skip-broken"
