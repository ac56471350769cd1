"""``python -m pretraining.measure BACKBONE``: what frozen features are worth on tasks the pretraining never saw.

A linear probe, logistic regression on mean-pooled tokens, as :class:`astune.AudioClassifier` pools them. Its strength of
regularisation is chosen inside the training clips of each split, by leaving out one fold or speaker at a time; test clips are
scored once. ``--validation`` scores the validation speakers of the keywords instead, and nothing else: that is what choices of the
pretraining itself may look at.

=========  ==========================================================================  ====================================
task       data                                                                        split
=========  ==========================================================================  ====================================
esc10      400 environmental clips, 10 classes, 5 s                                    5 folds
digits     2,000 spoken digits, 4 speakers                                             a fold a speaker
keywords   9,600 Arabic keywords, 40 words, all of which the pretraining has seen      official; test speakers never seen
=========  ==========================================================================  ====================================
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
import typer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, LeaveOneGroupOut, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from typing_extensions import override

from astune.backbone import Backbone, load_backbone
from astune.console import notify, progress
from astune.data.layouts.base import load_data
from astune.experiments.baseline import log_mel_statistics
from astune.features.cache import build_cache
from astune.features.log_mel import FrontEnd
from astune.files import write_text
from pretraining.corpus import Corpus
from pretraining.stage import trained_weights
from pretraining.student import Student, StudentConfig
from pretraining.teacher import Teacher, TeacherConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from astune.data.dataset import AudioDataset

    Features = NDArray[np.float32]

_STRENGTHS = (0.003, 0.03, 0.3)  # inverse regularisation
_RESAMPLES = 2000  # of the bootstrap
_BATCH = 50


@dataclass(frozen=True)
class Task:
    """Where a probe is trained and tested."""

    name: str
    source: str
    max_length: int
    """Frames."""

    def data(self, data_root: Path) -> AudioDataset:
        """Its clips."""
        layout, _, folder = self.source.partition(":")
        return load_data(f"{layout}:{data_root / folder}")


TASKS = (
    Task("esc10", "esc50:esc10", 500),
    Task("digits", "csv:spoken_digits/metadata.csv", 64),
    Task("keywords", "speech_commands:arabic_speech_commands", 100),
)


@dataclass(frozen=True)
class Score:
    """Accuracy of a probe."""

    accuracy: float
    """Over all test clips."""
    low: float
    """Of the 95 % bootstrap interval; resampled are the clips of each fold, or the test speakers where there are no folds."""
    high: float
    folds: tuple[float, ...]
    """Accuracy of each fold; empty where there are none."""

    @override
    def __str__(self) -> str:
        spread = f", ± {100 * np.std(self.folds, ddof=1):.1f} over folds" if self.folds else ""
        return f"{100 * self.accuracy:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]{spread}"


def main(
    backbone: Annotated[str, typer.Argument(help="Folder of a pretrained backbone, or bundled.")],
    data_root: Annotated[Path, typer.Option(help="Folder of esc10/, spoken_digits/ and arabic_speech_commands/.")],
    work_dir: Annotated[Path | None, typer.Option(help="Of the pretraining, to measure its teacher too.")] = None,
    output: Annotated[Path | None, typer.Option(help="JSON file for the figures.")] = None,
    validation: Annotated[bool, typer.Option(help="Score the keywords' validation speakers alone.")] = False,
) -> None:
    """Measure a pretrained backbone beside what it has to beat."""
    figures: dict[str, dict[str, Score]] = {}
    for task in TASKS[-1:] if validation else TASKS:
        dataset = task.data(data_root)
        for name, embed in contestants(backbone, work_dir, task).items():
            if validation and name != "backbone":
                continue
            score = probe(dataset, embed(dataset), validation=validation)
            figures.setdefault(name, {})[task.name] = score
            notify(f"{task.name}, {name}: {score}")
    typer.echo(markdown(figures))
    if output:
        records = {name: {task: asdict(score) for task, score in row.items()} for name, row in figures.items()}
        write_text(output, json.dumps(records, indent=2) + "\n")


def markdown(figures: Mapping[str, Mapping[str, Score]]) -> str:
    """The table of the model card.

    Args:
        figures: by contestant and task.
    """
    tasks = list(dict.fromkeys(task for row in figures.values() for task in row))
    lines = [f"| features | {' | '.join(tasks)} |", f"| --- |{' --- |' * len(tasks)}"]
    lines += [f"| {name} | {' | '.join(str(row[task]) for task in tasks)} |" for name, row in figures.items()]
    return "\n".join(lines)


def contestants(backbone: str, work_dir: Path | None, task: Task) -> dict[str, Callable[[AudioDataset], Features]]:
    """What is measured on a task, each as a function from its clips to (clips, features).

    Args:
        backbone: what :func:`astune.load_backbone` takes.
        work_dir: of the pretraining.
        task: decides the input length.
    """
    length = task.max_length

    def of(model: Backbone) -> Callable[[AudioDataset], Features]:
        return partial(_embedded, lambda x: model(x).last_hidden_state.mean(dim=1), length)

    found: dict[str, Callable[[AudioDataset], Features]] = {
        "log-Mel statistics": partial(_statistics, length),
        "random N(0, 0.02)": of(load_backbone("random:small", length)),
        "student's start": of(_start_of_student(length)),
        "backbone": of(load_backbone(backbone, length)),
        "positions zeroed": of(load_backbone(backbone, length, "zero")),
    }
    if work_dir is not None:
        teacher = Teacher(Corpus.load(work_dir / "corpus").classes, TeacherConfig.channels)
        teacher.load_state_dict(trained_weights(work_dir / "teacher"))
        teacher.eval()
        found["teacher"] = partial(_embedded, lambda x: teacher.over_time(x).mean(-1), length)
    return found


def _start_of_student(length: int) -> Backbone:
    torch.manual_seed(1)
    return Backbone.of(Student(StudentConfig(), classes=2, channels=2).eval().exported()).fit(length)


@torch.no_grad()
def _embedded(tokens_of: Callable[[Tensor], Tensor], length: int, dataset: AudioDataset) -> Features:
    cache = build_cache(dataset.paths, FrontEnd(length))
    found = []
    with progress("Embedding", len(dataset.clips)) as advance:
        for start in range(0, len(dataset.clips), _BATCH):
            rows = range(start, min(start + _BATCH, len(dataset.clips)))
            found.append(tokens_of(cache.batch(rows)).numpy())
            advance(len(rows), "")
    return np.concatenate(found)


def _statistics(length: int, dataset: AudioDataset) -> Features:
    return log_mel_statistics(dataset.paths, FrontEnd(length))


def probe(dataset: AudioDataset, features: Features, *, validation: bool = False) -> Score:
    """Train and test a linear probe.

    Args:
        dataset: gives labels, folds and splits.
        features: (clips, features) of all clips.
        validation: test on the validation split.
    """
    targets = np.array(dataset.targets)
    right = np.zeros(len(targets), bool)
    if dataset.folds:
        folds = np.array([clip.fold for clip in dataset.clips])
        for fold in dataset.folds:
            train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            inner = LeaveOneGroupOut().split(train, groups=folds[train])
            right[test] = _predicted(features, targets, train, test, list(inner)) == targets[test]
        return _score(right, [np.flatnonzero(folds == fold) for fold in dataset.folds], resample_groups=False)
    split = dataset.split()
    train, tested = np.array(split.train), np.array(split.validation if validation else split.test)
    both = np.concatenate([train, split.validation])
    held_out = PredefinedSplit(np.repeat([-1, 0], [len(train), len(split.validation)]))
    # Refitted on both: the validation speakers have done their work. While they are what is tested, nothing may look at them.
    inner = GroupKFold(3).split(train, groups=_speakers(dataset, train)) if validation else held_out.split()
    fitted = train if validation else both
    right[tested] = _predicted(features, targets, fitted, tested, list(inner)) == targets[tested]
    speakers = _speakers(dataset, tested)
    return _score(right, [tested[speakers == speaker] for speaker in np.unique(speakers)], resample_groups=True)


def _speakers(dataset: AudioDataset, clips: NDArray[np.int64]) -> NDArray[np.str_]:
    return np.array([dataset.clips[clip].path.name.split("_")[0] for clip in clips])


def _predicted(
    features: Features,
    targets: NDArray[np.int64],
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    inner: list[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> NDArray[np.int64]:
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    search = GridSearchCV(model, {"logisticregression__C": _STRENGTHS}, cv=inner)
    return np.asarray(search.fit(features[train], targets[train]).predict(features[test]))


def _score(right: NDArray[np.bool_], groups: list[NDArray[np.int64]], *, resample_groups: bool) -> Score:
    draw = np.random.default_rng(0)
    means = []
    for _ in range(_RESAMPLES):
        if resample_groups:
            drawn = [groups[index] for index in draw.integers(len(groups), size=len(groups))]
        else:
            drawn = [draw.choice(group, len(group)) for group in groups]
        means.append(right[np.concatenate(drawn)].mean())
    low, high = np.quantile(means, [0.025, 0.975])
    folds = () if resample_groups else tuple(float(right[group].mean()) for group in groups)
    return Score(float(right[np.concatenate(groups)].mean()), float(low), float(high), folds)


if __name__ == "__main__":
    typer.run(main)
