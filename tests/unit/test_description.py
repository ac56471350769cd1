"""``astune info`` and :func:`astune.describe_adapter`."""

from __future__ import annotations

import json
import sys
from dataclasses import FrozenInstanceError, asdict
from typing import TYPE_CHECKING

import pytest

import astune
from astune import AdapterDescription, AudioClassifier, TrainConfig, describe_adapter, load_backbone
from astune.cli import main
from astune.errors import AdapterError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def trained(generated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters") / "lora"
    config = TrainConfig(data=str(generated), backbone="random:tiny", output_dir=folder, num_train_epochs=1)
    astune.train(config, quiet=True)
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["astune", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_a_trained_adapter_is_described(trained: Path) -> None:
    found = describe_adapter(trained)
    results = json.loads((trained / "results.json").read_text())
    assert isinstance(found, AdapterDescription)
    assert (found.method, found.task, found.backbone) == ("lora", "single-label", "random:tiny")
    assert list(found.labels) == results["labels"]
    assert found.trainable_parameters == results["trainable_parameters"]
    assert found.file_bytes == (trained / "adapter_model.safetensors").stat().st_size
    assert found.file_bytes > 4 * found.stored_parameters > 4 * found.trainable_parameters
    assert found.scores["test"]["accuracy"] == results["scores"]["test"]["accuracy"]
    assert found.training["num_train_epochs"] == 1
    assert found.recipe == "own"
    assert found.astune_version == found.versions["astune"] == astune.__version__
    assert found.max_length == 48
    assert 0.4 < found.input_seconds < 0.5
    with pytest.raises(FrozenInstanceError):
        found.method = "bitfit"  # type: ignore[misc]


def test_an_adapter_that_was_never_trained_has_no_scores(tmp_path: Path) -> None:
    AudioClassifier(load_backbone("random:tiny", 64), "bitfit", ("wren", "robin")).save_pretrained(tmp_path / "new")
    found = describe_adapter(tmp_path / "new")
    assert (found.labels, found.scores, found.recipe) == (("wren", "robin"), {}, None)


def test_what_is_not_an_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AdapterError):
        describe_adapter(tmp_path)


def test_info_prints_a_description_or_json(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "info", trained, "--json") == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(asdict(describe_adapter(trained))))
    monkeypatch.setenv("COLUMNS", "60")
    assert run(monkeypatch, "info", trained) == 0
    text = capsys.readouterr().out
    assert "…" not in text
    for label in describe_adapter(trained).labels:
        assert label in text
    assert "random:tiny" in text


def test_info_of_nothing_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "info", tmp_path / "nowhere") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "there is no folder" in captured.err
