"""Every registered preset, family and example, found through the registry; the suite asserts that there are some."""

from __future__ import annotations

import copy
import functools

import torch

from astune import AudioClassifier, load_backbone
from astune.backbone import Backbone
from astune.methods import FAMILIES, PRESETS
from tests.conformance.backbones_under_test import FRAMES

SPECS = list(dict.fromkeys([*PRESETS, *FAMILIES, *(spec for cls in FAMILIES.values() for spec in cls.examples)]))
LABELS = ("a", "b", "c")


@functools.cache
def _loaded(backbone: str) -> Backbone:
    return load_backbone(backbone, FRAMES)


def fresh(backbone: str = "random:tiny") -> Backbone:
    """A backbone of its own for each test, as a copy: copying takes a quarter of the time of loading."""
    return copy.deepcopy(_loaded(backbone))


def classifier(spec: str, *, pooling: str = "all", seed: int = 0, backbone: str = "random:tiny") -> AudioClassifier:
    torch.manual_seed(seed)
    return AudioClassifier(fresh(backbone), spec, LABELS, pooling)  # type: ignore[arg-type]


def batch(size: int = 4, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, FRAMES, 128, generator=generator), torch.arange(size) % len(LABELS)


def train_steps(model: AudioClassifier, steps: int, learning_rate: float = 1e-2) -> dict[str, list[torch.Tensor]]:
    """A few AdamW steps; returns each step's gradients by name."""
    optimizer = torch.optim.AdamW(model.trained_parameters().values(), lr=learning_rate)
    gradients: dict[str, list[torch.Tensor]] = {name: [] for name in model.trained_parameters()}
    model.train()
    for step in range(steps):
        inputs, targets = batch(6, seed=step)
        optimizer.zero_grad()
        model(inputs, targets).loss.backward()
        for name, parameter in model.trained_parameters().items():
            assert parameter.grad is not None, f"{name} got no gradient"
            gradients[name].append(parameter.grad.clone())
        optimizer.step()
    return gradients
