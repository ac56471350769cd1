"""Folders of PEFT from elsewhere: fields and shapes are bounded, pickles hold tensors alone, patterns take no time."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, load_file, save_file
from typing_extensions import override

from astune.errors import AdapterError, AstuneError
from astune.export.from_peft import import_peft
from astune.files import local_folder
from tests.faults.readers.backbones import write
from tests.faults.readers.peft_folders import CONFIG, FACTS, FORMER, HEAD, WEIGHTS, base, pickled, sound_folder


@pytest.fixture(params=[False, True], ids=["of PEFT", "exported"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write(tmp_path, sound_folder(request.param))


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    return write(tmp_path, sound_folder(exported=True))


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return write(tmp_path, sound_folder(exported=False))


def change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **fields}), encoding="utf-8")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lora_alpha": "4"}, "lora_alpha=4: Input should be a valid number"),
        ({"lora_alpha": 0}, "lora_alpha=0: Input should be greater than 0"),
        ({"lora_alpha": 10**40}, "lora_alpha=1000"),
        ({"alpha_pattern": ["v_proj"]}, "alpha_pattern="),
        ({"alpha_pattern": {"v_proj": "2"}}, "alpha_pattern.v_proj=2"),
        ({"alpha_pattern": {"(": 2}}, r"alpha_pattern '\(', which cannot be used: "),
        ({"alpha_pattern": {"(a+)+": 2}}, "no group that is repeated"),
        ({"alpha_pattern": {"a{99999999999}": 2}}, "repeat count too big"),
        ({"alpha_pattern": {".*.*.*x": 2}}, "2 repetitions"),
        ({"alpha_pattern": {"(a|a)" * 60: 2}}, "300 letters"),
        ({"alpha_pattern": {"(.|.)" * 50: 2}}, "4 groups at most"),
        ({"base_model_name_or_path": ["x"]}, "base_model_name_or_path="),
        ({"base_model_name_or_path": "a\x00b"}, "control character"),
        ({"base_model_name_or_path": "a" * 4_000}, "there is no folder"),
        ({"base_model_name_or_path": "~nobody-of-this-name/x"}, "there is no folder"),
        ({"use_rslora": "yes"}, "use_rslora=yes"),
        ({"init_lora_weights": {"a": "b" * 9_000}}, r"init_lora_weights=\{'a': 'b{190}"),
        ({"x" * 9_000: 1}, r"x{200}\.\.\.=1 changes what is computed"),
        ({"peft_type": 7}, "peft_type 7"),
    ],
)
def test_each_field_of_a_configuration_is_bounded(plain: Path, fields: dict[str, Any], message: str) -> None:
    change(plain / CONFIG, **fields)

    with pytest.raises(AstuneError, match=message):
        import_peft(plain)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labels": ["a", "a", "b"]}, "labels that occur twice: a"),
        ({"labels": "abc"}, "labels=abc"),
        ({"labels": ["a", "b"]}, "2 labels for 3 classes"),
        ({"task": 7}, "task=7"),
        ({"task": "other"}, "unknown task 'other'"),
        ({"pooling": "most"}, "unknown pooling 'most'"),
        ({"backbone": 7}, "backbone=7"),
        ({"max_length": 10**12}, "max_length=1000000000000"),
        ({"max_length": 64.5}, "max_length=64.5"),
    ],
)
def test_each_fact_of_an_export_is_bounded(exported: Path, fields: dict[str, Any], message: str) -> None:
    change(exported / FACTS, **fields)

    with pytest.raises(AstuneError, match=message):
        import_peft(exported)


@pytest.mark.parametrize("content", [b"[" * 90_000, b"{", b"[]", b"\xff", b'{"lora_alpha": 1e999}'])
def test_damaged_json(exported: Path, content: bytes) -> None:
    for name in (FACTS, CONFIG):
        (exported / name).write_bytes(content)

        with pytest.raises(AdapterError, match=f"{name} cannot be read as"):
            import_peft(exported)


def _with(folder: Path, part: str, tensor: torch.Tensor) -> None:
    tensors = load_file(folder / WEIGHTS)
    name = next(name for name in tensors if part in name)
    save_file({**tensors, name: tensor}, folder / WEIGHTS)


@pytest.mark.parametrize(
    ("part", "tensor", "message"),
    [
        ("lora_A", torch.ones(0, 24), r"has the shapes \(0, 24\) and \(24, 2\)"),
        ("lora_A", torch.ones(48), r"has the shapes \(48,\) and"),
        ("lora_A", torch.ones(3, 24), r"\(3, 24\) and \(24, 2\)"),
        ("lora_A", torch.ones(2, 25), "which do not fit the backbone's width of 24"),
        ("lora_B", torch.ones(25, 2), "which do not fit the backbone's width of 24"),
        ("lora_B", torch.full((24, 2), torch.nan), "not finite"),
        ("lora_B", torch.ones(24, 2, dtype=torch.int8), "holds I8"),
    ],
)
def test_shapes_of_updates(folder: Path, part: str, tensor: torch.Tensor, message: str) -> None:
    _with(folder, part, tensor)

    with pytest.raises(AdapterError, match=message):
        import_peft(folder)


@pytest.mark.parametrize("part", ["dense.weight", "dense.bias", "layernorm.weight", "layernorm.bias"])
def test_shapes_of_a_classifier(plain: Path, part: str) -> None:
    _with(plain, f"classifier.{part}", torch.ones(5))

    with pytest.raises(AdapterError, match="the parts of the classifier do not fit each other"):
        import_peft(plain)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ({"weight": torch.ones(3, 24)}, r"holds head\.weight, and a head has a weight and a bias"),
        ({"weight": torch.ones(3, 24), "bias": torch.ones(3, 1)}, "a head has a weight and a bias"),
        ({"weight": torch.ones(3, 25), "bias": torch.ones(3)}, r"head\.weight has the shape \(3, 25\), not \(3, 24\)"),
        ({"weight": torch.full((3, 24), torch.inf), "bias": torch.ones(3)}, "not finite"),
    ],
)
def test_shapes_of_an_exported_head(exported: Path, head: dict[str, torch.Tensor], message: str) -> None:
    save_file(head, exported / HEAD)

    with pytest.raises(AdapterError, match=message):
        import_peft(exported)


def _saved(content: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def _compressed(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as whole, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        for entry in whole.namelist():
            packed.writestr(entry, whole.read(entry))
    return stream.getvalue()


class _Runs:
    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("ran"),))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK", "is damaged"),
        (pickle.dumps({"a": 1}), "is damaged"),
        (_saved([torch.ones(3)]), "does not hold tensors by name"),
        (_saved({"a": 3}), "'a' is not a plain tensor"),
        (_saved({"a": torch.eye(3).to_sparse()}), "'a' is not a plain tensor"),
        (_saved({"a": torch.ones(1).expand(10**12)}), "'a' has more values than the file"),
        (_saved({3: torch.ones(3)}), "does not hold tensors by name"),
        (_saved({"a": _Runs()}), "is damaged"),
        (_compressed(_saved({"a": torch.zeros(100_000)})), "it is compressed, which torch never does"),
    ],
    ids=["cut", "no archive", "a list", "a number", "sparse", "expanded", "numbered", "code", "compressed"],
)
def test_pickles_hold_tensors_alone(
    plain: Path, content: bytes, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (plain / WEIGHTS).unlink()
    (plain / FORMER).write_bytes(content)

    with pytest.raises(AdapterError, match=rf"adapter_model\.bin .*{message}"):
        import_peft(plain)
    assert not Path("ran").exists()


def test_sound_folders_are_read_as_before(folder: Path) -> None:
    """Patterns choose the scale of the modules whose names they end."""
    spec = import_peft(folder).config.spec
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).unlink()
    (folder / FORMER).write_bytes(pickled(content))

    assert import_peft(folder).config.spec == spec
    assert spec.split("+") == [
        "lora:reduction_rate=12,targets=v,alpha=12",
        "lora:reduction_rate=12,targets=q,alpha=24,layers=0",
        "lora:reduction_rate=12,targets=q,alpha=48,layers=1",
    ]
    assert load(content).keys() == {name for name in load(content) if name.startswith("base_model.model.")}


@pytest.mark.parametrize("name", ["x" * 5_000, "a\x00b", "~nobody-of-this-name", "absent", ""])
def test_names_that_are_not_a_folder(name: str) -> None:
    assert (local_folder(name) is None) == (name != "")


def test_a_folder_is_one(tmp_path: Path) -> None:
    assert local_folder(str(tmp_path)) == tmp_path
    assert local_folder(base()) == Path(base())
