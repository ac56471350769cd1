"""``astune review``: what to listen to next, cut for Audacity."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astune.cli.options import BackboneOption, DeviceOption, PrecisionOption
from astune.console import print_result, results, results_table
from astune.json_text import json_text
from astune.plurals import number_of
from astune.printable import printable

if TYPE_CHECKING:
    from astune.inference.review import Review

_WHICH = "Which windows"


def register(app: typer.Typer) -> None:
    """Add the verb.

    Args:
        app: the command line.
    """
    app.command("review", epilog="Example: `astune review adapters/birds field-recordings -o to-review`")(review)


def review(
    adapter: Annotated[str, typer.Argument(help="Adapter folder, or its hub id.")],
    recordings: Annotated[
        list[str], typer.Argument(metavar="RECORDING...", help="Audio files and folders of them, of any length.")
    ],
    output_dir: Annotated[
        str, typer.Option("--output-dir", "-o", metavar="DIR", help="Folder to make, for clips, labels and review.csv.")
    ],
    criterion: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="unlike the training clips, uncertain, confident (each label) or random; may be repeated. By default the first three.",
            rich_help_panel=_WHICH,
        ),
    ] = None,
    count: Annotated[
        int, typer.Option(min=1, help="Windows of each criterion but confident.", rich_help_panel=_WHICH)
    ] = 10,
    per_class: Annotated[
        int, typer.Option(min=1, help="Windows of each label by confident.", rich_help_panel=_WHICH)
    ] = 3,
    per_recording: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Windows of one recording and criterion at most; by default spread over the recordings.",
            rich_help_panel=_WHICH,
        ),
    ] = None,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Least score of confident.", rich_help_panel=_WHICH)
    ] = 0.5,
    seed: Annotated[int, typer.Option(min=0, help="Of random.", rich_help_panel=_WHICH)] = 0,
    reviewed: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DIR", help="An earlier review, not to be repeated; may be given again.", rich_help_panel=_WHICH
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="The data set the adapter was trained on, if it is not where it was then.", rich_help_panel=_WHICH
        ),
    ] = None,
    window: Annotated[
        float | None, typer.Option(help="Seconds of a window; by default the length of the input.")
    ] = None,
    hop: Annotated[
        float | None, typer.Option(help="Seconds from one window to the next; by default the window's.")
    ] = None,
    margin: Annotated[float, typer.Option(min=0, help="Seconds around each window that are cut with it.")] = 1.0,
    backbone: BackboneOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads that decode files; by default one for each core.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Windows that the model takes at a time.")] = 16,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was cut as one JSON object.")] = False,
) -> None:
    """Cut the windows a person should listen to next, each with a label track to correct in Audacity; exit code 1 if a file is broken."""
    from astune.console import say
    from astune.inference.review import review as review_recordings

    chosen: dict[str, Any] = {"criteria": criterion} if criterion else {}
    found = review_recordings(
        adapter,
        recordings,
        output_dir,
        **chosen,
        count=count,
        per_class=per_class,
        per_recording=per_recording,
        threshold=threshold,
        margin=margin,
        window=window,
        hop=hop,
        seed=seed,
        data=data,
        reviewed=reviewed or (),
        backbone=backbone,
        device=device,
        precision=precision,
        threads=threads,
        batch_size=batch_size,
    )
    for notice in found.notices:
        say(notice)
    if as_json:
        typer.echo(json_text(found.record()))
    else:
        _show(found)
    for fault in found.errors:
        say(f"error: {fault}")
    if found.errors:
        total = number_of(found.recordings + len(found.errors), "file")
        say(f"{len(found.errors):,} of {total} could not be read")
        raise typer.Exit(1)


def _show(found: Review) -> None:
    table = results_table(["criterion", "label", "file"], ["rank", "score"])
    for row in found.rows:
        cells = (row["criterion"], row["label"], Path(row["file"]).name)
        table.add_row(*map(printable, cells), str(row["rank"]), f"{row['score']:.3f}")
    results().print(table)
    heard = f"{number_of(found.windows, 'window')} of {number_of(found.recordings, 'recording')}"
    print_result(
        f"{number_of(len(found.rows), 'clip')} of {heard}, with label tracks, in {printable(found.folder)}/clips"
    )
