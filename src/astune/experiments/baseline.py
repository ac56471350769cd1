"""The row nobody prints: logistic regression on the mean and the deviation of each clip's log-Mel energies, no network at all.

Where clips have any number of labels, it is one regression a label (:mod:`astune.experiments.label_baseline`).
What a method gains has to be read against it: random and badly positioned transformers lie below it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from astune.console import progress
from astune.data.audio import listen
from astune.data.clip import region_of
from astune.data.layouts.base import load_data
from astune.data.threads import in_threads
from astune.environment import peak_memory_mib, versions
from astune.errors import AudioError, DataError
from astune.experiments.label_baseline import LEAST, LabelBaseline, chosen
from astune.features.log_mel import FrontEnd
from astune.training.check import split_of
from astune.training.config import TrainConfig, settings_where
from astune.training.data_record import DataRecord
from astune.training.inner_folds import groups_of, inner_folds
from astune.training.recipe import input_length
from astune.training.result import TrainResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from astune.data.clip import Clip
    from astune.tasks import Task
    from astune.training.inner_folds import Folds

BASELINE = "log-mel-statistics"
"""Stands where other runs have a method's spec."""
STATISTICS = 256
"""Numbers a clip: 128 means, 128 deviations."""
DECIDING = tuple(settings_where(kind="data"))
"""Fields of :class:`astune.TrainConfig` that the result depends on."""
_STRENGTHS = (0.003, 0.03, 0.3)  # inverse regularisation, the weakest last


def log_mel_statistics(
    clips: Sequence[Clip | Path], front_end: FrontEnd, *, skip_broken: bool = False, quiet: bool = False
) -> NDArray[np.float32]:
    """Mean and deviation over time of each Mel bin, before padding.

    Args:
        clips: clips or audio files.
        front_end: decides how much of each is heard.
        skip_broken: give NaN for files that cannot be read, instead of raising.
        quiet: no progress bar.

    Returns:
        (clips, 256).

    Raises:
        AudioError: a file cannot be read.
    """

    def of(clip: Clip | Path) -> NDArray[np.float32]:
        path, start, end = region_of(clip)
        try:
            heard = listen(path, start, front_end.seconds, end=end)
            energies = front_end.log_mel(torch.from_numpy(heard.samples))
        except AudioError:
            if not skip_broken:
                raise
            return np.full(STATISTICS, np.nan, np.float32)
        return torch.cat([energies.mean(0), energies.std(0, correction=0)]).numpy()

    found = []
    with progress("Log-Mel statistics", len(clips), quiet=quiet) as advance:
        for numbers in in_threads(of, clips):
            found.append(numbers)
            advance(1, "")
    return np.stack(found)


def run_baseline(config: dict[str, Any]) -> TrainResult:
    """Train and test the baseline.

    The strength of its regularisation is the one that does best on the validation split, or in three folds of the training clips
    where there is none; the test clips are scored once.

    Args:
        config: fields of :class:`astune.TrainConfig`, of which :data:`DECIDING` matter.

    Returns:
        The result, as of any run.

    Raises:
        DataError: there are no test clips.
        AstuneError: the data cannot be used.
    """
    began = time.perf_counter()
    fields = TrainConfig(**{key: config[key] for key in DECIDING if key in config}, output_dir=Path())
    dataset, split = split_of(load_data(fields.data, fields.data_options), fields)
    if not split.test:
        raise DataError(f"{dataset.source} has no test clips")
    length = input_length(fields, dataset, split, quiet=True)
    features = log_mel_statistics(dataset.clips, FrontEnd(length), skip_broken=fields.skip_broken, quiet=True)
    broken = set(np.flatnonzero(np.isnan(features[:, 0])).tolist())
    targets = dataset.task.encode(dataset.clips, dataset.labels)

    mark = time.perf_counter()
    train, validation, test = (
        [clip for clip in part if clip not in broken] for part in (split.train, split.validation, split.test)
    )
    fit = _classes if targets.ndim == 1 else _labels  # several labels have a column each
    model = fit(dataset.task, features, targets, train, validation, groups_of(dataset.clips, train))
    seconds = time.perf_counter() - mark
    thresholds = dataset.task.default_thresholds(len(dataset.labels))
    if validation:
        thresholds = dataset.task.thresholds(model.logits(features[validation]), targets[validation])
    scores = {
        name: dataset.task.score(model.logits(features[clips]), targets[clips], thresholds).record()
        for name, clips in (("validation", validation), ("test", test))
        if clips
    }
    notices = [one for name, found in scores.items() for one in dataset.task.left_out(found, dataset.labels, name)]
    return TrainResult(
        output_dir="",
        spec=BASELINE,
        trainable_parameters=(STATISTICS + 1) * len(dataset.labels),
        adapter_bytes=4 * (STATISTICS + 1) * len(dataset.labels),
        backbone_fingerprint="",
        labels=list(dataset.labels),
        fold=split.fold,
        recipe={"max_length": length, "inverse_regularisation": model.strength},
        config=fields.model_dump(mode="json", include=set(DECIDING)),
        compute_dtype="float32",
        device="cpu",
        best_epoch=0,
        scores=scores,
        history=[],
        skipped_clips=len(broken),
        train_seconds=round(seconds, 3),
        wall_seconds=round(time.perf_counter() - began, 3),
        peak_memory_mib=round(peak_memory_mib(torch.device("cpu")), 1),
        versions=versions(),
        data_digest=DataRecord.of(dataset, split).digest,
        task=dataset.task.name,
        notices=[*notices, *dataset.task.unchosen(scores.get("validation"), dataset.labels)],
    )


class _Model(Protocol):
    """A fitted baseline."""

    @property
    def strength(self) -> float:
        """Inverse regularisation that was chosen."""

    def logits(self, features: NDArray[np.float32]) -> torch.Tensor:
        """Of features (clips, 256), logits (clips, classes)."""


@dataclass(frozen=True)
class _Classes:
    """One regression for classes that compete."""

    model: Any

    @property
    def strength(self) -> float:
        return float(self.model[-1].C)

    def logits(self, features: NDArray[np.float32]) -> torch.Tensor:
        # split_of has seen to it that each class has training clips, and so a column.
        return torch.from_numpy(self.model.predict_proba(features)).clamp(min=LEAST).log()


def _classes(
    task: Task,
    features: NDArray[np.float32],
    targets: torch.Tensor,
    train: list[int],
    validation: list[int],
    groups: Sequence[str] | None,
) -> _Model:
    """Of classes that compete; accuracy chooses the strength."""
    del task
    classes = targets.numpy()
    inner = [] if validation else inner_folds(classes[train], groups)
    return _Classes(_fitted(features[train], classes[train], features[validation], classes[validation], inner))


def _labels(
    task: Task,
    features: NDArray[np.float32],
    targets: torch.Tensor,
    train: list[int],
    validation: list[int],
    groups: Sequence[str] | None,
) -> _Model:
    """Of labels that do not; the task's headline figure chooses the strength."""

    def score(model: LabelBaseline, clips: list[int]) -> float:
        return float(task.score(model.logits(features[clips]), targets[clips]).figures()[task.headline])

    inner = [] if validation else inner_folds(targets[train].numpy(), groups)
    return chosen(features, targets, _STRENGTHS, score, train, validation, inner)


def _fitted(
    train: NDArray[np.float32],
    targets: NDArray[np.int64],
    validation: NDArray[np.float32],
    validation_targets: NDArray[np.int64],
    inner: Folds,
) -> Any:  # noqa: ANN401 - scikit-learn is not typed
    def model(strength: float) -> Any:  # noqa: ANN401
        return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))

    if len(validation):
        candidates = [model(strength).fit(train, targets) for strength in _STRENGTHS]
        return max(candidates, key=lambda one: one.score(validation, validation_targets))
    if not inner:  # a few shots or one recording, and nothing to choose by
        return model(_STRENGTHS[1]).fit(train, targets)
    search = GridSearchCV(model(1.0), {"logisticregression__C": _STRENGTHS}, cv=inner)
    return search.fit(train, targets).best_estimator_
