"""Label or score in one call: a :class:`astune.Predictor` that is made, used once and forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from astune.inference.predictor import Predictor

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from astune.adapter import Adapter
    from astune.classifier import AudioClassifier
    from astune.data import AudioDataset
    from astune.inference.evaluation import Evaluation
    from astune.inference.inputs import Input


def predict(adapter: str | Path | Adapter | AudioClassifier, inputs: Input | Iterable[Input], **settings: Any) -> Any:  # noqa: ANN401 - as Predictor.predict's
    """Label recordings; for more than one call, make a :class:`Predictor` and keep it.

    Args:
        adapter: as for :class:`Predictor`.
        inputs: as for :meth:`Predictor.predict`.
        settings: of :meth:`Predictor.predict` (``sampling_rate``, ``top_k``, ``errors``, ``pool``, ``threshold``) and of
            :class:`Predictor`.

    Returns:
        As :meth:`Predictor.predict`.
    """
    names = ("sampling_rate", "top_k", "errors", "pool", "threshold")
    own = {name: settings.pop(name) for name in names if name in settings}
    return Predictor(adapter, **settings).predict(inputs, **own)


def evaluate(adapter: str | Path | Adapter | AudioClassifier, data: str | AudioDataset, **settings: Any) -> Evaluation:
    """Score an adapter on labelled audio.

    Args:
        adapter: as for :class:`Predictor`.
        data: as for :meth:`Predictor.evaluate`.
        settings: of :meth:`Predictor.evaluate` (``split``, ``fold``, ``skip_broken``) and of :class:`Predictor`.

    Returns:
        As :meth:`Predictor.evaluate`.
    """
    own = {name: settings.pop(name) for name in ("split", "fold", "skip_broken") if name in settings}
    return Predictor(adapter, **settings).evaluate(data, **own)
