"""Tags of settings: what a setting does to a result, and where ``--help`` and the reference page show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["data", "result", "rounding", "running"]
Panel = Literal["Data", "Label tables", "Model", "Training", "Augmentation", "Machine", "Output"]
KINDS: dict[Kind, str] = {
    "data": "decides which clips train, choose the epoch and test, and how much of each is heard",
    "result": "decides the result",
    "rounding": "changes the result by rounding alone",
    "running": "changes nothing in the result",
}
"""What a setting does to a result."""


@dataclass(frozen=True)
class Setting:
    """The tags of a setting, in addition to its type, default and description; each field of :class:`astune.TrainConfig` has one."""

    kind: Kind
    """What it does to a result; see :data:`KINDS`."""
    panel: Panel
    """Its panel in ``--help`` and in the reference page."""
    since: int = 1
    """1 where it was there when the first results were named. Later ones are left out of a run's settings key while they have their
    default, so that old runs keep their name."""
    placed: bool = False
    """Whether the place of a run in an experiment decides it, so that an experiment's file may not."""
