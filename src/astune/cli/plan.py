"""``astune plan``: which settings of each method fit a budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from astune.cli.help import add_command
from astune.cli.options import options_given, with_fields
from astune.console import notify, option_words, print_result, results, results_table, shell_word
from astune.data.options import DataOptions
from astune.json_text import json_text
from astune.names import BUNDLED_BACKBONE
from astune.plurals import enumerated, number_of
from astune.training.config import TrainConfig

if TYPE_CHECKING:
    from astune.budget import MethodPlan


_EVERYDAY = (
    "parameters",
    "adapter_size",
    "backbone",
    "labels",
    "methods",
    "as_json",
)  # what -h shows


def register(app: typer.Typer) -> None:
    """Add the verb.

    Args:
        app: the command line.
    """
    add_command(
        app,
        "plan",
        plan,
        examples=[
            "astune plan --parameters 250k --num-labels 50 --backbone random:base",
        ],
        everyday=_EVERYDAY,
    )


@with_fields(DataOptions)
def plan(
    context: typer.Context,
    *,
    data: Annotated[
        str | None,
        typer.Argument(help="Labelled audio, as for `astune train`: it decides the labels and the input length."),
    ] = None,
    parameters: Annotated[
        str | None, typer.Option(metavar="N", help="Most trained parameters, such as 250k or 1.2M.")
    ] = None,
    adapter_size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Largest adapter_model.safetensors, such as 1MB or 900KiB.")
    ] = None,
    backbone: Annotated[
        str, typer.Option(help="As for `astune train`; random:base has the sizes of the published one.")
    ] = BUNDLED_BACKBONE,
    labels: Annotated[
        int | None,
        typer.Option(
            "--num-labels", min=2, help="Number of labels, if no data are given; 10 by default.", show_default=False
        ),
    ] = None,
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            help="Preset or spec, or several divided by commas; may be repeated. By default all presets. A size in a spec is kept.",
        ),
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(help="Input length in frames of 10 ms; by default as training has it, or the backbone's own."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as one JSON object.")] = False,
    **fields: Any,
) -> None:
    """Find the largest setting of each method that fits a number of trained parameters or a size of the adapter file."""
    from astune.budget import plan_methods
    from astune.methods.registry import split_specs

    reading = options_given(context, fields)
    found = plan_methods(
        parameters,
        adapter_size,
        data=data,
        labels=labels,
        backbone=backbone,
        max_length=max_length,
        methods=split_specs(",".join(methods)) if methods else None,
        **reading,
    )
    for notice in found.notices:
        notify(notice)
    if as_json:
        typer.echo(json_text(found.record()))
        return
    _show(found)
    options = {**reading, "backbone": backbone, **({} if max_length is None else {"max_length": max_length})}
    _show_next(found, data, options)


def _show(found: MethodPlan) -> None:
    print_result(
        f"{found.backbone}, {number_of(found.labels, 'label')}, {number_of(found.max_length, 'frame')}: {found.budget}"
    )
    table = results_table(["method", "largest that fits"], ["parameters", "% of full", "with head", "file, bytes"])
    table.add_column("next larger", overflow="fold")
    for one in found.methods:
        size = one.largest
        figures = (
            (f"{size.parameters:,}", f"{size.percent_of_full:.2f}", f"{size.with_head:,}", f"{size.file_bytes:,}")
            if size
            else ("-", "-", "-", "-")
        )
        larger = one.next_larger
        setting = f"{one.field}={str(larger.value).removesuffix('.0')}: " if larger and one.field else ""
        over = f"{setting}{', '.join(found.budget.over(larger))}" if larger else "-"
        table.add_row(one.name, size.spec if size else "none", *figures, over)
    results().print(table)
    sizes = {one.name: one.largest or one.next_larger for one in found.methods}
    whole = [name for name, size in sizes.items() if size and size.parameters == size.with_head]
    but = f", but for {enumerated(whole)}" if whole else ""
    print_result(f"parameters: as the paper counts them, without head and final LayerNorm{but}")
    print_result("file: adapter_model.safetensors to the byte; adapter_config.json and README.md add some kilobytes")


def _show_next(found: MethodPlan, data: str | None, options: dict[str, Any]) -> None:
    """Print a command for the method that training has by default, or for the first one that fits."""
    fitting = {one.name: one.largest.spec for one in found.methods if one.largest}
    if not fitting:
        return
    spec = fitting.get(TrainConfig.model_fields["method"].default) or next(iter(fitting.values()))
    words = ["astune", "train", shell_word(data) if data is not None else "DATA"]
    for name, value in options.items():
        several = value if isinstance(value, list) else [value]
        words += [option_words(f"--{name.replace('_', '-')}", one) for one in several]
    print_result(f"next: {' '.join(words)} --method {shell_word(spec)} --output-dir adapters/new")
