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
    return fit_grid(table, rows, (rows, columns))


def fit_grid(table: torch.Tensor, rows: int, wanted: tuple[int, int]) -> torch.Tensor:
    """Fit a position table to another grid of patches, as SSAST's authors do when the strides change (Gong et al., 2022).

    Args:
        table: (1, 2 + rows * T, d), [CLS] and distillation first, then the patches, frequency-major.
        rows: patches along frequency that the table has.
        wanted: patches along frequency and along time that it is to have.

    Returns:
        (1, 2 + patches wanted, d): special tokens unchanged; of an axis that becomes shorter its middle, linear interpolation along one
        that becomes longer.
    """
    special, patches = table[:, :SPECIAL_TOKENS], table[:, SPECIAL_TOKENS:]
    width = table.shape[-1]
    grid = patches.reshape(1, rows, -1, width)  # (1, F, T, d)
    for axis, number in enumerate(wanted, start=1):
        native = grid.shape[axis]
        if number < native:
            grid = grid.narrow(axis, native // 2 - number // 2, number)
    if grid.shape[1:3] != wanted:
        planes = F.interpolate(grid.permute(0, 3, 1, 2), size=wanted, mode="bilinear", align_corners=False)
        grid = planes.permute(0, 2, 3, 1)
    return torch.cat([special, grid.reshape(1, -1, width)], dim=1)
