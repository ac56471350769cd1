"""The row nobody prints: logistic regression on the mean and the deviation of each clip's log-Mel energies, no network at all.

Where clips have any number of labels, it is one regression for each label. The headline figure chooses the strength for all of them.
What a method gains has to be read against it: random and badly positioned transformers lie below it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from astune.console import progress
from astune.data.audio import listen
from astune.data.clip import region_of
from astune.data.layouts.base import load_data
from astune.data.threads import in_threads
from astune.environment import peak_memory_mib, versions
from astune.errors import AudioError, DataError
from astune.features.log_mel import FrontEnd
from astune.training.check import split_of
from astune.training.config import TrainConfig, settings_where
from astune.training.data_record import DataRecord
from astune.training.inner_folds import groups_of
from astune.training.recipe import input_length
from astune.training.result import TrainResult
from astune.training.strength import Chosen, Features, choose_strength, fitting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from astune.data.clip import Clip
    from astune.data.dataset import AudioDataset

BASELINE = "log-mel-statistics"
"""Stands where other runs have a method's spec."""
STATISTICS = 256
"""Numbers a clip: 128 means, 128 deviations."""
DECIDING = tuple(settings_where(kind="data"))
"""Fields of :class:`astune.TrainConfig` that the result depends on."""
_STRENGTHS = (0.003, 0.03, 0.3)  # inverse regularisation, the weakest last
_LEAST = 1e-12  # probability, so that the loss stays finite


def log_mel_statistics(
    clips: Sequence[Clip | Path], front_end: FrontEnd, *, skip_broken: bool = False, quiet: bool = False
) -> NDArray[np.float32]:
    """Mean and deviation over time of each Mel bin, before padding.

    Args:
        clips: clips or audio files.
        front_end: decides how much of each is used.
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
            recording = listen(path, start, front_end.seconds, end=end)
            energies = front_end.log_mel(torch.from_numpy(recording.samples))
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
    chosen = _chosen(dataset, Features(features, targets.numpy()), train, validation)
    model = chosen.model
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
        recipe={"max_length": length, "inverse_regularisation": chosen.strength},
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
        notices=[*notices, *dataset.task.describe_unchosen(scores.get("validation"), dataset.labels)],
    )


def _chosen(
    dataset: AudioDataset, clips: Features, train: list[int], validation: list[int]
) -> Chosen[LogMelRegression]:
    """The baseline at the strength whose headline figure is highest."""

    def score(model: LogMelRegression, some: Features) -> float:
        figures = dataset.task.score(model.logits(some.pooled), torch.from_numpy(some.targets)).figures()
        return figures[dataset.task.headline]

    known, held = (clips.at(np.asarray(part, np.int64)) for part in (train, validation))
    groups = None if validation else groups_of(dataset.clips, train)
    return choose_strength(known, held, groups, _STRENGTHS, fit_regressions, score)


@dataclass(frozen=True)
class LogMelRegression:
    """A fitted baseline: one regression for classes that compete, or one for each label."""

    model: Any
    """scikit-learn's pipeline."""
    several: bool
    """Whether a clip may have any number of labels."""

    def logits(self, features: NDArray[np.float32]) -> torch.Tensor:
        """Logarithms of the probabilities of classes that compete, or log-odds of labels.

        Args:
            features: (clips, 256).

        Returns:
            (clips, classes).
        """
        # split_of has seen to it that each class has training clips, and so a column.
        found = self.model.predict_proba(features)
        if self.several:
            return torch.logit(torch.from_numpy(found.astype(np.float64)), eps=_LEAST)
        return torch.from_numpy(found).clamp(min=_LEAST).log()


def fit_regressions(train: Features, strengths: Sequence[float]) -> list[LogMelRegression]:
    """Fit a baseline at each strength.

    Args:
        train: training clips; a label that all of them have, or none, is given so to every clip.
        strengths: inverse regularisations.

    Returns:
        As many baselines.
    """
    several = train.targets.ndim > 1  # a column for each label
    fitted = []
    for strength in strengths:
        regression = LogisticRegression(C=strength, max_iter=2000)
        model = make_pipeline(StandardScaler(), OneVsRestClassifier(regression) if several else regression)
        with fitting():
            fitted.append(LogMelRegression(model.fit(train.pooled, train.targets.astype(np.int64)), several))
    return fitted
