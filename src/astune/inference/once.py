"""Score in one call: a :class:`astune.Predictor` that is made, used once and forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from astune.inference.predictor import Predictor

if TYPE_CHECKING:
    from pathlib import Path

    from astune.adapter import Adapter
    from astune.classifier import AudioClassifier
    from astune.data import AudioDataset
    from astune.inference.evaluation import Evaluation


def evaluate(adapter: str | Path | Adapter | AudioClassifier, data: str | AudioDataset, **settings: Any) -> Evaluation:
    """Score an adapter on labelled audio.

    Args:
        adapter: see :class:`Predictor`.
        data: see :meth:`Predictor.evaluate`.
        settings: settings of :meth:`Predictor.evaluate` (``split``, ``fold``, ``skip_broken``) and of :class:`Predictor`.

    Returns:
        The same as :meth:`Predictor.evaluate`.
    """
    own = {name: settings.pop(name) for name in ("split", "fold", "skip_broken") if name in settings}
    return Predictor(adapter, **settings).evaluate(data, **own)
