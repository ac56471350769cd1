"""Position embeddings at another input length than the pretraining's.

AST: Audio Spectrogram Transformer (Gong et al., 2021), section 2.2, cuts or interpolates the pretrained table along time.
The paper's published code loses it instead: at any length but 1024 frames every position comes back zero, and frozen.
Both are offered, by name.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn import functional as F

from astune.architecture import SPECIAL_TOKENS

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
