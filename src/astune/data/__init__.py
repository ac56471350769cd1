"""Labelled audio: its clips, splits and folds. Names are imported when they are used: who decodes a file needs no layouts."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from astune.data.clip import Clip
    from astune.data.dataset import AudioDataset, DataRecipe, Split
    from astune.data.layouts import LAYOUTS, Layout, load_data
    from astune.data.recordings import PassedOver

_HOMES = {
    "LAYOUTS": "layouts",
    "AudioDataset": "dataset",
    "Clip": "clip",
    "DataRecipe": "dataset",
    "Layout": "layouts",
    "PassedOver": "recordings",
    "Split": "dataset",
    "load_data": "layouts",
}

__all__ = ["LAYOUTS", "AudioDataset", "Clip", "DataRecipe", "Layout", "PassedOver", "Split", "load_data"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'astune.data' has no attribute {name!r}")
    return getattr(importlib.import_module(f"astune.data.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
