"""``astune methods``: what there is, and what each costs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb.

    Args:
        app: the command line.
    """
    app.command("methods", epilog="Example: `astune methods --json`")(methods)


def methods(
    classes: Annotated[int, typer.Option(min=2, help="Of the head.")] = 50,
    max_length: Annotated[int, typer.Option(min=16, help="Input length in frames of 10 ms.")] = 500,
    as_json: Annotated[bool, typer.Option("--json", help="Print {preset: {...}} as JSON.")] = False,
) -> None:
    """List the presets with their trained parameters on AST-base, counted as the paper counts them."""
    from transformers import ASTConfig

    from astune.counting import count
    from astune.methods import FAMILIES, PRESETS

    config = ASTConfig(max_length=max_length)
    counts = {name: count(method, classes, config) for name, method in PRESETS.items()}
    if as_json:
        typer.echo(
            json.dumps({name: {**asdict(figures), "spec": PRESETS[name].spec} for name, figures in counts.items()})
        )
        return

    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"AST-base, {classes} classes, {max_length} frames", title_justify="left")
    table.add_column("preset")
    for heading in ("parameters", "% of full", "adapter"):
        table.add_column(heading, justify="right")
    table.add_column("spec")
    for name, figures in counts.items():
        size = f"{figures.adapter_bytes / 1e6:.2f} MB"
        table.add_row(name, f"{figures.parameters:,}", f"{figures.percent_of_full:.2f}", size, PRESETS[name].spec)
    console = Console()
    console.print(table)
    console.print("Fields, given as preset:field=value,... ; sums are joined by +")
    for family, cls in FAMILIES.items():
        fields = [f"{name} ({info.description})" for name, info in cls.model_fields.items()]
        console.print(f"  {family}: {'; '.join(fields) or 'none'}", highlight=False)
