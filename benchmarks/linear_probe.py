"""Seventy-five epochs of linear probing against one pass of the frozen backbone over all clips.

Nothing random precedes the head, so that the frozen layers need to see each clip once, however many epochs there are.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from astune import AudioClassifier, load_backbone, load_data
from astune.compute import Arithmetic
from astune.data.generated import write_generated
from astune.features import build_cache
from astune.shared_change import evaluating
from astune.training.config import TrainConfig
from astune.training.loop import train
from astune.training.result import TrainResult
from benchmarks.measure import Contestant, Subject, contest, ratio
from benchmarks.report import CPU, Benchmark, Finding, Options, Report

EPOCHS, FRAMES = 75, 98  # of clips of one second
_BATCH = 32  # of a pass; what train() scores by
_CLIPS = (8, 3, 5)  # a class: to train on, to validate on, to test on


def prepare(folder: Path, backbone: str, clips: tuple[int, int, int] = _CLIPS) -> None:
    """Write generated sounds, and their features as a cache would hold them.

    Args:
        folder: that exists; gets ``data`` and ``cache``.
        backbone: whose front end computes the features.
        clips: a class, of each split.
    """
    data = write_generated(folder / "data", "environment", clips, seconds=1.0)
    model = AudioClassifier(load_backbone(backbone, FRAMES), "linear", ["a", "b"])
    build_cache(load_data(str(data)).paths, model.front_end, root=folder / "cache", quiet=True)


def probe(folder: str, backbone: str, epochs: int = EPOCHS) -> Subject:
    """``train()`` from its call to the adapter on disk, features cached and nothing else.

    Args:
        folder: from :func:`prepare`.
        backbone: as for :func:`astune.load_backbone`.
        epochs: passes over the training clips.
    """
    scratch = Path(tempfile.mkdtemp(dir=folder))
    output, cache = scratch / "adapter", scratch / "cache"
    results: list[TrainResult] = []

    def before() -> None:
        for left in (output, cache):
            shutil.rmtree(left, ignore_errors=True)
        shutil.copytree(Path(folder) / "cache", cache)
        os.environ["ASTUNE_CACHE"] = str(cache)

    def run() -> None:
        config = TrainConfig(
            data=str(Path(folder) / "data"), method="linear", backbone=backbone, output_dir=output, max_length=FRAMES,
            num_train_epochs=epochs, freq_mask=0, time_mask=0, recipe="paper",
        )  # fmt: skip
        results.append(train(config, quiet=True))

    def evidence() -> dict[str, Tensor]:
        """The test clips' confusions as ``train()`` counted them, and by the whole model from the adapter's file."""
        dataset = load_data(str(Path(folder) / "data"))
        test = dataset.split().test
        model = AudioClassifier.from_pretrained(output)
        features = build_cache(dataset.paths, model.front_end, quiet=True)
        with torch.inference_mode():
            predicted = torch.cat([model(features.batch([clip])).logits.argmax(dim=1) for clip in test])
        whole = torch.zeros(len(model.labels), len(model.labels), dtype=torch.int64)
        for clip, label in zip(test, predicted.tolist(), strict=True):
            whole[dataset.targets[clip], label] += 1
        return {"counted": torch.tensor(results[-1].scores["test"]["confusion"]), "whole": whole}

    return Subject(run, evidence, before)


def one_pass(folder: str, backbone: str) -> Subject:
    """The frozen backbone over all clips once, from cached features, in the arithmetic of training.

    Args:
        folder: from :func:`prepare`.
        backbone: as for :func:`astune.load_backbone`.
    """
    model = AudioClassifier(load_backbone(backbone, FRAMES), "linear", ["a", "b"])
    arithmetic = Arithmetic.of(CPU)
    arithmetic.prepare(model.sites)
    paths = load_data(str(Path(folder) / "data")).paths
    features = build_cache(paths, model.front_end, root=Path(folder) / "cache", quiet=True)

    def run() -> None:
        with evaluating(model), torch.inference_mode(), arithmetic.computing():
            for first in range(0, len(paths), _BATCH):
                model.backbone(features.batch(range(first, min(first + _BATCH, len(paths)))))

    return Subject(run)


def run(options: Options) -> Iterator[Report]:
    """Training against a pass.

    Args:
        options: of the command line.

    Yields:
        One table.
    """
    backbone = options.backbone or "random:base"
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), backbone)
        settings = {"folder": folder, "backbone": backbone}
        title = f"linear-probe: {EPOCHS} epochs on {6 * sum(_CLIPS)} clips of {FRAMES} frames, {backbone}"
        entries = [Contestant("train()", probe, settings), Contestant("one pass", one_pass, settings)]
        outcomes = contest(title, entries, options.plan(5, 1, warm_up=0))
    training, passing = outcomes.values()
    passes = ratio(training, passing)
    same = torch.equal(training.evidence["counted"], training.evidence["whole"])
    rows = [
        (name, f"{outcome.seconds:.2f}", f"{outcome.cpu_seconds:.2f}", str(ratio(outcome, passing)))
        for name, outcome in outcomes.items()
    ]
    yield Report(
        title,
        ("contestant", "s", "CPU s", "passes"),
        rows,
        [Finding(f"{EPOCHS} epochs take {passes} passes, at most 1.2", passes.median <= 1.2)],
        [Finding("test clips are told as by the whole model from the adapter's file", same)],
        [
            "train() is timed as a whole: checking, loading the backbone, epochs, checkpoints, scoring, writing; "
            "only features lay in the cache"
        ],
        outcomes,
    )


BENCHMARK = Benchmark("linear-probe", f"{EPOCHS} epochs of linear probing in at most 1.2 passes of the backbone", run)
