"""Patchout: a part of the patches is dropped from each training clip, which is faster and augments (Koutini et al., 2022, section 3.2).

Patches are dropped after they got their positions. Unstructured drops single patches; structured drops whole rows (bands of frequency)
and whole columns (stretches of time), the same share of both.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from astune.errors import ConfigError, unknown
from astune.keyed import keyed_generator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PatchoutMode = Literal["unstructured", "structured"]


class Patchout:
    """Draws the patches that each training clip keeps; all clips of an epoch keep equally many.

    Args:
        share: of the patches that are dropped, from 0 to below 1; at least one patch stays.
        mode: what is dropped together.
        grid: patches along frequency and along time, see :func:`astune.backbone.positions.patch_grid`.
        seed: of the run.

    Raises:
        ConfigError: a share that leaves nothing, or an unknown mode.
    """

    def __init__(self, share: float, mode: PatchoutMode, grid: tuple[int, int], seed: int) -> None:
        if not 0 <= share < 1:
            raise ConfigError(f"Patchout drops a share from 0 to below 1, not patchout={share}")
        if mode not in {"unstructured", "structured"}:
            raise ConfigError(unknown("patchout_mode", mode, ("unstructured", "structured")))
        self.share, self.mode, self.grid, self.seed = share, mode, grid, seed

    def __call__(self, epoch: int, clips: Sequence[int]) -> Tensor | None:
        """Patches that stay, each clip's by its own key.

        Args:
            epoch: so that each epoch drops others.
            clips: index of each clip in its data set, (batch,).

        Returns:
            Their indices in the grid, frequency-major and ascending, (batch, K); None where nothing is dropped.
        """
        if not self.share:
            return None
        drawn = [self._kept(keyed_generator(self.seed, "patchout", epoch, int(clip))) for clip in clips]
        return torch.from_numpy(np.stack(drawn))

    def _kept(self, generator: np.random.Generator) -> NDArray[np.int64]:
        rows, columns = self.grid
        if self.mode == "unstructured":
            return _some(generator, rows * columns, 1 - self.share)
        share = math.sqrt(1 - self.share)
        return (_some(generator, rows, share)[:, None] * columns + _some(generator, columns, share)).ravel()


def _some(generator: np.random.Generator, number: int, share: float) -> NDArray[np.int64]:
    """A share of so many indices, at least one, ascending."""
    return np.sort(generator.permutation(number)[: max(1, round(share * number))])
