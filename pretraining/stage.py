"""One training stage: steps over keyed batches, a checkpoint that goes on where it stopped, a log, a progress bar."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Protocol

import torch
from safetensors.torch import load_file
from torch.utils.data import DataLoader, Subset

from astune.console import notify, progress
from astune.errors import ConfigError
from astune.files import save_tensors, write_text
from astune.training.checkpoint import refuse_other_settings

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from pretraining.mixing import Batch, Mixer

_WAY_OUT = "give the same ones, or another --work-dir"
_STATE, _POSITION, _LOG = "state.safetensors", "state.json", "log.jsonl"


class Learner(Protocol):
    """What a stage trains."""

    @property
    def module(self) -> nn.Module:
        """Its weights are what is saved."""

    def losses(self, batch: Batch) -> dict[str, tuple[float, Tensor]]:
        """Each term of the loss with its weight."""

    def check(self) -> dict[str, float]:
        """Figures for the log, on clips that are not trained on."""


def optimizer_for(module: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW with decay on matrices only.

    Args:
        module: what is trained.
        learning_rate: its peak.
        weight_decay: of everything with two or more dimensions.
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98), fused=True)


def rate_at(step: int, steps: int, warm_up: int = 250) -> float:
    """Share of the peak learning rate: rising for ``warm_up`` steps, flat to 30 % of all steps, then falling to nothing.

    Args:
        step: from 0.
        steps: in all.
        warm_up: steps.
    """
    return min((step + 1) / warm_up, 1.0, (1 - step / steps) / 0.7)


def run_stage(
    name: str,
    folder: Path,
    learner: Learner,
    optimizer: torch.optim.Optimizer,
    mixer: Mixer,
    steps: int,
    settings: dict[str, object],
    save_every: int = 500,
) -> None:
    """Train to the end, from the last checkpoint where there is one; a finished stage goes on where more steps are asked for.

    Args:
        name: shown.
        folder: of checkpoint and log.
        learner: what is trained.
        optimizer: over its module.
        mixer: batches by step.
        steps: in all.
        settings: all but the number of steps; a checkpoint of others is refused.
        save_every: steps between checkpoints, and between lines of the log.

    Raises:
        ConfigError: the folder holds a checkpoint of other settings, or of more steps.
        FloatingPointError: the loss is no longer finite.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = json.loads(json.dumps(settings))  # as it will be read back: JSON has no tuples
    start, seconds = _resume(folder, learner.module, optimizer, settings)
    if start > steps:
        raise ConfigError(f"{folder} has {start} steps of the {name} behind it, more than {steps}; {_WAY_OUT}")
    if start == steps:
        return
    peaks = [float(group["lr"]) for group in optimizer.param_groups]
    learner.module.train()
    sums: dict[str, float] = {}
    clock = time.perf_counter()
    loader = DataLoader(Subset(mixer, range(start, steps)), batch_size=None, num_workers=1, prefetch_factor=8)
    with progress(f"Training the {name}", steps) as advance:
        advance(start, "")
        for step, batch in enumerate(loader, start):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * rate_at(step, steps)
            terms = learner.losses(batch)
            loss = torch.stack([weight * term for weight, term in terms.values()]).sum()
            if not torch.isfinite(loss):
                raise FloatingPointError(
                    f"the {name}'s loss is {loss.item()} at step {step}; start again with a lower rate"
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(learner.module.parameters(), 3.0)
            optimizer.step()
            for key, (_, term) in terms.items():
                sums[key] = sums.get(key, 0.0) + term.item()
            advance(1, f"loss {loss.item():.3f}")
            if (step + 1) % save_every == 0 or step + 1 == steps:
                taken = (step % save_every) + 1
                line = {"step": step + 1, "of": steps, "seconds": round(seconds + time.perf_counter() - clock, 1)}
                line |= {key: round(total / taken, 4) for key, total in sums.items()} | learner.check()
                learner.module.train()
                sums = {}
                for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                    group["lr"] = peak
                _save(folder, learner.module, optimizer, line, settings)
                notify(f"{name} {json.dumps(line)}")


def _save(
    folder: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    line: dict[str, float],
    settings: dict[str, object],
) -> None:
    tensors = {f"module:{key}": value for key, value in module.state_dict().items()}
    for index, entry in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer:{index}:{key}": value for key, value in entry.items()}
    # Weights and position in one file, which is replaced whole; the JSON beside it is for people.
    tensors |= {key: torch.tensor(line[key]) for key in ("step", "seconds")}
    save_tensors(folder / _STATE, {key: value.detach().contiguous() for key, value in tensors.items()})
    write_text(folder / _POSITION, json.dumps({"identity": settings, "last": line}, indent=2))
    with (folder / _LOG).open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")


def _resume(
    folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer, settings: dict[str, object]
) -> tuple[int, float]:
    if not (folder / _STATE).exists() or not (folder / _POSITION).exists():
        return 0, 0.0
    refuse_other_settings(
        folder, json.loads((folder / _POSITION).read_text(encoding="utf-8"))["identity"], settings, _WAY_OUT
    )
    tensors = load_file(folder / _STATE)
    module.load_state_dict(weights_in(tensors))
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer:"):
            _, index, entry = key.split(":")
            state.setdefault(int(index), {})[entry] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return int(tensors["step"]), float(tensors["seconds"])


def weights_in(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The module's part of a checkpoint.

    Args:
        tensors: of the checkpoint.
    """
    return {key.removeprefix("module:"): value for key, value in tensors.items() if key.startswith("module:")}


def trained_weights(folder: Path) -> dict[str, Tensor]:
    """Weights of the last checkpoint of a stage.

    Args:
        folder: of the stage.
    """
    return weights_in(load_file(folder / _STATE))


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy against shares of labels, averaged over the batch.

    Args:
        logits: (batch, classes).
        targets: (batch, classes), rows summing to 1.
    """
    return -(targets * logits.log_softmax(-1)).sum(-1).mean()
