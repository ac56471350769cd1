"""The teacher: a small convolutional network, trained on the labels in a fraction of the time an AST of this size would need.

Trained directly on the labels, the student sat on its starting plateau for as long as the experiment before this one waited;
taught by this network it does not.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval
from typing_extensions import override

from pretraining.mixing import normalised
from pretraining.stage import soft_cross_entropy

if TYPE_CHECKING:
    from collections.abc import Callable

    from pretraining.corpus import Part
    from pretraining.mixing import Batch

TIME_STRIDE = 8  # frames to a feature


@dataclass(frozen=True)
class TeacherConfig:
    """Size and training of the teacher."""

    channels: int = 256
    """Of its features."""
    steps: int = 4400
    learning_rate: float = 3e-3
    weight_decay: float = 0.02


def _convolution(
    inputs: int, outputs: int, size: int | tuple[int, int], stride: int | tuple[int, int]
) -> nn.Sequential:
    # A pair collapses the frequency axis: no padding there.
    padding = (size // 2, size // 2) if isinstance(size, int) else (size[0] // 2, 0)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, padding, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels, 3, 1)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    @override
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


class Teacher(nn.Module):
    """Seven convolutions and two residual blocks; frequency is collapsed, time keeps every eighth frame.

    Args:
        classes: labels of the corpus.
        channels: width of the features.
    """

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        layers = nn.Sequential(
            _convolution(1, 24, 5, 2),
            _convolution(24, 48, 3, 2),
            _convolution(48, 96, 3, 2),
            _Residual(96),
            _convolution(96, 160, 3, (1, 2)),
            _Residual(160),
            _convolution(160, channels, (3, 8), 1),
        )
        # torch's type for Module.to leaves out the memory format it takes
        self.features: nn.Module = layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.head = nn.Linear(2 * channels, classes)

    def folded(self) -> Teacher:
        """A copy to ask, not to train: each BatchNorm multiplied into the convolution before it."""
        copy = deepcopy(self).eval().requires_grad_(False)
        for module in list(copy.modules()):
            if isinstance(module, nn.Sequential):
                convolution, norm = module[0], module[1]
                if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    module[0], module[1] = fuse_conv_bn_eval(convolution, norm), nn.Identity()
        return copy

    def over_time(self, features: Tensor) -> Tensor:
        """(batch, frames, 128) to (batch, channels, about frames / 8)."""
        x = features[:, None].contiguous(memory_format=torch.channels_last)
        return self.features(x).squeeze(-1)  # type: ignore[no-any-return]

    @staticmethod
    def pooled(over_time: Tensor) -> Tensor:
        """Mean and maximum over time, (batch, 2 channels)."""
        return torch.cat([over_time.mean(-1), over_time.amax(-1)], dim=1)

    @override
    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (batch, classes) and features over time (batch, channels, time)."""
        over_time = self.over_time(features)
        return self.head(self.pooled(over_time)), over_time


class TeacherLearner:
    """Trains the teacher on labels.

    Args:
        module: the teacher.
        monitor: clips of the speaker that is only watched.
    """

    def __init__(self, module: Teacher, monitor: Part) -> None:
        self.module = module
        self.monitor = monitor

    def losses(self, batch: Batch) -> dict[str, tuple[float, Tensor]]:
        """Cross-entropy; see :class:`pretraining.stage.Learner`."""
        logits, _ = self.module(batch.features)
        return {"labels": (1.0, soft_cross_entropy(logits, batch.targets))}

    @torch.no_grad()
    def check(self) -> dict[str, float]:
        """Share of the watched speaker's keywords that are told apart."""
        self.module.eval()
        return {"monitor": keyword_accuracy(lambda x: self.module(x)[0], self.monitor)}


def keyword_accuracy(logits_of: Callable[[Tensor], Tensor], monitor: Part) -> float:
    """Accuracy among the keywords alone, whose labels come first.

    Args:
        logits_of: (batch, frames, 128) to (batch, classes).
        monitor: labelled keywords.
    """
    right = 0
    for start in range(0, len(monitor.labels), 100):
        features = torch.from_numpy(normalised(monitor.features[start : start + 100].astype("float32")))
        guesses = logits_of(features)[:, : len(monitor.names)].argmax(1).numpy()
        right += int((guesses == monitor.labels[start : start + 100]).sum())
    return round(right / len(monitor.labels), 4)
