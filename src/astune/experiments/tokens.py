"""What Figure 2 looks at: the [CLS] token after the last layer, of the test clips of ten classes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import torch

from astune.data.layouts.base import load_data
from astune.errors import DataError
from astune.features import build_cache
from astune.inference.batches import fetch_ahead, outputs, slices
from astune.inference.predictor import Predictor
from astune.training.check import split_of

if TYPE_CHECKING:
    from torch import Tensor

    from astune.training.config import TrainConfig

CLASSES = 10  # as many as the paper shows


def cls_tokens(config: TrainConfig) -> dict[str, Tensor]:
    """Tokens of a finished run.

    Args:
        config: of the run; its output folder holds the adapter.

    Returns:
        ``tokens`` (clips, width), float16, after the final LayerNorm; ``classes`` (clips,), indices of the labels. The classes are
        those with most test clips; clips with several labels are left out.

    Raises:
        DataError: all test clips have several labels or none.
    """
    dataset, split = split_of(load_data(config.data, config.data_options), config)
    index = {label: number for number, label in enumerate(dataset.labels)}
    found = {clip: dataset.task.strata(dataset.clips[clip]) for clip in split.test}
    classes = {clip: index[labels[0]] for clip, labels in found.items() if len(labels) == 1}
    often = Counter(classes.values()).most_common()
    shown = {number for number, _ in sorted(often, key=lambda entry: (-entry[1], entry[0]))[:CLASSES]}
    # In float32 whatever the training: figures of several methods are compared.
    predictor = Predictor(config.output_dir, config.backbone, precision="float32")
    backbone = predictor.model.backbone
    features = build_cache(dataset.clips, predictor.front_end, skip_broken=config.skip_broken, quiet=True)
    clips = [clip for clip, number in classes.items() if number in shown and clip not in features.broken]
    if not clips:
        raise DataError(
            f"{dataset.source}: none of the test clips has exactly one label, so t-SNE cannot colour them by class"
        )
    batches = fetch_ahead(features, slices(clips, config.per_device_eval_batch_size))
    computed = outputs(backbone, lambda batch: backbone(batch).last_hidden_state[:, 0], batches, predictor.arithmetic)
    tokens = torch.cat([some for _, some in computed]).half()
    return {"tokens": tokens, "classes": torch.tensor([classes[clip] for clip in clips])}
