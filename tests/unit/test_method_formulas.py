"""What each placement computes, against the paper's formula written out with transformers' own sub-modules."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from astune import AudioClassifier, load_backbone

FRAMES = 64
Adapter = Callable[[Tensor], Tensor]
SubLayer = Callable[[Tensor], Tensor]


def randomised(spec: str) -> AudioClassifier:
    """A classifier whose adapters do something."""
    torch.manual_seed(0)
    model = AudioClassifier(load_backbone("random:tiny", FRAMES), spec, ["a", "b"]).eval()
    for parameter in model.added.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def by_hand(
    model: AudioClassifier,
    mhsa: Callable[[int, SubLayer, Tensor], Tensor],
    ffn: Callable[[int, SubLayer, Tensor], Tensor],
) -> Tensor:
    """The pre-LN Transformer of equation 1, with sub-layers as given; the detached backbone supplies F."""
    model.sites.detach()
    backbone: Any = model.backbone.model
    x = backbone.embeddings(torch.randn(2, FRAMES, 128, generator=torch.Generator().manual_seed(1)))
    for index, layer in enumerate(backbone.layers):
        x = x + mhsa(index, partial(_attention, layer), layer.layernorm_before(x))
        x = x + ffn(index, layer.mlp, layer.layernorm_after(x))
    tokens: Tensor = backbone.layernorm(x)
    return tokens


def _attention(layer: Any, h: Tensor) -> Tensor:  # noqa: ANN401 - a module of transformers'
    output: Tensor = layer.attention(h)[0]
    return output


def plain(_: int, f: SubLayer, x: Tensor) -> Tensor:
    return f(x)


def bottleneck(state: dict[str, Tensor], path: str) -> Adapter:
    def adapter(x: Tensor) -> Tensor:
        hidden = F.gelu(x @ state[f"{path}.down.weight"].T + state[f"{path}.down.bias"])
        return hidden @ state[f"{path}.up.weight"].T + state.get(f"{path}.up.bias", torch.zeros(()))

    return adapter


def convpass(state: dict[str, Tensor], path: str) -> Adapter:
    def gelu(x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)

    def adapter(x: Tensor) -> Tensor:
        hidden = gelu(x @ state[f"{path}.down.weight"].T + state[f"{path}.down.bias"])
        kernel = state[f"{path}.convolution.weight"]  # (r, r, 3)
        left, right = F.pad(hidden, (0, 0, 1, 0))[:, :-1], F.pad(hidden, (0, 0, 0, 1))[:, 1:]
        mixed = left @ kernel[..., 0].T + hidden @ kernel[..., 1].T + right @ kernel[..., 2].T
        mixed = gelu(mixed + state[f"{path}.convolution.bias"])
        return mixed @ state[f"{path}.up.weight"].T + state[f"{path}.up.bias"]

    return adapter


FORMULAS: dict[str, tuple[str, Callable[[Adapter, SubLayer, Tensor], Tensor]]] = {
    "": ("mhsa", lambda a, f, x: f(x) + a(x)),
    "insertion=sequential": ("ffn", lambda a, f, x: f(x) + a(f(x))),
    "sublayer=ffn": ("ffn", lambda a, f, x: f(x) + a(x)),
    "sublayer=ffn,insertion=parallel,position=after": ("ffn", lambda a, f, x: f(x) + a(f(x))),
    "sublayer=mhsa,insertion=sequential": ("mhsa", lambda a, f, x: f(x) + a(f(x))),
    "sublayer=mhsa,insertion=sequential,position=before": ("mhsa", lambda a, f, x: f(a(x)) + a(x)),
    "insertion=sequential,position=before": ("ffn", lambda a, f, x: f(a(x)) + a(x)),
    "insertion=sequential,position=before,residual=off": ("ffn", lambda a, f, x: f(a(x))),
    "insertion=sequential,residual=off": ("ffn", lambda a, f, x: a(f(x))),
    "insertion=parallel,sublayer=ffn,residual=on": ("ffn", lambda a, f, x: f(x) + a(x) + x),
}


@pytest.mark.parametrize("family", ["bottleneck", "convpass"])
@pytest.mark.parametrize("settings", FORMULAS)
def test_one_adapter_a_layer(family: str, settings: str) -> None:
    model = randomised(f"{family}:{settings}" if settings else family)
    state = model.adapter_state()
    kind, formula = FORMULAS[settings]
    make = {"bottleneck": bottleneck, "convpass": convpass}[family]

    def adapted(index: int, f: SubLayer, x: Tensor) -> Tensor:
        return formula(make(state, f"layers.{index}.{kind}.adapter"), f, x)

    _compare(model, adapted if kind == "mhsa" else plain, adapted if kind == "ffn" else plain)


def _compare(model: AudioClassifier, mhsa: Any, ffn: Any) -> None:  # noqa: ANN401 - two of the callables above
    inputs = torch.randn(2, FRAMES, 128, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = model.backbone(inputs).last_hidden_state
        torch.testing.assert_close(found, by_hand(model, mhsa, ffn), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "mhsa", "ffn"),
    [
        ("configuration=houlsby", "parallel", "parallel"),
        ("configuration=houlsby,insertion=sequential", "sequential", "sequential"),
        ("configuration=mixed", "parallel", "sequential"),
    ],
)
@pytest.mark.parametrize("family", ["bottleneck", "convpass"])
def test_two_adapters_a_layer(family: str, settings: str, mhsa: str, ffn: str) -> None:
    model = randomised(f"{family}:{settings}")
    state = model.adapter_state()
    make = {"bottleneck": bottleneck, "convpass": convpass}[family]

    def around(kind: str, insertion: str) -> Callable[[int, SubLayer, Tensor], Tensor]:
        def adapted(index: int, f: SubLayer, x: Tensor) -> Tensor:
            adapter = make(state, f"layers.{index}.{kind}.adapter")
            return f(x) + adapter(x if insertion == "parallel" else f(x))

        return adapted

    _compare(model, around("mhsa", mhsa), around("ffn", ffn))


def test_hydra_reads_both_sides_of_the_same_ffn() -> None:
    model = randomised("bottleneck:configuration=hydra")
    state = model.adapter_state()

    def hydra(index: int, f: SubLayer, x: Tensor) -> Tensor:
        path = f"layers.{index}.ffn.adapter"
        return f(x) + bottleneck(state, f"{path}.parallel")(x) + bottleneck(state, f"{path}.sequential")(f(x))

    _compare(model, plain, hydra)


def test_only_the_layers_named_are_adapted() -> None:
    model = randomised("bottleneck:layers=1|3")
    assert set(model.modules_by_place) == {"layers.1.mhsa.adapter", "layers.3.mhsa.adapter"}
    state = model.adapter_state()

    def adapted(index: int, f: SubLayer, x: Tensor) -> Tensor:
        return f(x) + bottleneck(state, f"layers.{index}.mhsa.adapter")(x) if index in (1, 3) else f(x)

    _compare(model, adapted, plain)


@pytest.mark.parametrize(("spec", "scale"), [("lora", 8 / 128), ("lora:alpha=16,reduction_rate=64", 16 / 64)])
def test_lora_is_the_papers_equation_5(spec: str, scale: float) -> None:
    model = randomised(spec)
    state = model.adapter_state()
    backbone: Any = model.backbone.model
    x = torch.randn(1, 5, 192)
    with torch.no_grad():
        found = backbone.layers[2].attention.q_proj(x)
        path = "layers.2.mhsa.q.lora"
        update = x @ state[f"{path}.down.weight"].T @ state[f"{path}.up.weight"].T
        model.sites.detach()
        torch.testing.assert_close(found, backbone.layers[2].attention.q_proj(x) + scale * update)


SOME = (
    "dpt:tokens=5,layers=1|3",
    "dpt:tokens=2,layers=0+dpt:tokens=7,layers=2-3",
    "dpt:tokens=7,layers=2-3+spt:tokens=2",
)
"""Prompts of some layers, and of two sizes, in either order."""


@pytest.mark.parametrize("spec", ["spt:tokens=5", "dpt:tokens=5", *SOME])
def test_prompts_stand_between_the_first_token_and_the_patches(spec: str) -> None:
    model = randomised(spec)
    state = model.adapter_state()
    backbone: Any = model.backbone.model
    inputs = torch.randn(2, FRAMES, 128)
    with torch.no_grad():
        found = backbone(inputs).last_hidden_state
        model.sites.detach()
        x = backbone.embeddings(inputs)
        taken = 1  # the distillation token, then the former prompts
        for index, layer in enumerate(backbone.layers):
            if f"layers.{index}.prompts.tokens" in state:
                prompts = state[f"layers.{index}.prompts.tokens"].expand(2, -1, -1)
                x = torch.cat([x[:, :1], prompts, x[:, 1 + taken :]], dim=1)
                taken = prompts.shape[1]
            x = layer(x)
        expected = backbone.layernorm(x)
    assert found.shape == (2, 1 + taken + 12 * 5, 192)
    assert taken == (7 if "tokens=7" in spec else 5)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("spec", ["spt", "dpt", "prefix"])
def test_prompts_and_prefixes_start_uniform(spec: str) -> None:
    model = AudioClassifier(load_backbone("random:tiny", FRAMES), f"{spec}:tokens=200", ["a", "b"])
    bound = math.sqrt(6 / (3 * 16**2 + 192))
    values = torch.cat([parameter.detach().flatten() for parameter in model.added.parameters()])
    assert values.abs().max() <= bound
    assert values.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)


@pytest.mark.parametrize("spec", ["lora", "bottleneck", "convpass"])
def test_the_papers_effective_start(spec: str) -> None:
    """``init=normal``: every matrix from N(0, 0.02), biases zero, so the model starts away from the frozen one."""
    model = AudioClassifier(load_backbone("random:tiny", FRAMES), f"{spec}:init=normal,reduction_rate=4", ["a", "b"])
    for name, parameter in model.added.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any()
        else:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.1), name
