"""``astune train``: from labelled audio to an adapter folder."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astune.cli.options import given, with_fields
from astune.errors import ConfigError
from astune.training.config import TrainConfig

if TYPE_CHECKING:
    from astune.training.result import TrainResult


def register(app: typer.Typer) -> None:
    """Add the verb.

    Args:
        app: the command line.
    """
    app.command("train", epilog="Example: `astune train recordings --method lora --output-dir adapters/birds`")(train)


@with_fields(TrainConfig, arguments=["data"])
def train(
    context: typer.Context,
    *,
    config_file: Annotated[
        Path | None, typer.Option("--config", help="YAML file of these settings; options win over it.")
    ] = None,
    cross_validate: Annotated[
        bool, typer.Option("--cross-validate", help="Train every fold, in fold-N/ of the output folder.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
    **fields: Any,
) -> None:
    """Train an adapter on labelled audio and write its folder."""
    chosen = given(context, fields)
    config = _from_file(config_file, chosen) if config_file else TrainConfig.build(chosen, "command line")

    from accelerate import PartialState

    from astune.training.cross_validation import cross_validate as train_folds
    from astune.training.loop import train as train_one

    results = train_folds(config) if cross_validate else [train_one(config)]
    processes = PartialState()
    main = processes.is_main_process
    processes.destroy_process_group()
    if not main:
        return
    if as_json:
        records = [asdict(result) for result in results]
        typer.echo(json.dumps(records if cross_validate else records[0]))
    else:
        show(results)


def _from_file(path: Path, chosen: dict[str, Any]) -> TrainConfig:
    try:
        return TrainConfig.from_yaml(path, **chosen)
    except ConfigError:
        from astune.training.check import check_file

        check_file(path, **chosen)  # says this and all else that is wrong
        raise


def show(results: list[TrainResult]) -> None:
    """Print a table of runs and the next command to type.

    Args:
        results: one a run, of one method.
    """
    from rich.console import Console
    from rich.table import Table

    first = results[0]
    columns = ("fold", "best epoch", "validation", "test", "macro F1", "train time", "adapter")
    title = f"{first.spec}: {first.trainable_parameters:,} trained parameters"
    table = Table(*columns, title=title, title_justify="left")
    for run in results:
        table.add_row(
            str(run.fold) if run.fold is not None else "-",
            f"{run.best_epoch + 1} of {run.recipe['num_train_epochs']}",
            _percent(run, "validation", "accuracy"),
            _percent(run, "test", "accuracy"),
            _percent(run, "test", "macro_f1"),
            f"{run.train_seconds:.0f} s",
            f"{run.adapter_bytes / 1e6:.2f} MB",
        )
    console = Console()
    console.print(table)
    if len(results) > 1:
        accuracies = [100 * run.scores["test"]["accuracy"] for run in results]
        console.print(f"test accuracy {mean(accuracies):.1f} ± {stdev(accuracies):.1f} % over {len(results)} folds")
    console.print(f"adapter: {first.output_dir}", soft_wrap=True, highlight=False)
    console.print(f"next:    astune predict {first.output_dir} RECORDING", soft_wrap=True, highlight=False)


def _percent(run: TrainResult, split: str, key: str) -> str:
    return f"{run.scores[split][key]:.1%}" if split in run.scores else "-"
