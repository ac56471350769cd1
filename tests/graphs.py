"""A small ONNX graph made by hand, with the inputs, the output and the metadata of an exported adapter, and the same in NumPy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from astune.adapter_info import AdapterInfo

LABELS = ("dog", "rain", "siren")
WEIGHTS = np.array([[8.0, -3.0, 1.0], [-2.0, 1.0, 3.0], [0.5, 2.0, -4.0]], np.float32)
"""(measures, classes)."""


def info(**fields: Any) -> AdapterInfo:
    """An input of half a second and three labels that compete, unless fields say otherwise."""
    known = {
        "name": "made", "labels": LABELS, "task": "single-label", "method": "linear", "backbone": "none", "max_length": 48,
        "num_mel_bins": 128, "mean": 0.0, "std": 1.0,
    }  # fmt: skip
    return AdapterInfo(**{**known, **fields})


def measures(samples: NDArray[np.float32], filled: int) -> NDArray[np.float32]:
    """What the graph measures of one input: the mean of absolute values over the filled input, the largest, and its length."""
    loud = np.abs(samples[:filled].astype(np.float32))
    return np.array([loud.sum() / filled, loud.max(initial=0), min(len(samples), filled) / filled], np.float32)


def expected(samples: Sequence[NDArray[np.float32]], about: AdapterInfo) -> NDArray[np.float32]:
    """The graph's scores, (inputs, classes), in NumPy."""
    logits = np.stack([measures(one, about.samples) for one in samples]) @ WEIGHTS[:, : len(about.labels)]
    if about.task == "multi-label":
        scores: NDArray[np.float32] = 1 / (1 + np.exp(-logits))
        return scores
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float32] = raised / raised.sum(axis=1, keepdims=True)
    return shares


def write_graph(
    path: Path, about: AdapterInfo | None = None, metadata: dict[str, Any] | None = None, **more: Any
) -> Path:
    """Write the graph; more is of its metadata, and ``metadata`` stands in the place of all of it."""
    about = about or info()
    size, classes = about.samples, len(about.labels)
    constants: dict[str, NDArray[Any]] = {
        "places": np.arange(size, dtype=np.int64), "one": np.array([1], np.int64), "zero": np.zeros((), np.float32),
        "size": np.array(size, np.float32), "weights": WEIGHTS[:, :classes],
    }  # fmt: skip
    make = helper.make_node
    nodes = [
        make("Unsqueeze", ["lengths", "one"], ["column"]),
        make("Less", ["places", "column"], ["real"]),
        make("Where", ["real", "samples", "zero"], ["heard"]),
        make("Abs", ["heard"], ["loud"]),
        make("ReduceMean", ["loud", "one"], ["mean"], keepdims=1),
        make("ReduceMax", ["loud", "one"], ["largest"], keepdims=1),
        make("Cast", ["column"], ["count"], to=TensorProto.FLOAT),
        make("Div", ["count", "size"], ["share"]),
        make("Concat", ["mean", "largest", "share"], ["measures"], axis=1),
        make("MatMul", ["measures", "weights"], ["logits"]),
        make("Sigmoid", ["logits"], ["scores"]) if about.task == "multi-label" else make("Softmax", ["logits"], ["scores"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "made",
        [
            helper.make_tensor_value_info("samples", TensorProto.FLOAT, ["batch", size]),
            helper.make_tensor_value_info("lengths", TensorProto.INT64, ["batch"]),
        ],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", classes])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    if metadata is None:
        metadata = {"format": 1, "adapter": about.record(), "precision": "float32", **more}
    if metadata:
        helper.set_model_props(model, {"astune": json.dumps(metadata)})
    onnx.save(model, path)
    return path
