"""``astune validate``: all faults of a configuration file at once, and nothing trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from astune.cli.help import add_command


def register(app: typer.Typer) -> None:
    """Add the verb.

    Args:
        app: the command line.
    """
    add_command(
        app,
        "validate",
        validate,
        examples=[
            "astune validate birds.yaml",
            "astune validate experiment.yaml",
        ],
    )


def validate(config: Annotated[Path, typer.Argument(help="YAML file, as for `astune train --config`.")]) -> None:
    """Check a configuration without training: names, values, data, folds, backbone, output folder, and every audio file."""
    from astune.console import print_result, say
    from astune.training.check import check_file
    from astune.training.listening import listen_as_trained

    settings, found = check_file(config)
    listened = listen_as_trained(settings, found)
    for notice in listened.notices:
        say(notice)
    split = listened.split
    clips = f"{len(split.train)} training, {len(split.validation)} validation and {len(split.test)} test clips"
    print_result(f"{config} is valid: {found.method.spec} ({found.parameters:,} parameters) on {settings.backbone};")
    print_result(f"{found.dataset.source}: {len(found.dataset.labels)} classes, {clips}")
