"""Adapters as values, the file format across versions, and classifiers of other tasks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from typing_extensions import override

from astune import AudioClassifier, load_backbone
from astune.adapter import Adapter
from astune.adapter_file import read, write
from astune.errors import AdapterError, ConfigError
from astune.task import Reduction
from astune.tasks import TASKS, SingleLabel

VERSION_1 = Path(__file__).parent / "adapter_version_1"
"""LoRA of rank 1 at one layer of ``random:tiny``, 24 frames, written before adapters were values and had a task."""
VERSION_1_LOGITS = [
    [-1.4035530090332031, 0.20737281441688538, -1.7347997426986694],
    [1.1101222038269043, 0.4891693890094757, 2.623962640762329],
]
"""Of :func:`ramps`, printed by the version that wrote it."""


def ramps() -> Tensor:
    """Two clips that need no random generator, (2, 24, 128)."""
    return torch.stack([torch.linspace(-1, 1, 24 * 128), torch.linspace(1, -0.5, 24 * 128)]).reshape(2, 24, 128)


def logits(model: AudioClassifier, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(inputs).logits
    return found


def test_an_adapter_of_version_1_gives_the_logits_it_gave() -> None:
    model = AudioClassifier.from_pretrained(VERSION_1)
    assert (model.labels, model.task.name) == (("dog", "siren", "rain"), "single-label")
    torch.testing.assert_close(logits(model, ramps()), torch.tensor(VERSION_1_LOGITS), atol=2e-6, rtol=2e-6)


def test_a_reader_of_version_1_finds_all_it_knows_in_a_file_of_today(tmp_path: Path) -> None:
    write(tmp_path, read(VERSION_1))
    then, now = (
        json.loads((folder / "adapter_config.json").read_text(encoding="utf-8")) for folder in (VERSION_1, tmp_path)
    )
    added = {
        "task": "single-label",
        "peft_type": now["peft_type"],
        "base_model_name_or_path": now["base_model_name_or_path"],
    }
    assert now == then | added | {"format_version": 2}
    weights = (folder / "adapter_model.safetensors" for folder in (VERSION_1, tmp_path))
    assert next(weights).read_bytes() == next(weights).read_bytes()


def test_an_unknown_task_is_refused(tmp_path: Path) -> None:
    write(tmp_path, read(VERSION_1))
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), "task": "regression"}))
    with pytest.raises(AdapterError, match=r"unknown task 'regression'; choose one of: single-label.*newer astune"):
        read(tmp_path)


def test_an_adapter_holds_float32_copies_on_the_cpu() -> None:
    given = {"head.weight": torch.ones(2, 3, dtype=torch.bfloat16), "steps": torch.tensor(4)}
    adapter = Adapter(read(VERSION_1).config, given)
    given["head.weight"].zero_()
    given["steps"].zero_()
    given["head.bias"] = torch.zeros(2)
    assert torch.equal(adapter.tensors["head.weight"], torch.ones(2, 3))
    assert adapter.tensors["steps"].item() == 4
    assert set(adapter.tensors) == {"head.weight", "steps"}
    assert "tensor" not in repr(adapter)


def test_what_does_not_fit_is_named_by_folder_or_as_this_adapter() -> None:
    adapter = read(VERSION_1)
    with pytest.raises(AdapterError, match=r"adapter_version_1 takes 24 frames"):
        AudioClassifier.from_adapter(adapter, load_backbone("random:tiny", 64))
    with pytest.raises(AdapterError, match="this adapter takes 24 frames"):
        AudioClassifier.from_adapter(Adapter(adapter.config, adapter.tensors), load_backbone("random:tiny", 64))
    short = Adapter(adapter.config, {name: tensor for name, tensor in adapter.tensors.items() if name != "head.bias"})
    with pytest.raises(AdapterError, match=r"head\.bias is missing"):
        AudioClassifier.from_adapter(short, load_backbone("random:tiny", 24))


def test_a_plain_model_is_asked_to_become_a_backbone() -> None:
    plain: Any = load_backbone("random:tiny", 24).model
    loads: tuple[Callable[[], object], ...] = (
        lambda: AudioClassifier(plain, "linear", ["a", "b"]),
        lambda: AudioClassifier.from_pretrained(VERSION_1, plain),
    )
    for load in loads:
        with pytest.raises(ConfigError, match=r"backbone is a ASTModel; .* or astune\.backbone\.Backbone\.of\(model\)"):
            load()


def test_the_task_gives_the_loss_and_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    class Doubled(SingleLabel):
        name = "doubled"

        @override
        def loss(
            self, logits: Tensor, targets: Tensor, reduction: Reduction = "mean", class_weights: Tensor | None = None
        ) -> Tensor:
            return 2 * super().loss(logits, targets, reduction, class_weights)

    task = Doubled()
    monkeypatch.setitem(TASKS, task.name, task)
    targets = torch.tensor([0, 1])
    model = AudioClassifier(load_backbone("random:tiny", 24), "linear", ["a", "b"], task=task).eval()
    output = model(ramps(), targets)
    assert torch.equal(output.loss, 2 * nn.functional.cross_entropy(output.logits, targets))
    adapter = model.to_adapter()
    assert adapter.config.task == "doubled"
    again = AudioClassifier.from_adapter(adapter, load_backbone("random:tiny", 24))
    assert again.task is task
    assert again.merge_and_unload().task is task
