"""``astune import-peft``: a LoRA or DoRA adapter of PEFT as an adapter of astune."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from astune.cli.help import add_command
from astune.console import print_result, shell_word
from astune.json_text import json_text
from astune.names import TaskName
from astune.plurals import number_of
from astune.printable import printable

Folder = Annotated[str, typer.Argument(metavar="DIR", help="What PEFT wrote, or its hub id.")]
Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="ADAPTER", help="Adapter folder to write.", parser=Path)
]
Backbone = Annotated[
    str | None, typer.Option(help="Where the model is that was adapted, if not where the folder says.")
]
Label = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        help="Name of a class, in the order of the classifier's rows, if the model that was adapted does not name them; "
        "may be given several times.",
    ),
]
TaskOption = Annotated[
    TaskName | None,
    typer.Option(
        metavar="TASK",  # the names side by side are too wide for 80 columns
        help="What a clip may have: one label (single-label) or any number (multi-label); by default as the model says.",
    ),
]
MaxLength = Annotated[
    int | None, typer.Option(min=16, help="Input length in frames of 10 ms; by default the backbone's.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an adapter that is there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print what was written as one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add the verb.

    Args:
        app: the command line.
    """
    add_command(
        app,
        "import-peft",
        import_peft,
        examples=[
            "astune import-peft my-lora -o adapters/mine --label dog --label siren",
        ],
    )


def import_peft(
    *,
    folder: Folder,
    output: Output,
    backbone: Backbone = None,
    label: Label = None,
    task: TaskOption = None,
    max_length: MaxLength = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Read a LoRA or DoRA adapter that PEFT trained on ASTForAudioClassification, and write it as an adapter of astune."""
    from astune import adapter_file
    from astune.export.from_peft import import_peft as read

    adapter = read(folder, backbone=backbone, labels=label, task=task, max_length=max_length)
    adapter_file.write(output, adapter, overwrite=overwrite)
    config = adapter.config
    if as_json:
        record = {"adapter": str(output), "method": config.spec, "labels": config.labels, "task": config.task}
        typer.echo(
            json_text(record | {"backbone": config.backbone.name_or_path, "max_length": config.front_end.max_length})
        )
    else:
        print_result(
            f"{printable(output)}: {config.spec} on {printable(config.backbone.name_or_path)}, {number_of(len(config.labels), 'class')}"
        )
        print_result(f"next:    astune predict {shell_word(output)} RECORDING")
