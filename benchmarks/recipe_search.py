"""Many short trainings at once: replicas of one method that share shapes, stacked, each with its own clips, rates and start."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.func import functional_call, vmap
from torch.nn.functional import cross_entropy

from astune import AudioClassifier, load_backbone

if TYPE_CHECKING:
    from collections.abc import Sequence

BATCH = 32


@dataclass(frozen=True)
class Candidate:
    name: str
    method: str = "lora"
    rate: float = 5e-3
    head_ratio: float = 1.0
    warmup: float = 0.0
    share: float = 1.0  # of today's steps
    start: str = "random"  # or probe
    masks: bool = True
    smoothing: float = 0.0
    mixup: float = 0.0
    decay: float = 0.1
    strength: float | None = None  # of the probe; None: chosen


def epochs(train: int, share: float) -> int:
    today = min(max(math.ceil(1500 * BATCH / train), 10), 75)
    return max(1, round(today * share))


@dataclass
class Replica:
    candidate: Candidate
    cell: dict[str, Any]
    head: tuple[Any, Any] | None  # weight and bias of the probe


def run(data: dict[str, Any], replicas: Sequence[Replica], device: torch.device, evals: int = 12, deadline: float = math.inf) -> list[dict[str, Any]] | None:
    """Train all; each record has the figures on choosing and scoring clips at some steps."""
    began = time.perf_counter()
    classes, frames = len(data["labels"]), data["frames"]
    model = AudioClassifier(load_backbone("bundled", frames), replicas[0].candidate.method, [f"c{n}" for n in range(classes)])
    names = model.module_names
    trained = {names[key]: p for key, p in model.trained_parameters().items()}
    shapes = {key: p.shape for key, p in trained.items()}
    starts, drawn = [], {}
    for replica in replicas:
        seed = replica.cell["seed"]
        if seed not in drawn:
            torch.manual_seed(seed)
            own = AudioClassifier(load_backbone("bundled", frames), replica.candidate.method, [f"c{n}" for n in range(classes)])
            drawn[seed] = {names[key]: p.detach().clone() for key, p in own.trained_parameters().items()}
        values = dict(drawn[seed])
        if replica.head is not None:
            values["head.weight"], values["head.bias"] = (torch.as_tensor(part) for part in replica.head)
        starts.append(torch.cat([values[key].reshape(-1) for key in shapes]))
    flat = torch.stack(starts).to(device).requires_grad_()
    model.to(device).train()
    model.sites.set_kernel("math")
    for p in model.parameters():
        p.requires_grad_(False)
    sizes = [math.prod(shape) for shape in shapes.values()]
    is_head = torch.cat([torch.full((size,), float(key.startswith("head."))) for key, size in zip(shapes, sizes)]).to(device)

    def params() -> dict[str, Tensor]:
        return {key: part.reshape(len(replicas), *shape) for (key, shape), part in zip(shapes.items(), flat.split(sizes, dim=1))}

    def logits_of(x: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            return vmap(lambda p, one: functional_call(model, p, (one,)).logits)(params(), x).float()

    features, targets = data["x"], data["y"]
    plan = [_plan(replica) for replica in replicas]
    totals = torch.tensor([len(one) for one in plan])
    total = int(totals.max())
    index = torch.full((total, len(replicas), BATCH), -1, dtype=torch.int64)
    for r, one in enumerate(plan):
        for s, batch in enumerate(one):
            index[s, r, : len(batch)] = torch.tensor(batch)
    index = index.to(device)

    def column(values: list[float]) -> Tensor:
        return torch.tensor(values, device=device)[:, None]

    c = [replica.candidate for replica in replicas]
    rate, warm, decay = column([x.rate for x in c]), column([x.warmup for x in c]), column([x.decay for x in c])
    ratio = 1 + (column([x.head_ratio for x in c]) - 1) * is_head
    smoothing, mix = column([x.smoothing for x in c]), [x.mixup for x in c]
    masks = torch.tensor([x.masks for x in c], device=device)
    span = totals.to(device)[:, None].float()
    first, second = torch.zeros_like(flat), torch.zeros_like(flat)
    beta1, beta2, eps = 0.9, 0.98, 1e-6
    generator = torch.Generator(device=device).manual_seed(1)
    mixes = None if not any(mix) else torch.distributions.Beta(torch.tensor([max(m, 1e-3) for m in mix]), torch.tensor([max(m, 1e-3) for m in mix]))
    curve: list[dict[str, Any]] = [[] for _ in replicas]
    at = sorted({0, *(round(total * k / evals) for k in range(1, evals + 1))})
    losses = torch.zeros(len(replicas), device=device)
    counted = 0

    def evaluate(step: int) -> None:
        nonlocal losses, counted
        found = {}
        with torch.no_grad():
            for part in ("choose", "score"):
                length = max(len(replica.cell[part]) for replica in replicas)
                ids = torch.full((len(replicas), length), -1, dtype=torch.int64)
                for r, replica in enumerate(replicas):
                    ids[r, : len(replica.cell[part])] = torch.tensor(replica.cell[part])
                ids = ids.to(device)
                out = torch.cat([logits_of(features[ids[:, k : k + 64].clamp(min=0)].float()) for k in range(0, length, 64)], dim=1)
                y, there = targets[ids.clamp(min=0)], ids >= 0
                right = ((out.argmax(-1) == y) & there).sum(1) / there.sum(1)
                ce = (cross_entropy(out.flatten(0, 1), y.flatten(), reduction="none").view(y.shape) * there).sum(1) / there.sum(1)
                found[part] = torch.stack([right, ce], 1).cpu().tolist()
        mean = (losses / max(counted, 1)).cpu().tolist()
        losses, counted = torch.zeros_like(losses), 0
        for r in range(len(replicas)):
            curve[r].append([step, *[round(v, 4) for v in found["choose"][r]], *[round(v, 4) for v in found["score"][r]], round(mean[r], 4)])

    evaluate(0)
    for step in range(total):
        ids = index[step]
        there = ids >= 0
        x, y = features[ids.clamp(min=0)].float(), targets[ids.clamp(min=0)]
        soft = torch.nn.functional.one_hot(y, classes).float()
        x = _masked(x, masks, generator)
        if mixes is not None:
            lam = mixes.sample((BATCH,)).T.to(device)
            lam = torch.where(torch.tensor([m > 0 for m in mix], device=device)[:, None], torch.maximum(lam, 1 - lam), torch.ones_like(lam))
            partner = (torch.arange(BATCH, device=device)[None] + 1) % there.sum(1, keepdim=True).clamp(min=1)
            px = torch.gather(x, 1, partner[:, :, None, None].expand_as(x))
            ps = torch.gather(soft, 1, partner[:, :, None].expand_as(soft))
            x, soft = lam[..., None, None] * x + (1 - lam[..., None, None]) * px, lam[..., None] * soft + (1 - lam[..., None]) * ps
        soft = soft * (1 - smoothing[..., None]) + smoothing[..., None] / classes
        out = logits_of(x)
        ce = -(soft * out.log_softmax(-1)).sum(-1) * there
        loss = ce.sum(1) / there.sum(1).clamp(min=1)
        losses, counted = losses + loss.detach(), counted + 1
        (gradient,) = torch.autograd.grad(loss.sum(), flat)
        with torch.no_grad():
            done = torch.tensor(step, device=device).float()
            begin = (warm * span).clamp(min=1e-9)
            now = rate * torch.where(done < warm * span, (done + 1) / (begin + 1), 0.5 * (1 + torch.cos(math.pi * (done - warm * span) / (span - warm * span))))
            now = torch.where(done < span, now, torch.zeros_like(now)) * ratio
            first.lerp_(gradient, 1 - beta1)
            second.lerp_(gradient.square(), 1 - beta2)
            move = (first / (1 - beta1 ** (step + 1))) / ((second / (1 - beta2 ** (step + 1))).sqrt() + eps)
            flat.mul_(1 - now * decay).sub_(now * move)
        if step + 1 in at:
            evaluate(step + 1)
            if time.time() > deadline:
                return None
    blends = {}
    final, begun = flat.detach().clone(), torch.stack(starts).to(device)
    for part in (0.25, 0.5, 0.75):
        flat.data.copy_(begun + part * (final - begun))
        evaluate(-1)
        for r in range(len(replicas)):
            blends.setdefault(r, {})[part] = curve[r].pop()[1:5]
    seconds = time.perf_counter() - began
    out = []
    for r, replica in enumerate(replicas):
        cell = {key: replica.cell[key] for key in ("data", "size", "fold", "seed")}
        out.append({**cell, **asdict(replica.candidate), "steps": int(totals[r]), "curve": curve[r], "blends": blends[r], "group_seconds": round(seconds, 1), "replicas": len(replicas)})
    return out


def _plan(replica: Replica) -> list[list[int]]:
    train = torch.tensor(replica.cell["train"])
    generator = torch.Generator().manual_seed(1000 + replica.cell["seed"])
    steps = []
    for _ in range(epochs(len(train), replica.candidate.share)):
        order = train[torch.randperm(len(train), generator=generator)]
        steps += [part.tolist() for part in order.split(BATCH)]
    return steps


def _masked(x: Tensor, on: Tensor, generator: torch.Generator) -> Tensor:
    """SpecAugment as today's recipe for own data: 24 bins, 0.16 of the frames."""
    replicas, batch, frames, bins = x.shape
    draw = torch.rand((4, replicas, batch), generator=generator, device=x.device)

    def span(width: Tensor, place: Tensor, bound: int, length: int) -> Tensor:
        wide = (width * bound).floor() if bound else torch.zeros_like(width)
        low = (place * (length - wide)).floor()
        steps = torch.arange(length, device=x.device)
        return (steps >= low[..., None]) & (steps < (low + wide)[..., None])

    hidden = span(draw[0], draw[1], 24, bins)[:, :, None, :] | span(draw[2], draw[3], int(0.16 * frames), frames)[..., None]
    return x.masked_fill(hidden & on[:, None, None, None], 0.0)


def append(path: str, records: list[dict[str, Any]]) -> None:
    with open(path, "a") as file:
        file.write("".join(json.dumps(one) + "\n" for one in records))
