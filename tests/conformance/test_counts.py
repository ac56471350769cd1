"""Trained parameters on AST-base at 500 frames: the exact figures behind the paper's "# params" columns."""

from __future__ import annotations

import json

import pytest
from transformers import ASTConfig
from typer.testing import CliRunner

from astune.cli import app
from astune.counting import count
from astune.methods import PRESETS

D, LAYERS, NORM = 768, 12, 2 * 768  # of AST-base

# Table I, and what it prints.
TABLE_1 = {
    "full-ft": (85_708_032, "85.5M"),
    "linear": (39_986, "9-40K"),
    "bitfit": (102_144, "102K"),
    "spt-300": (230_400, "230K"),
    "dpt-25": (230_400, "230K"),
    "pref-t-24": (221_184, "221K"),
    "bottleneck-pf-par": (248_976, "249K"),
    "bottleneck-pf-seq": (248_976, "249K"),
    "bottleneck-hou-par": (497_952, "498K"),
    "bottleneck-hou-seq": (497_952, "498K"),
    "convpass-pf-par": (254_304, "254K"),
    "convpass-pf-seq": (254_304, "254K"),
    "convpass-hou-par": (508_608, "508K"),
    "convpass-hou-seq": (508_608, "508K"),
    "lora": (221_184, "221K"),
}

# Tables III to VII.
ABLATIONS = {
    "lora:reduction_rate=64,targets=q": 221_184,
    "lora:targets=qk": 221_184,
    "lora:targets=qv": 221_184,
    "lora:reduction_rate=256,targets=qkvo": 221_184,
    "lora:reduction_rate=64": 442_368,
    "bottleneck-pf-seq:reduction_rate=32": 470_304,
    "bottleneck-pf-par:reduction_rate=32": 470_304,
    "bottleneck:configuration=mixed": 497_952,
    "bottleneck:configuration=hydra": 470_304,
    "bottleneck:sublayer=ffn+lora": 470_160,
    "bottleneck:sublayer=ffn+dpt:tokens=25": 479_376,
    "bottleneck:sublayer=ffn+dpt:tokens=14+lora:reduction_rate=256": 488_592,
    "conformer": 270_720,  # of the MLSP version
    "bottleneck:sublayer=mhsa,insertion=sequential,position=before": 248_976,
    "bottleneck:sublayer=ffn,insertion=sequential,residual=false": 248_976,
}

# Of their own papers, on a transformer of these sizes where the paper has one (ViT-B, RoBERTa-base).
NEWER = {
    "dora": 221_184 + LAYERS * 2 * D,
    "lora:rate_ratio=16": 221_184,
    "ia3": LAYERS * (D + D + 4 * D),
    "vera": 24_576,  # the 24.6K of VeRA's table for ViT-B: r = 256, queries and values
    "vera:rank=1024": 43_008,  # the 0.043M for RoBERTa-base
    "ssf": LAYERS * 2 * (D + 4 * D + D + 4 * D + D),
    "ln-tuning": LAYERS * 2 * NORM + NORM,
    "dense-moa": LAYERS * (7 * (2 * D * 6 + 6 + D) + 7 * D + 7 + NORM),
    "soft-moa": LAYERS * (7 * (2 * D * 6 + 6 + D) + 7 * D + NORM),
    "soft-moa:slots=2,adapters=3": LAYERS * (3 * (2 * D * 6 + 6 + D) + 6 * D + NORM),
    "look-aside": LAYERS * (2 * 3 * D * 12 + 12 + D + NORM),  # both matrices of a bottleneck of 12, with kernels of 3
    "look-aside:kernel=1": LAYERS * (2 * D * 12 + 12 + D + NORM),
}


def test_every_row_of_table_1_is_a_preset_in_its_order() -> None:
    assert [name for name in PRESETS if name in TABLE_1] == list(TABLE_1)


@pytest.mark.parametrize("spec", [*TABLE_1, *ABLATIONS])
def test_count_is_exact(spec: str) -> None:
    expected = TABLE_1[spec][0] if spec in TABLE_1 else ABLATIONS[spec]
    assert count(spec).parameters == expected


def test_formulas() -> None:
    r = D // 64
    assert LAYERS * (2 * D * r + r + D + NORM) == TABLE_1["bottleneck-pf-par"][0]
    assert TABLE_1["lora"][0] == LAYERS * 2 * 2 * D * (D // 128)
    assert TABLE_1["bitfit"][0] == LAYERS * (4 * D + 4 * D + D + 2 * D) + D
    assert TABLE_1["bottleneck-pf-par"][0] + LAYERS * (3 * r * r + r) == TABLE_1["convpass-pf-par"][0]
    assert TABLE_1["dpt-25"][0] == 25 * D * LAYERS
    assert TABLE_1["pref-t-24"][0] == 24 * D * LAYERS
    assert ABLATIONS["conformer"] == LAYERS * (4 * D + 3 * D * 8 + 36 * 8 + D)
    assert LAYERS * (4 * D * r + 2 * r + D + 2 * D) == ABLATIONS["bottleneck:configuration=hydra"]


@pytest.mark.parametrize("spec", NEWER)
def test_newer_methods_have_their_papers_sizes(spec: str) -> None:
    assert count(spec).parameters == NEWER[spec]


@pytest.mark.parametrize(("classes", "expected"), [(10, 9_226), (31, 25_375), (50, 39_986)])
def test_linear_counts_head_and_final_norm(classes: int, expected: int) -> None:
    assert expected == (D + 1) * classes + NORM
    assert count("linear", classes).parameters == expected


def test_layermix_counts_a_number_a_level_beside_linear() -> None:
    assert count("layermix", 50).parameters == 39_986 + 13


def test_methods_are_counted_without_the_head() -> None:
    assert count("lora", 10).parameters == count("lora", 50).parameters


def test_rank_is_rounded_and_never_zero() -> None:
    narrow = ASTConfig(
        hidden_size=192, num_attention_heads=3, num_hidden_layers=1, intermediate_size=768, max_length=64
    )
    assert count("lora:reduction_rate=100,targets=q", 2, narrow).parameters == 2 * 192 * 2  # round(1.92) = 2
    assert count("lora:reduction_rate=4000,targets=q", 2, narrow).parameters == 2 * 192 * 1


def test_the_command_prints_these_figures() -> None:
    result = CliRunner().invoke(app, ["methods", "--json"])
    assert result.exit_code == 0
    printed = json.loads(result.stdout)
    assert list(printed) == list(PRESETS)
    assert {name: printed[name]["parameters"] for name in TABLE_1} == {name: row[0] for name, row in TABLE_1.items()}
    assert printed["lora"]["percent_of_full"] == pytest.approx(100 * 221_184 / 85_708_032)
    assert printed["lora"]["adapter_bytes"] == 4 * (221_184 + 39_986)  # float32, head and final LayerNorm included


def test_the_table_names_every_preset() -> None:
    result = CliRunner().invoke(app, ["methods"])
    assert result.exit_code == 0
    for name, (exact, _) in TABLE_1.items():
        assert name in result.stdout
        assert f"{exact:,}" in result.stdout
