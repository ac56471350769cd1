"""Frozen stretches, computed once: what the layers give in front of the first one that a method trains or adds to.

Where nothing random comes before them, every epoch would compute the same again. Linear probing and LayerMix need of each clip only the
pooled normalised levels (the mean over tokens, or [CLS]), since the final LayerNorm's weight and bias commute with pooling: ``[levels, d]``
a clip, and the LayerNorm stays trainable. Methods restricted to the last layers need the tokens that enter the first of those: ``[N, d]``.

``<cache>/frozen/<key>/`` holds them in float32. The key covers the clips, the front end, the backbone's weights, the depth, and all that
rounds differently: precision, kernel, device and versions. So folds, seeds and learning rates share them; few-shot draws do not.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from typing_extensions import override

from astune.console import progress
from astune.data.clip import region_of
from astune.data.store import cache_root
from astune.errors import DataError
from astune.features.arrays import Rows, stored_array
from astune.features.cache import cache_key
from astune.inference.batches import fetch_ahead, outputs, slices

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from transformers.modeling_outputs import SequenceClassifierOutput

    from astune.classifier import AudioClassifier
    from astune.compute import Arithmetic
    from astune.data.clip import Clip
    from astune.features import FeatureCache

_FORMAT = 1  # raised when cached numbers change their meaning
_SHARE_OF_DISK = 0.5  # of the free space that may be filled


class Upper(nn.Module):
    """A classifier from its frozen stretch on; takes what :meth:`lower` gives in the place of features.

    Args:
        model: whose first layers are frozen.
    """

    def __init__(self, model: AudioClassifier) -> None:
        super().__init__()
        self.model = model
        self.depth = model.frozen_depth
        self.of_all_layers = self.depth == len(model.sites.layers)

    def lower(self, input_values: Tensor) -> Tensor:
        """Run the frozen stretch.

        Args:
            input_values: normalised features, (batch, frames, bins).

        Returns:
            (batch, levels, d) where all layers are frozen, (batch, N, d) otherwise.
        """
        sites = self.model.sites
        tokens = sites.embed(input_values)
        if not self.of_all_layers:
            return sites.run(tokens, 0, self.depth)
        return torch.stack([self.model.pool(level) for level in sites.levels(tokens)], dim=1)

    @override
    def forward(self, states: Tensor, labels: Tensor | None = None) -> SequenceClassifierOutput:
        """Run the layers after the frozen stretch, and classify.

        Args:
            states: as :meth:`lower` gives them.
            labels: targets as the task encodes them; gives a loss.

        Returns:
            As the classifier's, to rounding.
        """
        return self.model.classify(self.pooled(states), labels)

    def pooled(self, states: Tensor) -> Tensor:
        """What the head is given.

        Args:
            states: as :meth:`lower` gives them.

        Returns:
            (batch, d).
        """
        sites = self.model.sites
        if self.of_all_layers:
            mean = sites.scaled(sites.mixed(states.unbind(1)))
        else:
            mean = self.model.pool(sites.norm(sites.run(states, self.depth)))
        return self.model.normalised(mean)


@dataclass(frozen=True)
class FrozenStates:
    """The output of the frozen stretch for each clip."""

    states: NDArray[np.float32]
    """(clips, ..., d), memory-mapped."""
    rows: dict[int, int]
    """Row of each clip, by its index in the data set."""

    def batch(self, clips: Sequence[int]) -> Tensor:
        """Read the states of some clips.

        Args:
            clips: their indices in the data set.

        Returns:
            (batch, ..., d), float32.
        """
        return torch.from_numpy(self.states[[self.rows[clip] for clip in clips]])


def frozen_states(
    upper: Upper,
    features: FeatureCache,
    dataset_clips: Sequence[Clip | Path],
    clips: Sequence[int],
    *,
    arithmetic: Arithmetic,
    batch_size: int,
    quiet: bool = False,
) -> FrozenStates:
    """Open the states of some clips, computing them first if need be.

    Args:
        upper: whose frozen stretch, on the device of the run.
        features: of the data set.
        dataset_clips: those of the data set, or their paths.
        clips: indices of those wanted.
        arithmetic: of the run.
        batch_size: clips a step.
        quiet: no progress bar.

    Returns:
        The states.

    Raises:
        DataError: they would fill more than half of what is free on the cache's disk.
        OutputError: the cache cannot be written.
    """
    wanted = sorted(set(clips))
    model, origin = upper.model, upper.model.origin
    described = [
        _FORMAT, cache_key([dataset_clips[clip] for clip in wanted], model.front_end), origin.fingerprint,
        origin.position_embeddings, upper.depth, model.pooling if upper.of_all_layers else None,
        upper.of_all_layers and model.sites.mixer is not None, arithmetic.compute_dtype, arithmetic.matmul_precision,
        arithmetic.attention_kernel, arithmetic.device.type, torch.__version__, transformers.__version__,
    ]  # fmt: skip
    folder = cache_root() / "frozen" / hashlib.sha256(json.dumps(described).encode()).hexdigest()[:32]

    def lower(parts: Iterable[Sequence[int]]) -> Iterator[tuple[Sequence[int], Tensor]]:
        return outputs(upper, upper.lower, fetch_ahead(features, parts), arithmetic)

    def compute(append: Rows) -> dict[str, Any]:
        with progress("Computing frozen layers", len(wanted), quiet=quiet) as advance:
            for some, lowered in lower(slices(wanted, batch_size)):
                append(lowered.numpy())
                advance(len(some), "")
        return {"clips": [str(region_of(dataset_clips[clip]).path) for clip in wanted]}

    [(_, first)] = lower([wanted[:1]])
    shape = (len(wanted), *first.shape[1:])
    size = 4 * math.prod(shape)
    if not folder.exists() and size > _SHARE_OF_DISK * _free_bytes(folder):
        raise DataError(
            f"their output, {size / 1e6:,.1f} MB, would fill more than half of the free disk at {cache_root()}"
        )
    states, _ = stored_array(folder, shape, np.float32, compute, lambda index: index)
    return FrozenStates(states, {clip: row for row, clip in enumerate(wanted)})


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(next(parent for parent in folder.parents if parent.exists())).free
