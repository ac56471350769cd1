"""``astune import-backbone``: a published SSAST checkpoint as a backbone folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from astune.cli.help import add_command
from astune.console import print_result, shell_word
from astune.json_text import json_text
from astune.plurals import number_of
from astune.printable import printable

File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="What SSAST's authors published, such as SSAST-Base-Patch-400.pth.", parser=Path
    ),
]
Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="FOLDER", help="Backbone folder to write.", parser=Path)
]
FrequencyStride = Annotated[
    int | None,
    typer.Option(
        min=1, help="Mel bins from patch to patch; by default as the authors fine-tune: 10, of whole frames 128."
    ),
]
TimeStride = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Frames from patch to patch; by default as the authors fine-tune: 10, of whole frames 1. Larger is faster.",
    ),
]
MaxLength = Annotated[
    int | None, typer.Option(min=1, help="Native input length in frames of 10 ms; by default the pretraining's.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a backbone that is there, and its README.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print what was written as one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add the verb.

    Args:
        app: the command line.
    """
    add_command(
        app,
        "import-backbone",
        import_backbone,
        examples=[
            "astune import-backbone SSAST-Base-Patch-400.pth -o backbones/ssast",
        ],
    )


def import_backbone(
    *,
    file: File,
    output: Output,
    frequency_stride: FrequencyStride = None,
    time_stride: TimeStride = None,
    max_length: MaxLength = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Read a checkpoint of SSAST, and write it as a backbone folder that every command takes."""
    from astune.backbone.ssast import import_backbone as convert

    found = convert(
        file,
        output,
        frequency_stride=frequency_stride,
        time_stride=time_stride,
        max_length=max_length,
        overwrite=overwrite,
    )
    (height, frames), (rows, columns) = found.patch_shape, found.patch_grid
    if as_json:
        record = {
            "backbone": str(output),
            "layers": found.n_layers,
            "width": found.width,
            "max_length": found.max_length,
        }
        shapes = {"patch_shape": [height, frames], "patch_grid": [rows, columns]}
        typer.echo(json_text(record | shapes | {"fingerprint": found.origin.fingerprint}))
    else:
        print_result(
            f"{printable(output)}: {number_of(found.n_layers, 'layer')} of width {found.width}, {rows} x {columns} patches of "
            f"{height} mel bins x {frames} frames in {found.max_length} frames"
        )
        print_result(f"next:    astune train RECORDINGS --backbone {shell_word(output)} --output-dir ADAPTER")
