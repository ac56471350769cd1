"""What computes the scores of rows: predictors with many adapters, and exported graphs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from astune.adapter_info import AdapterInfo
from astune.features import rounded_features
from astune.inference.predictor import Predictor

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray

    from astune.serving.settings import ServeSettings


class Engine(Protocol):
    """Computes the scores of rows by adapters that it has loaded."""

    def row(self, samples: NDArray[np.float32], key: str) -> NDArray[Any]:
        """What the engine takes of a window; in any thread.

        Args:
            samples: (samples,) at 16 kHz.
            key: of the adapter.
        """

    def kind(self, info: AdapterInfo) -> Hashable:
        """What adapters have in common whose rows of a window are the same.

        Args:
            info: of an adapter of this engine.
        """

    def scores(self, rows: Sequence[NDArray[Any]], keys: Sequence[str]) -> Sequence[NDArray[np.float32]]:
        """Scores of rows, of any adapters of the engine; in the thread that computes.

        Args:
            rows: from :meth:`row`.
            keys: of the adapter of each.

        Returns:
            (classes,) of each, from 0 to 1.
        """

    def delete(self, key: str) -> bool:
        """Forget an adapter; in the thread that computes.

        Args:
            key: of it.

        Returns:
            Whether the engine has others.
        """


class PredictorEngine:
    """An adapter in torch."""

    def __init__(self, path: str, settings: ServeSettings) -> None:
        self.predictor = Predictor(
            path, settings.backbone, device=settings.device, precision=settings.precision, threads=1
        )

    def info(self, name: str) -> AdapterInfo:
        config = self.predictor.loaded.config
        assert config
        return AdapterInfo.of(config, name)

    def row(self, samples: NDArray[np.float32], key: str) -> NDArray[Any]:
        return rounded_features(samples, self.predictor.front_end)

    def kind(self, info: AdapterInfo) -> Hashable:
        return (info.max_length, info.num_mel_bins, info.mean, info.std)

    def scores(self, rows: Sequence[NDArray[Any]], keys: Sequence[str]) -> Sequence[NDArray[np.float32]]:
        with torch.inference_mode():
            logits = self.predictor.model(torch.from_numpy(np.stack(rows)).float()).logits
            return list(self.predictor.task.activate(logits).numpy())

    def delete(self, key: str) -> bool:
        return False
