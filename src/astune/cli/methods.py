"""``astune methods``: what there is, and what each costs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from astune.cli.help import add_command
from astune.console import print_result, results, results_table
from astune.json_text import json_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astune.counting import Count

_WIDE = 100  # columns from which the specs have room in the table


def register(app: typer.Typer) -> None:
    """Add the verb.

    Args:
        app: the command line.
    """
    add_command(
        app,
        "methods",
        methods,
        examples=[
            "astune methods",
            "astune methods --num-labels 10 --json",
        ],
    )


def methods(
    classes: Annotated[int, typer.Option("--num-labels", min=2, help="Number of classes of the head.")] = 50,
    max_length: Annotated[int, typer.Option(min=16, help="Input length in frames of 10 ms.")] = 500,
    as_json: Annotated[bool, typer.Option("--json", help="Print {preset: {...}} as JSON.")] = False,
) -> None:
    """List the presets with their trained parameters on AST-base, counted as the paper counts them."""
    from astune.architecture import Architecture
    from astune.counting import count
    from astune.methods import FAMILIES, PRESETS

    backbone = Architecture(max_length=max_length)
    counts = {name: count(method, classes, backbone) for name, method in PRESETS.items()}
    if as_json:
        typer.echo(
            json_text({name: {**asdict(figures), "spec": PRESETS[name].spec} for name, figures in counts.items()})
        )
        return

    print_result(f"AST-base, {classes} classes, {max_length} frames")
    _show(counts, {name: method.spec for name, method in PRESETS.items()})
    print_result("Fields, given as preset:field=value,... ; sums are joined by +")
    for family, cls in FAMILIES.items():
        fields = [
            f"{name} ({info.description})" if info.description else name for name, info in cls.model_fields.items()
        ]
        print_result(f"  {family}: {'; '.join(fields) or 'none'}")


def _show(counts: Mapping[str, Count], specs: Mapping[str, str]) -> None:
    """Print a row for each preset. In a narrow terminal the specs come below the table, so that every name stays whole."""
    console = results()
    wide = console.width >= _WIDE
    table = results_table([])
    table.add_column("preset", no_wrap=True)
    for heading in ("parameters", "% of full" if wide else "% of\nfull", "adapter"):
        table.add_column(heading, justify="right", no_wrap=True)
    if wide:
        table.add_column("spec", overflow="fold")
    for name, figures in counts.items():
        size = f"{figures.adapter_bytes / 1e6:.2f} MB"
        row = [name, f"{figures.parameters:,}", f"{figures.percent_of_full:.2f}", size]
        table.add_row(*row, *([specs[name]] if wide else []))
    console.print(table)
    if not wide:
        print_result("Specs")
        for name, spec in specs.items():
            print_result(f"  {name}: {spec}")
