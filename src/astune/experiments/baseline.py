"""The row nobody prints: logistic regression on the mean and the deviation of each clip's log-Mel energies, no network at all.

What a method gains has to be read against it: random and badly positioned transformers lie below it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

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
from astune.errors import AudioError, ConfigError, DataError
from astune.features.log_mel import FrontEnd
from astune.training.check import split_of
from astune.training.config import TrainConfig, settings_where
from astune.training.data_record import DataRecord
from astune.training.inner_folds import groups_of, inner_folds
from astune.training.recipe import input_length
from astune.training.result import TrainResult

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import NDArray

    from astune.data import AudioDataset
    from astune.data.clip import Clip
    from astune.training.inner_folds import Folds

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


def refuse_other_tasks(dataset: AudioDataset) -> None:
    """Refuse data of which the baseline cannot be made.

    Args:
        dataset: the data.

    Raises:
        ConfigError: its clips may have several labels.
    """
    if not dataset.task.counts_clips:
        raise ConfigError(
            f"the baseline gives each clip one label, and {dataset.source} is of the task {dataset.task.name!r}; leave --with-baseline out"
        )


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
        ConfigError: its clips may have several labels.
        AstuneError: the data cannot be used.
    """
    began = time.perf_counter()
    fields = TrainConfig(**{key: config[key] for key in DECIDING if key in config}, output_dir=Path())
    dataset, split = split_of(load_data(fields.data, fields.data_options), fields)
    refuse_other_tasks(dataset)
    if not split.test:
        raise DataError(f"{dataset.source} has no test clips")
    length = input_length(fields, dataset, split, quiet=True)
    features = log_mel_statistics(dataset.clips, FrontEnd(length), skip_broken=fields.skip_broken, quiet=True)
    broken = set(np.flatnonzero(np.isnan(features[:, 0])).tolist())
    targets = np.array(dataset.targets)

    mark = time.perf_counter()
    train, validation, test = (
        [clip for clip in part if clip not in broken] for part in (split.train, split.validation, split.test)
    )
    inner = [] if validation else inner_folds(targets[train], groups_of(dataset.clips, train))
    model = _fitted(features[train], targets[train], features[validation], targets[validation], inner)
    seconds = time.perf_counter() - mark

    def scores(clips: list[int]) -> dict[str, Any]:
        # split_of has seen to it that each class has training clips, and so a column.
        likely = torch.from_numpy(model.predict_proba(features[clips]))
        return dataset.task.score(likely.clamp(min=_LEAST).log(), torch.from_numpy(targets[clips])).record()

    strength = float(model[-1].C)
    return TrainResult(
        output_dir="",
        spec=BASELINE,
        trainable_parameters=(STATISTICS + 1) * len(dataset.labels),
        adapter_bytes=4 * (STATISTICS + 1) * len(dataset.labels),
        backbone_fingerprint="",
        labels=list(dataset.labels),
        fold=split.fold,
        recipe={"max_length": length, "inverse_regularisation": strength},
        config=fields.model_dump(mode="json", include=set(DECIDING)),
        compute_dtype="float32",
        device="cpu",
        best_epoch=0,
        scores={name: scores(clips) for name, clips in (("validation", validation), ("test", test)) if clips},
        history=[],
        skipped_clips=len(broken),
        train_seconds=round(seconds, 3),
        wall_seconds=round(time.perf_counter() - began, 3),
        peak_memory_mib=round(peak_memory_mib(torch.device("cpu")), 1),
        versions=versions(),
        data_digest=DataRecord.of(dataset, split).digest,
        task=dataset.task.name,
    )


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
