"""``astune review``: what to listen to next, cut for Audacity."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astune.cli.help import add_command
from astune.cli.options import (
    LONG_RECORDINGS,
    AdapterArgument,
    BackboneOption,
    DeviceOption,
    HopOption,
    PrecisionOption,
    ThreadsOption,
    end_with,
)
from astune.console import print_result, results, results_table
from astune.json_text import json_text
from astune.plurals import number_of
from astune.printable import printable

if TYPE_CHECKING:
    from astune.inference.review import Review

_WHICH = "Which windows"


Recordings = Annotated[
    list[str], typer.Argument(metavar="RECORDING...", help="Audio files and folders of them, of any length.")
]
OutputDir = Annotated[
    str, typer.Option("--output-dir", "-o", metavar="DIR", help="Folder to make, for clips, labels and review.csv.")
]
Criterion = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="unlike the training clips, uncertain, confident (each label) or random; may be repeated. By default the first three.",
        rich_help_panel=_WHICH,
    ),
]
Count = Annotated[int, typer.Option(min=1, help="Windows of each criterion but confident.", rich_help_panel=_WHICH)]
PerClass = Annotated[int, typer.Option(min=1, help="Windows of each label by confident.", rich_help_panel=_WHICH)]
PerRecording = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Windows of one recording and criterion at most; by default spread over the recordings.",
        rich_help_panel=_WHICH,
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="Least score of confident; by default the adapter's thresholds, or 0.5.",
        rich_help_panel=_WHICH,
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of random.", rich_help_panel=_WHICH)]
Reviewed = Annotated[
    list[str] | None,
    typer.Option(
        metavar="DIR", help="An earlier review, not to be repeated; may be given again.", rich_help_panel=_WHICH
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        help="The data set the adapter was trained on, if it is not where it was then.", rich_help_panel=_WHICH
    ),
]
Window = Annotated[
    float | None,
    typer.Option(help="Seconds of a window; by default the length of the input.", rich_help_panel=LONG_RECORDINGS),
]
Margin = Annotated[float, typer.Option(min=0, help="Seconds around each window that are cut with it.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Windows that the model takes at a time.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print what was cut as one JSON object.")]


_EVERYDAY = (
    "output_dir",
    "criterion",
    "count",
    "reviewed",
    "device",
    "as_json",
)  # what -h shows


def register(app: typer.Typer) -> None:
    """Add the verb.

    Args:
        app: the command line.
    """
    add_command(
        app,
        "review",
        review,
        examples=[
            "astune review adapters/birds field-recordings -o to-review",
        ],
        everyday=_EVERYDAY,
        progress=True,
    )


def review(
    adapter: AdapterArgument,
    recordings: Recordings,
    output_dir: OutputDir,
    criterion: Criterion = None,
    count: Count = 10,
    per_class: PerClass = 3,
    per_recording: PerRecording = None,
    threshold: Threshold = None,
    seed: Seed = 0,
    reviewed: Reviewed = None,
    data: Data = None,
    window: Window = None,
    hop: HopOption = None,
    margin: Margin = 1.0,
    backbone: BackboneOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    batch_size: BatchSize = 16,
    as_json: AsJson = False,
) -> None:
    """Cut the windows a person should listen to next, each with a label track to correct in Audacity; exit code 1 if a file is broken."""
    from astune.console import notify
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
        notify(notice)
    if as_json:
        typer.echo(json_text(found.record()))
    else:
        _show(found)
    end_with(found.errors, found.recordings + len(found.errors))


def _show(found: Review) -> None:
    table = results_table(["criterion", "label", "file"], ["rank", "score"])
    for row in found.rows:
        cells = (row["criterion"], row["label"], Path(row["file"]).name)
        table.add_row(*cells, str(row["rank"]), f"{row['score']:.3f}")
    results().print(table)
    searched = f"{number_of(found.windows, 'window')} of {number_of(found.recordings, 'recording')}"
    print_result(
        f"{number_of(len(found.rows), 'clip')} of {searched}, with label tracks, in {printable(found.folder)}/clips"
    )
