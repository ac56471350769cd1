"""An exported graph labels recordings: the numbers that it computes, windows, thresholds and refusals as of any predictor."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from onnxruntime import InferenceSession

import astune
from astune import AudioClassifier, OnnxPredictor, Predictor, load_backbone
from astune.adapter_digest import adapter_digest
from astune.errors import AdapterError, AstuneError, AudioError, AudioWarning, ConfigError, NumericalError
from astune.inference.onnx_graph import open_graph
from astune.inference.runtime import labeller
from tests.graphs import LABELS, expected, info, write_graph

RATE = 16_000  # Hz
SAMPLES = 7_920  # of an input of 48 frames


def noise(samples: int, seed: int = 0, level: float = 0.1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(-level, level, samples).astype(np.float32)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_graph(tmp_path_factory.mktemp("graph") / "made.onnx")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter folder without a graph."""
    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(0)
    AudioClassifier(load_backbone("random:tiny", 48), "lora", LABELS).save_pretrained(folder)
    return folder


def test_scores_are_those_of_the_graph_whatever_the_batch(graph: Path) -> None:
    """Short ones are filled up and their lengths given; of a longer one, the beginning is heard."""
    sounds = [noise(length, length, 0.1 * number) for number, length in enumerate((1, 399, 400, SAMPLES, SAMPLES + 5))]
    for batch_size in (1, 2, 16):
        found = OnnxPredictor(graph, batch_size=batch_size).scores(sounds)
        np.testing.assert_allclose(found, expected(sounds, info()), atol=1e-6)
    assert OnnxPredictor(graph).scores([]).shape == (0, 3)


def test_a_graph_of_integers_takes_inputs_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its products are scaled by the largest value of a batch, so that a clip's scores would depend on the clips beside it."""
    for precision, sizes in {"int8": [1, 1, 1], "float32": [3]}.items():
        predictor = OnnxPredictor(write_graph(tmp_path / f"{precision}.onnx", precision=precision))
        assert predictor.precision == precision
        watched = _Watched(predictor._graph.session)
        monkeypatch.setattr(predictor, "_graph", replace(predictor._graph, session=watched))
        predictor.scores([noise(900, seed) for seed in range(3)])
        assert watched.taken == sizes


class _Watched:
    """A session that remembers how many inputs it was given at a time."""

    def __init__(self, session: InferenceSession) -> None:
        self.taken: list[int] = []
        self._session = session

    def run(self, names: list[str], inputs: dict[str, NDArray[np.generic]]) -> list[NDArray[np.float32]]:
        self.taken.append(len(inputs["lengths"]))
        found: list[NDArray[np.float32]] = self._session.run(names, inputs)
        return found


def test_recordings_are_heard_in_windows_and_pooled(graph: Path, tmp_path: Path) -> None:
    long, short = noise(20_000, 1, 0.9), noise(3_000, 2, 0.3)
    predictor = OnnxPredictor(graph, batch_size=2)
    found = predictor.predictions([long, short], sampling_rate=RATE, top_k=None)
    windows = [long[start : start + SAMPLES] for start in range(0, len(long), SAMPLES)]
    seconds = np.array([len(one) for one in windows])
    pooled = seconds @ expected(windows, info()) / seconds.sum()
    for prediction, scores in zip(found, (pooled, expected([short], info())[0]), strict=True):
        assert prediction.error is None
        assert [one["label"] for one in prediction.labels] == [LABELS[one] for one in np.argsort(-scores)]
        np.testing.assert_allclose([one["score"] for one in prediction.labels], np.sort(scores)[::-1], atol=1e-6)
    path = tmp_path / "long.flac"
    soundfile.write(path, long, RATE, subtype="PCM_24")
    timeline = predictor.timeline(path, window=0.25, hop=0.1)
    np.testing.assert_allclose(timeline.starts, 0.1 * np.arange(len(timeline.starts)), atol=1e-9)
    parts = [long[round(one * RATE) : round(one * RATE) + 4_000] for one in timeline.starts]
    np.testing.assert_allclose(timeline.scores, expected(parts, info()), atol=1e-5)
    assert timeline.task == "single-label"
    (beginning,) = predictor.predict([long], sampling_rate=RATE, pool="first", top_k=1)
    assert beginning[0]["score"] == pytest.approx(float(expected([long], info()).max()), abs=1e-6)


def test_it_takes_what_a_predictor_takes(graph: Path, tmp_path: Path) -> None:
    """Tensors without that the module has imported torch, integers, channels, dictionaries, other rates; one input or a list."""
    sound = noise(6_000, 3)
    path = tmp_path / "a.wav"
    soundfile.write(path, sound, RATE, subtype="FLOAT")
    predictor = OnnxPredictor(graph)
    single = predictor.predict(path)
    stereo = np.stack([sound, sound])
    inputs: list[Any] = [str(path), sound, torch.from_numpy(sound), stereo, {"array": sound, "sampling_rate": RATE}]
    assert predictor.predict(inputs, sampling_rate=RATE) == [single] * 5
    assert len(single) == 3
    assert predictor.predict(sound, sampling_rate=RATE, top_k=2) == single[:2]
    (integers,) = predictor.predict([(sound * 32_767).astype(np.int16)], sampling_rate=RATE)
    assert integers[0]["score"] == pytest.approx(single[0]["score"], abs=1e-4)
    slow = predictor.predict(sound, sampling_rate=8_000)  # twice as long
    assert slow != single
    assert predictor.predict([]) == []


def test_labels_of_several_have_thresholds_and_negatives(tmp_path: Path) -> None:
    about = info(task="multi-label", negatives=("rain",), thresholds={"dog": 0.6, "rain": 0.5, "siren": 0.9})
    predictor = OnnxPredictor(write_graph(tmp_path / "several.onnx", about))
    assert predictor.thresholds == about.thresholds
    assert predictor.negatives == ("rain",)
    sound = noise(SAMPLES, 4, 1.0)
    (scores,) = expected([sound], about)
    found = predictor.predict(sound, sampling_rate=RATE, threshold=predictor.thresholds)
    reached = [label for label, score in zip(LABELS, scores, strict=True) if score >= about.thresholds[label]]
    assert {one["label"] for one in found} == set(reached)
    assert 0 < len(found) < 3
    timeline = predictor.timeline(sound, sampling_rate=RATE)
    assert {event.label for event in timeline.events(0.0)} == {"dog", "siren"}


def test_threads_share_it(graph: Path) -> None:
    sounds = [noise(4_000 + seed, seed, 0.5) for seed in range(40)]
    predictor = OnnxPredictor(graph, batch_size=3, cores=1)
    whole = predictor.scores(sounds)
    with ThreadPoolExecutor(8) as pool:
        each = list(pool.map(lambda sound: predictor.scores([sound])[0], sounds))
    np.testing.assert_allclose(np.stack(each), whole, atol=1e-6)


def test_broken_recordings_are_raised_or_returned(graph: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF nothing")
    predictor = OnnxPredictor(graph)
    with pytest.raises(AudioError):
        predictor.predict(broken)
    fault, labels = predictor.predict([broken, noise(900)], sampling_rate=RATE, errors="return")
    assert isinstance(fault, AudioError)
    assert len(labels) == 3
    with pytest.warns(AudioWarning, match="digital silence") as warned:
        predictor.predict(np.zeros(900, np.float32), sampling_rate=RATE)
    assert warned[0].filename == __file__


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        (lambda one: one.predict(noise(900)), "does not say its rate"),
        (lambda one: one.predict(noise(900), sampling_rate=RATE, top_k=0), "top_k=0"),
        (lambda one: one.predict(noise(900), sampling_rate=RATE, pool="median"), "unknown pool"),
        (lambda one: one.predict(noise(900), sampling_rate=RATE, errors="ignore"), "unknown errors"),
        (lambda one: one.predict(noise(900), sampling_rate=RATE, threshold={"cat": 0.5}), "unknown label 'cat'"),
        (lambda one: one.timeline(noise(900), sampling_rate=RATE, window=0.6), "longer than the adapter's input"),
        (lambda one: one.timeline([noise(900)], sampling_rate=RATE), "timeline takes one recording"),
        (lambda one: one.scores([noise(900), np.zeros((2, 900), np.float32)]), r"samples\[1\] is float32 of shape \(2, 900\)"),
        (lambda one: one.scores([np.zeros(900, np.int16)]), r"samples\[0\] is int16"),
        (lambda one: one.scores([np.zeros(0, np.float32)]), r"samples\[0\]"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_in_words(
    call: Callable[[OnnxPredictor], object], fault: str, graph: Path
) -> None:
    with pytest.raises(ConfigError, match=fault):
        call(OnnxPredictor(graph))


@pytest.mark.parametrize(
    "settings", [{"threads": 0}, {"batch_size": 0}, {"cores": 0}, {"cores": "all"}, {"device": "cpu"}]
)
def test_settings_are_refused_in_words(settings: dict[str, Any], graph: Path) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        OnnxPredictor(graph, **settings)


def test_scores_that_are_no_numbers_are_an_error(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "a.onnx")
    model = onnx.load(path)
    weights = next(one for one in model.graph.initializer if one.name == "weights")
    weights.raw_data = np.full((3, 3), np.nan, np.float32).tobytes()
    onnx.save(model, path)
    with pytest.raises(NumericalError, match="its scores are not numbers"):
        OnnxPredictor(path).predict(noise(900), sampling_rate=RATE)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2_000])


def _garbage(path: Path) -> None:
    path.write_bytes(b"no graph at all" * 100)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _of_others(path: Path) -> None:
    write_graph(path, metadata={})


def _newer(path: Path) -> None:
    write_graph(path, format=2)


def _without_labels(path: Path) -> None:
    record = info().record()
    del record["labels"]
    write_graph(path, adapter=record)


def _other_labels(path: Path) -> None:
    write_graph(path, adapter=info(labels=("a", "b")).record())


def _other_length(path: Path) -> None:
    write_graph(path, adapter=info(max_length=60).record())


def _saying(text: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        model = onnx.load(path)
        onnx.helper.set_model_props(model, {"astune": text})
        onnx.save(model, path)

    return damage


def _missing(path: Path) -> None:
    path.unlink()


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (_cut, "cannot be read as an ONNX file: it is cut short"),
        (_garbage, "cannot be read as an ONNX file: its parts"),
        (_empty, "cannot be read as an ONNX file: it is empty"),
        (_of_others, "astune did not write it.*astune export"),
        (_newer, "has format 2; astune .* reads up to 1. Upgrade"),
        (_without_labels, "metadata that cannot be read.*labels is missing.*export the adapter again"),
        (_other_labels, "of 2 labels and"),
        (_other_length, "9,840 samples; export the adapter again"),
        (_saying("[1"), "metadata that cannot be read"),
        (_saying("[" * 100_000), "metadata that cannot be read.*nested too deeply"),
        (_saying('{"format": 1e999}'), "metadata that cannot be read.*1e999"),
        (_missing, "there is no such file"),
        (_folder, "it is a folder"),
    ],
)
def test_files_that_cannot_be_used_are_refused_in_words(
    damage: Callable[[Path], None], fault: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Onnxruntime prints nothing of its own."""
    path = write_graph(tmp_path / "a.onnx")
    damage(path)
    with pytest.raises(AdapterError, match=fault) as refused:
        OnnxPredictor(path)
    assert "a.onnx" in str(refused.value)
    assert capfd.readouterr() == ("", "")


def test_onnxruntime_is_an_extra(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"pip install .*\[onnx\]'"):
        OnnxPredictor(graph)


def test_it_says_what_it_is(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(graph.parent)
    predictor = OnnxPredictor("made.onnx")
    assert repr(predictor) == (
        "OnnxPredictor('made.onnx': linear on none, 3 classes (dog, rain, siren), input of 48 frames (0.5 s), onnxruntime, float32)"
    )
    assert "onnxruntime" in predictor._repr_html_()
    assert predictor.task.name == "single-label"
    assert predictor.info == info()


def test_the_digest_is_of_what_decides_scores(adapter: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(adapter, tmp_path / "copy"))
    before = adapter_digest(adapter)
    assert adapter_digest(folder) == before

    def changed(**fields: object) -> str:
        config = json.loads((adapter / "adapter_config.json").read_text())
        (folder / "adapter_config.json").write_text(json.dumps({**config, **fields}))
        return adapter_digest(folder)

    assert changed(training={"seed": 3}, metrics={"test": {"accuracy": 1}}, versions={}) == before
    assert changed(labels=["x", "y", "z"]) != before
    assert changed(spec="linear") != before
    shutil.copy(adapter / "adapter_config.json", folder)
    weights = folder / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert adapter_digest(folder) != before
    weights.unlink()
    with pytest.raises(AdapterError, match="cannot be read as an adapter folder: No such file"):
        adapter_digest(folder)


def beside(adapter: Path, folder: Path, **metadata: Any) -> Path:
    """A copy of an adapter with a graph in it."""
    copy = Path(shutil.copytree(adapter, folder))
    write_graph(copy / "model.onnx", **metadata)
    return copy


def test_a_graph_in_the_folder_is_used_where_it_has_its_weights(
    adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = beside(adapter, tmp_path / "same", adapter_digest=adapter_digest(adapter))
    sound = noise(5_000)
    of_graph = OnnxPredictor(folder / "model.onnx").predict(sound, sampling_rate=RATE)
    of_torch = Predictor(folder).predict(sound, sampling_rate=RATE)
    assert of_graph != of_torch
    capsys.readouterr()
    assert astune.predict(folder, sound, sampling_rate=RATE) == of_graph
    (said,) = capsys.readouterr().err.splitlines()
    assert "onnxruntime computes with" in said
    assert "(float32)" in said
    assert "runtime torch" in said
    assert astune.predict(str(folder), sound, sampling_rate=RATE, runtime="onnx") == of_graph
    assert astune.predict(folder / "model.onnx", sound, sampling_rate=RATE) == of_graph
    assert capsys.readouterr().err == ""
    for asked in ({"runtime": "torch"}, {"precision": "float32"}, {"device": "cpu"}, {"backbone": "random:tiny"}):
        assert astune.predict(folder, sound, sampling_rate=RATE, **asked) == of_torch
    assert capsys.readouterr().err == ""
    in_memory = AudioClassifier.from_pretrained(folder)
    assert astune.predict(in_memory, sound, sampling_rate=RATE) == of_torch


@pytest.mark.parametrize("metadata", [{}, {"adapter_digest": "0" * 64}], ids=["unsigned", "other"])
def test_a_graph_of_other_weights_is_not_used(
    metadata: dict[str, Any], adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = beside(adapter, tmp_path / "other", **metadata)
    assert isinstance(labeller(folder), Predictor)
    said = capsys.readouterr().err
    assert "torch computes" in said
    assert "was not exported from the adapter that is in its folder now" in said
    with pytest.raises(AdapterError, match="export it again"):
        labeller(folder, runtime="onnx")


def test_a_graph_that_cannot_be_used_is_said(
    adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = beside(adapter, tmp_path / "damaged")
    _garbage(folder / "model.onnx")
    assert isinstance(labeller(folder), Predictor)
    assert "torch computes" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert isinstance(labeller(folder), Predictor)
    assert "onnxruntime is not installed; pip install -e '.[onnx]'" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="pip install"):
        labeller(folder, runtime="onnx")


@pytest.mark.parametrize(
    ("where", "settings", "fault"),
    [
        ("graph", {"runtime": "torch"}, "for runtime torch give the adapter folder"),
        ("graph", {"runtime": "jax"}, "unknown runtime 'jax'; choose one of: torch, onnx"),
        ("graph", {"device": "cuda"}, "device='cuda' is for torch, and .* is computed on the CPU"),
        ("graph", {"precision": "bfloat16"}, "precision='bfloat16' is for torch"),
        ("graph", {"backbone": "random:tiny"}, "backbone='random:tiny' is for torch"),
        ("graph", {"threads": 0}, "threads=0"),
        ("graph", {"colour": 1}, "colour"),
        ("adapter", {"runtime": "onnx"}, "runtime onnx needs an exported graph.*astune export"),
        ("adapter", {"colour": 1}, "colour"),
    ],
)
def test_what_a_runtime_cannot_do_is_refused(
    where: str, settings: dict[str, Any], fault: str, graph: Path, adapter: Path
) -> None:
    with pytest.raises(AstuneError, match=fault):
        labeller({"graph": graph, "adapter": adapter}[where], **settings)


def test_a_graph_may_be_told_the_device_that_it_has(graph: Path) -> None:
    assert isinstance(labeller(graph, device="cpu", batch_size=None, threads=None), OnnxPredictor)


def test_what_needs_weights_says_so(graph: Path) -> None:
    for call in (Predictor, lambda path: astune.evaluate(path, "data"), AudioClassifier.from_pretrained):
        with pytest.raises(AdapterError, match=r"is an exported graph.*OnnxPredictor.*Give the adapter folder"):
            call(str(graph))


def test_the_number_of_cores_reaches_onnxruntime(graph: Path) -> None:
    assert open_graph(graph, 2).session.get_session_options().intra_op_num_threads == 2
