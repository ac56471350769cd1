"""Methods newer than the paper, by the formulas of their papers; PEFT has the others (tests/parity/test_peft_methods.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from transformers import ASTConfig, ASTModel

from astune import AudioClassifier, load_backbone, parse_method
from astune.backbone import Backbone
from astune.errors import AdapterError, ConfigError
from astune.methods.adapters import Bottleneck
from astune.methods.look_aside import Axis, AxisConvolution, LookAside
from astune.methods.moa import DenseMixture, SoftMixture
from astune.methods.ssf import ScaleShift
from astune.methods.vera import frozen_matrix
from astune.training.check import check
from astune.training.engine import Engine
from astune.training.parameter_groups import parameter_groups
from astune.training.setup import set_up
from astune.training.stage import stage_of
from tests.conformance.methods_under_test import classifier
from tests.parity.test_transformers import SMALL
from tests.unit.test_loop import config


@torch.no_grad()
def test_soft_moa_mixes_tokens_by_slots() -> None:
    """Section 2 of Soft MoE, token by token: two adapters with two slots each, of three tokens of width 8."""
    torch.manual_seed(0)
    mixture = SoftMixture(8, 2, adapters=2, slots=2, init="normal").double()
    x = torch.randn(1, 3, 8, dtype=torch.float64)
    scores = np.array([[float(x[0, t] @ mixture.slots[:, n, p]) for n in range(2) for p in range(2)] for t in range(3)])
    dispatch = np.exp(scores) / np.exp(scores).sum(axis=0)
    combine = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    slots = [sum(dispatch[t, j] * x[0, t] for t in range(3)) for j in range(4)]
    made = [mixture.adapters[j // 2](slot[None])[0] for j, slot in enumerate(slots)]
    expected = torch.stack([sum(combine[t, j] * made[j] for j in range(4)) for t in range(3)])
    torch.testing.assert_close(mixture(x)[0], expected, atol=1e-12, rtol=1e-10)


def test_dense_moa_weighs_adapters_by_a_router() -> None:
    torch.manual_seed(0)
    mixture = DenseMixture(8, 2, adapters=3, init="normal").double()
    x = torch.randn(2, 3, 8, dtype=torch.float64)
    shares = torch.softmax(x @ mixture.router.weight.T + mixture.router.bias, dim=-1)
    expected = sum(shares[..., i, None] * adapter(x) for i, adapter in enumerate(mixture.adapters))
    torch.testing.assert_close(mixture(x), expected, atol=1e-12, rtol=1e-10)


def test_ssf_scales_and_shifts_every_operation_of_a_layer() -> None:
    model = AudioClassifier(load_backbone("random:tiny", 64), "ssf:layers=0", ["a", "b"])
    names = [name.removeprefix("layers.0.").removesuffix(".ssf") for name in model.modules_by_place]
    assert names == ["mhsa.norm", "mhsa.q", "mhsa.k", "mhsa.v", "mhsa.o", "ffn.norm", "ffn.w1", "ffn.w2"]
    scaled = ScaleShift(2, "identity")
    scaled.scale.data, scaled.shift.data = torch.tensor([2.0, 3.0]), torch.tensor([0.5, -1.0])
    assert scaled(torch.tensor([[1.0, 1.0]])).tolist() == [[2.5, 2.0]]


def test_ssf_is_not_merged_where_no_bias_can_take_its_shift() -> None:
    bare: Any = ASTConfig(**SMALL, max_length=64, qkv_bias=False)
    unbiased: Any = ASTModel(bare)
    model = AudioClassifier(Backbone.of(unbiased), "ssf", ["a", "b"])
    with pytest.raises(AdapterError, match="ssf cannot be merged: a projection of the backbone has no bias"):
        model.merge_and_unload()
    merged = AudioClassifier(Backbone.of(ASTModel(bare)), "ia3", ["a", "b"]).merge_and_unload()
    assert list(merged.added.parameters()) == []


def test_the_random_matrices_depend_on_their_seed_alone() -> None:
    """Kaiming-uniform: variance 2 / columns."""
    cpu = torch.device("cpu")
    one = frozen_matrix(0, "A", 256, 768, cpu)
    frozen_matrix.cache_clear()
    assert torch.equal(one, frozen_matrix(0, "A", 256, 768, cpu))
    assert not torch.equal(one, frozen_matrix(1, "A", 256, 768, cpu))
    assert float(one.var()) == pytest.approx(2 / 768, rel=0.01)
    assert one[0, :3].tolist() == pytest.approx(
        [-0.08595596998929977, -0.03322789445519447, -0.07997377961874008], abs=1e-9
    )  # as every machine has to draw them


def test_lora_plus_trains_the_second_matrix_at_a_higher_rate(generated: Path, tmp_path: Path) -> None:
    settings = config(generated, tmp_path / "out", method="lora:rate_ratio=16", limit_clips=8, learning_rate=0.001)
    setup = set_up(settings, Accelerator(cpu=True), quiet=True)
    engine = Engine(setup, stage_of(setup, ()), ())
    rates = {group["rate_factor"]: len(group["params"]) for group in engine.optimizer.param_groups}
    assert rates == {1.0: 4 * 2 + 4, 16.0: 4 * 2}  # A of 4 layers; head and final LayerNorm; B


@pytest.mark.parametrize(
    ("spec", "factors"),
    [
        ("lora:layers=0-3,rate_ratio=16", {"0": 16.0, "1": 16.0, "2": 16.0, "3": 16.0}),
        ("lora:layers=0,rate_ratio=16+lora:layers=1-3,rate_ratio=16", {"0": 16.0, "1": 16.0, "2": 16.0, "3": 16.0}),
        ("lora:layers=0,rate_ratio=4+lora:layers=1,rate_ratio=16+lora:layers=2-3", {"0": 4.0, "1": 16.0}),
        (
            "lora:targets=q,rate_ratio=16+dora:targets=v,layers=1-2,rate_ratio=8",
            {"0": 16.0, "1": 16.0, "2": 16.0, "3": 16.0},
        ),
    ],
)
def test_each_member_of_a_sum_has_its_own_rate(spec: str, factors: dict[str, float]) -> None:
    groups = parameter_groups(classifier(spec), 0.1)
    found = {name: group["rate_factor"] for group in groups for name in group["names"]}
    ups = {name.split(".")[1]: factor for name, factor in found.items() if ".q.lora.up" in name and factor != 1}
    assert ups == factors
    assert {factor for name, factor in found.items() if not name.endswith(".up.weight")} == {1.0}
    lengths = {factor for name, factor in found.items() if name.endswith("dora.update.up.weight")}
    assert lengths == ({8.0} if "dora" in spec else set())


@pytest.mark.parametrize("spec", ["dora+lora", "ia3+dora:targets=v", "dora+vera:targets=q"])
def test_nothing_else_changes_a_projection_that_dora_replaces(spec: str) -> None:
    with pytest.raises(
        ConfigError, match=r"replaces the output of layers\.0\.mhsa\.[qv], which another of its methods"
    ):
        parse_method(spec)


def test_dora_and_others_share_a_layer() -> None:
    assert len(parse_method("dora:targets=q+lora:targets=v+ia3:layers=1+bottleneck").places(12)) == 12 + 12 + 3 + 12


@pytest.mark.parametrize("axis", ["time", "frequency"])
@torch.no_grad()
def test_an_axis_convolution_sees_the_neighbours_of_a_patch_and_no_others(axis: Axis) -> None:
    """Patch by patch, on a grid of 3 x 4 with two tokens in front of it: sums over the kernel, zeros beyond the edge."""
    torch.manual_seed(0)
    layer = AxisConvolution(5, 2, kernel=3, axis=axis, grid=(3, 4)).double()
    assert layer.bias is not None
    x = torch.randn(2, 2 + 12, 5, dtype=torch.float64)

    def seen(row: int, column: int, step: int) -> torch.Tensor:
        row, column = (row, column + step) if axis == "time" else (row + step, column)
        inside = 0 <= row < 3 and 0 <= column < 4
        return x[:, 2 + 4 * row + column] if inside else torch.zeros(2, 5, dtype=torch.float64)

    patches = [
        sum((seen(row, column, step) @ layer.weight[:, :, 1 + step].T for step in (-1, 0, 1)), start=layer.bias)
        for row in range(3)
        for column in range(4)
    ]
    special = [x[:, token] @ layer.weight[:, :, 1].T + layer.bias for token in (0, 1)]
    torch.testing.assert_close(layer(x), torch.stack([*special, *patches], dim=1), atol=1e-12, rtol=1e-10)


@torch.no_grad()
def test_a_look_aside_adapter_with_kernel_1_is_a_bottleneck() -> None:
    torch.manual_seed(0)
    adapter = LookAside(8, 2, kernel=1, axes=("time", "frequency"), grid=(2, 3), init="normal").double()
    bottleneck = Bottleneck(8, 2, "normal").double()
    for ours, theirs in zip(adapter.parameters(), bottleneck.parameters(), strict=True):
        theirs.copy_(ours.reshape(theirs.shape))
    x = torch.randn(2, 1 + 6, 8, dtype=torch.float64)
    torch.testing.assert_close(adapter(x), bottleneck(x), atol=1e-12, rtol=1e-10)


def test_look_aside_adapters_need_all_patches(generated: Path, tmp_path: Path) -> None:
    model = AudioClassifier(load_backbone("random:tiny", 64), "look-aside:sublayer=ffn+lora", ["a", "b"])
    wrong = "look-aside:sublayer=ffn looks at neighbouring patches, so none may be dropped; use patchout=0"
    with pytest.raises(ConfigError, match=wrong):
        model(torch.zeros(1, 64, 128), kept_patches=torch.tensor([[0, 1]]))
    with pytest.raises(ConfigError, match=wrong):
        check(config(generated, tmp_path / "out", method="look-aside:sublayer=ffn+lora", patchout=0.5))


def test_a_kernel_has_a_middle() -> None:
    with pytest.raises(ConfigError, match=r"kernel.*give an odd number, such as 3 or 5"):
        parse_method("look-aside:kernel=4")
