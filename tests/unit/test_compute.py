"""How a machine computes: what is chosen, what can be overridden, and that the result stays."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import astune.compute as arithmetic_module
from astune import AudioClassifier
from astune.compute import Arithmetic
from astune.environment import device_name
from astune.errors import ConfigError
from astune.names import AttentionKernel
from astune.training.config import TrainConfig
from astune.training.loop import train
from astune.training.result import TrainResult
from astune.training.setup import in_bf16
from tests.conformance.methods_under_test import classifier

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("hardware", "bf16", "store", "expected"),
    [
        (True, None, None, (True, True)),
        (True, None, False, (True, False)),
        (True, False, None, (False, False)),
        (True, False, True, (False, False)),  # float32 products read float32 weights
        (False, None, None, (False, False)),
        (False, True, None, (True, True)),
    ],
)
def test_what_suits_the_hardware(
    hardware: bool, bf16: bool | None, store: bool | None, expected: tuple[bool, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arithmetic_module, "bf16_is_faster", lambda _: hardware)
    chosen = Arithmetic.of(CPU, bf16, store)
    assert (chosen.bf16, chosen.store_bf16) == expected
    assert chosen.compute_dtype == ("bfloat16" if expected[0] else "float32")


@pytest.mark.parametrize(
    ("able", "seconds", "expected"),
    [
        ({}, 1, False),  # emulated: nothing is tried, it would take minutes
        ({"avx512_bf16": True}, 1, True),
        ({"avx512_bf16": True}, 4, False),
        ({"amx_bf16": True, "avx512_bf16": True}, 1, True),
    ],
)
def test_instructions_alone_do_not_choose_bfloat16(
    able: dict[str, bool], seconds: float, expected: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A clock of its own: a product takes two seconds in float32."""
    monkeypatch.setenv("ASTUNE_CACHE", str(tmp_path))
    now = 0.0

    def product(operand: torch.Tensor, _: torch.Tensor) -> None:
        nonlocal now
        assert able, "emulated bfloat16 was tried"
        now += 2 if operand.dtype == torch.float32 else seconds

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    monkeypatch.setattr(torch.nn.functional, "linear", product)
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    arithmetic_module._product_gains.cache_clear()
    assert arithmetic_module.bf16_is_faster(CPU) is expected
    arithmetic_module._product_gains.cache_clear()  # what other tests find is this machine's


def test_a_processor_keeps_its_precision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a busy machine finds later changes nothing, in other processes too; another processor is tried by itself."""
    monkeypatch.setenv("ASTUNE_CACHE", str(tmp_path / "cache"))
    found = iter([True, False, False, True])
    monkeypatch.setattr(arithmetic_module, "_product_takes_less_time", lambda: next(found))

    def gains(name: str) -> bool:
        arithmetic_module._product_gains.cache_clear()
        monkeypatch.setattr(
            torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True, "cpu_name": name}, raising=False
        )
        return arithmetic_module.bf16_is_faster(CPU)

    assert [gains("a"), gains("a"), gains("b"), gains("b"), gains("a")] == [True, True, False, False, True]
    (tmp_path / "cache" / "processors.json").write_text("[1", encoding="utf-8")
    assert [gains("a"), gains("a")] == [False, False]  # it is damaged, and tried again once
    monkeypatch.setenv("ASTUNE_CACHE", str(tmp_path / "file" / "cache"))
    (tmp_path / "file").touch()
    assert gains("a")  # nothing can be remembered
    arithmetic_module._product_gains.cache_clear()  # what other tests find is this machine's


@pytest.mark.parametrize(("known", "name"), [({"cpu_name": "Intel Xeon"}, "cpu (Intel Xeon)"), ({}, "cpu")])
def test_a_processor_is_named_where_torch_knows_it(
    known: dict[str, object], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert device_name(CPU) == name


def test_the_main_process_chooses_the_precision_for_all() -> None:
    """Each would find its own answer, on a busy machine another than its neighbour's."""

    def from_main(_: list[bool]) -> list[bool]:
        return [main]

    for main in (True, False):
        own = {CPU: not main}
        assert in_bf16(None, CPU, faster=own.__getitem__, from_main=from_main) is main
        assert in_bf16(main, CPU, faster=own.__getitem__) is main


@pytest.mark.parametrize("spec", ["lora", "bitfit", "full-ft", "linear"])
def test_frozen_matrices_alone_are_stored_in_bfloat16(spec: str) -> None:
    model = classifier(spec)
    Arithmetic.of(CPU, bf16=True).prepare(model.sites)
    for module in model.backbone.modules():
        for parameter in module.parameters(recurse=False):
            stored = isinstance(module, nn.Linear | nn.Conv2d) and not parameter.requires_grad
            assert parameter.dtype == (torch.bfloat16 if stored else torch.float32)
    assert all(parameter.dtype == torch.float32 for parameter in model.trained_parameters().values())
    halved = sum(p.dtype == torch.bfloat16 for p in model.backbone.parameters())
    assert (
        halved == {"lora": 50, "linear": 50, "bitfit": 26, "full-ft": 0}[spec]
    )  # 4 layers of 6 matrices, and the patches


def run(generated: Path, output_dir: Path, **fields: object) -> TrainResult:
    settings: dict[str, object] = {
        "backbone": "random:tiny", "method": "lora", "num_train_epochs": 1, "per_device_train_batch_size": 12, "max_length": 32,
    }  # fmt: skip
    return train(TrainConfig(data=str(generated), output_dir=output_dir, **{**settings, **fields}), quiet=True)


def test_storing_in_bfloat16_changes_no_bit(generated: Path, tmp_path: Path) -> None:
    """Autocast would cast the same weights to the same values at every call."""
    runs = {store: run(generated, tmp_path / str(store), bf16=True, store_bf16=store) for store in (True, False)}
    assert runs[True].compute_dtype == "bfloat16"
    stored, cast = (load_file(tmp_path / str(store) / "adapter_model.safetensors") for store in (True, False))
    assert all(torch.equal(tensor, cast[name]) for name, tensor in stored.items())
    assert {tensor.dtype for tensor in stored.values()} == {torch.float32}


@pytest.mark.parametrize("bf16", [False, True])
def test_both_kernels_train_alike(bf16: bool, generated: Path, tmp_path: Path) -> None:
    kernels: tuple[AttentionKernel, ...] = ("sdpa", "eager")
    losses = [run(generated, tmp_path / k, attention_kernel=k, bf16=bf16).history[0]["train_loss"] for k in kernels]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2 if bf16 else 1e-5)


@pytest.mark.parametrize("before", ["highest", "high"])
def test_the_precision_of_products_is_the_runs_alone(
    before: str, generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[tuple[str, bool]] = set()
    classify = AudioClassifier.classify

    def watched(*args: Any) -> Any:  # noqa: ANN401 - as the method takes and gives
        seen.add((torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32))
        return classify(*args)

    monkeypatch.setattr(AudioClassifier, "classify", watched)
    torch.set_float32_matmul_precision(before)
    tf32 = torch.backends.cudnn.allow_tf32
    try:
        run(generated, tmp_path / "medium", matmul_precision="medium")
        assert torch.get_float32_matmul_precision() == before
        run(generated, tmp_path / "highest")
        assert torch.get_float32_matmul_precision() == before
    finally:
        torch.set_float32_matmul_precision("highest")
    assert seen == {("medium", True), ("highest", False)}
    assert torch.backends.cudnn.allow_tf32 == tf32


def test_compiling_without_a_compiler_is_refused_at_once(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "/nowhere/g++")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"needs the C\+\+ compiler '/nowhere/g\+\+'.*set compile=False"):
        run(generated, tmp_path / "out", compile=True)
    assert not (tmp_path / "out").exists()


def test_storing_in_bfloat16_without_computing_in_it_is_said_to_do_nothing(
    generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings: dict[str, Any] = {"backbone": "random:tiny", "method": "linear", "num_train_epochs": 1, "max_length": 32}
    train(TrainConfig(data=str(generated), output_dir=tmp_path / "out", bf16=False, store_bf16=True, **settings))
    assert "store_bf16=True does nothing" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated")  # torch's own, inside torch.compile
@pytest.mark.filterwarnings(
    "ignore:TensorFloat32 tensor cores"
)  # a hint of torch's to GPUs, which float32 does not follow
@pytest.mark.parametrize("method", ["lora", "prefix", "layermix"])
def test_compiling_changes_nothing_but_rounding(method: str, generated: Path, tmp_path: Path) -> None:
    plain, compiled = (
        run(generated, tmp_path / str(translate), method=method, compile=translate, bf16=False, cache_frozen=False)
        for translate in (False, True)
    )
    assert compiled.history[0]["train_loss"] == pytest.approx(plain.history[0]["train_loss"], rel=1e-4)
    assert compiled.scores["test"]["loss"] == pytest.approx(plain.scores["test"]["loss"], rel=1e-3)
