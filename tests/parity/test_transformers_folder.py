"""What is exported to transformers, and the pooling of its class, beside transformers itself."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import ASTFeatureExtractor, ASTForAudioClassification, pipeline

from astune import AudioClassifier, Predictor, export_adapter, load_backbone
from astune.errors import AdapterError, ConfigError
from astune.export import FORMATS
from astune.methods import parse_method
from astune.tasks import TASKS
from tests.conformance.methods_under_test import SPECS

# transformers' own, of its own front end, wherever it is loaded
pytestmark = pytest.mark.filterwarnings("ignore:At least one mel filter has all zero values")

FRAMES = 64
RATE = 16_000


def trained(
    spec: str = "lora", pooling: str = "all", classes: int = 3, task: str = "single-label", positions: str = "fit"
) -> AudioClassifier:
    """As if trained: everything that is trained is moved away from its start."""
    torch.manual_seed(3)
    backbone: Any = load_backbone("random:tiny", FRAMES, positions)  # type: ignore[arg-type]
    labels = [f"label {index}" for index in range(classes)]
    model = AudioClassifier(backbone, spec, labels, pooling, TASKS[task]).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.trained_parameters().values():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


def inputs(clips: int = 3) -> torch.Tensor:
    return torch.randn(clips, FRAMES, 128, generator=torch.Generator().manual_seed(9))


@torch.no_grad()
def scores(model: torch.nn.Module, given: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = model(given).logits.softmax(dim=-1)
    return found


POOLED = [("all", spec) for spec in SPECS] + [
    ("special", spec) for spec in SPECS if all(member.keeps_distillation for member in parse_method(spec).members)
]


@pytest.mark.parametrize(("pooling", "spec"), POOLED)
def test_every_method_that_merges_gives_the_same_scores_in_the_stock_class(
    spec: str, pooling: str, tmp_path: Path
) -> None:
    model = trained(spec, pooling)
    if not model.method.mergeable:
        with pytest.raises(AdapterError, match=r"cannot be merged .* export to onnx, which holds any method"):
            export_adapter(model, tmp_path / "model", "transformers")
        assert not (tmp_path / "model").exists()
        return
    done = export_adapter(model, tmp_path / "model", "transformers")
    stock = ASTForAudioClassification.from_pretrained(tmp_path / "model")
    torch.testing.assert_close(scores(stock, inputs()), scores(model, inputs()), atol=1e-5, rtol=0)
    assert stock.dtype == torch.float32
    assert done.facts["largest_difference"] < 1e-5
    assert done.size == sum(path.stat().st_size for path in done.path.iterdir())


@pytest.mark.parametrize(("frames", "classes", "positions"), [(64, 189, "fit"), (200, 50, "zero"), (600, 2, "fit")])
def test_scores_are_equal_at_any_length_and_up_to_the_most_classes(
    frames: int, classes: int, positions: str, tmp_path: Path
) -> None:
    torch.manual_seed(5)
    backbone: Any = load_backbone("bundled", frames, positions)  # type: ignore[arg-type]
    model = AudioClassifier(backbone, "lora:init=normal", [f"{index}" for index in range(classes)]).eval()
    with torch.no_grad():
        model.head.weight.mul_(10)
    export_adapter(model, tmp_path / "model", "transformers")
    stock = ASTForAudioClassification.from_pretrained(tmp_path / "model")
    given = torch.randn(3, frames, 128)
    assert scores(model, given).max() > 0.3
    torch.testing.assert_close(scores(stock, given), scores(model, given), atol=1e-5, rtol=0)
    brief: torch.nn.Module = stock.to(torch.bfloat16)  # type: ignore[arg-type] # transformers hides torch's signature
    torch.testing.assert_close(
        scores(brief, given.bfloat16()).float(), scores(model, given), atol=0.05, rtol=0
    )  # as the message says


def test_what_the_class_cannot_compute_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match=r"pooling='cls' is \[CLS\] alone, which it cannot compute; export to onnx"):
        export_adapter(trained(pooling="cls"), tmp_path / "model", "transformers")
    with pytest.raises(AdapterError, match=r"192 numbers, which hold 189 classes, and the adapter has 190"):
        export_adapter(trained(classes=190), tmp_path / "model", "transformers")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("task", TASKS)
def test_the_pipeline_labels_a_sound_as_the_predictor_does(task: str, tmp_path: Path) -> None:
    model = trained(task=task)
    model.save_pretrained(tmp_path / "adapter")
    done = export_adapter(tmp_path / "adapter", tmp_path / "model", "transformers")
    classify = pipeline("audio-classification", str(tmp_path / "model"))
    sound = np.sin(np.arange(RATE // 2) * 0.2).astype(np.float32) * 0.3
    card = (done.path / "README.md").read_text(encoding="utf-8")
    as_the_card_says = {"function_to_apply": "sigmoid"} if 'wav", function_to_apply="sigmoid")' in card else {}
    given = {"raw": sound, "sampling_rate": RATE}
    found = {one["label"]: one["score"] for one in classify(given, top_k=3, **as_the_card_says)}
    expected = {one["label"]: one["score"] for one in Predictor(model).predict(sound, sampling_rate=RATE)}
    assert found == pytest.approx(expected, abs=2e-3)  # the predictor rounds features to float16
    assert "library_name: transformers" in card
    assert "constants of that layer are too large for float16" in card


@pytest.mark.parametrize("task", TASKS)
def test_the_card_runs(task: str, tmp_path: Path) -> None:
    export_adapter(trained(pooling="special", task=task), tmp_path / "model", "transformers")
    (code,) = re.findall(r"```python\n(.*?)```", (tmp_path / "model" / "README.md").read_text(), re.DOTALL)
    code = code.replace("PATH_OF_THIS_FOLDER", str(tmp_path / "model"))
    sound = np.zeros(RATE, np.float32)  # for a file's name, transformers starts the program ffmpeg
    names: dict[str, Any] = {"sound": sound}
    exec(code.replace('\nclassify("recording.wav"', "\nfound = classify(sound"), names)  # noqa: S102 - our own card
    assert len(names["found"]) == 3


def test_the_folder_says_what_the_model_takes(tmp_path: Path) -> None:
    done = export_adapter(trained(task="multi-label"), tmp_path / "model", "transformers")
    extractor = ASTFeatureExtractor.from_pretrained(done.path)
    assert (extractor.max_length, extractor.num_mel_bins) == (FRAMES, 128)
    config = json.loads((done.path / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"
    assert config["id2label"] == {"0": "label 0", "1": "label 1", "2": "label 2"}
    assert config["num_hidden_layers"] == load_backbone("random:tiny").n_layers + 1 == 4 + done.facts["added_layers"]


def test_a_folder_that_is_there_is_replaced_file_by_file_if_so_wanted(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is there already"):
        export_adapter(trained(), target, "transformers")
    export_adapter(trained(), target, "transformers", overwrite=True)
    assert (target / "notes.txt").read_text() == "mine"
    assert ASTForAudioClassification.from_pretrained(target).num_labels == 3
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="is a file; give a folder"):
        export_adapter(trained(), tmp_path / "file", "transformers", overwrite=True)
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "model"]


def test_the_special_pooling_is_that_of_transformers_with_its_weights_in_the_dense_layer() -> None:
    """The folding that an import makes: LayerNorm(x) = z * w + b, and D (z * w + b) + c = (D * w) z + (D b + c)."""
    torch.manual_seed(1)
    ours = AudioClassifier(load_backbone("random:tiny", FRAMES), "linear", ["a", "b", "c"], "special").eval()
    config = ours.backbone.model.config
    config.num_labels = 3
    stock: Any = ASTForAudioClassification(config)
    stock.eval()
    stock.audio_spectrogram_transformer.load_state_dict(ours.backbone.model.state_dict())
    norm, dense = stock.classifier.layernorm, stock.classifier.dense
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
        ours.head.weight.copy_(dense.weight * norm.weight)
        ours.head.bias.copy_(dense.bias + dense.weight @ norm.bias)
        torch.testing.assert_close(ours(inputs()).logits, stock(inputs()).logits, atol=1e-5, rtol=1e-5)


def test_every_format_is_offered_on_the_command_line() -> None:
    from typing import get_args

    from astune.names import ExportFormat

    assert set(get_args(ExportFormat)) == set(FORMATS) >= {"onnx", "peft", "transformers"}
