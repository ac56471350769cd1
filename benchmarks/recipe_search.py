"""Many short trainings at once: runs of one method stacked, each with its own clips, rates and first weights.

One run of so small a model leaves a GPU idle. Stacked, they share every kernel (``torch.func.vmap`` over what is trained), and AdamW is
written out, so that each has its own rates. Masks are drawn as SpecAugment draws them, from one generator and not by clip.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.func import functional_call, vmap
from torch.nn.functional import cross_entropy, one_hot

from astune import AudioClassifier, load_backbone
from astune.training.recipe import OWN_DATA_EPOCHS, OWN_DATA_STEPS, OWN_DATA_TIME_MASK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astune.training.head_start import Head
    from benchmarks.recipe_cells import Cell, Study

BATCH = 32
EVALUATIONS = 8  # of a run, beside the one before its first step
_BETAS, _EPSILON, _FREQ_MASK = (0.9, 0.98), 1e-6, 24


@dataclass(frozen=True)
class Candidate:
    """A recipe that is tried."""

    name: str
    method: str = "lora"
    rate: float = 5e-3
    head_ratio: float = 1.0
    """Rate of the head, as a share of the others'."""
    warmup: float = 0.0
    """As a share of the steps."""
    share: float = 1.0
    """Of the paper recipe's epochs."""
    start: str = "random"
    """Of the head: random or probe."""
    masks: bool = True
    smoothing: float = 0.0
    mixup: float = 0.0
    decay: float = 0.1

    def epochs(self, clips: int) -> int:
        """Passes over so many training clips.

        Args:
            clips: that train.
        """
        low, high = OWN_DATA_EPOCHS
        return max(1, round(self.share * min(max(math.ceil(OWN_DATA_STEPS * BATCH / clips), low), high)))


@dataclass(frozen=True)
class Replica:
    """A run of a stack."""

    candidate: Candidate
    cell: Cell
    head: Head

    def plan(self) -> list[list[int]]:
        """The clips of each step."""
        clips = torch.tensor(self.cell.train)
        generator = torch.Generator().manual_seed(1000 + self.cell.seed)
        orders = [
            clips[torch.randperm(len(clips), generator=generator)] for _ in range(self.candidate.epochs(len(clips)))
        ]
        return [[int(clip) for clip in clips] for order in orders for clips in torch.split(order, BATCH)]


class Stack:
    """Runs of one method on one data set, trained together.

    Args:
        study: the data set, its tensors on the device.
        replicas: the runs.
        device: where they run.
    """

    def __init__(self, study: Study, replicas: Sequence[Replica], device: torch.device) -> None:
        self.study, self.replicas, self.device = study, replicas, device
        drawn = {seed: self._drawn(seed) for seed in {replica.cell.seed for replica in replicas}}
        self.model, trained = drawn[replicas[0].cell.seed]
        self.shapes = {name: tensor.shape for name, tensor in trained.items()}
        self.sizes = [math.prod(shape) for shape in self.shapes.values()]
        starts = []
        for replica in replicas:
            values = dict(drawn[replica.cell.seed][1])
            if replica.candidate.start == "probe":
                values["head.weight"] = torch.from_numpy(replica.head.weight).float()
                values["head.bias"] = torch.from_numpy(replica.head.bias).float()
            starts.append(torch.cat([values[name].flatten() for name in self.shapes]))
        self.flat = torch.stack(starts).to(device).requires_grad_()
        self.model.requires_grad_(requires_grad=False).to(device).train()
        self.model.sites.set_kernel("eager")
        self.moments = (torch.zeros_like(self.flat), torch.zeros_like(self.flat))
        plans = [replica.plan() for replica in replicas]
        self.lengths = torch.tensor([len(plan) for plan in plans])
        self.steps = int(self.lengths.max())
        clips = torch.full((self.steps, len(replicas), BATCH), -1)
        for row, plan in enumerate(plans):
            for step, batch in enumerate(plan):
                clips[step, row, : len(batch)] = torch.tensor(batch)
        self.clips = clips.to(device)
        self.generator = torch.Generator(device=device).manual_seed(1)

    def _drawn(self, seed: int) -> tuple[AudioClassifier, dict[str, Tensor]]:
        """A model, and what of it is trained, as a run with this seed draws it."""
        torch.manual_seed(seed)
        backbone = load_backbone("bundled", self.study.frames)
        model = AudioClassifier(backbone, self.replicas[0].candidate.method, self.study.labels)
        return model, {
            model.module_names[name]: tensor.detach().clone() for name, tensor in model.trained_parameters().items()
        }

    def run(self) -> list[list[list[float]]]:
        """Train all.

        Returns:
            Of each run some rows: step, accuracy and loss on the clips that choose, accuracy and loss on those that score.
        """
        points = {round(self.steps * part / EVALUATIONS) for part in range(1, EVALUATIONS + 1)}
        curves = [[row] for row in self._evaluated(0)]
        for step in range(self.steps):
            self._step(step)
            if step + 1 in points:
                for curve, row in zip(curves, self._evaluated(step + 1), strict=True):
                    curve.append(row)
        return curves

    def _column(self, name: str) -> Tensor:
        """A number of each run's candidate, (runs, 1)."""
        return torch.tensor([float(getattr(replica.candidate, name)) for replica in self.replicas], device=self.device)[
            :, None
        ]

    def _logits(self, inputs: Tensor) -> Tensor:
        """(runs, batch, classes) of (runs, batch, frames, bins)."""
        parts = torch.split(self.flat, self.sizes, dim=1)
        stacked = {
            name: part.reshape(len(self.replicas), *shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

        def one(trained: dict[str, Tensor], batch: Tensor) -> Tensor:
            logits: Tensor = functional_call(self.model, trained, (batch,)).logits
            return logits

        with torch.autocast(self.device.type, torch.bfloat16):
            found: Tensor = vmap(one)(stacked, inputs)
        return found.float()

    def _evaluated(self, step: int) -> list[list[float]]:
        rows = [[float(step)] for _ in self.replicas]
        for part in ("choose", "score"):
            lists = [getattr(replica.cell, part) for replica in self.replicas]
            clips = torch.full((len(lists), max(map(len, lists))), -1)
            for row, some in enumerate(lists):
                clips[row, : len(some)] = torch.tensor(some)
            clips = clips.to(self.device)
            with torch.no_grad():
                logits = torch.cat(
                    [
                        self._logits(self.study.inputs[some.clamp(min=0)].float())
                        for some in torch.split(clips, 64, dim=1)
                    ],
                    dim=1,
                )
            targets, there = self.study.targets[clips.clamp(min=0)], clips >= 0
            right = ((logits.argmax(-1) == targets) & there).sum(1) / there.sum(1)
            each = cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)
            loss = (each * there).sum(1) / there.sum(1)
            for found, share, nats in zip(rows, right.tolist(), loss.tolist(), strict=True):
                found += [share, nats]
        return rows

    def _batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs, targets as shares of the classes, and which clips are there."""
        clips = self.clips[step]
        there = clips >= 0
        inputs = self.study.inputs[clips.clamp(min=0)].float()
        shares = one_hot(self.study.targets[clips.clamp(min=0)], len(self.study.labels)).float()
        inputs = masked(inputs, self._column("masks")[:, 0] > 0, self.generator)
        alpha = self._column("mixup")
        if alpha.any():
            own = torch.distributions.Beta(alpha.clamp(min=1e-3), alpha.clamp(min=1e-3)).sample((BATCH,))[..., 0].T
            own = torch.where(alpha > 0, torch.maximum(own, 1 - own), torch.ones_like(own))
            other = (torch.arange(BATCH, device=self.device)[None] + 1) % there.sum(1, keepdim=True).clamp(min=1)
            second = torch.gather(inputs, 1, other[..., None, None].expand_as(inputs))
            inputs = own[..., None, None] * inputs + (1 - own[..., None, None]) * second
            shares = own[..., None] * shares + (1 - own[..., None]) * torch.gather(
                shares, 1, other[..., None].expand_as(shares)
            )
        factor = self._column("smoothing")[..., None]
        return inputs, shares * (1 - factor) + factor / shares.shape[-1], there

    def _step(self, step: int) -> None:
        inputs, shares, there = self._batch(step)
        each = -(shares * self._logits(inputs).log_softmax(-1)).sum(-1) * there
        loss = each.sum(1) / there.sum(1).clamp(min=1)
        (gradient,) = torch.autograd.grad(loss.sum(), self.flat)
        with torch.no_grad():
            rates = self._rates(step)
            first, second = self.moments
            first.lerp_(gradient, 1 - _BETAS[0])
            second.lerp_(gradient.square(), 1 - _BETAS[1])
            deviation = (second / (1 - _BETAS[1] ** (step + 1))).sqrt() + _EPSILON
            move = first / (1 - _BETAS[0] ** (step + 1)) / deviation
            self.flat.mul_(1 - rates * self._column("decay")).sub_(rates * move)

    def _rates(self, step: int) -> Tensor:
        """Of each number that is trained, (runs, numbers): a warm-up, then a cosine; 0 after the end of a run."""
        length = self.lengths.to(self.device)[:, None].float()
        warmup = self._column("warmup") * length
        falling = 0.5 * (1 + torch.cos(math.pi * (step - warmup) / (length - warmup)))
        share = torch.where(step < warmup, (step + 1) / (warmup + 1), falling)
        rate = torch.where(step < length, self._column("rate") * share, torch.zeros_like(length))
        in_head = [
            torch.full((size,), name.startswith("head.")) for name, size in zip(self.shapes, self.sizes, strict=True)
        ]
        return torch.where(torch.cat(in_head).to(self.device), rate * self._column("head_ratio"), rate)


def masked(inputs: Tensor, chosen: Tensor, generator: torch.Generator) -> Tensor:
    """SpecAugment with the masks of the recipe for own data.

    Args:
        inputs: (runs, batch, frames, bins).
        chosen: which runs are masked, (runs,).
        generator: on the inputs' device.

    Returns:
        Of the same shape.
    """
    runs, batch, frames, bins = inputs.shape
    draws = torch.rand((4, runs, batch), generator=generator, device=inputs.device)

    def span(width: Tensor, start: Tensor, bound: int, size: int) -> Tensor:
        wide = (width * bound).floor()
        low = (start * (size - wide + 1)).floor()
        position = torch.arange(size, device=inputs.device)
        return (position >= low[..., None]) & (position < (low + wide)[..., None])

    bands = span(draws[0], draws[1], _FREQ_MASK, bins)[:, :, None, :]
    stretches = span(draws[2], draws[3], int(OWN_DATA_TIME_MASK * frames), frames)[..., None]
    return inputs.masked_fill((bands | stretches) & chosen[:, None, None, None], 0.0)


def settings(candidate: Candidate) -> dict[str, Any]:
    """A candidate as JSON.

    Args:
        candidate: any.
    """
    return dict(vars(candidate))
