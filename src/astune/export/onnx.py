"""``onnx``: one graph from samples at 16 kHz to scores, which onnxruntime runs without torch and without this package.

Inputs: ``samples`` (batch, samples that fill the input), float32 in -1 to 1, filled up with zeros; ``lengths`` (batch,), int64, how many
of them are real. Output: ``scores`` (batch, classes), float32. The file's metadata has one key, ``astune``, with JSON: labels, task,
thresholds, front end, and what was checked.
"""

from __future__ import annotations

import importlib
import logging
import os
import tempfile
import warnings
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from astune.adapter_digest import adapter_digest
from astune.adapter_info import AdapterInfo
from astune.errors import AdapterError, ConfigError
from astune.export.formats import Exported, Source, register_format
from astune.export.onnx_check import Scored, Scorer, Torch, scored
from astune.export.onnx_int8 import with_int8_weights
from astune.export.waveform_scorer import WaveformScorer
from astune.extras import install_command
from astune.files import write_bytes
from astune.inference.inputs import expand
from astune.inference.onnx_graph import FORMAT, INT8, LENGTHS, METADATA, SAMPLES, SCORES
from astune.inference.onnx_predictor import OnnxPredictor
from astune.json_text import json_text
from astune.plurals import number_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from onnx import ModelProto

    from astune.classifier import AudioClassifier

_OPSET = 20  # the first with Gelu
_MOST_APART = 1e-4  # of scores, from torch's
_MOST_BYTES = 2**31 - 2**20  # of a protobuf, less what surrounds the weights
_PACKAGES = ("onnx", "onnxruntime", "onnxscript")


@register_format("onnx", ending=".onnx")
def export_onnx(
    source: Source, path: Path, *, int8: bool = False, clips: str | Path | Iterable[str | Path] = ()
) -> Exported:
    """Write an adapter and its backbone as one ONNX graph, after its scores were compared with torch's.

    Args:
        source: what is exported.
        path: the path of the file.
        int8: whether to quantise the weights, see :func:`astune.export.onnx_int8.with_int8_weights`.
        clips: an audio file or a folder, or several; the graph is compared on the beginning of each clip. With ``int8``,
            give some hundred of your own.

    Returns:
        What was written, and how its scores compare.

    Raises:
        AdapterError: its scores differ from torch's by more than 1e-4, the model is too large for one file, or the method makes a constant
            of the batch's size.
        AudioError: clips are given, and none can be read.
        ConfigError: a package is not installed.
        NumericalError: scores are NaN or infinite.
    """
    _refuse_missing_packages()
    _refuse_large(source.model)
    compared = expand([clips] if isinstance(clips, str | os.PathLike) else clips)
    graphs = {"float32": to_onnx(source.model)}
    if int8:
        graphs[INT8] = with_int8_weights(graphs["float32"])
    about = _about(source, next(reversed(graphs)))
    with tempfile.TemporaryDirectory() as folder:
        scorers: dict[str, Scorer] = {"torch": Torch(source.model)}
        for precision, graph in graphs.items():
            tried = Path(folder) / f"{precision}.onnx"
            tried.write_bytes(_described(graph, about).SerializeToString())
            scorers[precision] = OnnxPredictor(tried)
        found = scored(scorers, source.model.front_end, compared)
    apart = found.largest("torch", "float32")
    if not apart <= _MOST_APART:
        raise AdapterError(
            f"the graph's scores differ from torch's by up to {apart:.1e}, where {_MOST_APART:.0e} is allowed, so no file was written"
        )
    figures = {"float32_bytes": graphs["float32"].ByteSize(), **_figures(found)}
    write_bytes(path, _described(graphs[about["precision"]], about | figures).SerializeToString())
    facts = {"precision": about["precision"], **figures}
    sentences = _sentences(figures, found, source.adapter.config.compute_dtype)
    return Exported("onnx", path, path.stat().st_size, sentences, facts, found.broken, found.files)


def _about(source: Source, precision: str) -> dict[str, Any]:
    """What a file says of itself."""
    return {
        "format": FORMAT,
        "adapter": AdapterInfo.of(source.adapter.config, source.name).record(),
        "adapter_digest": None if source.folder is None else adapter_digest(source.folder),
        "backbone_fingerprint": source.adapter.config.backbone.fingerprint,
        "precision": precision,
        "opset": _OPSET,
        "versions": {name: version(name) for name in ("astune", "torch", "transformers", *_PACKAGES)},
    }


def to_onnx(model: AudioClassifier) -> ModelProto:
    """A classifier as an ONNX graph, from the waveform to the task's scores; the method is merged where it can be.

    Args:
        model: on the CPU, in float32, in evaluation mode; it is not changed.

    Returns:
        The graph, weights inside.

    Raises:
        AdapterError: the method makes a constant of the batch's size.
    """
    plain = model.merge_and_unload() if model.method.mergeable else model
    graph = as_onnx(WaveformScorer(plain).eval(), model.front_end.samples)
    if not all(one.type.tensor_type.shape.dim[0].dim_param for one in graph.graph.input):
        raise AdapterError(
            f"{model.method.spec} makes a constant of the batch's size while torch traces it, so its graph would take one size alone; "
            "in the method, write x.shape[0] for len(x) and for int(...)"
        )
    return graph


def as_onnx(module: nn.Module, samples: int) -> ModelProto:
    """A module as an ONNX graph for batches of any size, without the places in source code that torch notes in it.

    Args:
        module: takes samples and lengths, as :class:`astune.export.waveform_scorer.WaveformFrontEnd`; gives one tensor.
        samples: samples that fill its input.

    Returns:
        The graph, weights inside.
    """
    example = torch.zeros(2, samples), torch.full((2,), samples)  # two, because a batch of one would become a constant
    batch = torch.export.Dim("batch")
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            module, example, dynamo=True, opset_version=_OPSET, verbose=False, input_names=[SAMPLES, LENGTHS],
            output_names=[SCORES], dynamic_shapes={"samples": {0: batch}, "lengths": {0: batch}},
        )  # fmt: skip
    assert program is not None  # noqa: S101 - for type checkers; it is without dynamo
    model: ModelProto = program.model_proto
    graph = model.graph
    for part in (graph, *graph.node, *graph.value_info, *graph.initializer, *graph.input, *graph.output):
        del part.metadata_props[:]
    return model


def _described(graph: ModelProto, about: dict[str, Any]) -> ModelProto:
    """A graph with its metadata, and with words for people who open it in a viewer."""
    import onnx

    graph.producer_name, graph.producer_version = "astune", version("astune")
    graph.doc_string = f"Scores of {', '.join(about['adapter']['labels'])}"
    onnx.helper.set_model_props(graph, {METADATA: json_text(about)})
    samples, lengths = graph.graph.input
    samples.doc_string = "samples at 16 kHz, mono, -1 to 1, filled up with zeros"
    lengths.doc_string = "how many samples are real"
    return graph


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of operators and axis names, none of which concerns the user."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _refuse_missing_packages() -> None:
    for name in _PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as fault:
            raise ConfigError(
                f"the format onnx needs {name}, which cannot be imported ({fault}); {install_command('onnx')}"
            ) from fault


def _refuse_large(model: AudioClassifier) -> None:
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    if size > _MOST_BYTES:
        raise AdapterError(
            f"the model has {size / 2**30:.1f} GiB of weights, and an ONNX file with its weights inside holds 2 GiB at most"
        )


def _figures(found: Scored) -> dict[str, Any]:
    """What was compared: the graph with torch and, of an int8 graph, int8 with float32."""
    sounds, clips = (len(part["torch"]) for part in (found.made, found.clips))
    figures: dict[str, Any] = {
        "parity": {"sounds": sounds, "clips": clips, "largest_difference": found.largest("torch", "float32")},
    }
    if INT8 in found.made:
        on = found.clips if clips else found.made
        apart = np.abs(on[INT8] - on["float32"])
        same = on[INT8].argmax(axis=1) == on["float32"].argmax(axis=1)
        figures[INT8] = {
            "measured_on": "clips" if clips else "sounds", "inputs": len(same), "same_first_label": float(same.mean()),
            "mean_difference": float(apart.mean()), "largest_difference": float(apart.max()),
        }  # fmt: skip
    return figures


def _sentences(facts: dict[str, Any], found: Scored, compute_dtype: str) -> tuple[str, ...]:
    parity = facts["parity"]
    clips = f" and {number_of(parity['clips'], 'clip')}" if parity["clips"] else ""
    sentences = [
        f"In float32, scores differ from torch's by {parity['largest_difference']:.1e} at most, on "
        f"{number_of(parity['sounds'], 'generated sound')}{clips}; {_MOST_APART:.0e} is allowed"
    ]
    if INT8 in facts:
        figures = facts[INT8]
        on = number_of(figures["inputs"], "clip" if parity["clips"] else "generated sound")
        sentences.append(
            f"In int8, {figures['same_first_label']:.1%} of {on} have the same first label as in float32; scores differ by "
            f"{figures['mean_difference']:.1e} on average and {figures['largest_difference']:.1e} at most"
        )
        sentences.append(f"float32 would take {facts['float32_bytes'] / 1e6:.1f} MB")
        if not parity["clips"]:
            sentences.append(
                "Note: int8 was not compared on recordings; give clips of your own to measure how often the labels agree"
            )
    if compute_dtype != "float32":
        sentences.append(
            f"Note: the adapter was trained in {compute_dtype}, and the graph computes in float32; scores of the adapter differ from "
            "the graph's by rounding"
        )
    if found.longer:
        longer = f"{number_of(found.longer, 'clip')} {'is' if found.longer == 1 else 'are'} longer than the input"
        sentences.append(f"Note: {longer}, and only the beginning was compared")
    return (*sentences, *found.remarks)
