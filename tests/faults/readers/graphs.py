"""Exported graphs: the ONNX file, its metadata and its tensors, opened and computed as commands do it."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx

from astune import OnnxPredictor
from tests.faults.fuzzing import Reader
from tests.faults.mutations import hostile_bytes, hostile_json
from tests.faults.readers.backbones import RATE, SOUND
from tests.graphs import info, write_graph

if TYPE_CHECKING:
    from random import Random

_SEVERAL = {"task": "multi-label", "negatives": ("rain",), "thresholds": {"dog": 0.6, "rain": 0.5, "siren": 0.9}}
_ELSEWHERE = ["/etc/passwd", "../../up.bin", "graph.onnx", "absent.bin", "", "\x00"]
_OTHERS = ["Loop", "Scan", "Softmax", "ConstantOfShape", "Expand", "Range", "x" * 9_000]
_LONGEST = 4_096  # frames; how long more of them take is the user's choice


@cache
def sound_graph(several: bool) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write_graph(Path(folder, "graph.onnx"), info(**_SEVERAL) if several else info()).read_bytes()


def make(folder: Path, random: Random) -> Path:
    content = sound_graph(random.random() < 0.5)
    model = onnx.load_from_string(content)
    match random.randrange(8):
        case 0 | 1 | 2:
            content = hostile_bytes(content, random)
        case 3 | 4 | 5:
            (entry,) = model.metadata_props
            # protobuf takes whole characters alone
            entry.value = hostile_json(json.loads(entry.value), random).decode(errors="replace")
            content = model.SerializeToString()
        case _:
            _spoil(model, random)
            content = model.SerializeToString()
    path = folder / "graph.onnx"
    path.write_bytes(content)
    return path


def _spoil(model: onnx.ModelProto, random: Random) -> None:
    """Change a part of the graph that a sound file may have in another way."""
    graph = model.graph
    match random.randrange(6):
        case 0:
            tensor = random.choice(graph.initializer)
            tensor.data_location = onnx.TensorProto.EXTERNAL
            entry = tensor.external_data.add()
            entry.key, entry.value = "location", random.choice(_ELSEWHERE)
        case 1:
            tensor = random.choice(graph.initializer)
            tensor.raw_data = hostile_bytes(tensor.raw_data, random)
        case 2:
            tensor = random.choice(graph.initializer)
            tensor.dims[:] = random.choice([[], [-1], [0], [2**62, 2**62], [1] * 300, [10**9]])
        case 3:
            random.choice(graph.node).op_type = random.choice(_OTHERS)
        case 4:
            value = random.choice([*graph.input, *graph.output])
            value.type.tensor_type.elem_type = random.randrange(30)
        case _:
            node = random.choice(graph.node)
            del node.input[random.randrange(len(node.input)) :]


def read(path: Path) -> None:
    predictor = OnnxPredictor(path, cores=1, threads=1)
    repr(predictor)
    assert predictor.scores_key
    if predictor.info.max_length <= _LONGEST:
        found = predictor.predict(SOUND, sampling_rate=RATE)
        assert all(np.isfinite(one["score"]) for one in found)


def warm_up(folder: Path) -> None:
    for several in (False, True):
        path = folder / "graph.onnx"
        path.write_bytes(sound_graph(several))
        read(path)


READER = Reader("graphs", make, read, warm_up)
