"""Position embeddings at another input length than the pretraining's.

AST: Audio Spectrogram Transformer (Gong et al., 2021), section 2.2, cuts or interpolates the pretrained table along time.
The paper's published code loses it instead: at any length but 1024 frames every position comes back zero, and frozen.
Both are offered, by name.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn import functional as F

from astune.errors import ConfigError
from astune.names import LONGEST_INPUT

PositionEmbeddings = Literal["fit", "zero"]
SPECIAL_TOKENS = 2  # [CLS] and distillation, in front of the patches


def time_patches(max_length: int, patch_size: int = 16, time_stride: int = 10) -> int:
    """How many patches lie along time.

    Args:
        max_length: input length, in frames of 10 ms.
        patch_size: side of a patch, in frames.
        time_stride: step between patches, in frames.

    Returns:
        The number of columns of the patch grid.

    Raises:
        ConfigError: the input is shorter than one patch.
    """
    if max_length < patch_size:
        raise ConfigError(f"max_length {max_length} is shorter than one patch; use at least {patch_size} frames")
    if max_length > LONGEST_INPUT:
        raise ConfigError(f"max_length {max_length} is more than an hour; use at most {LONGEST_INPUT} frames")
    return (max_length - patch_size) // time_stride + 1


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
