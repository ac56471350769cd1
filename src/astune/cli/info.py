"""``astune info``: what an adapter is."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from astune.cli.help import add_command
from astune.cli.options import AdapterArgument
from astune.console import results, results_table
from astune.json_text import json_text
from astune.plurals import number_of

if TYPE_CHECKING:
    from astune.description import AdapterDescription


def register(app: typer.Typer) -> None:
    """Add the verb.

    Args:
        app: the command line.
    """
    add_command(app, "info", info, examples=["astune info adapters/birds", "astune info adapters/birds --json"])


def info(
    adapter: AdapterArgument,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the description as one JSON object.")] = False,
) -> None:
    """Describe an adapter: its method, labels, backbone, sizes, scores and training."""
    from astune.description import describe_adapter

    found = describe_adapter(adapter)
    if as_json:
        typer.echo(json_text(asdict(found)))
    else:
        _show(found)


def _show(found: AdapterDescription) -> None:
    table = results_table(["field"])
    table.show_header = False
    table.box = None
    table.add_column(overflow="fold")
    for name, value in _rows(found):
        table.add_row(name, value)
    results().print(table)


def _rows(found: AdapterDescription) -> list[tuple[str, str]]:
    parameters = f"{found.trainable_parameters:,} trained, {found.stored_parameters:,} in the file with the head"
    rows = [
        ("adapter", found.adapter),
        ("method", found.method),
        ("task", found.task),
        ("labels", f"{number_of(len(found.labels), 'label')}: {', '.join(found.labels)}"),
        ("negative labels", ", ".join(found.negative_labels)),
        ("backbone", f"{found.backbone} (fingerprint {found.backbone_fingerprint[:12]})"),
        ("input", f"{found.input_seconds:g} s ({number_of(found.max_length, 'frame')} of 10 ms)"),
        ("parameters", parameters),
        ("file", f"{found.file_bytes / 1e6:,.2f} MB"),
    ]
    for split, scores in found.scores.items():
        rows.append((f"{split} scores", _scores(scores)))
    training = {name: value for name, value in found.training.items() if name != "data_digest"}
    rows.append(("training", ", ".join(f"{name}={value}" for name, value in training.items())))
    by = "" if found.astune_version is None else f"astune {found.astune_version}, products in {found.compute_dtype}"
    rows.append(("trained by", by))
    return [(name, value) for name, value in rows if value]


def _scores(scores: dict[str, float]) -> str:
    return ", ".join(
        f"{name} {value:,}" if isinstance(value, int) else f"{name} {value:.4f}" for name, value in scores.items()
    )
