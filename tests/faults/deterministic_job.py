"""What is done in each variation of `tests/faults/determinism.py`: FOLDER SETTINGS, in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import sys
from contextlib import redirect_stdout
from pathlib import Path

from tests.faults.kills import astune
from tests.faults.training import SMALL, write_table

_EPOCHS = ("--num-train-epochs", "2", "--per-device-train-batch-size", "8", "--save-steps", "2")


def main() -> None:
    """Train, predict and embed in a folder with sounds, and reproduce and report a table."""
    folder, how = Path(sys.argv[1]), json.loads(sys.argv[2])
    if how["cores"] is not None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: how["cores"]])
    os.chdir(folder)
    train(folder, resumed=how["resumed"])
    sounds, workers = folder / "data" / "test", ("--workers", how["workers"]) if how["workers"] > 1 else ()
    with (folder / "labels.json").open("w", encoding="utf-8") as labels, redirect_stdout(labels):
        astune("predict", folder / "out", sounds, "--json", "--batch-size", "1", *workers)
    astune("predict", folder / "out", sounds, "--window", "0.2", "-o", folder / "tables", "--batch-size", "1")
    astune("embed", folder / "out", folder / "data", "-o", folder / "rows.npz")
    if how["table"]:
        write_table(folder / "same.yaml", folder / "data", ("linear", "lora"), num_train_epochs=2)
        store = ("--store", folder / "store")
        astune("reproduce", folder / "same.yaml", "--backbone", "random:tiny", *store)
        shutil.copytree(how["reported"], folder / "reported")
        astune("report", "same", "--store", folder / "reported")
        (folder / "reported" / "reports").rename(folder / "reports")
        shutil.rmtree(folder / "reported")


def train(folder: Path, *, resumed: bool) -> None:
    """Train, in one go or cut off by a power cut after two steps."""
    words = ("train", folder / "data", "--output-dir", folder / "out", "--method", "lora", *SMALL, *_EPOCHS)
    if not resumed:
        astune(*words)
        return
    from astune.training.config import TrainConfig
    from astune.training.loop import train as train_one
    from tests.stopping import PowerCut, StopAfter

    config = TrainConfig(
        data=str(folder / "data"), output_dir=folder / "out", method="lora", backbone="random:tiny", max_length=32, num_train_epochs=2,
        per_device_train_batch_size=8, save_steps=2, bf16=False,
    )  # fmt: skip
    try:
        train_one(config, quiet=True, callbacks=[StopAfter(2)])
    except PowerCut:
        astune(*words, "--resume")
        return
    raise AssertionError("the training was not cut off")


if __name__ == "__main__":
    main()
