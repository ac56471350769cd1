"""``astune plan``: budgets as they are written, the search, and what the command prints."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given, strategies
from safetensors.torch import save
from typing_extensions import override

import astune
from astune.architecture import Architecture
from astune.budget import BYTE_UNITS, PARAMETER_UNITS, MethodPlan, parse_amount, plan_methods
from astune.cli import main
from astune.counting import count
from astune.data import load_data
from astune.errors import AstuneError, ConfigError
from astune.files import saved_bytes
from astune.methods import FAMILIES, PRESETS, Attachment, Method, parse_method, register
from astune.methods.registry import split_specs
from astune.methods.size import SizeField, rank_of, reduction_rate_of
from tests.unit.test_cli import run

D, LAYERS = 768, 12  # of AST-base


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        (250_000, 250_000),
        ("250000", 250_000),
        ("250k", 250_000),
        ("250 K", 250_000),
        ("1.2M", 1_200_000),
        (" 0.5k ", 500),
        ("1.2345k", None),  # 1,234.5
        ("250kB", None),
        ("1e5", None),
        ("1,000", None),
        ("-3", None),
        ("0", None),
        ("k", None),
        ("", None),
        ("٣", None),
        (2.5, None),
        (True, None),
        (10**12 + 1, None),
    ],
)
def test_numbers_of_parameters(text: Any, amount: int | None) -> None:  # noqa: ANN401 - whatever a user may give
    if amount is not None:
        assert parse_amount("parameters", text, PARAMETER_UNITS) == amount
        return
    with pytest.raises(ConfigError, match=r"^parameters="):
        parse_amount("parameters", text, PARAMETER_UNITS)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1MB", 1_000_000),
        ("1MiB", 1_048_576),
        ("900 KiB", 921_600),
        ("900kB", 900_000),
        ("1.5 GB", 1_500_000_000),
        ("12 B", 12),
        (12, 12),
        ("12", None),  # of what?
        ("1mb", None),
        ("1M", None),
    ],
)
def test_sizes_of_files(text: Any, amount: int | None) -> None:  # noqa: ANN401 - whatever a user may give
    if amount is not None:
        assert parse_amount("adapter_size", text, BYTE_UNITS) == amount
        return
    with pytest.raises(ConfigError, match=r"adapter_size='.*': give a number with a unit: B .*MiB \(1,048,576\)"):
        parse_amount("adapter_size", text, BYTE_UNITS)


def test_a_list_of_specs_is_divided_where_a_spec_begins() -> None:
    text = "linear, lora:targets=q,layers=0-3 ,bottleneck:sublayer=ffn,init=normal+lora:targets=k,alpha=4,bitfit"
    parts = [
        "linear",
        "lora:targets=q,layers=0-3",
        "bottleneck:sublayer=ffn,init=normal+lora:targets=k,alpha=4",
        "bitfit",
    ]
    assert split_specs(text) == parts
    assert [parse_method(part).spec for part in parts] == parts
    assert split_specs("linear,targets=q") == [
        "linear",
        "targets=q",
    ]  # linear has no settings: a mistake, and named as one


@given(width=strategies.integers(1, 2048), share=strategies.floats(0, 1))
def test_a_rank_has_a_rate_that_gives_it_back(width: int, share: float) -> None:
    rank = 1 + int(share * (width - 1))
    rate = reduction_rate_of(rank, width)
    assert rank_of(width, rate) == rank
    assert abs(rate - width / rank) <= 0.5
    assert rank_of(width, 1 + share * 3 * width) in range(1, width + 1)  # so that the ranks are all there is


def test_rates_are_short() -> None:
    assert [reduction_rate_of(rank, D) for rank in (1, 6, 7, 12, 41)] == [768, 128, 110, 64, 18.7]


SEVERAL = {
    "b": torch.zeros(3, 5),
    "a": torch.zeros(11),
    "buffers.count": torch.zeros((), dtype=torch.int64),
    "z.empty": torch.zeros(0, 4),
}


@pytest.mark.parametrize("number", range(len(SEVERAL) + 1))
def test_the_size_of_a_file_is_that_of_safetensors(number: int) -> None:
    tensors = dict(list(SEVERAL.items())[:number])
    assert saved_bytes(tensors) == len(save(tensors, metadata={"format": "pt"}))
    meta = {name: tensor.to("meta") for name, tensor in tensors.items()}
    assert saved_bytes(meta) == saved_bytes(tensors)


def by_name(plan: MethodPlan) -> dict[str, Any]:
    return {one.name: one for one in plan.methods}


def test_a_quarter_of_a_million_on_ast_base() -> None:
    """By the formulas of ``test_counts.py``."""
    plan = plan_methods("250k", backbone="random:base", labels=50, max_length=500)
    found = by_name(plan)
    assert list(found) == list(PRESETS)
    lora = found["lora"]
    assert (lora.largest.spec, lora.largest.parameters) == ("lora", LAYERS * 2 * 2 * D * 6)
    assert (lora.next_larger.spec, lora.next_larger.parameters) == ("lora:reduction_rate=110", LAYERS * 2 * 2 * D * 7)
    prompts = found["dpt-25"]
    assert (prompts.largest.spec, prompts.largest.parameters) == ("dpt:tokens=27", 27 * D * LAYERS)
    assert prompts.next_larger.parameters == 28 * D * LAYERS > 250_000
    assert found["pref-t-24"].largest.spec == "prefix:tokens=26"  # 27 is odd
    assert found["spt-300"].largest.spec == "spt:tokens=325"  # 325.5 times 768
    houlsby, rank = found["bottleneck-hou-par"].largest, 5
    assert houlsby.parameters == 2 * LAYERS * (2 * D * rank + rank + D + 2 * D) <= 250_000
    assert found["linear"].largest.with_head == found["linear"].largest.parameters == (D + 1) * 50 + 2 * D
    assert lora.largest.with_head == lora.largest.parameters + (D + 1) * 50 + 2 * D
    assert (found["full-ft"].largest, found["full-ft"].field) == (None, None)
    assert plan.budget.over(found["full-ft"].next_larger) == ("85,458,032 parameters over",)
    assert found["bitfit"].next_larger is None
    assert plan.notices == ()


def test_both_limits_hold() -> None:
    tight = plan_methods(250_000, "500 kB", backbone="random:base", labels=50, methods=["lora"]).methods[0]
    assert tight.largest is not None
    assert tight.next_larger is not None
    assert tight.largest.file_bytes <= 500_000 < tight.next_larger.file_bytes
    assert tight.next_larger.parameters <= 250_000


def test_a_stated_size_is_kept_and_the_other_one_searched() -> None:
    kept, searched = plan_methods(
        "40k",
        backbone="random:tiny",
        methods=["lora:reduction_rate=4", "bottleneck:sublayer=ffn+lora:reduction_rate=64"],
    ).methods
    assert (kept.field, kept.largest) == (None, None)
    assert kept.next_larger is not None
    assert kept.next_larger.parameters == 4 * 2 * 2 * 192 * 48
    assert searched.field == "reduction_rate"
    assert searched.largest is not None
    rank, low_rank = 18, 4 * 2 * 2 * 192 * 3
    assert searched.largest.parameters == low_rank + 4 * (2 * 192 * rank + rank + 192 + 2 * 192) <= 40_000
    assert searched.largest.spec == "bottleneck:reduction_rate=10.7,sublayer=ffn+lora:reduction_rate=64"
    stated = plan_methods("40k", backbone="random:tiny", methods=[parse_method("lora:reduction_rate=4")]).methods[0]
    assert (stated.largest, stated.next_larger) == (kept.largest, kept.next_larger)


def test_the_widest_and_the_smallest() -> None:
    wide, narrow = (plan_methods(size, backbone="random:tiny", methods=["lora"]).methods[0] for size in ("10M", 3071))
    assert (wide.largest.spec if wide.largest else None, wide.next_larger) == ("lora:reduction_rate=1", None)
    assert narrow.largest is None
    assert narrow.next_larger is not None
    assert (narrow.next_larger.spec, narrow.next_larger.parameters) == ("lora:reduction_rate=192", 4 * 2 * 2 * 192)
    exact = plan_methods(3072, backbone="random:tiny", methods=["lora"]).methods[0]
    assert exact.largest == narrow.next_larger


def test_labels_and_length_come_from_the_data(generated: Path) -> None:
    plan = astune.plan_methods("2M", data=generated, backbone="random:tiny")
    assert (plan.labels, plan.max_length, plan.notices) == (6, 48, ())
    assert plan_methods("2M", data=load_data(generated), backbone="random:tiny") == plan
    full = by_name(plan)["full-ft"].largest
    assert full.parameters == count("full-ft", 6, tiny(48)).parameters
    assert plan_methods("2M", data=generated, backbone="random:tiny", max_length=64).max_length == 64
    assumed = plan_methods("2M", backbone="random:tiny")
    assert (assumed.labels, assumed.max_length) == (10, 1024)
    assert assumed.notices == (
        "Note: assumed 10 labels and an input of 1024 frames, the backbone's own; give your data to have theirs",
    )


def tiny(length: int) -> Architecture:
    return Architecture(hidden_size=192, num_hidden_layers=4, intermediate_size=768, max_length=length)


def test_a_plan_shows_itself() -> None:
    plan = plan_methods("20k", "90 kB", backbone="random:tiny", labels=4, max_length=64, methods=["lora", "full-ft"])
    assert repr(plan) == (
        "MethodPlan('random:tiny': 4 labels, input of 64 frames (0.6 s), at most 20,000 trained parameters and "
        "90,000 bytes of adapter file, 1 of 2 methods fit)"
    )
    assert "<td" in plan._repr_html_()
    assert "lora" in plan._repr_html_()


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({}, "no budget is given; give parameters, such as 250k, or adapter_size"),
        ({"parameters": "many"}, "parameters='many': give a whole number, or one with a unit: k"),
        ({"parameters": "1k", "labels": 1}, "labels=1: give a whole number of classes, 2 or more"),
        ({"parameters": "1k", "labels": 2.5}, r"labels=2\.5: give a whole number"),
        ({"parameters": "1k", "methods": []}, "methods is empty"),
        ({"parameters": "1k", "methods": ["lara"]}, "did you mean 'lora'"),
        ({"parameters": "1k", "max_length": 8}, "shorter than one patch"),
        ({"parameters": "1k", "max_length": "8"}, "whole number of frames"),
        ({"parameters": "1k", "backbone": "random:huge"}, "unknown backbone 'random:huge'"),
        ({"parameters": "1k", "window": 2.0}, "window: no data are given"),
        ({"parameters": "1k", "data": "nowhere"}, "there is no 'nowhere'"),
        (
            {"parameters": "1k", "methods": ["bottleneck:sublayer=ffn+lora"]},
            r"several sizes to choose \(reduction_rate of bottleneck and reduction_rate of lora\); state all but one",
        ),
    ],
)
def test_mistakes_are_named(arguments: dict[str, Any], fault: str) -> None:
    with pytest.raises(AstuneError, match=fault):
        plan_methods(**{"backbone": "random:tiny", **arguments})


def test_labels_beside_data_are_refused(generated: Path) -> None:
    with pytest.raises(ConfigError, match="labels=3 and data are both given"):
        plan_methods("1k", data=generated, labels=3)
    with pytest.raises(ConfigError, match="group_by: the data have been read already"):
        plan_methods("1k", data=load_data(generated), group_by="a")


@pytest.fixture
def _shrinking() -> Iterator[None]:
    """A method that says of itself that it grows, and shrinks."""

    class Shrinking(Method):
        size_field: ClassVar[SizeField | None] = SizeField("keep", lambda step, _: step)
        keep: int = 1

        @override
        def attach(self, sites: Any) -> Attachment:
            return Attachment({"extra": torch.nn.Linear(sites.width, max(1, 100 - self.keep))})

    register("shrinking")(Shrinking)
    yield
    del FAMILIES["shrinking"]


@pytest.mark.usefixtures("_shrinking")
def test_what_does_not_grow_is_not_searched() -> None:
    with pytest.raises(ConfigError, match="'shrinking' does not grow with keep as its class says; state keep"):
        plan_methods(18_000, backbone="random:tiny", methods=["shrinking"])
    stated = plan_methods(18_000, backbone="random:tiny", methods=["shrinking:keep=50"]).methods[0]
    assert stated.largest is not None
    assert stated.largest.parameters == 193 * 50


def test_the_command_prints_what_training_then_writes(
    generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    arguments = ["--adapter-size", "60kB", "--backbone", "random:tiny", "--method", "linear,conformer,full-ft"]
    code, out, err = run(capsys, monkeypatch, "plan", generated, *arguments)
    assert (code, err) == (0, "")
    assert "random:tiny, 6 labels, 48 frames: at most 60,000 bytes of adapter file" in out
    code, text, _ = run(capsys, monkeypatch, "plan", generated, *arguments, "--json")
    record = json.loads(text)
    assert record == json.loads(json.dumps(astune.plan_methods(
        None, "60kB", data=generated, backbone="random:tiny", methods=["linear", "conformer", "full-ft"]
    ).record()))  # fmt: skip
    linear, conformer, full = record["methods"]
    assert full["largest"] is None
    assert re.search(rf"full-ft .* {full['next_larger']['file_bytes'] - 60_000:,} bytes over", out)
    (command,) = [line.removeprefix("next: ") for line in out.splitlines() if line.startswith("next: ")]
    words = shlex.split(command)
    assert words[words.index("--method") + 1] == linear["largest"]["spec"]
    words[words.index("--method") + 1] = conformer["largest"]["spec"]
    monkeypatch.setattr(sys, "argv", [*words, "--num-train-epochs", "1"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    written = json.loads((tmp_path / "adapters" / "new" / "results.json").read_text())
    assert written["trainable_parameters"] == conformer["largest"]["parameters"]
    assert (tmp_path / "adapters" / "new" / "adapter_model.safetensors").stat().st_size == conformer["largest"][
        "file_bytes"
    ]
    assert conformer["largest"]["file_bytes"] <= 60_000 < conformer["next_larger"]["file_bytes"]


def test_the_command_says_what_it_assumed_and_repeats_how_data_are_read(
    generated: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = run(capsys, monkeypatch, "plan", "--parameters", "20k", "--backbone", "random:tiny")
    assert code == 0
    assert err.startswith("Note: assumed 10 labels and an input of 1024 frames")
    assert "next: astune train DATA --backbone random:tiny --method lora" in out
    options = [
        "--group-by",
        "^(test|train|validation)/",
        "--negative",
        "zip",
        "--negative",
        "coin_spin",
        "--max-length",
        "64",
    ]
    code, out, err = run(capsys, monkeypatch, "plan", generated, "--parameters", "20k", *options)
    assert code == 0, err
    again = "--negative zip --negative coin_spin --group-by '^(test|train|validation)/' --backbone bundled --max-length 64 --method"
    assert again in out
    code, _, err = run(capsys, monkeypatch, "plan", "--parameters", "20k", *options[:2])
    assert code == 1
    assert "--group-by: no data are given" in err
