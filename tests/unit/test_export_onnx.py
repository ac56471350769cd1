"""The graph's front end, what an export says, and what it refuses."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner
from typing_extensions import override

import astune
from astune import AudioClassifier, OnnxPredictor, Predictor, export_adapter, load_backbone
from astune.adapter_digest import adapter_digest
from astune.cli import app
from astune.errors import AdapterError, AudioError, ConfigError
from astune.export.formats import Exported
from astune.export.onnx import as_onnx
from astune.export.onnx_check import made_sounds
from astune.export.waveform_scorer import WaveformFrontEnd
from astune.features import FrontEnd
from astune.names import FRAME, HOP

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

FRAMES, LABELS = 64, ("frog", "zip", "hum")
SAMPLES = (FRAMES - 1) * HOP + FRAME


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    model = AudioClassifier(load_backbone("random:tiny", FRAMES), "bottleneck", LABELS)
    with torch.no_grad():
        for parameter in model.trained_parameters().values():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    folder = tmp_path_factory.mktemp("adapters") / "pond"
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clips(generated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve recordings of half a second, and one that is none."""
    folder = tmp_path_factory.mktemp("clips")
    for number, file in enumerate(sorted(generated.rglob("*.wav"))[:12]):
        shutil.copy(file, folder / f"{number:02d}.wav")
    (folder / "broken.wav").write_bytes(b"RIFF and nothing else")
    return folder


@pytest.fixture(scope="module")
def plain(adapter: Path) -> Exported:
    return export_adapter(adapter, adapter.parent / "plain.onnx")


@pytest.fixture(scope="module")
def int8(adapter: Path, clips: Path) -> Exported:
    return export_adapter(adapter, adapter.parent / "int8.onnx", int8=True, clips=clips)


@pytest.mark.parametrize(("frames", "bins", "mean", "std"), [(FRAMES, 128, -4.27, 4.57), (16, 40, 1.5, 0.7)])
@pytest.mark.filterwarnings("ignore:At least one mel filter")
def test_the_front_end_of_the_graph_is_the_front_end(frames: int, bins: int, mean: float, std: float) -> None:
    """Two ways to compute in float32 differ by their rounding; a few features then fall on a neighbour in float16."""
    front_end = FrontEnd(frames, bins, mean, std)
    sounds = made_sounds((frames - 1) * HOP + FRAME)
    lengths = torch.tensor([len(sound) for sound in sounds])
    batch = torch.ones(len(sounds), (frames - 1) * HOP + FRAME)  # what lies behind a sound is not heard
    for row, sound in zip(batch, sounds, strict=True):
        row[: len(sound)] = torch.from_numpy(sound)
    found = WaveformFrontEnd(front_end)(batch, lengths)
    expected = torch.stack([front_end(torch.from_numpy(sound)) for sound in sounds])
    torch.testing.assert_close(found, expected, atol=2e-3 / std, rtol=1e-3)
    assert (found != expected.half().float()).float().mean() < 0.02
    assert lengths.min() < FRAME < lengths.max()


def test_onnxruntime_rounds_features_as_the_cache_does(tmp_path: Path) -> None:
    """It may drop pairs of casts that lose nothing; these do."""
    module, samples = WaveformFrontEnd(FrontEnd(16)).eval(), np.random.default_rng(0).normal(0, 0.1, (1, 2_800))
    (tmp_path / "front.onnx").write_bytes(as_onnx(module, 2_800).SerializeToString())
    session = onnxruntime.InferenceSession(tmp_path / "front.onnx", providers=["CPUExecutionProvider"])
    given = {"samples": samples.astype(np.float32), "lengths": np.array([2_800])}
    found = session.run(None, given)[0]
    np.testing.assert_array_equal(found, found.astype(np.float16).astype(np.float32))
    assert (found == module(*map(torch.from_numpy, given.values())).numpy()).mean() > 0.98


def test_a_file_says_what_it_is_and_nothing_of_this_machine(plain: Exported, adapter: Path) -> None:
    content = plain.path.read_bytes()
    model = onnx.load(plain.path)
    onnx.checker.check_model(model, full_check=True)
    about = json.loads({prop.key: prop.value for prop in model.metadata_props}["astune"])
    assert about["adapter"]["name"] == "pond"
    assert about["adapter"]["labels"] == list(LABELS)
    assert (about["format"], about["precision"]) == (1, "float32")
    assert about["adapter_digest"] == adapter_digest(adapter)
    assert about["parity"] == plain.facts["parity"]
    assert about["versions"]["torch"] == version("torch")
    for folder in (Path(astune.__file__).parent, Path(torch.__file__).parent, adapter.parent):
        assert str(folder).encode() not in content
    assert plain.size == len(content)
    assert plain.sentences == (
        f"In float32, scores differ from torch's by {about['parity']['largest_difference']:.1e} at most, on 13 generated sounds; 1e-04 "
        "is allowed",
    )


def test_int8_is_compared_on_the_clips_that_are_given(int8: Exported, plain: Exported, clips: Path) -> None:
    recordings = sorted(clips.glob("[0-9]*.wav"))
    scores = [
        np.array([[label["score"] for label in sorted(one, key=lambda label: LABELS.index(label["label"]))] for one in
                  OnnxPredictor(path).predict(recordings, top_k=None)])
        for path in (plain.path, int8.path)
    ]  # fmt: skip
    figures = int8.facts["int8"]
    assert (figures["measured_on"], figures["inputs"]) == ("clips", 12)
    apart = np.abs(scores[0] - scores[1])
    assert 0 < figures["mean_difference"] == pytest.approx(apart.mean(), rel=1e-3)
    assert figures["largest_difference"] == pytest.approx(apart.max(), rel=1e-3)
    assert figures["same_first_label"] == (scores[0].argmax(1) == scores[1].argmax(1)).mean()
    assert int8.files == 13
    (fault,) = int8.faults
    assert "broken.wav" in fault
    assert "of 12 clips have the same first label as in float32" in int8.sentences[1]
    assert int8.facts["float32_bytes"] == pytest.approx(plain.size, abs=2_000)
    assert int8.sentences[2] == f"float32 would take {int8.facts['float32_bytes'] / 1e6:.1f} MB"


def test_int8_leaves_the_front_end_the_head_and_the_adapters_as_they_are(int8: Exported, plain: Exported) -> None:
    before, after = (
        {tuple(one.dims): one.data_type for one in onnx.load(done.path).graph.initializer} for done in (plain, int8)
    )
    assert int8.size < 0.4 * plain.size
    assert {before[shape] for shape in before if len(shape) == 2} == {onnx.TensorProto.FLOAT}
    adapters = [shape for shape in before if len(shape) == 2 and min(shape) < 64]
    assert adapters
    for shape in [(257, 128), (3, 192), *adapters]:
        assert after[shape] == onnx.TensorProto.FLOAT, shape
    assert after[192, 768] == after[768, 192] == onnx.TensorProto.INT8


def test_without_clips_it_says_that_int8_was_not_compared_on_any(adapter: Path, tmp_path: Path) -> None:
    """In a folder, where the predictor then finds it; and nothing else is printed or logged, and no log is configured."""
    own = shutil.copytree(adapter, tmp_path / "own")
    handlers = list(logging.getLogger().handlers)
    command = ["export", str(own), "--int8", "-o", str(own / "model.onnx"), "--json"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0
    said = done.stderr.splitlines()
    assert len(said) == 4
    assert "13 generated sounds have the same first label" in said[1]
    assert said[3] == (
        "Note: int8 was not compared on recordings; give clips of your own to measure how often the labels agree"
    )
    record = json.loads(done.stdout)
    assert record["int8"]["measured_on"] == "sounds"
    assert record["bytes"] == (own / "model.onnx").stat().st_size
    assert logging.getLogger().handlers == handlers
    assert sorted(one.name for one in own.iterdir()) == sorted([*(one.name for one in adapter.iterdir()), "model.onnx"])


def test_the_command_reports_broken_clips_with_its_exit_code(adapter: Path, clips: Path, tmp_path: Path) -> None:
    target = tmp_path / "graph.onnx"
    given = ["--clip", str(clips / "00.wav"), "--clip", str(clips / "broken.wav")]
    done = CliRunner().invoke(app, ["export", str(adapter), "-o", str(target), *given])
    assert done.exit_code == 1
    assert "error: " in done.stderr
    assert "broken.wav" in done.stderr
    assert "on 13 generated sounds and 1 clip;" in done.stderr
    assert done.stdout == f"{target}: {target.stat().st_size / 1e6:,.1f} MB\n"


def test_scores_that_differ_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    """A head so steep that what float32 rounds away decides: of the first sound, no graph of it can have its scores."""
    torch.manual_seed(0)
    model = AudioClassifier(load_backbone("random:tiny", 32), "linear", ("a", "b"))
    with torch.no_grad():
        model.head.weight.mul_(1e5)
        sound = made_sounds(31 * HOP + FRAME)[0]
        model.head.bias.sub_(Predictor(model).logits([sound], sampling_rate=16_000)[0])
    with pytest.raises(AdapterError, match=r"differ from torch's by up to .*, where 1e-04 is allowed, so no file was"):
        export_adapter(model, tmp_path / "steep.onnx")
    assert list(tmp_path.iterdir()) == []


class Counting(torch.nn.Module):
    @override
    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens + torch.zeros(len(tokens), 1, 1)


def test_a_method_that_counts_the_batch_is_refused_in_words(tmp_path: Path) -> None:
    model = AudioClassifier(load_backbone("random:tiny", 32), "bottleneck", ("a", "b"))
    model.sites.before_layer(1, Counting())
    with pytest.raises(AdapterError, match=r"bottleneck makes a constant of the batch's size.*write x\.shape\[0\]"):
        export_adapter(model, tmp_path / "counted.onnx")
    assert list(tmp_path.iterdir()) == []


def test_an_adapter_trained_in_bfloat16_is_said_to_be(tmp_path: Path) -> None:
    model = AudioClassifier(load_backbone("random:tiny", 32), "linear", ("a", "b"))
    done = export_adapter(model.to_adapter(compute_dtype="bfloat16"), tmp_path / "half.onnx")
    assert done.sentences[1].startswith("Note: the adapter was trained in bfloat16, and the graph computes in float32")
    noise = made_sounds(1_000)[0]
    expected = Predictor(model).logits([noise], sampling_rate=16_000).softmax(-1)
    np.testing.assert_allclose(OnnxPredictor(done.path).scores([noise]), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"format": "onxx"}, "unknown format 'onxx'; choose one of: .*onnx.*did you mean 'onnx'"),
        ({"int9": True}, "unknown option of the format onnx 'int9'; choose one of: int8, clips; did you mean 'int8'"),
        ({"format": "peft", "int8": True}, "int8 is not an option of the format peft, but of onnx"),
        ({"path": "taken.onnx"}, r"taken.onnx is there already; give another path, or overwrite=True"),
        ({"path": "graph"}, r"graph: a file of the format onnx ends in \.onnx; give graph\.onnx"),
        ({"path": "graph.pt"}, r"ends in \.onnx; give graph\.pt\.onnx"),
        ({"path": "absent/graph.onnx"}, "absent is not a folder; make it, or give another path"),
    ],
)
def test_what_cannot_be_exported_is_refused_before_anything_is_computed(
    arguments: dict[str, Any], reason: str, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken.onnx").write_text("mine")
    with pytest.raises(ConfigError, match=reason):
        export_adapter(adapter, **arguments)
    assert Path("taken.onnx").read_text() == "mine"


def test_a_missing_package_is_named_with_its_extra(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r"needs onnxscript, which cannot be imported .*pip install .*\[onnx\]'"):
        export_adapter(adapter)


def test_clips_that_cannot_be_read_at_all_are_an_error(adapter: Path, clips: Path, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"none of the clips can be read: .*broken\.wav"):
        export_adapter(adapter, tmp_path / "graph.onnx", clips=[clips / "broken.wav"])
    assert list(tmp_path.iterdir()) == []
