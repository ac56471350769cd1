"""Graphs from elsewhere: metadata and references to other files are read from the bytes, before onnxruntime sees them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from astune import OnnxPredictor
from astune.errors import AdapterError
from astune.inference import onnx_wire
from astune.inference.onnx_wire import WireError, read_properties
from tests.graphs import WEIGHTS, info, write_graph


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return write_graph(tmp_path / "graph.onnx")


def test_metadata_are_those_that_onnx_reads(graph: Path) -> None:
    model = onnx.load(graph)
    helper.set_model_props(model, {"astune": "{}", "author": "Zoë", "": "", "empty": ""})
    onnx.save(model, graph)

    assert read_properties(graph) == {entry.key: entry.value for entry in model.metadata_props}


def _external(tensor: TensorProto, location: str) -> None:
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location


def _in_the_graph(model: onnx.ModelProto) -> TensorProto:
    found: TensorProto = next(one for one in model.graph.initializer if one.name == "weights")
    return found


def _in_a_constant(model: onnx.ModelProto) -> TensorProto:
    node = helper.make_node("Constant", [], ["weights"], value=numpy_helper.from_array(WEIGHTS))
    model.graph.initializer.remove(_in_the_graph(model))
    model.graph.node.insert(0, node)
    found: TensorProto = model.graph.node[0].attribute[0].t
    return found


def _in_a_branch(model: onnx.ModelProto) -> TensorProto:
    inner = helper.make_graph([], "inner", [], [], [numpy_helper.from_array(WEIGHTS, "inner")])
    model.graph.node.append(helper.make_node("If", ["one"], ["out"], then_branch=inner, else_branch=inner))
    found: TensorProto = model.graph.node[-1].attribute[0].g.initializer[0]
    return found


def _in_a_function(model: onnx.ModelProto) -> TensorProto:
    node = helper.make_node("Constant", [], ["y"], value=numpy_helper.from_array(WEIGHTS))
    model.functions.append(helper.make_function("own", "f", [], ["y"], [node], [helper.make_opsetid("", 20)]))
    found: TensorProto = model.functions[0].node[0].attribute[0].t
    return found


def _in_a_sparse_tensor(model: onnx.ModelProto) -> TensorProto:
    values, indices = numpy_helper.from_array(WEIGHTS[0], "s"), numpy_helper.from_array(np.arange(3))
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [3]))
    found: TensorProto = model.graph.sparse_initializer[0].values
    return found


@pytest.mark.parametrize(
    "tensor_of", [_in_the_graph, _in_a_constant, _in_a_branch, _in_a_function, _in_a_sparse_tensor]
)
@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/etc/passwd"])
def test_values_in_another_file_are_refused(
    graph: Path, tensor_of: Callable[[onnx.ModelProto], TensorProto], location: str
) -> None:
    """Onnxruntime takes a file beside the graph, and versions of it took any."""
    (graph.parent / "weights.bin").write_bytes(WEIGHTS.tobytes())
    model = onnx.load(graph)
    _external(tensor_of(model), location)
    graph.write_bytes(model.SerializeToString())

    with pytest.raises(
        AdapterError, match="it takes the values of a tensor from another file, and an exported graph is one file"
    ):
        OnnxPredictor(graph)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"\x80" * 20, "it is cut short"),
        (b"\x3a\xff\xff\xff\xff\x0f", "it is cut short"),
        (b"\x0b", "types that an ONNX file does not have"),
        (b"\x72\x03\x0a\x01\xff", "its metadata are not UTF-8 text"),
        (b"\x0a", "it is cut short"),
    ],
)
def test_damaged_bytes(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "graph.onnx"
    path.write_bytes(content)

    with pytest.raises(WireError, match=message):
        read_properties(path)
    with pytest.raises(AdapterError, match=rf"graph\.onnx cannot be read as an ONNX file: .*{message}"):
        OnnxPredictor(path)


def test_depth_and_parts_have_bounds(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = b""
    for _ in range(60):  # a graph in a graph
        for field in (b"\x32", b"\x2a", b"\x0a"):  # of an attribute, of a node, of a graph
            deep = field + _size(deep) + deep
    path = graph.with_name("deep.onnx")
    path.write_bytes(b"\x3a" + _size(deep) + deep)
    with pytest.raises(WireError, match="nested too deeply"):
        read_properties(path)

    monkeypatch.setattr(onnx_wire, "_MOST_FIELDS", 20)
    with pytest.raises(WireError, match="more than 20 parts"):
        read_properties(graph)


def _size(content: bytes) -> bytes:
    left, found = len(content), b""
    while left > 0x7F:
        found += bytes([left & 0x7F | 0x80])
        left >>= 7
    return found + bytes([left])


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format": "1"}, "format=1: Input should be a valid integer"),
        ({"format": 2}, "has format 2; astune .* reads up to 1"),
        ({"precision": "int4"}, "unknown precision 'int4'"),
        ({"adapter": []}, r"adapter=\[\]"),
        ({"adapter_digest": 7}, "adapter_digest=7"),
        ({"adapter": {**info().record(), "max_length": 10**15}}, "max_length=1000000000000000"),
        ({"adapter": {**info().record(), "labels": ["a", "a", "b"]}}, "labels that occur twice"),
        ({"adapter": {**info().record(), "std": 0}}, "std=0"),
        ({"adapter": {**info().record(), "thresholds": {"dog": 0.5}}}, "thresholds are given"),
    ],
)
def test_metadata_are_bounded(tmp_path: Path, metadata: dict[str, Any], message: str) -> None:
    path = write_graph(
        tmp_path / "graph.onnx", **{"format": 1, "adapter": info().record(), "precision": "float32", **metadata}
    )

    with pytest.raises(AdapterError, match=message):
        OnnxPredictor(path)


def test_a_graph_that_fails_while_it_computes_is_refused(graph: Path) -> None:
    """Its shapes are right where they are stated, and the product inside does not fit."""
    model = onnx.load(graph)
    weights = _in_the_graph(model)
    reshaped = numpy_helper.from_array(np.ones((4, 3), np.float32), "weights")
    model.graph.initializer.remove(weights)
    model.graph.initializer.append(reshaped)
    for value in model.graph.node:
        if value.op_type == "Concat":
            value.input.append("lengths_of_nothing")
    _with_an_unknown_shape(model)
    onnx.save(model, graph)

    with pytest.raises(AdapterError, match=r"cannot be (computed|read) by onnxruntime"):
        OnnxPredictor(graph).scores([np.zeros(400, np.float32)])


def _with_an_unknown_shape(model: onnx.ModelProto) -> None:
    """A number of columns that is known when the graph computes alone."""
    nodes = [
        helper.make_node("ReduceMax", ["lengths"], ["longest"], keepdims=1),
        helper.make_node("Concat", ["longest", "one"], ["form"], axis=0),
        helper.make_node("ConstantOfShape", ["form"], ["lengths_of_nothing"]),
    ]
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
