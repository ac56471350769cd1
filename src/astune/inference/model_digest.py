"""What a model computes with, in one short text: results of two models that differ in anything do not belong into one folder."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from astune.classifier import AudioClassifier


def digest_of(model: AudioClassifier) -> str:
    """What a model computes with: all that its adapter holds, and its backbone.

    Args:
        model: any.

    Returns:
        32 hexadecimal digits.
    """
    adapter = model.to_adapter()
    config = adapter.config
    described = [
        config.labels,
        config.spec,
        repr(config.front_end),
        config.pooling,
        config.task,
        config.backbone.fingerprint,
        *([config.negatives] if config.negatives else []),  # older folders were begun without them
        *([config.thresholds] if config.thresholds else []),
    ]
    digest = hashlib.sha256(json.dumps(described).encode())
    for name, tensor in sorted(adapter.tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:32]
