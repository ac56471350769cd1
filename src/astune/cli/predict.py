"""``astune predict``: labels for recordings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from astune.cli.options import BackboneOption, DeviceOption, PrecisionOption
from astune.errors import ConfigError
from astune.json_text import json_text
from astune.plurals import number_of
from astune.printable import printable

if TYPE_CHECKING:
    from astune.inference.prediction import Prediction


def register(app: typer.Typer) -> None:
    """Add the verb.

    Args:
        app: the command line.
    """
    app.command("predict", epilog="Example: `astune predict adapters/birds garden.wav --top-k 3`")(predict)


def predict(
    adapter: Annotated[str, typer.Argument(help="Adapter folder, or its hub id.")],
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Audio files, folders of them, or - for standard input.")
    ],
    top_k: Annotated[int, typer.Option(min=1, help="Labels for each file, the likeliest first.")] = 1,
    backbone: BackboneOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads that decode files; by default one for each core.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Files that the model takes at a time.")] = 16,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list with one object for each file.")] = False,
) -> None:
    """Label recordings; files that cannot be read are reported, the others still labelled, and the exit code is 1."""
    from astune.console import progress, say
    from astune.inference.inputs import expand
    from astune.inference.predictor import Predictor

    if "" in files:
        raise ConfigError("FILE is empty; give audio files, folders of them, or - for standard input")
    found = expand(files)
    for line in found.remarks:
        say(line)
    predictor = Predictor(adapter, backbone, device=device, precision=precision, threads=threads, batch_size=batch_size)
    if top_k > len(predictor.labels):
        raise ConfigError(f"--top-k {top_k}: the adapter has {len(predictor.labels)} labels")
    predictions: list[Prediction] = []
    with progress("Labelling", len(found.paths)) as advance:
        for prediction in predictor.predictions(found.paths, top_k=top_k):
            predictions.append(prediction)
            advance(1, "")
            if not as_json and not prediction.error:
                scores = ", ".join(f"{printable(entry['label'])} {entry['score']:.3f}" for entry in prediction.labels)
                typer.echo(f"{printable(prediction.name)}\t{scores}")
    records = [prediction.record() for prediction in predictions] + [one.record() for one in found.left_out]
    if as_json:
        typer.echo(json_text(records))
    failed = [record for record in records if "error" in record]
    for record in failed:
        say(f"error: {record['error']}")
    for notice in predictor.notices(predictions):
        say(notice)
    if failed:
        say(f"{len(failed):,} of {number_of(len(records), 'file')} could not be read or labelled")
        raise typer.Exit(1)
