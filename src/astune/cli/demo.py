"""``astune demo``: seven methods on the bundled backbone and on random weights, on sounds made on the spot, offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from astune.cli.help import add_command
from astune.errors import ConfigError
from astune.names import BUNDLED_BACKBONE
from astune.plurals import number_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.table import Table

    from astune.reporting import Point
    from astune.training.result import TrainResult

    Runs = Mapping[tuple[str, str, str], TrainResult]  # by task, weights and method

METHODS = ("linear", "bitfit", "lora", "bottleneck-pf-par", "convpass-pf-par", "dpt-25", "full-ft")
WEIGHTS = {"bundled": BUNDLED_BACKBONE, "random": "random:small"}
EPOCHS, BATCH_SIZE = 6, 4  # what two idle cores do in less than three minutes; all else is as the recipe has it
CLAIM = "generated sounds: a demonstration, no benchmark"


def register(app: typer.Typer) -> None:
    """Add the verb.

    Args:
        app: the command line.
    """
    add_command(
        app,
        "demo",
        demo,
        examples=[
            "astune demo",
        ],
        progress=True,
    )


def demo(
    output_dir: Annotated[
        Path, typer.Option("--output-dir", "-o", help="Folder for the sounds, the adapters and the picture.")
    ] = Path("demo-output"),
    epochs: Annotated[int, typer.Option("--num-train-epochs", min=1, help="Epochs that every method trains.")] = EPOCHS,
) -> None:
    """Compare methods on generated sounds, on the bundled backbone and on random weights: it shows the program, not what AST can do."""
    from astune.console import print_result, progress, results, say, shell_word
    from astune.data.generated import TASKS, write_generated
    from astune.reporting import accuracy_against_parameters
    from astune.training.config import TrainConfig
    from astune.training.loop import train

    runs: dict[tuple[str, str, str], TrainResult] = {}
    total = len(TASKS) * len(WEIGHTS) * len(METHODS)
    say(f"{total} training runs of {number_of(epochs, 'epoch')} on {CLAIM}")
    with progress("Training", total) as advance:
        for task in TASKS:
            data = write_generated(output_dir / task / "sounds", task)
            for weights, backbone in WEIGHTS.items():
                for method in METHODS:
                    advance(0, f"{method} on {task}, {weights} weights")
                    config = TrainConfig(
                        data=str(data),
                        method=method,
                        backbone=backbone,
                        output_dir=output_dir / task / weights / method,
                        num_train_epochs=epochs,
                        per_device_train_batch_size=BATCH_SIZE,
                        overwrite_output_dir=True,
                    )
                    runs[task, weights, method] = train(config, quiet=True)
                    advance(1, "")
                say(f"Trained {len(METHODS)} methods on {task}, {weights} weights")
    points = {key: _point(*key, run) for key, run in runs.items()}
    for task in TASKS:
        results().print(_table(task, runs, points))
    picture = output_dir / "accuracy.png"
    try:
        accuracy_against_parameters(list(points.values()), picture, CLAIM.capitalize())
        print_result(f"picture: {picture}")
    except ConfigError as fault:  # matplotlib is an extra, and nothing else is worse for its absence
        say(f"No picture: {fault}")
    adapter = output_dir / "words" / "bundled" / "lora"
    clip = output_dir / "words" / "sounds" / "test" / "tami"
    print_result("Next, label a sound, then adapt to your own recordings:")
    print_result(f"  astune predict {shell_word(adapter)} {shell_word(min(clip.iterdir()))}")
    print_result("  astune train YOUR_FOLDER --method lora --output-dir adapters/mine")


def _point(task: str, weights: str, method: str, run: TrainResult) -> Point:
    from astune.reporting import Point, accuracy_interval
    from astune.tasks import task_named

    test = run.scores["test"]
    share = test[task_named(run.task).headline]
    low, high = accuracy_interval(round(share * test["clips"]), test["clips"])
    return Point(method, run.trainable_parameters, share, low, high, f"{weights} weights", task)


def _table(task: str, runs: Runs, points: Mapping[tuple[str, str, str], Point]) -> Table:
    """A row a method: bundled and random weights side by side."""
    from rich import box

    from astune.console import PlainTable
    from astune.tasks import task_named

    def accuracy(point: Point) -> str:
        return f"{point.accuracy:.0%} ({100 * point.low:.0f}–{100 * point.high:.0f})"

    first = runs[task, "bundled", METHODS[0]]
    table = PlainTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left", title_style="bold")
    kind = task_named(first.task)
    measure = f"{kind.shares[kind.headline]} on {first.scores['test']['clips']} test clips (95 % interval)"
    table.title = f"{task}: {len(first.labels)} classes, {measure}\n{CLAIM}"
    table.add_column("method", no_wrap=True)
    for column in ("parameters", "adapter", "bundled weights", "time", "random weights"):
        table.add_column(column, justify="right")
    for method in METHODS:
        run, point, baseline = (
            runs[task, "bundled", method],
            points[task, "bundled", method],
            points[task, "random", method],
        )
        size, seconds = f"{run.adapter_bytes / 1e6:.2f} MB", f"{run.train_seconds:.1f} s"
        table.add_row(method, f"{run.trainable_parameters:,}", size, accuracy(point), seconds, accuracy(baseline))
    return table
