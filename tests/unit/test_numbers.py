"""Numbers that stop being numbers: refused where they enter, found before anything is saved or printed."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from astune import AudioClassifier, load_backbone, parse_method
from astune.cli import app
from astune.compute import Arithmetic
from astune.errors import AdapterError, BackboneError, ConfigError, NumericalError
from astune.features import FeatureCache, FrontEnd
from astune.training import checkpoint
from astune.training.config import TrainConfig
from astune.training.loop import train
from astune.training.processes import logits_of

NUMBERS = [name for name, field in TrainConfig.model_fields.items() if "float" in str(field.annotation)]


def settings(data: Path, folder: Path, **more: Any) -> TrainConfig:
    usual = {"backbone": "random:tiny", "method": "linear", "num_train_epochs": 2, "max_length": 24, "recipe": "paper"}
    return TrainConfig(data=str(data), output_dir=folder, **{**usual, **more})


def test_there_are_settings_to_test() -> None:
    assert {"learning_rate", "weight_decay", "adam_epsilon", "patchout"} <= set(NUMBERS)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("name", NUMBERS)
def test_settings_are_finite(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        TrainConfig.build({"data": "x", "output_dir": "y", name: value})


@pytest.mark.parametrize("spec", ["lora:alpha=inf", "lora:alpha=nan", "bottleneck:reduction_rate=inf"])
def test_fields_of_methods_are_finite(spec: str) -> None:
    with pytest.raises(ConfigError):
        parse_method(spec)


@pytest.mark.parametrize("option", ["inf", "nan", "1e999"])
def test_the_command_line_refuses_them_too(option: str, generated: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["train", str(generated), "--output-dir", str(tmp_path / "out"), "--learning-rate", option]
    )
    assert isinstance(result.exception, ConfigError)
    assert not (tmp_path / "out").exists()


def test_a_last_step_that_spoils_the_weights_writes_no_adapter(generated: Path, tmp_path: Path) -> None:
    """One step: its loss is finite, what it does to the weights is not, and no later loss would tell."""
    config = settings(
        generated, tmp_path / "out", learning_rate=1e39, weight_decay=1e39, num_train_epochs=1,
        per_device_train_batch_size=64,
    )  # fmt: skip
    with pytest.raises(NumericalError, match=r"trained tensors hold NaN or infinity at step 1, in epoch 1"):
        train(config, quiet=True)
    assert not list((tmp_path / "out").glob("adapter*"))
    assert checkpoint.latest(tmp_path / "out") is None


def test_a_run_that_fails_later_goes_on_as_its_message_says(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first epoch is whole, the second meets features that a broken front end might give."""
    config = settings(generated, tmp_path / "out", bf16=False, learning_rate=0.02, method="bitfit")
    batch = FeatureCache.batch
    calls = 0

    def spoilt(self: FeatureCache, clips: Sequence[int]) -> torch.Tensor:
        nonlocal calls
        calls += 1
        features = batch(self, clips)
        return features * math.nan if calls > 3 else features

    with monkeypatch.context() as patch:
        patch.setattr(FeatureCache, "batch", spoilt)
        with pytest.raises(NumericalError) as failure:
            train(config, quiet=True)
    message = str(failure.value)
    assert "in epoch 2" in message
    assert "the same command with learning_rate=0.002 overwrite_output_dir=True" in message
    assert checkpoint.latest(tmp_path / "out") is not None
    lower = config.model_copy(update={"learning_rate": 0.002, "overwrite_output_dir": True})
    result = train(lower, quiet=True)
    assert len(result.history) == 2
    assert all(math.isfinite(entry["train_loss"]) for entry in result.history)


def adapter(folder: Path) -> AudioClassifier:
    model = AudioClassifier(load_backbone("random:tiny", 24), "bitfit", ["a", "b"])
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_adapters_with_such_values_are_neither_written_nor_read(value: float, tmp_path: Path) -> None:
    model = adapter(tmp_path / "good")
    with torch.no_grad():
        model.head.bias[1] = value
    with pytest.raises(AdapterError, match=r"cannot be saved: 1 of \d+ tensors .* head.bias among them"):
        model.save_pretrained(tmp_path / "bad")
    assert not (tmp_path / "bad").exists()
    file = tmp_path / "good" / "adapter_model.safetensors"
    state = load_file(file)
    state["layers.2.mhsa.q.bias"][3] = value
    save_file(state, file)
    with pytest.raises(AdapterError, match=r"cannot be used: 1 of \d+ tensors .* layers.2.mhsa.q.bias among them"):
        AudioClassifier.from_pretrained(tmp_path / "good")


def test_a_configuration_that_an_editor_of_windows_saved_is_read(tmp_path: Path) -> None:
    adapter(tmp_path)
    file = tmp_path / "adapter_config.json"
    file.write_text(file.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert AudioClassifier.from_pretrained(tmp_path).labels == ("a", "b")


def test_evaluate_refuses_a_seed_that_is_no_number(generated: Path, tmp_path: Path) -> None:
    labels = [path.name for path in sorted((generated / "train").iterdir())]
    AudioClassifier(load_backbone("random:tiny", 24), "linear", labels).save_pretrained(
        tmp_path, training={"seed": "x"}
    )
    outcome = CliRunner().invoke(app, ["evaluate", str(tmp_path), str(generated), "--split", "validation"])
    assert isinstance(outcome.exception, AdapterError)
    assert "training.seed is 'x'" in str(outcome.exception)


def test_predict_and_evaluate_refuse_such_an_adapter(generated: Path, tmp_path: Path) -> None:
    adapter(tmp_path / "a")
    file = tmp_path / "a" / "adapter_model.safetensors"
    state = load_file(file)
    state["head.weight"][:] = math.nan
    save_file(state, file)
    clip = str(next(generated.rglob("*.wav")))
    for arguments in (
        ["predict", str(tmp_path / "a"), clip, "--json"],
        ["evaluate", str(tmp_path / "a"), str(generated)],
    ):
        result = CliRunner().invoke(app, arguments)
        assert isinstance(result.exception, AdapterError)
        assert "nan" not in result.stdout.lower()


def test_scores_that_overflow_are_refused() -> None:
    """Finite weights whose products are not."""
    model = AudioClassifier(load_backbone("random:tiny", 24), "linear", ["a", "b"])
    with torch.no_grad():
        model.head.weight.fill_(3e38)
    features = FeatureCache(np.zeros((3, 24, 128), np.float16))
    with pytest.raises(NumericalError, match="3 of 3 clips scores that are not finite"):
        logits_of(model, features, [0, 1, 2], 2, Accelerator(cpu=True), Arithmetic.of(torch.device("cpu")))


def test_a_backbone_with_such_values_is_named(tmp_path: Path) -> None:
    backbone = load_backbone("random:tiny").model
    with torch.no_grad():
        backbone.get_parameter("layernorm.weight")[0] = math.nan
    backbone.save_pretrained(tmp_path / "b")
    with pytest.raises(BackboneError, match=r"damaged: 1 of its tensors hold NaN or infinity, .*layernorm.weight"):
        load_backbone(tmp_path / "b")
    (tmp_path / "b" / "preprocessor_config.json").write_text("{")
    backbone = load_backbone("random:tiny").model
    backbone.save_pretrained(tmp_path / "b")
    with pytest.raises(BackboneError, match=r"preprocessor_config.json cannot be read"):
        load_backbone(tmp_path / "b")
    (tmp_path / "b" / "preprocessor_config.json").write_text(json.dumps({"mean": -4.0, "std": 4.0}))
    assert load_backbone(tmp_path / "b").width == 192


@pytest.mark.parametrize(("field", "value"), [("max_length", 2_000_000_000), ("num_train_epochs", 10**400)])
def test_sizes_that_no_machine_holds_are_refused(field: str, value: int, generated: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=field):
        TrainConfig(**{"data": str(generated), "output_dir": tmp_path / "out", field: value})


def test_a_backbone_and_a_front_end_have_a_longest_input() -> None:
    with pytest.raises(ConfigError, match="at most 360000 frames"):
        load_backbone("random:tiny", 10**9)
    with pytest.raises(ConfigError, match="max_length=1000000000, which must be from 1 to 360000"):
        FrontEnd(10**9)


def test_a_weight_decay_that_spoils_the_weights_is_named(generated: Path, tmp_path: Path) -> None:
    config = TrainConfig(
        data=str(generated), output_dir=tmp_path / "out", backbone="random:tiny", method="linear", num_train_epochs=1,
        max_length=24, weight_decay=1e308, learning_rate=0.01,
    )  # fmt: skip
    with pytest.raises(NumericalError, match="or a weight decay below 100, "):
        train(config, quiet=True)
