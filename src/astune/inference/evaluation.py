"""Scores of an adapter on labelled audio: which clips are scored, and what is known of them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from typing_extensions import override

from astune.data.dataset import AudioDataset, DivisionName
from astune.data.groups_and_negatives import UnknownNegativesError
from astune.data.labels import clean_label, known_labels
from astune.data.layouts.base import EVERY_LAYOUT, layout_of, load_data
from astune.data.options import DataOptions
from astune.errors import AdapterError, DataError
from astune.features import build_cache
from astune.inference.batches import fetch_ahead, outputs, refuse_non_finite, slices
from astune.plurals import number_of
from astune.printable import printable
from astune.summary import Summarised, Summary, here, numbers_among, some, source_here
from astune.tasks import MULTI_LABEL
from astune.training.data_record import trained_among

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from astune.inference.listener import Listener
    from astune.inference.loading import Loaded
    from astune.task import Scores

ScoredSplit = DivisionName


@dataclass(frozen=True, repr=False)
class Evaluation(Summarised):
    """Scores, and what they are of."""

    adapter: str
    """Folder or hub id; of a classifier in memory, its method."""
    data: str
    """The data set, as ``layout:absolute path``."""
    split: str
    scores: Scores
    labels: tuple[str, ...]
    """Labels of the adapter, in the order of the confusion matrix or of the figures per label."""
    data_notices: tuple[str, ...]
    """Remarks about the data set."""
    audio_notices: tuple[str, ...]
    """Remarks about the audio scored: the part that was not used, and what is suspicious."""
    skipped: int
    """Clips left out because they cannot be read."""
    trained_on: tuple[str, ...]
    """Names of the clips scored that the adapter was trained on; where it is not known, none."""
    score_notices: tuple[str, ...] = ()
    """Remarks about the scores: labels that have no part in them."""

    @override
    def _summary(self) -> Summary:
        data, clips = source_here(self.data), number_of(self.scores.clips, "clip")
        figures = numbers_among({name: value for name, value in self.scores.figures().items() if name != "clips"})
        notices = (*filter(None, [self.warning]), *self.data_notices, *self.audio_notices, *self.score_notices)
        rows = (
            ("data", data),
            ("split", self.split),
            ("clips", clips),
            ("classes", some(self.labels, "class")),
            ("skipped", f"{self.skipped:,}"),
        )
        line = (f"{data}, {self.split}", clips, *map(" ".join, figures.items()))
        return Summary("Evaluation", here(self.adapter), line, rows, ("score", ""), tuple(figures.items()), notices)

    @property
    def warning(self) -> str | None:
        """What to say where clips were scored that the adapter was trained on."""
        if not self.trained_on:
            return None
        return (
            f"Warning: the adapter was trained on {len(self.trained_on):,} of the {number_of(self.scores.clips, 'clip')} scored, "
            f"{printable(self.trained_on[0])} among them; scores on them are too good"
        )

    def record(self) -> dict[str, Any]:
        """Return the record that is written as JSON."""
        return {
            "adapter": self.adapter,
            "data": self.data,
            "split": self.split,
            **self.scores.record(),
            "labels": list(self.labels),
            "notices": [*self.data_notices, *self.audio_notices, *self.score_notices],
            "skipped": self.skipped,
            "trained_on": len(self.trained_on),
        }


def evaluate_loaded(
    loaded: Loaded,
    listener: Listener,
    data: str | AudioDataset,
    split: ScoredSplit,
    fold: int | None,
    *,
    skip_broken: bool,
) -> Evaluation:
    """Score an adapter on labelled audio.

    Args:
        loaded: the adapter on its backbone.
        listener: what runs it.
        data: see :meth:`astune.Predictor.evaluate`.
        split: which clips.
        fold: see :meth:`astune.Predictor.evaluate`.
        skip_broken: see :meth:`astune.Predictor.evaluate`.

    Returns:
        Scores, and what to know of them.

    Raises:
        DataError: the data have classes that the adapter does not know, or nothing in that split that can be read.
    """
    dataset = data if isinstance(data, AudioDataset) else as_trained(data, loaded.training)
    model = loaded.model
    labels = known_labels(dataset.source, dataset.labels, model.labels)
    clips = clips_of(dataset, split, fold, loaded.training)
    scored = [dataset.clips[clip] for clip in clips]
    targets = model.task.encode(scored, labels)  # raises where the task of the data is another
    # Of these alone: what else the data set holds may be broken.
    features = build_cache(scored, listener.front_end, skip_broken=skip_broken)
    kept = [row for row in range(len(scored)) if row not in features.broken]
    if not kept:
        raise DataError(f"the {split} split has {number_of(len(clips), 'clip')}, and none can be read")
    batches = fetch_ahead(features, slices(kept, listener.batch_size))
    computed = outputs(model, lambda features: cast(Tensor, model(features).logits), batches, listener.arithmetic)
    logits = torch.cat([some for _, some in computed])
    refuse_non_finite(logits)
    thresholds = [model.thresholds[label] for label in model.labels] if model.thresholds else None
    scores = model.task.score(logits, targets[kept], thresholds)
    trained: list[str] = []
    if loaded.config is not None:
        trained = trained_among(loaded.name, loaded.config, dataset, [clips[row] for row in kept])
    return Evaluation(
        adapter=loaded.name,
        data=dataset.source,
        split=split,
        scores=scores,
        labels=model.labels,
        data_notices=dataset.notices,
        audio_notices=tuple(features.notices(kept, [clip.name for clip in scored])),
        skipped=len(clips) - len(kept),
        trained_on=tuple(trained),
        score_notices=tuple(model.task.left_out(scores.record(), model.labels, split)),
    )


_DOUBTFUL = {"make_folds": "cannot divide these data", "group_by": "finds no groups in these data"}
"""Options of the training that other data need not allow, and what is said then."""


def as_trained(data: str, training: Mapping[str, Any], **given: Any) -> AudioDataset:
    """Read labelled data as the data of an adapter's training were read: with the same windows, background and groups.

    Args:
        data: see :func:`astune.load_data`.
        training: what the adapter says of its training.
        given: fields of ``DataOptions`` that win.

    Returns:
        The data set. Options that its layout does not have are those of other data, and left out.

    Raises:
        UnknownNegativesError: a negative label that is given does not occur; a ``ConfigError``.
        ConfigError: see :func:`astune.load_data`.
        DataError: see :func:`astune.load_data`.
    """
    known = layout_of(data).reads | EVERY_LAYOUT
    trained = {name: value for name, value in DataOptions.among(training).given_data_options.items() if name in known}
    if trained.get("task") != MULTI_LABEL.name:
        trained.pop("negative", None)  # the adapter knows them, and other data need not have such labels
    options = DataOptions(**{**trained, **given})
    doubtful = [name for name in _DOUBTFUL if name in trained and name not in given]
    *subsets, all_of_them = (some for number in range(len(doubtful) + 1) for some in combinations(doubtful, number))

    def without(dropped: Sequence[str]) -> AudioDataset:
        dataset = load_data(data, options.model_copy(update=dict.fromkeys(dropped)))
        notes = (
            f"Note: {name}={trained[name]!r} of the training {_DOUBTFUL[name]}, and is left out" for name in dropped
        )
        return replace(dataset, remarks=(*dataset.remarks, *notes))

    try:
        for dropped in subsets:
            with suppress(DataError):
                return without(dropped)
        return without(all_of_them)
    except (
        UnknownNegativesError
    ) as unknown:  # other data need not have them; but those that do occur are no classes of the adapter
        if "negative" in given:
            raise
        negative = [label for label in options.negative or () if clean_label(label) not in unknown.labels]
        return as_trained(data, {**training, "negative": negative or None}, **given)


def clips_of(dataset: AudioDataset, split: str, fold: int | None, training: Mapping[str, Any]) -> list[int]:
    """The clips of a split, divided as for the adapter's training.

    Args:
        dataset: the clips.
        split: split to score, one of :data:`ScoredSplit`.
        fold: the test fold; the one the adapter was trained without where None.
        training: settings of the adapter's run; may lack any.

    Returns:
        Their indices.

    Raises:
        AdapterError: a setting of the adapter is damaged.
        ConfigError: an unknown split or fold.
        DataError: the split is empty.
    """
    if fold is None and dataset.folds and split != "all":
        fold = _number(training, "fold")
    division = dataset.divide(split, fold, _number(training, "seed") or 0, training.get("selection"))
    return list(division.clips)


def _number(training: Mapping[str, Any], name: str) -> int | None:
    """A setting of the adapter's run; None where its configuration does not say.

    Raises:
        AdapterError: it is not a number.
    """
    value = training.get(name)
    if value is not None and not isinstance(value, int):
        raise AdapterError(
            f"the adapter's configuration is damaged: training.{name} is {value!r}, which is not a whole number"
        )
    return value
