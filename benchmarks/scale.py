"""What many clips and many classes cost, stage by stage: each stage at two sizes, ten times apart, in a process of its own.

A stage whose seconds or memory grow much more than tenfold grows wrongly. Recordings are a few samples long: what is measured is what
comes on top of hearing them.
"""

from __future__ import annotations

import csv
import inspect
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch

from astune import AudioClassifier, load_backbone, load_data
from astune.adapter_file import read
from astune.class_scores import score_classes
from astune.data.check import check
from astune.data.labels import label_faults
from astune.experiments.plan import PlanOptions, plan, to_saved_plan
from astune.experiments.records import RunRecord
from astune.experiments.results import Results
from astune.experiments.store import Store
from astune.experiments.table import Table
from astune.names import BUNDLED_BACKBONE
from astune.reporting.report import write_report
from astune.training.result import TrainResult
from benchmarks.measure import Contestant, Outcome, Subject, contest
from benchmarks.report import Benchmark, Finding, Options, Report

_SIZES = ((10_000, 100), (100_000, 1_000))
"""Clips and classes."""
_SAMPLES = 160  # of a clip, 10 ms: less than a window, so that decoding costs next to nothing
_FOLDER = 1_000  # files of a folder
_SECONDS, _GROWTH = (
    60.0,
    25.0,
)  # of a stage at the larger size, and over the smaller one, within which costs grow rightly


def prepare(folder: Path, clips: int, classes: int) -> Path:
    """Recordings and their table: a fifth tests, the rest trains.

    Args:
        folder: an empty one.
        clips: how many.
        classes: of as many clips each.

    Returns:
        The table.
    """
    table = folder / "metadata.csv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        lines = csv.writer(stream)
        lines.writerow(("file_name", "label", "split"))
        for clip in range(clips):
            path = folder / f"{clip // _FOLDER:03d}" / f"{clip:06d}.wav"
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, np.full(_SAMPLES, (clip + 1) / (clips + 1)), 16_000)
            lines.writerow(
                (path.relative_to(folder), f"class {clip % classes:04d}", "train" if clip // classes % 5 else "test")
            )
    return table


def load(table: str, classes: int) -> Subject:
    """Read the table.

    Args:
        table: of :func:`prepare`.
        classes: it has.
    """
    return Subject(lambda: load_data(table), lambda: {"size": torch.tensor([len(load_data(table).labels), classes])})


def split(table: str, classes: int) -> Subject:
    """Hold a tenth of training out.

    Args:
        table: of :func:`prepare`.
        classes: it has.
    """
    dataset = load_data(table)
    return Subject(
        dataset.split,
        lambda: {"size": torch.tensor([len({dataset.targets[n] for n in dataset.split().validation}), classes])},
    )


def checked(table: str, classes: int) -> Subject:
    """Decode, measure and compare all recordings, as ``astune data check`` does.

    Args:
        table: of :func:`prepare`.
        classes: it has.
    """
    dataset = load_data(table)
    return Subject(lambda: check(dataset, quiet=True), lambda: {"size": torch.tensor([len(dataset.labels), classes])})


def planned(table: str, classes: int) -> Subject:
    """Plan an experiment of two rows, digests of the recordings included.

    Args:
        table: of :func:`prepare`.
        classes: it has.
    """
    experiment = _experiment(table)
    return Subject(
        lambda: plan("scale", experiment, PlanOptions(backbone=BUNDLED_BACKBONE)),
        lambda: {"size": torch.tensor([classes, classes])},
    )


def looked_up(table: str, classes: int) -> Subject:
    """Check labels, and look up the class of every clip.

    Args:
        table: of :func:`prepare`.
        classes: it has.
    """
    dataset = load_data(table)

    def step() -> int:
        vars(dataset).pop("targets", None)
        return len(label_faults(dataset.labels)) + len(dataset.targets)

    return Subject(step, lambda: {"size": torch.tensor([len(set(dataset.targets)), classes])})


def scored(clips: int, classes: int) -> Subject:
    """Score a tenth of the clips and write the scores down.

    Args:
        clips: of the data set.
        classes: of it.
    """
    logits, targets = _logits(clips // 10, classes)
    return Subject(
        lambda: score_classes(logits, targets).record(),
        lambda: {"size": torch.tensor([sum(map(sum, score_classes(logits, targets).confusion)), clips // 10])},
    )


def adapter(folder: str, clips: int, classes: int) -> Subject:
    """Save an adapter with its scores, and read it.

    Args:
        folder: for the adapter.
        clips: of the data set.
        classes: of it.
    """
    model = AudioClassifier(load_backbone(BUNDLED_BACKBONE, 98), "lora", _labels(classes))
    scores = {"test": score_classes(*_logits(clips // 10, classes)).record()}
    target = Path(folder) / f"adapter-{classes}"

    def step() -> int:
        model.save_pretrained(target, metrics=scores)
        return len(read(target).labels)

    return Subject(step, lambda: {"size": torch.tensor([step(), classes])})


def reported(folder: str, table: str, clips: int, classes: int) -> Subject:
    """Store the runs of an experiment and write its report, pictures included.

    Args:
        folder: for the store.
        table: of :func:`prepare`.
        clips: it has.
        classes: it has.
    """
    experiment = _experiment(table)
    runs = plan("scale", experiment, PlanOptions(backbone=BUNDLED_BACKBONE, seeds=5))
    scores = {"test": score_classes(*_logits(clips // 10, classes)).record()}
    store = Store(Path(folder) / f"store-{classes}")

    def step() -> int:
        store.write_plan(to_saved_plan("scale", experiment, runs))
        for run in runs:
            result = TrainResult(
                output_dir="", spec=run.spec, trainable_parameters=run.parameters, adapter_bytes=1, backbone_fingerprint="f",
                labels=_labels(classes), fold=None, recipe={}, config={}, compute_dtype="float32", device="cpu", best_epoch=0,
                scores=scores, history=[{"train_loss": 1.0}], skipped_clips=0, train_seconds=1.0, wall_seconds=1.0, peak_memory_mib=1.0,
                versions={"torch": "2", "transformers": "5"},
            )  # fmt: skip
            store.write(RunRecord(run.key, run.settings_key, "f", result, None, None))
        return len(write_report(Results.load(store, "scale"), store.folder / "reports"))

    return Subject(step, lambda: {"size": torch.tensor([int(step() > 5), 1])})


def _experiment(table: str) -> Table:
    return Table.model_validate(
        {
            "title": "scale",
            "datasets": [{"name": "tones", "data": f"csv:{table}", "settings": {"max_length": 98}}],
            "rows": [{"name": name, "method": name} for name in ("linear", "lora")],
        }
    )


def _labels(classes: int) -> list[str]:
    return [f"class {number:04d}" for number in range(classes)]


def _logits(clips: int, classes: int) -> tuple[torch.Tensor, list[int]]:
    """Of a classifier that is mostly right."""
    draw = torch.Generator().manual_seed(0)
    targets = torch.randint(classes, (clips,), generator=draw)
    logits = torch.randn(clips, classes, generator=draw)
    logits[torch.arange(clips), targets] += 4
    return logits, targets.tolist()


STAGES: dict[str, Callable[..., Subject]] = {
    "load a table": load, "split it": split, "check the recordings": checked, "plan an experiment": planned,
    "look targets up": looked_up, "score": scored, "save and read an adapter": adapter, "store and report 10 runs": reported,
}  # fmt: skip


def run(options: Options) -> Iterator[Report]:
    """All stages at both sizes.

    Args:
        options: of the command line.

    Yields:
        One table.
    """
    with tempfile.TemporaryDirectory() as temporary:
        entries = []
        for clips, classes in _SIZES:
            folder = Path(temporary) / str(clips)
            folder.mkdir()
            given = {
                "folder": temporary,
                "table": str(prepare(folder, clips, classes)),
                "clips": clips,
                "classes": classes,
            }
            for name, make in STAGES.items():
                settings = {key: given[key] for key in inspect.signature(make).parameters}
                entries.append(Contestant(f"{name}, {clips:,} clips", make, settings))
        yield report(contest("stages", entries, options.plan(1, 1, warm_up=0)))


def report(outcomes: dict[str, Outcome]) -> Report:
    """The table, and whether costs grow rightly.

    Args:
        outcomes: of all stages at both sizes.
    """
    rows, claims = [], []
    small, large = (f"{clips:,} clips" for clips, _ in _SIZES)
    for name in STAGES:
        less, more = outcomes[f"{name}, {small}"], outcomes[f"{name}, {large}"]
        growth = more.seconds / less.seconds
        rows.append(
            (name, f"{less.seconds:.2f}", f"{more.seconds:.2f}", f"{growth:.1f}", f"{less.peak_mib:,.0f}", f"{more.peak_mib:,.0f}")
        )  # fmt: skip
        claims.append(Finding(f"{name}: seconds", more.seconds < _SECONDS and (growth < _GROWTH or more.seconds < 1)))
    checks = [
        Finding(f"{name} is whole", bool(outcome.evidence["size"][0] == outcome.evidence["size"][1]))
        for name, outcome in outcomes.items()
    ]
    columns = ("stage", f"s, {small}", f"s, {large}", "growth", f"MiB, {small}", f"MiB, {large}")
    notes = [f"{clips:,} clips in {classes:,} classes" for clips, classes in _SIZES]
    return Report(f"Many clips, many classes: {' and '.join(notes)}", columns, rows, claims, checks, outcomes=outcomes)


BENCHMARK = Benchmark(
    "scale", "loading, splitting, checking, planning, scoring, saving and reporting grow with the clips", run
)
