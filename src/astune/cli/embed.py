"""``astune embed``: embeddings of recordings or labelled clips, in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from astune.cli.help import add_command
from astune.cli.options import (
    LONG_RECORDINGS,
    BackboneOption,
    DeviceOption,
    HopOption,
    PrecisionOption,
    ThreadsOption,
    end_with,
    options_given,
    with_fields,
)
from astune.console import print_result
from astune.data.options import DataOptions
from astune.errors import ConfigError
from astune.json_text import json_text
from astune.plurals import number_of
from astune.printable import printable

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="Adapter folder or a bare backbone: bundled, a folder, or a hub id.")
]
Data = Annotated[
    list[str],
    typer.Argument(metavar="DATA...", help="Recordings and folders of them; or one labelled data set, as layout:PATH."),
]
Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="FILE", help="File to write, .npz or .parquet.", parser=Path)
]
Level = Annotated[
    str, typer.Option(metavar="output|N", help="output: after the final LayerNorm; 0: patch embeddings; N: N-th layer.")
]
Pooling = Annotated[
    Literal["mean", "cls"] | None,
    typer.Option(help="Mean of all tokens, or [CLS]; by default as the adapter pools, else mean."),
]
Tokens = Annotated[bool, typer.Option("--tokens", help="Write every token, and pool none.")]
Window = Annotated[
    float | None,
    typer.Option(
        help="Seconds of a window of recordings, or of labelled regions; by default the length of the input.",
        rich_help_panel=LONG_RECORDINGS,
    ),
]
MaxLength = Annotated[
    int | None,
    typer.Option(
        min=16, help="Input of a bare backbone in frames of 10 ms; by default the window's, else the backbone's own."
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Windows or clips that the model takes at a time.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print what was written as one JSON object.")]


_EVERYDAY = (
    "output",
    "level",
    "pool",
    "window",
    "device",
    "overwrite",
    "as_json",
)  # what -h shows


def register(app: typer.Typer) -> None:
    """Add the verb.

    Args:
        app: the command line.
    """
    add_command(
        app,
        "embed",
        embed,
        examples=[
            "astune embed bundled folder:recordings -o recordings.npz",
        ],
        everyday=_EVERYDAY,
        progress=True,
    )


@with_fields(DataOptions, without=("window", "hop"))
def embed(
    context: typer.Context,
    *,
    model: Model,
    data: Data,
    output: Output,
    level: Level = "output",
    pool: Pooling = None,
    tokens: Tokens = False,
    window: Window = None,
    hop: HopOption = None,
    max_length: MaxLength = None,
    overwrite: Overwrite = False,
    backbone: BackboneOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    batch_size: BatchSize = 16,
    as_json: AsJson = False,
    **fields: Any,
) -> None:
    """Write embeddings, a row for each window or labelled clip; files that cannot be read are reported, and the exit code is 1."""
    from astune.console import notify
    from astune.inference.embed import write_embeddings
    from astune.inference.embedder import is_labelled

    labelled = [one for one in data if is_labelled(one)]
    if labelled and len(data) > 1:
        raise ConfigError(f"{labelled[0]} is a labelled data set; give it alone")
    windows = {name: value for name, value in {"window": window, "hop": hop}.items() if value is not None}
    done = write_embeddings(
        output,
        model,
        labelled[0] if labelled else data,
        level=int(level) if level.isdecimal() else level,  # what is neither is refused there, with the choices
        pool=pool,
        tokens=tokens,
        **({} if labelled else windows),
        overwrite=overwrite,
        data_options=options_given(context, fields) | (windows if labelled else {}),
        backbone=backbone,
        device=device,
        precision=precision,
        max_length=max_length,
        threads=threads,
        batch_size=batch_size,
    )
    for notice in done.notices:
        notify(notice)
    if as_json:
        typer.echo(json_text(done.record()))
    else:
        rows, *inner = done.shape
        numbers = " x ".join(f"{size:,}" for size in inner)
        of = number_of(done.inputs, "clip" if labelled else "recording")
        print_result(f"{number_of(rows, 'row')} of {numbers} numbers, of {of}, in {printable(done.path)}")
    end_with(done.errors, done.inputs + len(done.errors))
