"""``astune predict``: labels for recordings."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astune.errors import AudioError, ConfigError
from astune.json_text import json_text
from astune.plurals import number_of
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astune.classifier import AudioClassifier
    from astune.features import ClipFeatures

_BATCH = 16


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
    top_k: Annotated[int, typer.Option(min=1, help="Labels a file, the likeliest first.")] = 1,
    backbone: Annotated[str | None, typer.Option(help="Where the backbone is, if not where the adapter says.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list, an object a file.")] = False,
) -> None:
    """Label recordings; files that cannot be read are reported, the others still labelled, and the exit code is 1."""
    from astune.classifier import AudioClassifier
    from astune.console import progress, say
    from astune.data.heard import heard_notices

    if "" in files:  # an unset variable of a shell; as a path it would be the current folder
        raise ConfigError("FILE is empty; give audio files, folders of them, or - for standard input")
    paths, skipped, remarks = _expand([Path(file) for file in files])
    for line in remarks:
        say(line)
    model = AudioClassifier.from_pretrained(adapter, backbone)
    if top_k > len(model.labels):
        raise ConfigError(f"--top-k {top_k}: the adapter has {len(model.labels)} labels")
    records: list[dict[str, Any]] = []
    with progress("Labelling", len(paths)) as advance:
        for record in _records(model, paths, top_k):
            records.append(record)
            advance(1, "")
            if not as_json and "labels" in record:
                found = ", ".join(
                    f"{printable(entry['label'])} {entry['probability']:.3f}" for entry in record["labels"]
                )
                typer.echo(f"{printable(record['file'])}\t{found}")
    records += skipped
    if as_json:
        typer.echo(json_text(records))
    failed = [record for record in records if "error" in record]
    for record in failed:
        say(f"error: {record['error']}")
    for notice in heard_notices(
        {number: record["seconds"] for number, record in enumerate(records) if "seconds" in record},
        {number: record["doubts"] for number, record in enumerate(records) if "doubts" in record},
        [record["file"] for record in records],
        model.front_end.seconds,
        "file",
    ):
        say(notice)
    if failed:
        say(f"{len(failed):,} of {number_of(len(records), 'file')} could not be read or labelled")
        raise typer.Exit(1)


def _expand(files: list[Path]) -> tuple[list[Path], list[dict[str, Any]], list[str]]:
    """The recordings, a record of each file in the folders that is passed over, and what to say of the folders."""
    from astune.data.recordings import HIDDEN, find_recordings, other_files, passed_over

    paths: list[Path] = []
    skipped: list[dict[str, Any]] = []
    remarks: list[str] = []
    for file in files:
        if not file.is_dir():
            paths.append(file)
            continue
        found = find_recordings(file)
        if not found.files:
            fault = f"{printable(file)} holds no audio files that can be read: it holds {found.holds()}"
            if len(files) == 1:
                raise AudioError(fault)
            skipped.append({"file": str(file), "error": fault})
            continue
        paths += found.paths
        hidden = [one for one in found.skipped if one.kind == HIDDEN]  # a Mac leaves one beside each file on a stick
        skipped += [{"file": str(file / one.path), "passed_over": one.kind} for one in hidden]
        skipped += [
            {"file": str(file / one.path), "error": f"{printable(file / one.path)}: {one.reason}"}
            for one in found.skipped
            if one.kind != HIDDEN
        ]
        others = passed_over([*hidden, *other_files(found)])
        remarks += [*found.remarks, *(f"Note: {one.sentence} ({file})" for one in others)]
    return paths, skipped, remarks


def _records(model: AudioClassifier, paths: list[Path], top_k: int) -> Iterator[dict[str, Any]]:
    """One record a file, in order, computed in batches."""
    import torch

    from astune.features import listen_to_clip

    for start in range(0, len(paths), _BATCH):
        batch = paths[start : start + _BATCH]
        records: list[dict[str, Any]] = []
        features = []
        for path in batch:
            try:
                heard = listen_to_clip(path, model.front_end, pipes=True)
                features.append(torch.from_numpy(heard.features).float())
                records.append(_record(path, heard))
            except AudioError as fault:
                records.append({"file": str(path), "error": str(fault)})
        if features:
            with torch.inference_mode():
                probabilities = model(torch.stack(features)).logits.softmax(dim=-1)
            rows = iter(zip(*(part.tolist() for part in probabilities.topk(top_k)), strict=True))
            for record in records:
                if "error" in record:
                    continue
                values, indices = next(rows)
                if not all(map(math.isfinite, values)):
                    record["error"] = (
                        f"{printable(record['file'])}: its scores are no numbers; is the adapter or its backbone damaged?"
                    )
                    continue
                record["labels"] = [
                    {"label": model.labels[index], "probability": value}
                    for value, index in zip(values, indices, strict=True)
                ]
        yield from records


def _record(path: Path, heard: ClipFeatures) -> dict[str, Any]:
    record = {"file": str(path), "seconds": round(heard.seconds, 3), "heard_seconds": round(heard.heard_seconds, 3)}
    return {**record, "doubts": list(heard.doubts)} if heard.doubts else record
