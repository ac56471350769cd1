"""``astune train``: from labelled audio to an adapter folder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astune.cli.help import add_command
from astune.cli.options import options_given, with_fields
from astune.console import print_result, results, results_table, shell_word
from astune.errors import ConfigError
from astune.json_text import json_text
from astune.printable import printable
from astune.tasks import task_named
from astune.training.config import TrainConfig

if TYPE_CHECKING:
    from astune.training.result import TrainResult

_LOWEST = 3  # classes that are shown, with the figure by which they do worst


_EVERYDAY = (
    "method",
    "backbone",
    "output_dir",
    "config_file",
    "num_train_epochs",
    "learning_rate",
    "fold",
    "seed",
    "cross_validate",
    "resume",
    "overwrite_output_dir",
    "recipe",
    "class_weights",
    "task",
    "window",
    "as_json",
    "skip_broken",
)  # what -h shows


def register(app: typer.Typer) -> None:
    """Add the verb.

    Args:
        app: the command line.
    """
    add_command(
        app,
        "train",
        train,
        examples=[
            "astune train recordings --method lora --output-dir adapters/birds",
            "astune train --config birds.yaml --output-dir adapters/birds",
            "astune train esc50:ESC-50 --output-dir adapters/esc50 --cross-validate",
        ],
        everyday=_EVERYDAY,
        progress=True,
    )


@with_fields(TrainConfig, arguments=["data"])
def train(
    context: typer.Context,
    *,
    config_file: Annotated[
        Path | None, typer.Option("--config", help="YAML file of settings. Options on the command line win over it.")
    ] = None,
    cross_validate: Annotated[
        bool, typer.Option("--cross-validate", help="Train every fold, each in fold-N/ of the output folder.")
    ] = False,
    as_published: Annotated[
        bool,
        typer.Option(
            "--as-published",
            help="Train in the setting of the paper's published code: no position embeddings, its initial weights, the last "
            "epoch. Options and settings that you give win over it.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
    **fields: Any,
) -> None:
    """Train an adapter on labelled audio and write its folder."""
    chosen = options_given(context, fields)
    if as_published:
        chosen = _as_published(chosen, config_file)
    config = _from_file(config_file, chosen) if config_file else TrainConfig.build(chosen, "command line")

    from accelerate import PartialState

    from astune.training.cross_validation import cross_validate as train_folds
    from astune.training.loop import train as train_one

    runs = train_folds(config) if cross_validate else [train_one(config)]
    processes = PartialState()
    main = processes.is_main_process
    processes.destroy_process_group()
    if not main:
        return
    if as_json:
        records = [asdict(run) for run in runs]
        typer.echo(json_text(records if cross_validate else records[0]))
    else:
        show(runs)


def _as_published(chosen: dict[str, Any], config_file: Path | None) -> dict[str, Any]:
    """The options, and the published code's setting of all that neither they nor the file state."""
    from astune.methods.published_code import settings_as_published
    from astune.training.config import read_yaml

    stated = {**(read_yaml(config_file) if config_file else {}), **chosen}
    return settings_as_published(stated, TrainConfig.model_fields["method"].default)


def _from_file(path: Path, chosen: dict[str, Any]) -> TrainConfig:
    try:
        return TrainConfig.from_yaml(path, **chosen)
    except ConfigError:
        from astune.training.check import check_file

        check_file(path, **chosen)  # says this and all else that is wrong
        raise


def show(runs: list[TrainResult]) -> None:
    """Print a table of runs and the next command to type.

    Args:
        runs: results of one method, one a run.
    """
    first = runs[0]
    task = task_named(first.task)
    folds = any(run.fold is not None for run in runs)
    size = f"{first.trainable_parameters:,} trained parameters, an adapter of {first.adapter_bytes / 1e6:.2f} MB"
    print_result(f"{first.spec}: {size}")
    figures = [heading.replace(" ", "\n") for heading in task.shares.values()]
    table = results_table([*(["fold"] if folds else []), "clips", "best epoch"], [*figures, "time"])
    for run in runs:
        best = f"{run.kept}{', stopped early' if run.stopped_early else ''}"
        for split in ("validation", "test"):
            shown = [split, best, *(_percent(run, split, name) for name in task.shares), f"{run.train_seconds:.0f} s"]
            if split == "test":  # the rest is said of both
                shown[1] = shown[-1] = ""
            fold = "" if split == "test" else "-" if run.fold is None else str(run.fold)
            table.add_row(*([fold] if folds else []), *shown)
    results().print(table)
    if len(runs) > 1:
        for name, heading in task.shares.items():
            found = [100 * run.scores["test"][name] for run in runs if name in run.scores["test"]]
            if len(found) == len(runs):
                print_result(f"test {heading} {mean(found):.1f} ± {stdev(found):.1f} % over {len(runs)} folds")
    lowest = _lowest_classes(runs, task.by_class or "")
    if lowest:
        print_result(lowest)
    print_result(f"adapter: {first.output_dir}")
    print_result(f"next:    astune predict {shell_word(first.output_dir)} RECORDING")


def _percent(run: TrainResult, split: str, key: str) -> str:
    share = run.scores.get(split, {}).get(key)  # a run of an older version lacks some
    return "-" if share is None else f"{share:.1%}"


def _lowest_classes(runs: list[TrainResult], name: str) -> str | None:
    """The classes that do worst by a figure such as the recall, on the test clips or else the validation clips; means of the runs."""
    split = "test" if "test" in runs[0].scores else "validation"
    found: dict[str, list[float]] = {}
    for run in runs:
        values = run.scores.get(split, {}).get(name, ())  # a run of an older version has none
        for label, value in zip(run.labels, values, strict=False):
            if value is not None:
                found.setdefault(label, []).append(value)
    lowest = sorted(found, key=lambda label: mean(found[label]))[:_LOWEST]
    shown = ", ".join(f"{printable(label)} {mean(found[label]):.1%}" for label in lowest)
    return f"lowest {split} {name.replace('_', ' ')} by class: {shown}" if shown else None
