"""``astune validate``: all faults of a file of settings or of an experiment at once, and nothing trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from astune.cli.help import add_command

EXPERIMENT_FIELDS = frozenset(("datasets", "extends", "rows"))
"""Fields that only an experiment has, see :mod:`astune.experiments.table`."""


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


def validate(
    config: Annotated[
        Path,
        typer.Argument(help="YAML file, as for `astune train --config`, or an experiment, as for `astune reproduce`."),
    ],
    *,
    data_root: Annotated[Path, typer.Option(help="Folder of the data sets of an experiment.")] = Path("data"),
    backbone: Annotated[
        str | None, typer.Option(help="Backbone of an experiment, instead of the one that it states.")
    ] = None,
) -> None:
    """Check a file of settings or an experiment without training. All faults are reported at once."""
    from astune.training.config import read_yaml

    if EXPERIMENT_FIELDS & set(read_yaml(config)):
        _validate_experiment(config, data_root, backbone)
    else:
        _validate_settings(config)


def _validate_settings(config: Path) -> None:
    """Check names, values, data, folds, backbone, output folder, and every audio file."""
    from astune.console import notify, print_result
    from astune.training.check import check_file
    from astune.training.listening import listen_as_trained

    settings, found = check_file(config)
    listened = listen_as_trained(settings, found)
    for notice in listened.notices:
        notify(notice)
    split = listened.split
    clips = f"{len(split.train)} training, {len(split.validation)} validation and {len(split.test)} test clips"
    print_result(f"{config} is valid: {found.method.spec} ({found.parameters:,} parameters) on {settings.backbone};")
    print_result(f"{found.dataset.source}: {len(found.dataset.labels)} classes, {clips}")


def _validate_experiment(config: Path, data_root: Path, backbone: str | None) -> None:
    """Check names, values, methods, data sets and the backbone of an experiment."""
    from astune.console import print_result
    from astune.experiments.plan import PlanOptions, distinct, plan
    from astune.experiments.table import load_table
    from astune.plurals import number_of

    name, experiment = load_table(config)
    options = PlanOptions(data_root, backbone, needs_data=True)
    runs = plan(name, experiment, options)
    sizes = f"{number_of(len(experiment.rows), 'row')}, {number_of(len(experiment.datasets), 'data set')}"
    print_result(
        f"{config} is valid: {sizes}, {number_of(len(distinct(runs)), 'run')} on {options.backbone_of(experiment)}"
    )
