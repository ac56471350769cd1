"""A backbone's folder from elsewhere: both configurations are bounded, and the weights compared with them, before anything is allocated."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import ASTConfig, ASTModel

from astune import load_backbone
from astune.backbone.backbone import fingerprint_of
from astune.backbone.load import load_classifier, load_config, load_front_end, quiet_transformers
from astune.backbone.sites import Sites
from astune.errors import BackboneError
from tests.faults.readers.backbones import CONFIG, PREPROCESSOR, SIZES, WEIGHTS, sound_files, write

DEEP = 100_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path, sound_files())


def change(path: Path, **fields: Any) -> None:
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**record, **fields}), encoding="utf-8")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden_size": "24"}, r"config\.json cannot be used: hidden_size=24: Input should be a valid integer"),
        ({"hidden_size": 10**9}, "hidden_size=1000000000: Input should be less than or equal to 65536"),
        ({"hidden_size": -24}, "hidden_size=-24: Input should be greater than or equal to 1"),
        ({"hidden_size": 24.5}, "hidden_size=24.5: Input should be a valid integer"),
        ({"hidden_size": 24, "num_attention_heads": 7}, "hidden_size=24 is not a multiple of num_attention_heads=7"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers=1000000"),
        ({"num_hidden_layers": True}, "num_hidden_layers=True"),
        ({"hidden_act": "prelu"}, "unknown hidden_act 'prelu'; choose one of: gelu"),
        ({"hidden_act": ["gelu"]}, "hidden_act"),
        ({"layer_norm_eps": 0.0}, "layer_norm_eps=0.0"),
        ({"layer_norm_eps": "tiny"}, "layer_norm_eps=tiny"),
        ({"hidden_dropout_prob": 1.5}, "hidden_dropout_prob=1.5"),
        ({"patch_size": 40}, "patch_size=40 is larger than the input, which has 32 Mel filters"),
        ({"patch_size": [16, 16]}, r"patch_size=\[16, 16\]: give the side of a square patch, or a list of mel bins and frames that differ"),
        ({"patch_size": [16]}, r"patch_size=\[16\]: give the side"),
        ({"patch_size": [16, 2, 1]}, r"patch_size=\[16, 2, 1\]: give the side"),
        ({"patch_size": [16, 0]}, r"patch_size=\[16, 0\]: give the side .* from 1 to 257"),
        ({"patch_size": [16, True]}, r"patch_size=\[16, True\]: give the side"),
        ({"patch_size": "16"}, "patch_size=16: give the side"),
        ({"patch_size": 258}, "patch_size=258: give the side"),
        ({"patch_size": [40, 2]}, r"patch_size=\[40, 2\] is larger than the input, which has 32 Mel filters"),
        ({"patch_size": [32, 65]}, r"patch_size=\[32, 65\] is larger than the input, which has 32 Mel filters"),
        ({"time_stride": 0}, "time_stride=0"),
        ({"max_length": 2**40}, "max_length=1099511627776"),
        ({"num_mel_bins": 100_000}, "num_mel_bins=100000: Input should be less than or equal to 257"),
        ({"num_labels": 10**12}, "num_labels=1000000000000"),
        ({"id2label": {"first": "a"}}, "id2label.first"),
        ({"id2label": {"0": None}}, "id2label.0=None"),
        ({"problem_type": "any"}, "unknown problem_type 'any'"),
        ({"dtype": "int8"}, "unknown dtype 'int8'"),
        ({"model_type": ["bert"]}, r"says model_type \['bert'\]"),
    ],
)  # fmt: skip
def test_each_field_is_bounded(folder: Path, fields: dict[str, Any], message: str) -> None:
    change(folder / CONFIG, **fields)

    for load in (load_backbone, load_config, lambda name: load_front_end(name, 64)):
        with pytest.raises(BackboneError, match=message):
            load(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (CONFIG, b"[" * DEEP, "nested too deeply"),
        (CONFIG, b"[]", "it holds a list, not an object"),
        (CONFIG, b"\xff{}", "it is not UTF-8 text from byte 0 on"),
        (CONFIG, b'{"layer_norm_eps": NaN}', "NaN is not a number of JSON"),
        (CONFIG, b'{"a": 1, "a": 2}', "the key 'a' occurs twice"),
        (PREPROCESSOR, b"3", "it holds a number, not an object"),
        (PREPROCESSOR, b'{"mean": 1e999}', "larger than any number that is computed with"),
        (PREPROCESSOR, b'{"mean": "0"}', "mean=0: Input should be a valid number"),
        (PREPROCESSOR, b'{"mean": null}', "mean=None"),
        (PREPROCESSOR, b'{"std": 0}', "std=0: Input should be greater than or equal to 0.0001"),
        (PREPROCESSOR, b'{"std": 1e-320}', "std=1e-320"),
        (PREPROCESSOR, b'{"mean": 1e300}', r"mean=1e\+300"),
    ],
)
def test_both_files_are_read_strictly(folder: Path, name: str, content: bytes, message: str) -> None:
    (folder / name).write_bytes(content)

    with pytest.raises(BackboneError, match=rf"{name} cannot be .*{message}"):
        load_backbone(folder)


def test_weights_are_compared_before_a_model_has_memory(folder: Path) -> None:
    """A model of the sizes in this configuration would take 30 GB."""
    change(folder / CONFIG, hidden_size=65_535, intermediate_size=65_536)

    with pytest.raises(
        BackboneError,
        match=r"(?s)does not fit .*config\.json.*has the shape \(1, 1, 24\), not \(1, 1, 65535\)",
    ):
        load_backbone(folder)


def _tensors(folder: Path, **changed: Any) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors = {name: changed.get(name.replace(".", "_"), tensor) for name, tensor in tensors.items()}
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, folder / WEIGHTS)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"layernorm_weight": None}, "lacks 1 of the weights of an Audio Spectrogram Transformer, layernorm.weight among them"),
        ({"layernorm_weight": torch.ones(25)}, r"layernorm.weight has the shape \(25,\), not \(24,\)"),
        ({"layernorm_weight": torch.full((24,), torch.nan)}, "1 of its tensors hold NaN or infinity, layernorm.weight among them"),
        ({"layernorm_weight": torch.full((24,), torch.inf)}, "NaN or infinity"),
        ({"layernorm_weight": torch.ones(24, dtype=torch.int32)}, "layernorm.weight holds I32, and models are computed in F32"),
        ({"layernorm_weight": torch.ones([1] * 9)}, "layernorm.weight has 9 dimensions, and 8 are read"),
    ],
)  # fmt: skip
def test_each_tensor_is_named(folder: Path, changed: dict[str, Any], message: str) -> None:
    _tensors(folder, **changed)

    with pytest.raises(BackboneError, match=message):
        load_backbone(folder)


def test_layers_that_the_configuration_does_not_have_are_refused(folder: Path) -> None:
    change(folder / CONFIG, num_hidden_layers=1)

    with pytest.raises(BackboneError, match=r"layers\.1\.[a-z_.]+ is of a layer beyond the 1 layer"):
        load_backbone(folder)


def _raw(header: str) -> bytes:
    return struct.pack("<Q", len(header)) + header.encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2**25) + b"{}",
        _raw("[" * 1_000),
        _raw('{"a": {"dtype": "F32", "shape": [9000000000000000000, 9], "data_offsets": [0, 4]}}') + b"1234",
        _raw('{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}') + b"12",
        _raw('{"a": {"dtype": "F4", "shape": [8], "data_offsets": [0, 4]}}') + b"1234",
        _raw('{"\\n": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}') + b"1234",
    ],
)
def test_damaged_files_of_tensors(folder: Path, content: bytes) -> None:
    (folder / WEIGHTS).write_bytes(content)

    for load in (load_backbone, load_classifier):
        with pytest.raises(BackboneError, match=r"model\.safetensors cannot be loaded: "):
            load(folder)


def test_settings_that_are_not_an_encoders_are_not_read(folder: Path) -> None:
    expected = load_backbone(folder).origin.fingerprint
    change(
        folder / CONFIG, return_dict=False, output_hidden_states="all", auto_map={"AutoModel": "evil.Model"},
        quantization_config={"quant_method": "bitsandbytes"}, pruned_heads={"0": [1]}, generation_config=7,
    )  # fmt: skip
    for name in ("adapter_config.json", "model.safetensors.index.json", "pytorch_model.bin"):
        (folder / name).write_bytes(b"\x80")

    assert load_backbone(folder).origin.fingerprint == expected


@pytest.mark.parametrize("held", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("says", [None, "float16", "float32"])
def test_weights_have_the_type_that_transformers_gives_them(
    tmp_path: Path, held: torch.dtype, says: str | None
) -> None:
    """Fingerprints are taken of them, so adapters know their backbones by it."""
    with quiet_transformers():
        model: Any = ASTModel(ASTConfig(**SIZES))
        model.to(held).save_pretrained(tmp_path)
        record = json.loads((tmp_path / CONFIG).read_text(encoding="utf-8"))
        record.pop("dtype")
        (tmp_path / CONFIG).write_text(json.dumps(record | ({"torch_dtype": says} if says else {})), encoding="utf-8")
        theirs = ASTModel.from_pretrained(tmp_path, dtype="auto")

    ours = load_backbone(tmp_path)

    assert ours.origin.fingerprint == fingerprint_of(Sites(theirs))
    for (name, one), (other, two) in zip(theirs.named_parameters(), ours.model.named_parameters(), strict=True):
        assert name == other
        assert torch.equal(one.float(), two)


def test_a_file_that_changes_later_changes_no_model(folder: Path) -> None:
    model = load_backbone(folder)
    before = {name: tensor.clone() for name, tensor in model.model.state_dict().items()}
    with (folder / WEIGHTS).open("r+b") as stream:
        stream.seek(8_000)
        stream.write(b"\xff" * 4_000)

    assert all(torch.equal(tensor, before[name]) for name, tensor in model.model.state_dict().items())
