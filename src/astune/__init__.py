"""Adapt a frozen Audio Spectrogram Transformer to a new audio task by training a fraction of a percent of it.

The package imports in milliseconds: torch is loaded when the first of these names is used.
"""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from astune.backbone import load_backbone
    from astune.backbone.imported import import_backbone
    from astune.budget import plan_methods
    from astune.classifier import AudioClassifier
    from astune.data import load_data
    from astune.description import AdapterDescription, describe_adapter
    from astune.experiments.compare import compare
    from astune.experiments.comparison import Comparison
    from astune.experiments.search import search
    from astune.experiments.searched import SearchResult
    from astune.export import export_adapter
    from astune.export.from_peft import import_peft
    from astune.features import FeatureDataset
    from astune.inference.embed import embed
    from astune.inference.embeddings import Embeddings
    from astune.inference.once import evaluate
    from astune.inference.onnx_predictor import OnnxPredictor
    from astune.inference.predictor import Predictor
    from astune.inference.review import review
    from astune.inference.runtime import predict
    from astune.methods import parse_method
    from astune.sharing import push_to_hub
    from astune.training.config import TrainConfig
    from astune.training.loop import train

__version__ = "0.1.0"

_HOMES = {
    "AdapterDescription": "astune.description",
    "AudioClassifier": "astune.classifier",
    "Comparison": "astune.experiments.comparison",
    "Embeddings": "astune.inference.embeddings",
    "FeatureDataset": "astune.features",
    "OnnxPredictor": "astune.inference.onnx_predictor",
    "Predictor": "astune.inference.predictor",
    "SearchResult": "astune.experiments.searched",
    "TrainConfig": "astune.training.config",
    "compare": "astune.experiments.compare",
    "describe_adapter": "astune.description",
    "embed": "astune.inference.embed",
    "evaluate": "astune.inference.once",
    "export_adapter": "astune.export",
    "import_backbone": "astune.backbone.imported",
    "import_peft": "astune.export.from_peft",
    "load_backbone": "astune.backbone",
    "load_data": "astune.data",
    "parse_method": "astune.methods",
    "plan_methods": "astune.budget",
    "predict": "astune.inference.runtime",
    "push_to_hub": "astune.sharing",
    "review": "astune.inference.review",
    "search": "astune.experiments.search",
    "train": "astune.training.loop",
}

__all__ = [
    "AdapterDescription",
    "AudioClassifier",
    "Comparison",
    "Embeddings",
    "FeatureDataset",
    "OnnxPredictor",
    "Predictor",
    "SearchResult",
    "TrainConfig",
    "__version__",
    "compare",
    "describe_adapter",
    "embed",
    "evaluate",
    "export_adapter",
    "import_backbone",
    "import_peft",
    "load_backbone",
    "load_data",
    "parse_method",
    "plan_methods",
    "predict",
    "push_to_hub",
    "review",
    "search",
    "train",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'astune' has no attribute {name!r}")
    with warnings.catch_warnings():
        # tqdm's, in every notebook without ipywidgets, as soon as transformers imports it; our bars need none.
        warnings.filterwarnings("ignore", message="IProgress not found")
        return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
