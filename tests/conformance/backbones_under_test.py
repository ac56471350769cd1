"""Backbones of every shape that methods attach to: small ones, of which each has something that the others have not.

The shapes of SSAST's patches are found in the conversion's own list, so a shape that is added there is tested here too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import ASTConfig, ASTModel

from astune.backbone.load import quiet_transformers
from astune.backbone.ssast import FINE_TUNING_STRIDES
from tests.ssast_files import folder_of

FRAMES = 64
WIDTH, LAYERS = 64, 4


def _named(_: Path, name: str) -> str:
    return name


def _other_strides(folder: Path) -> str:
    """An AST whose patches overlap along time alone, with two heads and a narrow feed-forward part."""
    torch.manual_seed(0)
    model: Any = ASTModel(
        ASTConfig(
            hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=2, intermediate_size=96, frequency_stride=16, time_stride=12,
            max_length=FRAMES,
        )
    )  # fmt: skip
    for parameter in model.parameters():
        if parameter.ndim == 3:  # tokens and positions, which transformers starts at zero
            torch.nn.init.normal_(parameter, std=0.02)
    with quiet_transformers():
        model.save_pretrained(folder)
    return str(folder)


def _ssast(folder: Path, shape: tuple[int, int]) -> str:
    return str(folder_of(folder / "ssast", shape, width=WIDTH, layers=LAYERS, frames=FRAMES))


BACKBONES: dict[str, Callable[[Path], str]] = {
    "random-tiny": partial(_named, name="random:tiny"),
    "other-strides": _other_strides,
    **{f"ssast-{shape[0]}x{shape[1]}": partial(_ssast, shape=shape) for shape in FINE_TUNING_STRIDES},
}
"""What makes each of them in an empty folder, and says what ``load_backbone`` takes."""
