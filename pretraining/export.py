"""The student as a folder that transformers reads: configuration, float16 weights, front end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from transformers import ASTFeatureExtractor

from astune.backbone.load import AUDIOSET_MEAN, AUDIOSET_STD

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import ASTModel


def export(model: ASTModel, folder: Path) -> Path:
    """Write a model in transformers' own format.

    Args:
        model: at its native length; comes back in float16.
        folder: made if need be; files of the same names are replaced.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    nn.Module.half(model)
    model.save_pretrained(folder)
    front_end = ASTFeatureExtractor(max_length=model.config.max_length, mean=AUDIOSET_MEAN, std=AUDIOSET_STD)
    front_end.save_pretrained(folder)  # type: ignore[no-untyped-call]
    return folder
