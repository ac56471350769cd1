"""Imports what commands import, for a process whose children start at once."""

from importlib import import_module

for _module in (
    *(f"astune.cli.{verb}" for verb in ("embed", "export", "predict", "report", "reproduce", "review", "train")),
    *("astune.experiments.runner", "astune.export.onnx", "astune.reporting.report", "astune.training.loop"),
    *("astune.inference.predictor", "astune.inference.review", "astune.serving.service", "tests.faults.kills"),
    *("torch._dynamo", "transformers.models.audio_spectrogram_transformer.modeling_audio_spectrogram_transformer"),
):
    import_module(_module)
