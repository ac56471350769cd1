"""``astune import-backbone``: a published checkpoint of SSAST or AST as a backbone folder."""

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
        metavar="FILE",
        help="What the authors of SSAST or AST published, or what AST's training code saved.",
        parser=Path,
    ),
]
Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="FOLDER", help="Backbone folder to write.", parser=Path)
]
FrequencyStride = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Mel bins from patch to patch. SSAST: you choose; by default as the authors fine-tune: 10, of whole frames 128. "
        "AST: what the file was trained with; by default the published stride that fits it.",
    ),
]
TimeStride = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Frames from patch to patch. SSAST: you choose, larger is faster; by default as the authors fine-tune: 10, of whole frames 1. "
        "AST: as for --frequency-stride.",
    ),
]
MaxLength = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Input length in frames of 10 ms. SSAST: the native length of the folder, by default the pretraining's. "
        "AST: as for --frequency-stride.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a backbone that is there, and its README.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print what was read and written as one JSON object.")]


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
            "astune import-backbone audioset_10_10_0.4593.pth -o backbones/ast",
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
    """Read a checkpoint of SSAST or AST, and write it as a backbone folder that every command takes."""
    from astune.backbone.checkpoint_format import GivenSizes
    from astune.backbone.imported import import_checkpoint

    given = GivenSizes(frequency_stride, time_stride, max_length)
    imported = import_checkpoint(file, output, given, overwrite=overwrite)
    found = imported.backbone
    (height, frames), (rows, columns) = found.patch_shape, found.patch_grid
    if as_json:
        record = {
            "backbone": str(output),
            "checkpoint": imported.checkpoint,
            "left_out": imported.left_out,
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
