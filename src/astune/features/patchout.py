"""Patchout: a part of the patches is dropped from each training clip, which is faster and augments (Koutini et al., 2022, section 3.2).

Patches are dropped after they got their positions. Unstructured drops single patches; structured drops whole rows (bands of frequency)
and whole columns (stretches of time), about the same share of both.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from astune.errors import ConfigError, unknown_choice
from astune.keyed import keyed_generator
from astune.validated import strict_constructor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from astune.features.augmentation import ActsOn, TrainingBatch

PatchoutMode = Literal["unstructured", "structured"]


@strict_constructor
class Patchout:
    """Draws the patches that each training clip keeps; all clips of an epoch keep equally many.

    Args:
        share: of the patches that are dropped, from 0 to below 1; at least one patch stays.
        mode: what is dropped together.
        grid: patches along frequency and along time, see :attr:`astune.backbone.Backbone.patch_grid`.
        seed: of the run.

    Raises:
        ConfigError: a share that leaves nothing or that drops nothing of this grid, or an unknown mode.
    """

    acts_on: ClassVar[ActsOn] = "patches"
    forbids_frozen: ClassVar[str | None] = "Patchout drops other patches (set patchout=0 to avoid it)"

    def __init__(self, share: float, mode: PatchoutMode, grid: tuple[int, int], seed: int) -> None:
        if not 0 <= share < 1:
            raise ConfigError(f"Patchout drops a share from 0 to below 1, not patchout={share}")
        if mode not in {"unstructured", "structured"}:
            raise ConfigError(unknown_choice("patchout_mode", mode, ("unstructured", "structured")))
        self.share, self.mode, self.grid, self.seed = share, mode, grid, seed
        rows, columns = grid
        self.kept = max(1, round((1 - share) * rows * columns))
        """Patches that stay; where whole rows and columns go, this is aimed at."""
        # A single row always stays, so the columns are the whole share.
        self.kept_columns = self.kept if rows == 1 else max(1, round(columns * math.sqrt(1 - share)))
        self.kept_rows = min(rows, max(1, round(self.kept / self.kept_columns)))
        left = self.kept if mode == "unstructured" else self.kept_rows * self.kept_columns
        if share and left == rows * columns > 1:
            raise ConfigError(f"patchout={share} ({mode}) drops none of {rows} x {columns} patches; give more, or 0")

    @property
    def active(self) -> bool:
        """Whether anything is dropped."""
        return self.share > 0

    def augment(self, batch: TrainingBatch) -> TrainingBatch:
        """Choose the patches of the clips of a batch.

        Args:
            batch: of training.

        Returns:
            The batch with the patches that are looked at.
        """
        return replace(batch, kept_patches=self(batch.epoch, batch.names))

    def __call__(self, epoch: int, names: Sequence[str]) -> Tensor | None:
        """Patches that stay, each clip's by its own key.

        Args:
            epoch: so that each epoch drops others.
            names: of the clips, (batch,).

        Returns:
            Their indices in the grid, frequency-major and ascending, (batch, K); None where nothing is dropped.
        """
        if not self.active:
            return None
        drawn = [self._kept(keyed_generator(self.seed, "patchout", epoch, name)) for name in names]
        return torch.from_numpy(np.stack(drawn))

    def _kept(self, generator: np.random.Generator) -> NDArray[np.int64]:
        rows, columns = self.grid
        if self.mode == "unstructured":
            return np.sort(generator.permutation(rows * columns)[: self.kept])
        kept_rows = np.sort(generator.permutation(rows)[: self.kept_rows])
        return (kept_rows[:, None] * columns + np.sort(generator.permutation(columns)[: self.kept_columns])).ravel()
