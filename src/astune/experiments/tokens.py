"""What Figure 2 looks at: the [CLS] token after the last layer, of the test clips of ten classes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import torch

from astune.classifier import AudioClassifier
from astune.data.layouts.base import load_data
from astune.features import build_cache
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
        those with most test clips.
    """
    dataset, split = split_of(load_data(config.data), config)
    often = Counter(dataset.targets[clip] for clip in split.test).most_common()
    shown = {label for label, _ in sorted(often, key=lambda entry: (-entry[1], entry[0]))[:CLASSES]}
    model = AudioClassifier.from_pretrained(config.output_dir, config.backbone)
    features = build_cache(dataset.clips, model.front_end, skip_broken=config.skip_broken, quiet=True)
    clips = [clip for clip in split.test if dataset.targets[clip] in shown and clip not in features.broken]
    size = config.per_device_eval_batch_size
    with torch.inference_mode():
        tokens = [
            model.backbone(features.batch(clips[start : start + size])).last_hidden_state[:, 0].half()
            for start in range(0, len(clips), size)
        ]
    return {"tokens": torch.cat(tokens), "classes": torch.tensor([dataset.targets[clip] for clip in clips])}
