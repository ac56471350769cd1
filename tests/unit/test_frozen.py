"""Frozen layers computed once: the same model, the same training, and only where nothing random precedes them."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import astune.training.frozen as frozen_module
from astune import load_backbone
from astune.methods.layermix import LevelMix
from astune.training import checkpoint
from astune.training.config import TrainConfig
from astune.training.cross_validation import cross_validate
from astune.training.frozen import Upper
from astune.training.loop import train
from astune.training.progress import Progress
from tests.conformance.backbones_under_test import FRAMES
from tests.conformance.methods_under_test import classifier
from tests.example_layouts import write_esc50
from tests.stopping import Call, PowerCut, StopAfter
from tests.unit.test_loop import scores_of_adapter

UNMASKED = {"freq_mask": 0, "time_mask": 0}


def config(data: Path | str, output_dir: Path, **fields: object) -> TrainConfig:
    settings = {
        "backbone": "random:tiny",
        "num_train_epochs": 3,
        "per_device_train_batch_size": 8,
        "bf16": False,
        "max_length": 32,
        "recipe": "paper",
    }
    return TrainConfig(data=str(data), output_dir=output_dir, **{**settings, **UNMASKED, **fields})


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """How many clips each pass through frozen layers had, in a cache of this test alone."""
    seen: list[int] = []
    lower = Upper.lower

    def counted(self: Upper, input_values: torch.Tensor) -> torch.Tensor:
        seen.append(len(input_values))
        return lower(self, input_values)

    monkeypatch.setattr(Upper, "lower", counted)
    monkeypatch.setenv("ASTUNE_CACHE", str(tmp_path / "cache"))
    return seen


@pytest.mark.parametrize(
    ("spec", "depth"),
    [
        ("linear", 4),
        ("layermix", 4),
        ("lora", 0),
        ("lora:layers=3", 3),
        ("bottleneck:layers=1|3", 1),
        ("bottleneck:sublayer=ffn,layers=3+lora:layers=2", 2),
        ("bitfit", 0),
        ("pref-t-24", 0),
        ("spt-300", 0),
        ("full-ft", 0),
    ],
)
def test_depth_by_hand(spec: str, depth: int) -> None:
    """``random:tiny`` has four layers."""
    assert classifier(spec).frozen_depth == depth


@pytest.mark.parametrize(
    ("method", "depth", "pooling"),
    [("linear", 4, "all"), ("linear", 4, "cls"), ("layermix", 4, "all"), ("lora:layers=2-3", 2, "all"),
     ("bottleneck:layers=3", 3, "cls")],
)  # fmt: skip
def test_training_from_the_cache_is_training(
    method: str, depth: int, pooling: str, generated: Path, tmp_path: Path, passes: list[int]
) -> None:
    settings = config(generated, tmp_path / "cached", method=method, pooling=pooling)
    cached = train(settings, quiet=True)
    assert sum(passes) == 72 + 1  # 12 clips of 6 classes, and one for the shape
    plain = train(settings.model_copy(update={"output_dir": tmp_path / "plain", "cache_frozen": False}), quiet=True)
    assert (cached.cached_layers, plain.cached_layers) == (depth, 0)
    assert cached.scores["test"]["confusion"] == plain.scores["test"]["confusion"]
    losses = [[entry["train_loss"] for entry in result.history] for result in (cached, plain)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    weights = [load_file(tmp_path / name / "adapter_model.safetensors") for name in ("cached", "plain")]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], atol=5e-5, rtol=1e-3, msg=name)


def test_folds_seeds_and_rates_share_one_pass(tmp_path: Path, passes: list[int]) -> None:
    data = f"esc50:{write_esc50(tmp_path / 'data')}"
    fields = {"method": "linear", "selection": "last", "num_train_epochs": 1}
    results = cross_validate(config(data, tmp_path / "a", **fields), quiet=True)
    clips = sum(result.scores["test"]["clips"] for result in results)
    assert len(results) == 5
    assert sum(passes) == clips + 5  # a clip of each run for the shape
    train(config(data, tmp_path / "b", **fields, seed=3, learning_rate=0.1), quiet=True)
    assert sum(passes) == clips + 6
    train(config(data, tmp_path / "c", **fields, position_embeddings="zero"), quiet=True)
    assert sum(passes) == 2 * clips + 7


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"time_mask": 8},
            "run in every epoch: SpecAugment changes their input each time (set freq_mask=0 time_mask=0 to train without it, and faster)",
        ),
        ({"freq_mask": 8}, "run in every epoch: SpecAugment"),
        ({"patchout": 0.5}, "run in every epoch: Patchout drops other patches (set patchout=0 to avoid it)"),
        ({}, "run once, not in every epoch: 72 clips"),
    ],
)
def test_what_is_random_is_named(
    fields: dict[str, Any], said: str, generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = train(config(generated, tmp_path / "out", method="linear", num_train_epochs=1, **fields))
    assert said in capsys.readouterr().err
    assert result.cached_layers == (0 if fields else 4)


def test_nothing_is_said_where_nothing_is_frozen(
    generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(config(generated, tmp_path / "out", method="lora", num_train_epochs=1, time_mask=8))
    assert "in every epoch" not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["hidden_dropout_prob", "attention_probs_dropout_prob"])
def test_dropout_of_the_backbone_is_random(name: str, generated: Path, tmp_path: Path) -> None:
    backbone = load_backbone("random:tiny").model
    setattr(backbone.config, name, 0.1)
    backbone.save_pretrained(tmp_path / "backbone")
    settings = config(generated, tmp_path / "out", method="linear", backbone=str(tmp_path / "backbone"))
    assert train(settings, quiet=True).cached_layers == 0


def test_a_full_disk_is_left_alone(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ASTUNE_CACHE", str(tmp_path / "cache"))
    needed = 72 * 4 * 192 * (2 + 12 * 2)  # clips, bytes of a number, width, tokens of 32 frames
    monkeypatch.setattr(frozen_module, "_free_bytes", lambda _: 2 * needed - 1)
    settings = config(generated, tmp_path / "out", method="lora:layers=3", num_train_epochs=1)
    assert train(settings).cached_layers == 0
    assert (
        "run in every epoch: their output, 1.4 MB, would fill more than half of the free disk"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "cache" / "frozen").exists()
    monkeypatch.setattr(frozen_module, "_free_bytes", lambda _: 2 * needed)
    assert train(settings.model_copy(update={"overwrite_output_dir": True}), quiet=True).cached_layers == 3


def test_stopped_and_resumed_from_a_cache(generated: Path, tmp_path: Path) -> None:
    settings = config(generated, tmp_path / "out", method="layermix", num_train_epochs=4)
    whole = train(settings.model_copy(update={"output_dir": tmp_path / "whole"}), quiet=True)
    steps = 2 * -(-36 // 8)  # of two epochs
    with pytest.raises(PowerCut):
        train(settings, quiet=True, callbacks=[StopAfter(steps)], checkpoint_seconds=0)
    assert checkpoint.latest(settings.output_dir) is not None
    kept = (settings.output_dir / "metrics.jsonl").read_text()
    resumed = train(settings.model_copy(update={"resume": True}), quiet=True)
    assert resumed.scores == whole.scores
    lines = (settings.output_dir / "metrics.jsonl").read_text()
    assert len(lines.splitlines()) == 4
    assert lines.startswith(kept)  # seconds included, which no second training of these epochs would repeat
    assert len(kept.splitlines()) == 2


def saved_steps(config: TrainConfig) -> list[int]:
    """Steps of which a run leaves a checkpoint."""
    seen: dict[int, None] = {}

    def look(_: Progress) -> None:
        latest = checkpoint.latest(config.output_dir)
        assert latest is not None
        seen[int(latest.name.removeprefix("checkpoint-"))] = None

    train(config, quiet=True, callbacks=[Call(save=look)], checkpoint_seconds=float("inf"))
    return [*seen]


def test_quick_epochs_do_not_wait_for_checkpoints(generated: Path, tmp_path: Path) -> None:
    """Epochs from a cache take milliseconds; a run that runs its layers leaves one checkpoint an epoch."""
    assert saved_steps(config(generated, tmp_path / "cached", method="linear")) == [15]  # the last epoch's
    assert saved_steps(config(generated, tmp_path / "plain", method="linear", cache_frozen=False)) == [5, 10, 15]


def test_a_cache_that_cannot_be_written_ends_no_run(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ASTUNE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "frozen").touch()
    result = train(config(generated, tmp_path / "out", method="linear", num_train_epochs=1), quiet=True)
    assert result.cached_layers == 0
    [said] = [line for line in capsys.readouterr().err.splitlines() if "frozen layers" in line]
    assert said.startswith(f"The 4 frozen layers run in every epoch: {tmp_path / 'cache' / 'frozen'} cannot be written")
    assert said in result.notices


def test_another_kernel_is_another_pass(generated: Path, tmp_path: Path, passes: list[int]) -> None:
    for number, kernel in enumerate(("sdpa", "eager", "sdpa")):
        fields = {"method": "linear", "num_train_epochs": 1, "attention_kernel": kernel}
        train(config(generated, tmp_path / str(number), **fields), quiet=True)
    assert sum(passes) == 2 * 72 + 3  # and a clip of each run for the shape


@pytest.mark.parametrize("method", ["linear", "layermix", "lora:layers=3"])
def test_the_adapter_of_a_run_from_the_cache_is_whole(method: str, generated: Path, tmp_path: Path) -> None:
    """Loaded from its folder, without any cache of layers, it scores what the run did; broken and few clips do not matter."""
    data = tmp_path / "data"
    shutil.copytree(generated, data)
    (data / "train" / "zip" / "broken.wav").write_bytes(b"no audio")
    settings = config(data, tmp_path / "out", method=method, num_train_epochs=2, skip_broken=True, shots=3)
    result = train(settings, quiet=True)
    assert (result.cached_layers > 0, result.skipped_clips) == (True, 1)
    found = scores_of_adapter(settings.output_dir, data)
    assert found.loss == pytest.approx(result.scores["test"]["loss"], rel=1e-5)


def test_steps_are_saved_from_a_cache_too(generated: Path, tmp_path: Path) -> None:
    fields = {"method": "linear", "per_device_train_batch_size": 12, "save_steps": 3}  # three steps an epoch
    assert saved_steps(config(generated, tmp_path / "out", **fields)) == [3, 6, 9]


def test_levels_of_several_threads_are_not_mixed_up() -> None:
    """A server may call one model in several."""
    model = classifier("layermix").eval()
    inputs = torch.randn(4, 2, FRAMES, 128)
    with torch.no_grad():
        expected = [model(one).logits for one in inputs]

    def called(number: int) -> bool:
        with torch.no_grad():
            return torch.allclose(model(inputs[number % 4]).logits, expected[number % 4], atol=1e-5)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(called, range(64)))


def test_mixing_is_of_normalised_levels() -> None:
    """Against transformers' hidden states; with all weight on the last level it is linear probing."""
    model, inputs = classifier("layermix"), torch.randn(2, FRAMES, 128)
    model.sites.norm.weight.data.uniform_(0.5, 1.5)
    model.sites.norm.bias.data.normal_()
    mixer = model.modules_by_place["levels"]
    assert isinstance(mixer, LevelMix)
    mixer.weights.data = torch.tensor([0.5, -1.0, 0.0, 2.0, 0.3])
    with torch.no_grad():
        states = load_backbone("random:tiny", FRAMES).model(inputs, output_hidden_states=True).hidden_states
        normed = [
            (s - s.mean(-1, keepdim=True)) / (s.var(-1, keepdim=True, correction=0) + 1e-12).sqrt() for s in states
        ]
        shares = mixer.weights.exp() / mixer.weights.exp().sum()
        mixed = sum(share * level.mean(dim=1) for share, level in zip(shares, normed, strict=True))
        expected = model.head(mixed * model.sites.norm.weight + model.sites.norm.bias)
        torch.testing.assert_close(model(inputs).logits, expected, atol=1e-5, rtol=1e-5)

        mixer.weights.data = torch.tensor([0.0, 0.0, 0.0, 0.0, 60.0])
        linear = classifier("linear")
        linear.sites.norm.load_state_dict(model.sites.norm.state_dict())
        linear.head.load_state_dict(model.head.state_dict())
        torch.testing.assert_close(model(inputs).logits, linear(inputs).logits, atol=1e-5, rtol=1e-5)
