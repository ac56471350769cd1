"""The optimiser's groups: what is trained at another rate than the run's, and what weight decay must not move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astune.classifier import AudioClassifier

RATE_FACTOR = "rate_factor"
"""Of a group: its learning rate over the run's."""
NAMES = "names"
"""Of a group: its parameters' names, in their order."""


def parameter_groups(model: AudioClassifier, weight_decay: float) -> list[dict[str, Any]]:
    """Divide what a model trains.

    Args:
        model: with a method.
        weight_decay: of the run.

    Returns:
        Groups for AdamW, each in the model's order, with what the method says of them: :meth:`astune.methods.base.Method.rate_factor` and
        :meth:`astune.methods.base.Method.decays`. Usually one.
    """
    found: dict[tuple[float, bool], list[str]] = {}
    trained, method, n_layers = model.trained_parameters(), model.method, len(model.sites.layers)
    for name in trained:
        found.setdefault((method.rate_factor(name, n_layers), method.decays(name)), []).append(name)
    return [
        {
            "params": [trained[name] for name in names],
            NAMES: names,
            RATE_FACTOR: factor,
            "weight_decay": weight_decay if decays else 0.0,
        }
        for (factor, decays), names in found.items()
    ]
