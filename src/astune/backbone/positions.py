"""Position embeddings at another input length than the pretraining's.

AST: Audio Spectrogram Transformer (Gong et al., 2021), section 2.2, cuts or interpolates the pretrained table along time.
The paper's published code loses it instead: at any length but 1024 frames every position comes back zero, and frozen.
Both are offered, by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import nn
from torch.nn import functional as F

from astune.architecture import SPECIAL_TOKENS as SPECIAL_TOKENS
from astune.architecture import patch_grid as patch_grid
from astune.architecture import side_of_patch
from astune.architecture import time_patches as time_patches
from astune.errors import ConfigError, unknown

if TYPE_CHECKING:
    from transformers import ASTModel

PositionEmbeddings = Literal["fit", "zero"]


def fit_table(table: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Fit a position table to another number of time patches.

    Args:
        table: (1, 2 + rows * T, d), [CLS] and distillation first, then the patches, frequency-major.
        rows: patches along frequency (12 for 128 mel bins).
        columns: time patches wanted.

    Returns:
        (1, 2 + rows * columns, d): special tokens unchanged; the middle of the time axis where it is shorter, linear
        interpolation where it is longer.
    """
    special, patches = table[:, :SPECIAL_TOKENS], table[:, SPECIAL_TOKENS:]
    width = table.shape[-1]
    grid = patches.reshape(1, rows, -1, width)  # (1, F, T, d)
    native = grid.shape[2]
    if columns <= native:
        start = native // 2 - columns // 2
        grid = grid[:, :, start : start + columns]
    else:
        planes = F.interpolate(grid.permute(0, 3, 1, 2), size=(rows, columns), mode="bilinear", align_corners=False)
        grid = planes.permute(0, 2, 3, 1)
    return torch.cat([special, grid.reshape(1, rows * columns, width)], dim=1)


def set_positions(model: ASTModel, max_length: int, position_embeddings: PositionEmbeddings) -> None:
    """Give a model, in place, the position table of another input length.

    Args:
        model: transformers' model at its native length.
        max_length: input length wanted, in frames.
        position_embeddings: ``"fit"`` cuts or interpolates the pretrained table; ``"zero"`` is the paper's effective setting, a
            table of zeros.

    Raises:
        ConfigError: an unknown setting, or a length under one patch.
    """
    if position_embeddings not in get_args(PositionEmbeddings):
        raise ConfigError(unknown("position_embeddings", position_embeddings, get_args(PositionEmbeddings)))
    config = model.config
    rows, native = patch_grid(config)
    old = model.embeddings.position_embeddings.detach()
    if old.shape[1] != SPECIAL_TOKENS + rows * native:
        raise ConfigError(
            f"the backbone holds {old.shape[1]} positions, its configuration asks for {SPECIAL_TOKENS + rows * native}"
        )
    if max_length != config.max_length:
        old = fit_table(old, rows, time_patches(max_length, side_of_patch(config), config.time_stride))
        config.max_length = max_length
    table = torch.zeros_like(old) if position_embeddings == "zero" else old.clone()
    model.embeddings.position_embeddings = nn.Parameter(table)
