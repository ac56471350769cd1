"""Every method and every task becomes a graph that onnxruntime runs alone, with the scores of the predictor."""

from __future__ import annotations

import json
from itertools import cycle
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from astune import AudioClassifier, Predictor, export_adapter, load_backbone
from astune.adapter_info import AdapterInfo
from astune.export import FORMATS
from astune.names import ExportFormat, Pooling
from astune.task import Task
from astune.tasks import TASKS
from tests.conformance.backbones_under_test import FRAMES
from tests.conformance.methods_under_test import LABELS, SPECS, classifier

onnxruntime = pytest.importorskip("onnxruntime")

QUICK = ("lora", "convpass-pf-par", "layermix")  # merged; convolutions and norms; mixed levels
LENGTHS = (10_480, 6_000, 420, 30)  # samples: a full input, shorter ones, less than a frame


def changed(model: AudioClassifier) -> AudioClassifier:
    """As after training: an untrained one may be the identity."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.trained_parameters().values():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return model.eval()


def sounds() -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    random = np.random.default_rng(5)
    return [random.normal(0, 0.1, length).astype(np.float32) for length in LENGTHS]


def run(path: Path, clips: list[np.ndarray[Any, np.dtype[np.float32]]]) -> np.ndarray[Any, Any]:
    """As another program would run it: from the file alone."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    samples, lengths = session.get_inputs()
    batch = np.zeros((len(clips), samples.shape[1]), np.float32)
    for row, clip in zip(batch, clips, strict=True):
        row[: len(clip)] = clip
    given = {samples.name: batch, lengths.name: np.array([len(clip) for clip in clips])}
    scores: np.ndarray[Any, Any] = session.run(["scores"], given)[0]
    return scores


def refuse_other_scores(model: AudioClassifier, path: Path) -> None:
    expected = model.task.activate(Predictor(model).logits(sounds(), sampling_rate=16_000)).numpy()
    assert len(np.unique(expected.round(3))) > len(LABELS)  # else any constant would pass
    np.testing.assert_allclose(run(path, sounds()), expected, atol=1e-4, rtol=0)
    np.testing.assert_allclose(run(path, sounds()[1:2]), expected[1:2], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "spec", [pytest.param(spec, marks=() if spec in QUICK else pytest.mark.slow) for spec in SPECS]
)
def test_every_method_becomes_a_graph_with_its_scores(spec: str, tmp_path: Path) -> None:
    model = changed(classifier(spec))
    before = {name: tensor.clone() for name, tensor in model.adapter_state().items()}
    done = export_adapter(model, tmp_path / "model.onnx")
    assert done.facts["parity"]["largest_difference"] < 1e-4
    refuse_other_scores(model, done.path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.adapter_state().items())


def test_the_quick_ones_are_methods() -> None:
    assert set(QUICK) < set(SPECS)


@pytest.mark.parametrize(
    ("task", "pooling"), list(zip(TASKS.values(), cycle(get_args(Pooling)), strict=False)), ids=TASKS
)
def test_every_task_and_pooling_has_its_scores_in_the_graph(task: Task, pooling: Pooling, tmp_path: Path) -> None:
    model = AudioClassifier(load_backbone("random:tiny", FRAMES), "linear", LABELS, pooling, task, negatives=("b",))
    changed(model)
    done = export_adapter(model, tmp_path / "model.onnx")
    refuse_other_scores(model, done.path)
    session = onnxruntime.InferenceSession(done.path, providers=["CPUExecutionProvider"])
    about = json.loads(session.get_modelmeta().custom_metadata_map["astune"])
    info = AdapterInfo(**about["adapter"])
    assert info == AdapterInfo.of(model.to_adapter().config, info.name)
    assert (info.samples, info.negatives) == (session.get_inputs()[0].shape[1], ("b",))
    assert set(info.thresholds) == (set(LABELS) if task.default_thresholds(3) else set())


def test_the_formats_are_those_that_the_command_line_offers() -> None:
    assert set(FORMATS) == set(get_args(ExportFormat))
