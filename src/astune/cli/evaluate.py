"""``astune evaluate``: score an adapter on labelled audio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from astune.cli.help import add_command
from astune.cli.options import (
    AdapterArgument,
    BackboneOption,
    DeviceOption,
    PrecisionOption,
    options_given,
    with_fields,
)
from astune.console import print_result, results, results_table
from astune.data.options import DataOptions
from astune.json_text import json_text
from astune.plurals import number_of

if TYPE_CHECKING:
    from astune.task import Task


_EVERYDAY = (
    "split",
    "fold",
    "device",
    "skip_broken",
    "as_json",
    "window",
    "task",
)  # what -h shows


def register(app: typer.Typer) -> None:
    """Add the verb.

    Args:
        app: the command line.
    """
    add_command(
        app,
        "evaluate",
        evaluate,
        examples=[
            "astune evaluate adapters/birds recordings --json",
        ],
        everyday=_EVERYDAY,
        progress=True,
    )


@with_fields(DataOptions)
def evaluate(
    context: typer.Context,
    *,
    adapter: AdapterArgument,
    data: Annotated[str, typer.Argument(help="Labelled audio, as for `astune train`.")],
    split: Annotated[Literal["test", "validation", "train", "all"], typer.Option(help="Which clips.")] = "test",
    fold: Annotated[
        int | None, typer.Option(help="Test fold; by default the one the adapter was trained without.")
    ] = None,
    backbone: BackboneOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Clips a step.")] = 32,
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Leave out audio files that cannot be read.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
    **fields: Any,
) -> None:
    """Score an adapter on labelled audio, by default on the test split."""
    from astune.console import notify
    from astune.inference.evaluation import as_trained
    from astune.inference.predictor import Predictor

    predictor = Predictor(adapter, backbone, device=device, precision=precision, batch_size=batch_size)
    dataset = as_trained(data, predictor.training, **options_given(context, fields))
    for notice in dataset.notices:
        notify(notice)
    evaluation = predictor.evaluate(dataset, split, fold=fold, skip_broken=skip_broken)
    for notice in (*evaluation.audio_notices, *evaluation.score_notices):
        notify(notice)
    if evaluation.warning:
        notify(evaluation.warning)
    if as_json:
        typer.echo(json_text(evaluation.record()))
    else:
        _show(evaluation.record(), predictor.task)


def _show(record: dict[str, Any], task: Task) -> None:
    print_result(f"{number_of(record['clips'], 'clip')}, split {record['split']}")
    if task.counts_clips:
        _show_recalls(record)
    if "average_precision" in record:
        _show_labels(record)
    shares = "".join(f"{heading} {record[name]:.2%}   " for name, heading in task.shares.items())
    print_result(f"{shares}loss {record['loss']:.4f}")
    if record["skipped"]:
        print_result(f"left out, for they cannot be read: {number_of(record['skipped'], 'clip')}")


def _show_recalls(record: dict[str, Any]) -> None:
    from astune.confusion import whole

    table = results_table(["class"], ["clips", "recall"])
    matrix = whole(record["confusion"])
    for label, clips, right in zip(record["labels"], matrix.sum(axis=1), matrix.diagonal(), strict=True):
        if clips:
            table.add_row(label, f"{clips:,}", f"{right / clips:.1%}")
    results().print(table)


def _show_labels(record: dict[str, Any]) -> None:
    table = results_table(["label"], ["clips", "AP", "AUC", "F1", "threshold"])
    names = ("average_precision", "auc", "f1")
    figures = zip(*(record[name] for name in names), strict=True)
    for label, clips, shares, threshold in zip(
        record["labels"], record["clips_with_label"], figures, record["thresholds"], strict=True
    ):
        shown = ("-" if share is None else f"{share:.1%}" for share in shares)
        table.add_row(label, f"{clips:,}", *shown, f"{threshold:.3f}")
    results().print(table)
