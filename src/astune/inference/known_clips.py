"""The clips that an adapter was trained on, found again, and how unlike them a sound is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from astune.console import progress
from astune.data import AudioDataset
from astune.data.digests import UNREADABLE, content_digests
from astune.errors import AstuneError, DataError
from astune.inference.evaluation import as_trained, clips_of
from astune.keyed import keyed_generator
from astune.plurals import number_of
from astune.printable import printable
from astune.training.data_record import DataRecord

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from astune.data import Clip
    from astune.inference.predictor import Predictor

_MOST = 20_000  # clips that are compared with; more would take memory and time


@dataclass(frozen=True)
class KnownClips:
    """Training clips, as the model sees them."""

    names: tuple[str, ...]
    values: NDArray[np.float32]
    """(clips, d), pooled output tokens, each of length 1."""
    notices: tuple[str, ...] = ()
    """Remarks for the user about how they were found."""

    def nearest(self, rows: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The training clip most like each row.

        Args:
            rows: (rows, d), pooled output tokens.

        Returns:
            Cosine distances, 0 to 2, and indices of the clips, (rows,) each.
        """
        similar = _unit(rows) @ self.values.T
        best = similar.argmax(axis=1)
        return 1.0 - similar[np.arange(len(rows)), best].astype(np.float64), best


def known_clips(predictor: Predictor, data: str | AudioDataset | None, seed: int) -> KnownClips | str:
    """Find the training clips of an adapter, and embed them.

    Args:
        predictor: the predictor with the adapter.
        data: the data set that it was trained on; where None, the adapter says which.
        seed: the seed of the draw where there are very many.

    Returns:
        The clips; or a sentence why they cannot be found, where nobody gave ``data``.

    Raises:
        AstuneError: ``data`` cannot be read, or holds no clip that the adapter was trained on.
        DataError: none of the clips can be read.
    """
    try:
        clips, notices = _found(predictor, data)
    except AstuneError as fault:
        if data is not None:
            raise
        return str(fault).partition("\n")[0]
    if len(clips) > _MOST:
        notices.append(
            f"Note: {_MOST:,} of {len(clips):,} training clips are used for comparison, drawn with seed {seed}"
        )
        drawn = keyed_generator(seed, "known clips").permutation(len(clips))[:_MOST]
        clips = [clips[number] for number in sorted(drawn)]
    names, rows = [], []
    compute = predictor.embedder.pooled()
    with progress("Hearing training clips", len(clips)) as advance:
        for batch, output in predictor.listener.clip_outputs(clips, compute):
            names += [piece.name for piece in batch if piece.error is None]
            rows.append(output.numpy()[: sum(piece.error is None for piece in batch)])
            advance(len(batch), "")
    if len(names) < len(clips):
        notices.append(
            f"Warning: {len(clips) - len(names):,} of {number_of(len(clips), 'training clip')} cannot be read"
        )
    if not names:
        raise DataError("no training clip can be read")
    return KnownClips(tuple(names), _unit(np.concatenate(rows)), tuple(notices))


def _found(predictor: Predictor, data: str | AudioDataset | None) -> tuple[list[Clip], list[str]]:
    """The training clips of the data set, and what to know of them.

    Raises:
        DataError: there are no such clips, or nothing says where they are.
    """
    name, config, training = predictor.loaded.name, predictor.loaded.config, predictor.training
    where = data if data is not None else training.get("data")
    if not isinstance(where, str | AudioDataset):
        raise DataError(f"{printable(name)} does not record what it was trained on")
    dataset = where if isinstance(where, AudioDataset) else as_trained(where, training)
    record = DataRecord.read(Path(name), config.labels) if config else None
    if record is None or record.digest != training.get("data_digest"):
        note = f"Note: the adapter has no list of training clips; the clips of the train split of {dataset.source} are used"
        return [dataset.clips[number] for number in clips_of(dataset, "train", None, training)], [note]
    trained = {name: used for name, used in record.clips.items() if used.split == "train"}
    there = [clip for clip in dataset.clips if printable(clip.name) in trained]
    contents = content_digests([clip.path for clip in there])
    same = [
        clip
        for clip, content in zip(there, contents, strict=True)
        if content == trained[printable(clip.name)].content != UNREADABLE
        and clip.span == trained[printable(clip.name)].span
    ]
    if not same:
        raise DataError(
            f"{dataset.source} has none of the {number_of(len(trained), 'clip')} that the adapter was trained on"
        )
    lost = len(trained) - len(same)
    return same, [
        f"Warning: {lost:,} of {number_of(len(trained), 'training clip')} are gone or changed"
    ] if lost else []


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[np.float32] = rows / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit
