"""``astune demo``: two tasks, and seven methods on the pretrained backbone and on random weights; then what to do next. Works offline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from astune.cli.help import add_command
from astune.cli.options import DeviceOption
from astune.errors import ConfigError
from astune.names import BUNDLED_BACKBONE
from astune.plurals import number_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.table import Table

    from astune.reporting import Point
    from astune.training.result import TrainResult

    Runs = Mapping[tuple[str, str, str], TrainResult]  # by task, weights and method

METHODS = ("linear", "bitfit", "lora", "bottleneck-pf-par", "convpass-pf-par", "dpt-25", "full-ft")
WEIGHTS = {"bundled": BUNDLED_BACKBONE, "random": "random:small"}
EPOCHS, BATCH_SIZE = 6, 4  # what two idle cores do in less than three minutes; all else is as the recipe has it
CLAIM = "generated sounds: a demonstration, no benchmark"
QUESTIONS = {
    "words": "which of six invented words is said? Pairs have the same syllables in another order, so order in time matters",
    "environment": "which of six sounds is it? They differ by how they go on, such as bounces that come closer",
}
SERIES = {"bundled": "bundled backbone, pretrained", "random": "same network, random weights"}


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
    device: DeviceOption = None,
) -> None:
    """Compare seven methods on two small tasks in about three minutes, and show what to do next.

    The sounds are generated, so this shows the program, not what AST can do.
    """
    from astune.console import notify, print_result, progress, results, shell_word
    from astune.data.generated import TASKS, write_generated
    from astune.reporting import accuracies_by_method
    from astune.training.config import TrainConfig
    from astune.training.loop import train

    runs: dict[tuple[str, str, str], TrainResult] = {}
    total = len(TASKS) * len(WEIGHTS) * len(METHODS)
    notify(f"{total} training runs of {number_of(epochs, 'epoch')} on {CLAIM}")
    for task in TASKS:
        notify(f"  {task}: {QUESTIONS[task]}")
    notify("Each method trains twice: on the pretrained backbone, and on the same network with random weights.")
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
                        device=device,
                        output_dir=output_dir / task / weights / method,
                        num_train_epochs=epochs,
                        per_device_train_batch_size=BATCH_SIZE,
                        overwrite_output_dir=True,
                    )
                    runs[task, weights, method] = train(config, quiet=True)
                    advance(1, "")
                notify(f"Trained {len(METHODS)} methods on {task}, {weights} weights")
    points = {key: _point(*key, run) for key, run in runs.items()}
    for task in TASKS:
        results().print(_table(task, runs, points))
    for line in _story(points):
        print_result(line)
    picture = output_dir / "accuracy.png"
    try:
        accuracies_by_method([_with_size(point) for point in points.values()], picture, CLAIM.capitalize())
        print_result(f"picture: {picture}")
    except ConfigError as fault:  # matplotlib is an extra, and nothing else is worse for its absence
        notify(f"No picture: {fault}")
    adapter = output_dir / "words" / "bundled" / "lora"
    clip = output_dir / "words" / "sounds" / "test" / "tami"
    print_result("")
    print_result("What to do next:")
    print_result("1. Label a sound with an adapter that was just trained:")
    print_result(f"     astune predict {shell_word(adapter)} {shell_word(min(clip.iterdir()))}")
    print_result("2. Train on your own recordings. Put each class in its own folder:")
    print_result("     astune train YOUR_FOLDER --method lora --output-dir adapters/mine")
    print_result("3. Find out which method suits your recordings:")
    print_result("     astune compare YOUR_FOLDER")


def _story(points: Mapping[tuple[str, str, str], Point]) -> Iterator[str]:
    """What the runs show of each task, a sentence a line."""
    for task in dict.fromkeys(task for task, _, _ in points):
        own = [points[task, "bundled", method] for method in METHODS]
        best = max(own, key=lambda point: point.accuracy)
        smallest = min(own, key=lambda point: point.parameters)
        level = sum(point.high >= best.low for point in own if point is not best)
        gains = [point.accuracy - points[task, "random", point.method].accuracy for point in own]
        yield f"{task}: {best.method} scores highest, {best.accuracy:.0%} with {best.parameters:,} parameters."
        yield f"  The intervals of {number_of(level, 'other method')} overlap with its own, so they may be as good."
        yield f"  {smallest.method} is the smallest: {smallest.accuracy:.0%} with {smallest.parameters:,} parameters."
        yield f"  On average, pretraining is worth {100 * sum(gains) / len(gains):.0f} points of accuracy."


def _with_size(point: Point) -> Point:
    """As the picture names it: the method with its trained parameters."""
    return replace(point, method=f"{point.method} ({point.parameters:,})")


def _point(task: str, weights: str, method: str, run: TrainResult) -> Point:
    from astune.reporting import Point, accuracy_interval
    from astune.tasks import task_named

    test = run.scores["test"]
    share = test[task_named(run.task).headline]
    low, high = accuracy_interval(round(share * test["clips"]), test["clips"])
    return Point(method, run.trainable_parameters, share, low, high, SERIES[weights], task)


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
