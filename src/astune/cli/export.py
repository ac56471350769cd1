"""``astune export``: an adapter in the format of another program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from astune.cli.help import add_command
from astune.cli.options import AdapterArgument, BackboneOption, end_with, options_given
from astune.json_text import json_text
from astune.names import ExportFormat
from astune.printable import printable

Format = Annotated[
    ExportFormat,
    typer.Option(
        "--format",
        help="onnx: one graph from samples to scores, for onnxruntime; peft: a folder for PeftModel, of LoRA; transformers: a folder for "
        "pipeline, of methods that merge.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        parser=Path,
        help="What to write; by default the adapter's name, in this folder.",
    ),
]
Int8 = Annotated[
    bool,
    typer.Option(
        "--int8", help="onnx: weights as 8-bit integers, a quarter of the size; scores differ by about a percent."
    ),
]
Clips = Annotated[
    list[str] | None,
    typer.Option(
        "--clip",
        metavar="PATH",
        help="onnx: audio file or folder on which the scores are compared; may be repeated.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print what was written as one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add the verb.

    Args:
        app: the command line.
    """
    add_command(
        app,
        "export",
        export,
        examples=[
            "astune export adapters/birds -o birds.onnx",
            "astune export adapters/birds --int8 --clip recordings -o birds.onnx",
        ],
    )


def export(
    context: typer.Context,
    *,
    adapter: AdapterArgument,
    format_: Format = "onnx",
    output: Output = None,
    int8: Int8 = False,
    clips: Clips = None,
    backbone: BackboneOption = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write an adapter in the format of another program, checked against the adapter itself; exit code 1 if a clip cannot be read."""
    from astune.console import notify, print_result
    from astune.export import export_adapter

    options = options_given(context, {"int8": int8, "clips": clips})
    done = export_adapter(adapter, output, format_, backbone=backbone, overwrite=overwrite, **options)
    for sentence in done.sentences:
        notify(sentence)
    if as_json:
        typer.echo(json_text(done.record()))
    else:
        print_result(f"{printable(done.path)}: {done.size / 1e6:,.1f} MB")
    end_with(done.faults, done.files)
