"""Adapters in the formats of other programs. A format is one file and one import line here; the registry finds it."""

from astune.export import as_peft, as_transformers, onnx
from astune.export.formats import FORMATS, Exported, Source, export_adapter
from astune.export.onnx import export_onnx

__all__ = ["FORMATS", "Exported", "Source", "as_peft", "as_transformers", "export_adapter", "export_onnx", "onnx"]
