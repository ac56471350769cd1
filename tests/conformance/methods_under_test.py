"""Every registered preset, family and example, found through the registry; the suite asserts that there are some."""

from __future__ import annotations

import torch

from astune import AudioClassifier, load_backbone
from astune.methods import FAMILIES, PRESETS

SPECS = list(dict.fromkeys([*PRESETS, *FAMILIES, *(spec for cls in FAMILIES.values() for spec in cls.examples)]))
LABELS = ("a", "b", "c")
FRAMES = 64


def classifier(spec: str, *, pooling: str = "all", seed: int = 0) -> AudioClassifier:
    torch.manual_seed(seed)
    return AudioClassifier(load_backbone("random:tiny", FRAMES), spec, LABELS, pooling)  # type: ignore[arg-type]


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
