"""What commands that train share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file

from astune import AudioClassifier, adapter_file, load_backbone
from astune.data.generated import write_generated
from astune.training import checkpoint
from astune.training.result import METRICS, RESULTS
from tests.faults.kills import Command, astune, contents

if TYPE_CHECKING:
    from collections.abc import Iterable, Set
    from pathlib import Path

TIMES = frozenset(("train_seconds", "wall_seconds", "frozen_seconds", "peak_memory_mib", "seconds", "resume"))
"""Fields of records that differ between two equal runs: time and memory it took, and whether it was stopped between."""
SMALL = ("--backbone", "random:tiny", "--max-length", "32", "--no-bf16")
"""Else the machine measures in which precision it is faster, and a busy one may find another in each run."""


def training_command(name: str, method: str, *options: str) -> Command:
    """A training of a tiny backbone, of two epochs with a checkpoint within each.

    Args:
        name: of the command.
        method: that is trained.
        options: of `astune train`.
    """

    def train(folder: Path, *more: str) -> None:
        small = (*SMALL, "--num-train-epochs", "2", "--per-device-train-batch-size", "4", "--save-steps", "2")
        folders = ("folder:" + str(folder / "data"), "--output-dir", folder / "out")
        astune("train", *folders, "--method", method, *small, *options, *more)

    return Command(
        name,
        prepare=write_sounds,
        run=train,
        again=lambda folder: train(folder, "--resume"),
        check=lambda folder: check_run(folder / "out"),
        result=result_of_run,
    )


def write_adapter_and_sounds(folder: Path) -> None:
    """What commands that listen need: an adapter in `adapter`, and a data set in `data`.

    Args:
        folder: of a command.
    """
    write_adapter(folder / "adapter")
    write_sounds(folder)


def write_adapter(folder: Path, seed: int = 0) -> Path:
    """An adapter whose weights are random, and so its scores.

    Args:
        folder: made.
        seed: another one gives other weights of the same names and shapes.
    """
    torch.manual_seed(seed)
    labels = tuple(f"label-{number}-of-{seed}" for number in range(4))
    model = AudioClassifier(load_backbone("random:tiny", 32), "lora", labels)
    with torch.no_grad():
        for parameter in model.trained_parameters().values():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return folder


def write_table(file: Path, data: Path, methods: Iterable[str], **settings: object) -> None:
    """An experiment with a row a method, as JSON, which is YAML too.

    Args:
        file: made; its title is its name.
        data: sounds.
        methods: presets.
        settings: of all runs.
    """
    table = {
        "title": file.stem,
        "datasets": [{"name": "sounds", "data": f"folder:{data}", "settings": {"max_length": 32}}],
        "settings": settings,
        "rows": [{"name": method, "method": method} for method in methods],
    }
    file.write_text(json.dumps(table, ensure_ascii=False), encoding="utf-8")


def write_sounds(folder: Path) -> None:
    """Twelve clips to train on, and six each to validate and to test on."""
    write_generated(folder / "data", clips_per_class=(2, 1, 1), seconds=0.3)


def check_run(folder: Path) -> None:
    """Whatever has the name of something whole can be read."""
    for path in folder.glob("checkpoint-*"):
        checkpoint.recorded_run(path)
        for file in path.glob("*.safetensors"):
            load_file(file)
    if (folder / adapter_file.CONFIG).exists() or (folder / RESULTS).exists():
        adapter_file.read(folder)
    if (folder / RESULTS).exists():
        json.loads((folder / RESULTS).read_text(encoding="utf-8"))


def result_of_run(folder: Path) -> dict[str, str]:
    """The files of a run and of the cache, without times and the system's own."""
    out = folder / "out"
    found = contents(out, but=[RESULTS, METRICS]) | contents(folder / "cache", but=["digests.sqlite"])
    lines = (out / METRICS).read_text(encoding="utf-8").splitlines()
    found[f"in {METRICS}"] = json.dumps([without_times(json.loads(line)) for line in lines])
    return found | fields_of(out / RESULTS)


def fields_of(path: Path) -> dict[str, str]:
    """Each field of a JSON object, without times."""
    record = without_times(json.loads(path.read_text(encoding="utf-8")))
    return {f"{path.name}, {name}": json.dumps(value, sort_keys=True) for name, value in record.items()}


def without_times(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """A JSON value without what differs between two equal runs."""
    return without(value, TIMES | {"overwrite_output_dir"})


def without(value: Any, names: Set[str]) -> Any:  # noqa: ANN401 - any JSON
    """A JSON value without fields of some names.

    Args:
        value: nested.
        names: of the fields.
    """
    if isinstance(value, dict):
        return {key: without(inner, names) for key, inner in value.items() if key not in names}
    return [without(inner, names) for inner in value] if isinstance(value, list) else value
