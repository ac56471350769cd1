"""Adapter folders from elsewhere: fields are bounded, shapes compared, and nothing larger than the file is allocated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import astune
from astune import adapter_file
from astune.adapter_digest import adapter_digest
from astune.adapter_info import AdapterInfo
from astune.backbone import Backbone
from astune.errors import AdapterError, AstuneError, ConfigError
from astune.features.log_mel import FrontEnd
from astune.methods import parse_method
from astune.methods.layers import layer_indices
from astune.model_card import model_card
from tests.faults.readers import adapters
from tests.faults.readers.backbones import write

CONFIG, WEIGHTS = adapter_file.CONFIG, adapter_file.WEIGHTS


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return adapters.backbone()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path, adapters.sound_adapter("dpt:tokens=3", several=True, version=2))


def change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **fields}), encoding="utf-8")


def front_end(**fields: Any) -> dict[str, Any]:
    return {"front_end": {"max_length": 64, "num_mel_bins": 32, "mean": -4.0, "std": 4.0, **fields}}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format_version": "2"}, "format_version=2: Input should be a valid integer"),
        ({"format_version": 0}, "format_version=0: Input should be greater than or equal to 1"),
        ({"labels": ["a", "a"]}, "labels that occur twice: a"),
        ({"labels": ["a", 3]}, r"labels\.1=3: Input should be a valid string"),
        ({"labels": ["a", "b\x1b[2J"]}, "holds control characters"),
        ({"labels": "ab"}, "labels=ab: Input should be a valid array"),
        ({"spec": "lora\x1b[31m"}, "spec=.*a control character"),
        ({"backbone": {"name_or_path": "x" * 5_000, "fingerprint": "0"}}, "at most 4096 characters"),
        ({"method": []}, "method=.*at least 1 item"),
        ({"method": "lora"}, "method=lora: Input should be a valid array"),
        ({"task": "regression"}, "unknown task 'regression'"),
        ({"pooling": "most"}, "unknown pooling 'most'"),
        ({"trainable_parameters": -1}, "trainable_parameters=-1"),
        ({"trainable_parameters": 1.5}, "trainable_parameters=1.5"),
        ({"thresholds": {"dog": 1.5, "rain": 0.5, "siren": 0.5}}, "thresholds.dog=1.5: Input should be less than or equal to 1"),
        ({"thresholds": {"dog": 0.5}}, "thresholds has none for 'rain'"),
        ({"negatives": ["wind"]}, "unknown negative label 'wind'"),
        ({"metrics": {"test": 3}}, "metrics.test=3"),
        ({"versions": {"torch": "2\n<b>"}}, "versions.torch"),
        (front_end(max_length=10**15), "max_length=1000000000000000, which must be from 1 to 360000"),
        (front_end(max_length=-64), "max_length=-64"),
        (front_end(max_length="64"), "front_end.max_length=64: Input should be a valid integer"),
        (front_end(num_mel_bins=0), "num_mel_bins=0"),
        (front_end(mean=1e30), r"mean=1e\+30, which must be from -10000 to 10000"),
        (front_end(std=0.0), "std=0.0, which must be from 0.0001 to 10000"),
        (front_end(std=1e-300), "std=1e-300"),
    ],
)  # fmt: skip
def test_each_field_is_bounded(folder: Path, fields: dict[str, Any], message: str) -> None:
    change(folder / CONFIG, **fields)

    with pytest.raises(
        AdapterError, match=rf"(?s)adapter_config\.json cannot be used as an adapter's configuration: .*{message}"
    ):
        adapter_file.read(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"format_version": ' + b"[" * 50_000, "nested too deeply"),
        (b'{"format_version": 1e999}', "larger than any number"),
        (b'{"format_version": NaN}', "NaN is not a number of JSON"),
        (b'{"spec": "\\ud800"}', "half of a character"),
        (b'{"spec": 1, "spec": 2}', "the key 'spec' occurs twice"),
        (b'"text"', "it holds text, not an object"),
        (b"\xff\xfe{}", "it is not UTF-8 text from byte 0 on"),
    ],
)
def test_damaged_json_is_refused_with_and_without_torch(folder: Path, content: bytes, message: str) -> None:
    (folder / CONFIG).write_bytes(content)

    for read in (adapter_file.read, adapter_digest):
        with pytest.raises(AdapterError, match=message):
            read(folder)
    assert CONFIG in adapter_file.foreign_files(folder)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"family": "dpt", "tokens": 10**12}, "tokens=1000000000000: Input should be less than or equal to 10000"),
        ({"family": "dpt", "tokens": 10_000}, r"prompts\.tokens has the shape \(3, 24\), not \(10000, 24\)"),
        ({"family": "prefix", "tokens": 10_000}, "is missing"),
        ({"family": "lora", "reduction_rate": 1e-300}, "reduction_rate=1e-300: it gives a rank of more than 16 times"),
        ({"family": "lora", "reduction_rate": 0.0625}, "is missing"),
        ({"family": "lora", "layers": "0-9999"}, "layers=0-9999: the backbone has 2 layers"),
        ({"family": "lora", "layers": "0-99999999999"}, "layers=0-99999999999: use 'all'"),
        ({"family": "lora", "layers": 7}, "layers=7"),
        ({"family": "lara"}, "unknown method 'lara'"),
        ({"family": "dpt", "tokens": None}, "tokens=None"),
    ],
)
def test_a_method_that_asks_for_more_than_the_file_has(
    folder: Path, backbone: Backbone, method: dict[str, Any], message: str
) -> None:
    change(folder / CONFIG, method=[method])

    for load in (
        lambda: astune.Predictor(folder, backbone),
        lambda: astune.AudioClassifier.from_pretrained(folder, adapters.backbone_folder()),
    ):
        with pytest.raises(AstuneError, match=message):
            load()


def test_an_input_beyond_the_memory_is_refused(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(torch.Tensor, "clone", refuse)
    with pytest.raises(
        ConfigError, match="max_length=360000: there is no memory for position embeddings of so long an input"
    ):
        backbone.fit(360_000)


@pytest.mark.parametrize("spoil", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_not_finite_are_named(folder: Path, spoil: float) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors["norm.bias"][3] = spoil
    save_file(tensors, folder / WEIGHTS)

    with pytest.raises(AdapterError, match=r"1 of \d+ tensors hold values that are not finite .*norm\.bias among them"):
        adapter_file.read(folder)


@pytest.mark.parametrize(
    ("dtype", "message"),
    [(torch.int32, "head.bias holds I32"), (torch.int64, "head.bias holds I64"), (torch.float8_e4m3fn, "F8_E4M3")],
)
def test_types_that_nothing_is_computed_in(folder: Path, dtype: torch.dtype, message: str) -> None:
    tensors = load_file(folder / WEIGHTS)
    save_file({**tensors, "head.bias": tensors["head.bias"].to(dtype)}, folder / WEIGHTS)

    with pytest.raises(AdapterError, match=message):
        adapter_file.read(folder)


def test_labels_are_as_many_as_the_head_has_rows(folder: Path, backbone: Backbone) -> None:
    change(folder / CONFIG, labels=["dog", "rain", "siren", "wind"], thresholds={})

    with pytest.raises(AdapterError, match=r"(?s)head\.weight has the shape \(3, 24\), not \(4, 24\)"):
        astune.Predictor(folder, backbone)


def test_many_labels_are_compared_in_no_time(folder: Path) -> None:
    """A list would be searched for each of them, which takes hours."""
    labels = [f"label {number}" for number in range(200_000)]
    change(folder / CONFIG, labels=labels, negatives=labels, thresholds=dict.fromkeys(labels, 0.5))

    assert len(adapter_file.read_config(folder / CONFIG).negatives) == len(labels)


def test_a_card_is_written_whatever_figures_there_are(folder: Path) -> None:
    scores = {"clips": "ten", "accuracy": "much", "map": None, "macro_f1": [1], "average_precision": ["x", None, 0.5]}
    change(folder / CONFIG, metrics={"test": scores, "other": {}})

    card = model_card(adapter_file.read(folder).config)

    assert "| test | ten | - | - | - |" in card
    assert "| siren | 50.00% |" in card


def test_adapters_and_their_description_have_one_set_of_rules() -> None:
    sound: dict[str, Any] = {
        "name": "it", "labels": ("a", "b"), "task": "multi-label", "method": "lora", "backbone": "bundled", "max_length": 64,
        "num_mel_bins": 128, "mean": 0.0, "std": 1.0,
    }  # fmt: skip
    AdapterInfo(**sound)
    for fields, message in (
        ({"labels": ("a",)}, "two labels or more"),
        ({"task": "other"}, "unknown task"),
        ({"max_length": 10**9}, "max_length=1000000000"),
        ({"std": 0.0}, "std=0.0"),
        ({"negatives": ("c",)}, "unknown negative label 'c'"),
        ({"thresholds": {"a": 0.5}}, "thresholds has none for 'b'"),
        ({"thresholds": {"a": 0.5, "b": 7.0}}, "thresholds.b=7.0"),
    ):
        with pytest.raises(ConfigError, match=message):
            AdapterInfo(**{**sound, **fields})


def test_sizes_of_methods_and_front_ends_are_bounded_from_python_too() -> None:
    specs = (
        "dpt:tokens=10001",
        "spt:tokens=0",
        "prefix:tokens=10002",
        "lora:reduction_rate=0.001",
        "conformer:reduction_rate=1e-9",
    )
    for spec in specs:
        with pytest.raises(ConfigError, match=r"tokens=|reduction_rate="):
            parse_method(spec)
    with pytest.raises(ConfigError, match=r"std=1e-05, which must be from 0\.0001 to 10000"):
        FrontEnd(64, std=1e-5)


def test_a_range_of_layers_is_compared_before_it_is_listed() -> None:
    with pytest.raises(ConfigError, match="the backbone has 12 layers, 0 to 11"):
        layer_indices("|".join(["0-9999"] * 100_000), 12)
