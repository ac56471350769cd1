"""What `--report-to` writes: TensorBoard events and offline W&B runs that say what metrics.jsonl says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from astune.errors import ConfigError
from astune.training.config import TrainConfig
from astune.training.loop import train
from astune.training.result import TrainResult, read_result
from tests.stopping import PowerCut, StopAfter
from tests.unit.test_loop import config

LIMIT = 300  # seconds until a command that hangs is ended
ADAPTER = {
    "README.md",
    "adapter_config.json",
    "adapter_model.safetensors",
    "clips.csv",
    "confusion.png",
    "metrics.jsonl",
    "results.json",
}

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard"),  # its protobuf code, not ours
    pytest.mark.filterwarnings("ignore::DeprecationWarning:google"),
]


def settings(generated: Path, output_dir: Path, **fields: object) -> TrainConfig:
    return config(generated, output_dir, method="linear", max_length=32, **fields)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values by name, from the event files of a run."""
    from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
        EventAccumulator,
    )

    found: dict[str, list[tuple[int, float]]] = {}
    for file in folder.rglob("*tfevents*"):
        events = EventAccumulator(str(file))
        events.Reload()
        for name in events.Tags()["scalars"]:
            found.setdefault(name, []).extend((event.step, event.value) for event in events.Scalars(name))
    return {name: sorted(values) for name, values in found.items()}


def flat(record: dict[str, Any]) -> dict[str, float]:
    inner = {
        f"{key}/{name}": number
        for key, value in record.items()
        if isinstance(value, dict)
        for name, number in value.items()
    }
    return {key: value for key, value in record.items() if not isinstance(value, dict)} | inner


def assert_reported(found: dict[str, list[tuple[int, float]]], result: TrainResult) -> None:
    """Every number of metrics.jsonl at its step, and the test scores; 1e-6, for events are float32."""
    steps = [5 * (entry["epoch"] + 1) for entry in result.history]  # 36 clips in steps of 8
    for name in ("train_loss", "validation/accuracy", "validation/loss", "learning_rate"):
        assert [step for step, _ in found[name]] == steps
        values = [flat(entry)[name] for entry in result.history]
        assert [value for _, value in found[name]] == pytest.approx(values, rel=1e-6)
    for name in ("accuracy", "loss", "macro_f1"):
        assert [value for _, value in found[f"test/{name}"]] == pytest.approx([result.scores["test"][name]], rel=1e-6)
        assert [step for step, _ in found[f"test/{name}"]] == steps[-1:]


def test_none_is_the_default_and_writes_nothing(generated: Path, tmp_path: Path) -> None:
    train(settings(generated, tmp_path / "out"), quiet=True)
    assert {path.name for path in (tmp_path / "out").iterdir()} == ADAPTER


def test_tensorboard_is_told_what_the_metrics_say(generated: Path, tmp_path: Path) -> None:
    result = train(settings(generated, tmp_path / "out", report_to="tensorboard"), quiet=True)
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert lines == result.history
    assert_reported(scalars(tmp_path / "out"), result)
    assert {path.name for path in (tmp_path / "out").iterdir()} == ADAPTER | {"astune"}


def test_tensorboard_is_told_the_settings(generated: Path, tmp_path: Path) -> None:
    import yaml

    train(settings(generated, tmp_path / "out", report_to="tensorboard", num_train_epochs=1), quiet=True)
    (file,) = (tmp_path / "out").rglob("hparams.yml")
    told = yaml.safe_load(file.read_text())
    assert (told["method"], told["learning_rate"], told["max_length"], told["seed"]) == ("linear", 1e-3, 32, 0)


def test_an_overwritten_run_leaves_no_events(generated: Path, tmp_path: Path) -> None:
    told = settings(generated, tmp_path / "out", report_to="tensorboard", overwrite_output_dir=True)
    train(told.model_copy(update={"learning_rate": 0.5}), quiet=True)
    result = train(told, quiet=True)
    assert_reported(scalars(tmp_path / "out"), result)


def test_a_resumed_run_reports_each_epoch_once(generated: Path, tmp_path: Path) -> None:
    told = settings(generated, tmp_path / "out", report_to="tensorboard", num_train_epochs=3, save_steps=2)
    with pytest.raises(PowerCut):
        train(told, quiet=True, callbacks=[StopAfter(7)])
    result = train(told.model_copy(update={"resume": True}), quiet=True)
    assert_reported(scalars(tmp_path / "out"), result)


def test_a_tracker_that_cannot_start_is_an_error_and_no_traceback(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As W&B without a key."""

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("No API key configured.")

    monkeypatch.setattr("accelerate.Accelerator.init_trackers", refuse)
    with pytest.raises(ConfigError, match=r"report_to=wandb cannot start: No API key configured\..*WANDB_MODE=offline"):
        train(settings(generated, tmp_path / "out", report_to="wandb"), quiet=True)


READ_RUN = """
import json, sys
from pathlib import Path
from wandb.proto.wandb_internal_pb2 import Record

(path,) = Path(sys.argv[1]).rglob("*.wandb")
data, at, pieces = path.read_bytes(), 7, b""  # LevelDB's log behind 7 bytes: blocks of 32 KiB, chunks behind 7 bytes each
while at + 7 <= len(data):
    if at % 32768 > 32768 - 7:
        at += 32768 - at % 32768
        continue
    length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
    pieces += data[at + 7 : at + 7 + length]
    at += 7 + length
    if kind in (1, 4):  # whole, or the last of several chunks
        record, pieces = Record.FromString(pieces), b""
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            print(json.dumps({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}))
"""


def wandb_rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of an offline run, read from W&B's own log; in a process of its own, for its import warns."""
    command = [sys.executable, "-c", READ_RUN, str(folder)]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert printed.returncode == 0, printed.stderr
    return [json.loads(line) for line in printed.stdout.splitlines()]


@pytest.mark.slow
def test_wandb_is_told_what_the_metrics_say(generated: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "WANDB_SILENT": "true"}
    options = (
        f"--backbone random:tiny --method linear --max-length 32 --num-train-epochs 2 --per-device-train-batch-size 8 "
        f"--report-to wandb --json --output-dir {tmp_path / 'out'}"
    )
    command = [sys.executable, "-m", "astune", "train", str(generated), *options.split()]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["spec"] == "linear"
    rows = wandb_rows(tmp_path)
    found = {
        name: [(row["_step"], row[name]) for row in rows if name in row]
        for row in rows
        for name in row
        if name[0] != "_"
    }
    assert_reported(found, read_result(tmp_path / "out"))
