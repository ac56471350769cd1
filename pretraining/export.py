"""The student as a folder that transformers reads: configuration, float16 weights, front end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch

from astune.backbone.backbone import AUDIOSET_MEAN, AUDIOSET_STD
from astune.data.audio import SAMPLING_RATE
from astune.files import save_tensors, write_text

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import ASTModel


def export(model: ASTModel, folder: Path) -> Path:
    """Write a model in transformers' own format.

    Args:
        model: at its native length.
        folder: made if need be; files of the same names are replaced.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.to(torch.float16).contiguous() for name, value in model.state_dict().items()}
    save_tensors(folder / "model.safetensors", weights)
    config = model.config.to_diff_dict() | {"architectures": ["ASTModel"], "dtype": "float32"}  # a CPU computes in it
    write_text(folder / "config.json", json.dumps(config, indent=2, sort_keys=True) + "\n")
    front_end = {
        "feature_extractor_type": "ASTFeatureExtractor", "feature_size": 1, "sampling_rate": SAMPLING_RATE,
        "num_mel_bins": model.config.num_mel_bins, "max_length": model.config.max_length, "padding_value": 0.0,
        "do_normalize": True, "mean": AUDIOSET_MEAN, "std": AUDIOSET_STD, "return_attention_mask": False,
    }  # fmt: skip
    write_text(folder / "preprocessor_config.json", json.dumps(front_end, indent=2) + "\n")
    return folder
