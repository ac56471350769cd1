"""Checkpoints: ``checkpoint-<step>/`` in the output folder, holding what is trained and what continues it, and no pickle.

A checkpoint gets its name when it is whole, and the one before goes only then; a run resumed from it ends with the same float32
weights, bit for bit, as one that was never stopped.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from astune.errors import AdapterError, CheckpointError
from astune.files import leftovers, read_text, remove_folder, replacing_folder, save_tensors, write_text
from astune.json_record import RECORD, read_record
from astune.json_text import LONGEST, json_text, json_value
from astune.names import current_kernel
from astune.training.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torch import Tensor

_PREFIX = "checkpoint-"
_STATE = "trainer_state.json"


class Continued(Protocol):
    """What a checkpoint continues; :class:`astune.training.engine.Engine` is one."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of an epoch."""

    @property
    def deciding_figures(self) -> tuple[str, ...]:
        """Figures of validation clips that choose the epoch."""

    def states(self) -> dict[str, dict[str, Tensor]]:
        """Everything that changes while it trains, by name."""

    def load_states(self, states: Mapping[str, Mapping[str, Tensor]]) -> None:
        """The inverse of :meth:`states`; takes the weights of the best epoch too, as ``best``, and refuses others."""


def latest(output_dir: Path) -> Path | None:
    """The last whole checkpoint.

    Args:
        output_dir: of the run.

    Returns:
        Its folder, if there is one.
    """
    found = [path for path in _numbered(output_dir) if not _foreign(path)]
    return max(found, key=lambda path: int(path.name.removeprefix(_PREFIX)), default=None)


def _numbered(output_dir: Path) -> list[Path]:
    paths = output_dir.glob(f"{_PREFIX}*")
    return [path for path in paths if path.name.removeprefix(_PREFIX).isdecimal() and path.is_dir()]


def _foreign(path: Path) -> bool:
    """Whether something else wrote it: transformers' Trainer gives its checkpoints the same names."""
    files = {file.name for file in path.iterdir()}
    if not files or files & {"trained.safetensors", "optimizer.safetensors", "random-0.safetensors"}:
        return False
    try:
        return "identity" not in json_value((path / _STATE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return True
    except (OSError, ValueError, TypeError):  # a damaged one of ours, which is said when it is loaded
        return False


def foreign(output_dir: Path) -> list[str]:
    """Folders under the names of checkpoints that astune did not write.

    Args:
        output_dir: which need not exist.

    Returns:
        Their names.
    """
    return sorted(path.name for path in _numbered(output_dir) if _foreign(path))


def remove_all(output_dir: Path) -> None:
    """Delete all checkpoints of ours, begun ones too.

    Args:
        output_dir: of the run.
    """
    for path in _numbered(output_dir):
        if not _foreign(path):
            remove_folder(path)
    for path in leftovers(output_dir, f"{_PREFIX}*"):
        shutil.rmtree(path)


def save(
    output_dir: Path,
    global_step: int,
    progress: Progress,
    settings_key: dict[str, Any],
    data: dict[str, Any],
    states: Mapping[str, Mapping[str, Tensor]],
    random_states: list[dict[str, Tensor]],
) -> None:
    """Write a checkpoint and delete the ones before it.

    Args:
        output_dir: of the run.
        global_step: optimiser steps taken.
        progress: how far the run has come.
        settings_key: what decides the result of the run; a checkpoint continues no other run.
        data: digest and labels of its data.
        states: what continues it, as :meth:`astune.training.engine.Engine.states` gives it; a file each.
        random_states: torch's generators, a process an entry.
    """
    final = output_dir / f"{_PREFIX}{global_step}"
    with replacing_folder(final) as partial:
        for name, tensors in states.items():
            save_tensors(partial / f"{name}.safetensors", _on_cpu(tensors))
        if progress.best is not None:
            save_tensors(partial / "best.safetensors", progress.best)
        for rank, generators in enumerate(random_states):
            save_tensors(partial / f"random-{rank}.safetensors", _on_cpu(generators))
        state = {"progress": progress.record(), "identity": settings_key, "data": data}
        write_text(partial / _STATE, json_text(state, indent=2))
    for path in _numbered(output_dir):
        if path != final and not _foreign(path):
            remove_folder(path)


def recorded_run(checkpoint: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the run of a checkpoint was started with.

    Args:
        checkpoint: its folder.

    Returns:
        Its settings key, and digest and labels of its data; those are empty where an older version wrote it.

    Raises:
        CheckpointError: the checkpoint is damaged.
    """
    with _refusing_damage(checkpoint):
        state = _read_state(checkpoint)
        return state.identity, state.data


@dataclass(frozen=True)
class _State:
    """What ``trainer_state.json`` says."""

    __pydantic_config__ = RECORD

    progress: Progress
    identity: dict[str, Any]
    """Its settings key; the field has the name that it has in the file."""
    data: dict[str, Any] = field(default_factory=dict)
    """Digest and labels of its data; empty where an older version wrote it."""


def _read_state(checkpoint: Path) -> _State:
    """Read it.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is not as :func:`save` writes it.
    """
    state = read_record(_State, read_text(checkpoint / _STATE, LONGEST))
    labels = state.data.get("labels", [])
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ValueError("data.labels are not text")
    if not isinstance(state.data.get("digest"), str | None):
        raise ValueError("data.digest is not text")
    if "attention_kernel" in state.identity:  # which had other names in earlier releases
        state.identity["attention_kernel"] = current_kernel(state.identity["attention_kernel"])
    return state


@contextmanager
def _refusing_damage(checkpoint: Path) -> Iterator[None]:
    try:
        yield
    except CheckpointError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, AdapterError) as fault:
        reason = f"{fault} is missing" if isinstance(fault, KeyError) else str(fault).partition("\n")[0].rstrip(":")
        raise CheckpointError(
            f"{checkpoint} is damaged: {reason}; start again with overwrite_output_dir=True"
        ) from fault


def load(
    checkpoint: Path, settings_key: dict[str, Any], engine: Continued, rank: int, device: torch.device
) -> Progress:
    """Put a run back where it stood, torch's generators included.

    Args:
        checkpoint: its folder.
        settings_key: what decides the result of the run now.
        engine: of the run; takes what continues it.
        rank: of this process.
        device: of this process.

    Returns:
        How far the run has come.

    Raises:
        CheckpointError: the checkpoint is damaged, or belongs to a run with other settings.
    """
    with _refusing_damage(checkpoint):
        state = _read_state(checkpoint)
        progress = state.progress
        # First: another number of processes has other files. Where the data are now was compared with the data themselves, and how masks
        # are drawn where there are any.
        compared: dict[str, Any] = {
            name: settings_key[name] for name in ("data", "randomness_format") if name in settings_key
        }
        refuse_other_settings(checkpoint, {**state.identity, **compared}, settings_key)
        progress.refuse_impossible(engine.steps_per_epoch, engine.deciding_figures)
        names = [*engine.states(), *(["best"] if progress.best_epoch is not None else [])]
        random = load_file(checkpoint / f"random-{rank}.safetensors")
        states = {name: load_file(checkpoint / f"{name}.safetensors") for name in names}
        engine.load_states(states)
        progress.best = states.get("best")
        set_random_states(random, device)
    return progress


def refuse_other_settings(
    folder: Path,
    then: dict[str, Any],
    now: dict[str, Any],
    way_out: str = "give the same ones, or set overwrite_output_dir=True",
) -> None:
    """Refuse to continue a run that was started with other settings.

    Args:
        folder: of the run.
        then: its settings.
        now: what is wanted.
        way_out: what the user can do about it.

    Raises:
        CheckpointError: they differ; each difference is named.
    """
    changed = [
        f"{key}: {then.get(key)!r} then, {now.get(key)!r} now"
        for key in {**then, **now}
        if then.get(key) != now.get(key)
    ]
    if changed:
        raise CheckpointError(f"{folder} belongs to a run with other settings ({'; '.join(changed)}); {way_out}")


def random_states(device: torch.device) -> dict[str, Tensor]:
    """States of torch's generators, of the CPU and of the device that computes.

    Args:
        device: of this process.
    """
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random_states(states: dict[str, Tensor], device: torch.device) -> None:
    """The inverse of :func:`random_states`.

    Args:
        states: by device type.
        device: of this process.
    """
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
