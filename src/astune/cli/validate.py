"""``astune validate``: all faults of a configuration file at once, and nothing trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb.

    Args:
        app: the command line.
    """
    app.command("validate", epilog="Example: `astune validate birds.yaml`")(validate)


def validate(config: Annotated[Path, typer.Argument(help="YAML file, as for `astune train --config`.")]) -> None:
    """Check a configuration without training: names, values, data, folds, backbone, output folder."""
    from astune.console import say
    from astune.training.check import check_file

    settings, found = check_file(config)
    split = found.split
    for notice in (*found.dataset.notices, *([f"Note: {split.notice}"] if split.notice else [])):
        say(notice)
    clips = f"{len(split.train)} training, {len(split.validation)} validation and {len(split.test)} test clips"
    typer.echo(f"{config} is valid: {found.method.spec} ({found.parameters:,} parameters) on {settings.backbone};")
    typer.echo(f"{found.dataset.source}: {len(found.dataset.labels)} classes, {clips}")
