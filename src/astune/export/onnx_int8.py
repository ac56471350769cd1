"""Weights of a graph as 8-bit integers; activations are quantised as they come, so that nothing is calibrated."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto

_THINNEST = (
    64  # rows or columns; thinner matrices are a hundredth of the bytes, and most of them are what the task has trained
)
_KEPT = "front_end."  # an error of a percent of a large energy would drown the small ones


def with_int8_weights(model: ModelProto) -> ModelProto:
    """Quantise the matrices of a graph: signed, symmetric, one scale for each column.

    Those of the front end, of the head and thin ones stay in float32.

    Args:
        model: the model in float32; it is not changed.

    Returns:
        The quantised graph.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    sizes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    nodes = [
        node.name
        for node in model.graph.node
        if node.op_type == "MatMul"
        and node.input[1] in sizes
        and not node.input[1].startswith(_KEPT)
        and min(sizes[node.input[1]]) >= _THINNEST
    ]
    prepared = onnx.ModelProto()
    prepared.CopyFrom(model)
    add_pre_process_metadata(prepared)  # shapes are known and constants folded; without it a warning asks for both
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantize_dynamic(
            prepared, path, op_types_to_quantize=["MatMul"], nodes_to_quantize=nodes, per_channel=True,
            weight_type=QuantType.QInt8,
        )  # fmt: skip
        return onnx.load(path)
