"""``astune predict``: labels for recordings, their windows, or events in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
)
from astune.errors import ConfigError, interruptible
from astune.json_text import json_text
from astune.names import Pool, Runtime
from astune.plurals import number_of
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import TypeAlias

    from astune.inference.findings import Findings
    from astune.inference.inputs import Expanded
    from astune.inference.labeller import Labeller
    from astune.inference.prediction import Prediction
    from astune.inference.request import Request
    from astune.inference.result_folder import ResultFolder
    from astune.inference.timeline import OnWindow
    from astune.inference.workers import Question, Workers
    from astune.inference.writers import Writer

    Ask: TypeAlias = Callable[[Sequence[Path], OnWindow], Iterator[Any]]

_ARCHIVES = "Archives"
Adapter = Annotated[str, typer.Argument(help="Adapter folder, its hub id, or an ONNX file from `astune export`.")]
Files = Annotated[
    list[str], typer.Argument(metavar="FILE...", help="Audio files, folders of them, or - for standard input.")
]
TopK = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Labels for each file or window, the likeliest first; by default 1, or those that reach the adapter's thresholds.",
    ),
]
Pooling = Annotated[
    Pool | None,
    typer.Option(
        "--pool",
        help="How scores of a file longer than the input are made of those of its windows, by default mean; first: use its "
        "beginning alone.",
        rich_help_panel=LONG_RECORDINGS,
    ),
]
Window = Annotated[
    float | None,
    typer.Option(
        help="Label every window of so many seconds; by default the length of the input.",
        rich_help_panel=LONG_RECORDINGS,
    ),
]
Events = Annotated[
    bool, typer.Option("--events", help="Find events: what sounds from when to when.", rich_help_panel=LONG_RECORDINGS)
]
Threshold = Annotated[
    list[str] | None,
    typer.Option(
        metavar="T|LABEL=T",
        help="Score from which on an event begins or a window's label is given; may be repeated. By default the adapter's thresholds, or "
        "0.5 for events. Negative labels, which mean none of the others, count only where they are named.",
        rich_help_panel=LONG_RECORDINGS,
    ),
]
Low = Annotated[
    list[str] | None,
    typer.Option(
        metavar="T|LABEL=T",
        help="Score down to which an event goes on; by default that of --threshold.",
        rich_help_panel=LONG_RECORDINGS,
    ),
]
MinLength = Annotated[
    float | None, typer.Option(help="Seconds that an event lasts at least.", rich_help_panel=LONG_RECORDINGS)
]
MergeGap = Annotated[
    float | None,
    typer.Option(help="Seconds between two events of a label that are made one.", rich_help_panel=LONG_RECORDINGS),
]
Format = Annotated[
    Literal["csv", "jsonl", "audacity", "raven"] | None,
    typer.Option("--format", help="Of tables; of windows and events by default csv.", rich_help_panel=LONG_RECORDINGS),
]
OutputDir = Annotated[
    str | None,
    typer.Option(
        "--output-dir",
        "-o",
        metavar="DIR",
        help="Write a table for each file, as it is finished; the same command again goes on where it was stopped.",
        rich_help_panel=LONG_RECORDINGS,
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Files or windows that the model takes at a time; by default 16, or fewer of an ONNX file with a long input.",
    ),
]
RuntimeOption = Annotated[
    Runtime | None,
    typer.Option(
        help="What runs the model; by default onnx for an exported file, also for model.onnx in the adapter's folder, else torch."
    ),
]
WorkerCount = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Processes side by side, each with the adapter and its share of the cores or GPUs; by default the threads of "
        "one. For archives: each process takes some seconds to start.",
        rich_help_panel=_ARCHIVES,
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Label the files on a Ray cluster: auto, local, or ray://HOST:PORT; all its machines must see them under the same path.",
        rich_help_panel=_ARCHIVES,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print a JSON list with one object for each file.")]


_EVERYDAY = (
    "top_k",
    "window",
    "events",
    "threshold",
    "table",
    "output_dir",
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
        "predict",
        predict,
        examples=[
            "astune predict adapters/birds garden.wav --top-k 3",
            "astune predict adapters/birds field --window 2 -o labels",
            "astune predict adapters/birds field --events --format raven -o events",
        ],
        everyday=_EVERYDAY,
        progress=True,
    )


def predict(
    adapter: Adapter,
    files: Files,
    top_k: TopK = None,
    pool: Pooling = None,
    window: Window = None,
    hop: HopOption = None,
    events: Events = False,
    threshold: Threshold = None,
    low: Low = None,
    min_length: MinLength = None,
    merge_gap: MergeGap = None,
    table: Format = None,
    output_dir: OutputDir = None,
    backbone: BackboneOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    batch_size: BatchSize = None,
    runtime: RuntimeOption = None,
    workers: WorkerCount = None,
    ray: RayAddress = None,
    as_json: AsJson = False,
) -> None:
    """Label recordings; files that cannot be read are reported, the others still labelled, and the exit code is 1."""
    from astune.console import notify
    from astune.inference.findings import thresholds_of
    from astune.inference.inputs import expand
    from astune.inference.request import Request
    from astune.inference.result_folder import open_result_folder
    from astune.inference.runtime import labeller
    from astune.inference.workers import Question, Workers
    from astune.inference.writers import WRITERS

    if "" in files:
        raise ConfigError("FILE is empty; give audio files, folders of them, or - for standard input")
    about_events = {"low": low, "min-length": min_length, "merge-gap": merge_gap}
    by_window = window is not None or hop is not None or bool(threshold) or events
    tables = by_window or table is not None or output_dir is not None
    _refuse(events, by_window, tables, {"top-k": top_k, "pool": pool, "json": as_json or None, **about_events})
    found, writer = expand(files), WRITERS[table or "csv"]
    if output_dir is None and tables and not writer.several and len(found.paths) > 1:
        raise ConfigError(f"--format {table} has a file for each recording; give --output-dir")
    shared = Workers(adapter, backbone, device, precision, threads, count=workers, ray=ray) if workers or ray else None
    if shared:
        shared.refuse(found.paths)
    for line in found.remarks:
        notify(line)
    predictor = labeller(
        adapter, runtime=runtime, backbone=backbone, device=device, precision=precision, threads=threads, batch_size=batch_size
    )  # fmt: skip
    if top_k and top_k > len(predictor.labels):
        raise ConfigError(f"--top-k {top_k}: the adapter has {len(predictor.labels)} labels")
    high = thresholds_of(threshold or (), predictor.labels, predictor.negatives)
    lower = thresholds_of(low or (), predictor.labels)
    kind: Any = "events" if events else "windows" if by_window else "recordings"
    asked = Request(kind, window, hop, top_k, pool or "mean", high, lower, min_length or 0.0, merge_gap or 0.0)
    request = _settled(asked, predictor)
    ask = _asking(predictor, Question(request, labels=not tables), shared, ordered=output_dir is None)
    told: Sequence[Prediction | Findings]
    if not tables:
        told = _print_labels(ask, found, as_json=as_json)
    elif output_dir is None:
        told = _print_table(ask, writer, found.paths)
    else:
        about = {"format": table or "csv", "precision": predictor.precision, **request.record()}
        folder = open_result_folder(Path(output_dir), {**predictor.scores_key, **about}, writer, found.paths)
        told = _write_tables(ask, folder, found.paths)
    _end(predictor, told, found)


def _settled(asked: Request, predictor: Labeller) -> Request:
    """A request with what it leaves open, which is said."""
    from astune.console import notify

    request = asked.settled(predictor)
    for note in filter(None, (asked.note(predictor), asked.threshold_note(predictor))):
        notify(note)
    return request


def _end(predictor: Labeller, told: Sequence[Prediction | Findings], found: Expanded) -> None:
    """Say what could not be labelled, and what to know of the rest."""
    from astune.console import notify

    failed = [str(one.error) for one in told if one.error]
    failed += [one.reason for one in found.left_out if not one.harmless]
    for notice in predictor.notices(told):
        notify(notice)
    end_with(failed, len(told) + len(found.left_out), "read or labelled")


def _refuse(events: bool, by_window: bool, tables: bool, given: dict[str, object]) -> None:
    """Refuse options that contradict each other."""
    there = [name for name, value in given.items() if value is not None and value != []]
    for name in there:
        if name in {"low", "min-length", "merge-gap"} and not events:
            raise ConfigError(f"--{name} says what an event is; add --events, or leave it out")
        if name == "top-k" and events:
            raise ConfigError(
                "--top-k counts labels, and --events gives all that reach --threshold; leave one of them out"
            )
        if name == "pool" and by_window:
            raise ConfigError(
                "--pool makes one score of all windows, and --window, --hop, --threshold and --events ask for each; leave it out"
            )
        if name == "json" and tables:
            raise ConfigError("--json has labels of whole files; for windows, events and tables give --format jsonl")


def _asking(predictor: Labeller, question: Question, workers: Workers | None, *, ordered: bool) -> Ask:
    from astune.inference.worker_processes import ask_workers

    shared = workers.like(predictor) if workers else None

    def ask(paths: Sequence[Path], on_window: OnWindow) -> Iterator[Any]:
        if shared is None:
            return question.answers(predictor, paths, on_window)
        return ask_workers(shared, question, paths, on_window, ordered=ordered)

    return ask


def _answered(ask: Ask, paths: Sequence[Path]) -> Iterator[Any]:
    from astune.console import progress, recording_progress

    with progress("Labelling", len(paths)) as advance:
        for answer in ask(paths, recording_progress(advance)):
            yield answer
            advance(1, "")


def _print_labels(ask: Ask, found: Expanded, *, as_json: bool) -> list[Prediction]:
    predictions: list[Prediction] = []
    for prediction in _answered(ask, found.paths):
        predictions.append(prediction)
        if not as_json and not prediction.error:
            scores = (
                ", ".join(f"{printable(entry['label'])} {entry['score']:.3f}" for entry in prediction.labels) or "-"
            )
            used = f"\t{prediction.used_part}" if prediction.used_part else ""
            typer.echo(f"{printable(prediction.name)}\t{scores}{used}")
    if as_json:
        records = [prediction.record() for prediction in predictions] + [one.record() for one in found.left_out]
        typer.echo(json_text(records))
    return predictions


def _print_table(ask: Ask, writer: Writer, paths: Sequence[Path]) -> list[Findings]:
    from astune.console import print_exact

    told = []
    for number, findings in enumerate(_answered(ask, paths)):
        text = writer.body(findings, findings.name)
        print_exact(text if number else writer.head + text)
        told.append(replace(findings, rows=()))
    return told


def _write_tables(ask: Ask, folder: AbstractContextManager[ResultFolder], paths: Sequence[Path]) -> list[Findings]:
    from astune.console import notify

    told: list[Findings] = []
    rows = 0
    with folder as results:
        if results.finished:
            notify(f"{number_of(results.finished, 'file')} finished before and left as they are")
        with interruptible(
            lambda: (
                f"{number_of(results.finished + len(told), 'file')} of {len(results.recordings):,} are finished and kept, and the "
                "same command goes on from there"
            )
        ):
            for findings in _answered(ask, results.pending):
                if not findings.error:
                    results.write(findings)
                rows += len(findings.rows)
                told.append(replace(findings, rows=()))
        where = results.folder
    written = sum(not one.error for one in told)
    notify(f"{number_of(rows, 'row')} in {number_of(written, 'table')} under {printable(where)}")
    order = {str(path): number for number, path in enumerate(paths)}
    return sorted(told, key=lambda one: order[one.name])
