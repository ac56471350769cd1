"""One object that puts an adapter to use: labels, logits and embeddings of recordings, scores on labelled ones.

The command line, :func:`astune.predict` and :func:`astune.evaluate` use it. Recordings are decoded and become features in threads while
the model computes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor
from typing_extensions import override

from astune.backbone.hub import at_revision
from astune.compute import one_core_each
from astune.data import AudioDataset
from astune.errors import ConfigError
from astune.inference.adapter_set import AdapterSet
from astune.inference.embedder import Embedder, Wanted
from astune.inference.evaluation import Evaluation, ScoredSplit, evaluate_loaded
from astune.inference.hearers import AdapterNames, Hearers
from astune.inference.inputs import is_single
from astune.inference.listener import Listener
from astune.inference.machine import machine
from astune.inference.pieces import Cutting
from astune.inference.prediction import label_choices, labels_of, notices_of, prediction_of
from astune.inference.timeline import refuse_pool, timelines
from astune.names import Pool, Precision
from astune.plurals import number_of
from astune.summary import Summary, here, of_model, some
from astune.validated import checked_but_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from astune.adapter import Adapter
    from astune.backbone import Backbone
    from astune.classifier import AudioClassifier
    from astune.inference.embedder import Level, TokenPool
    from astune.inference.inputs import Input
    from astune.inference.loaded_adapter import LoadedAdapter
    from astune.inference.pieces import Piece
    from astune.inference.prediction import AdapterThresholds, Prediction, Told
    from astune.inference.timeline import OnWindow, Timeline
    from astune.inference.windows import Hearing

_TOP_K = 5  # as transformers' pipeline has it


@checked_but_for("adapter", "backbone", "threads", "batch_size", "adapter_name")
class Predictor(AdapterSet):
    """A backbone with one adapter or many, ready to label recordings.

    One adapter is active; calls without an adapter name use it. Attributes for the active adapter are ``labels``, ``negatives`` (labels
    that mean none of the others), ``thresholds`` (lowest scores with which labels count, for multi-label adapters), ``model`` and
    ``front_end``. The predictor also has ``adapters``, ``device`` and ``precision``.

    Args:
        adapter: an adapter folder, the hub id of one, an adapter in memory, or a classifier, which is used as it is.
        backbone: hub id or folder of the backbone, if not the one the adapter names; or a loaded backbone, which is not changed. Several
            predictors may share it.
        device: where the model computes, such as ``"cpu"`` or ``"cuda:1"``. By default the GPU if there is one; a classifier stays
            where it is.
        precision: ``"float32"`` or ``"bfloat16"``, for matrix products. By default that of the adapter's training; for a classifier,
            float32.
        threads: number of threads that decode recordings while the model computes; by default one for each usable core.
        batch_size: number of recordings that the model takes at a time.
        adapter_name: name for the adapter; by default the name of its folder, or ``default`` if it has no folder.
        revision: branch, tag or commit of a hub id, which may also be given as ``user/name@revision``.

    Raises:
        AdapterError: it is not an adapter, or the backbone is not the one it was trained on.
        BackboneError: the backbone cannot be found.
        ConfigError: an unknown device or precision, a number below 1, a name that cannot be used, a revision of what is on no hub, or a
            classifier that was cast.
    """

    def __init__(
        self,
        adapter: str | Path | Adapter | AudioClassifier,
        backbone: str | Path | Backbone | None = None,
        *,
        device: str | torch.device | None = None,
        precision: Precision | None = None,
        threads: int | None = None,
        batch_size: int = 16,
        adapter_name: str | None = None,
        revision: str | None = None,
    ) -> None:
        self.threads, size = machine(threads, batch_size)
        if revision is not None:
            adapter = at_revision(adapter, revision)
        super().__init__(adapter, backbone, device, precision, adapter_name, size)

    @override
    def _summary(self) -> Summary:
        model, device = self.model, str(self.device)
        others = len(self.adapters) - 1
        more = (f"and {number_of(others, 'other adapter')}",) if others else ()
        return of_model(
            "Predictor", here(self.loaded.name), labels=self.labels, frames=self.front_end.max_length,
            parameters=model.parameter_count(), also=(device, self.precision, *more), method=model.method.spec,
            backbone=here(model.origin.name), task=self.task.name, device=device, precision=self.precision,
            **({"adapters": some(self.adapters, "adapter")} if others else {}),
        )  # fmt: skip

    @property
    def listener(self) -> Listener:
        """Reads recordings for this predictor."""
        return Listener(self.model, self.front_end, self.arithmetic, self.threads, self.batch_size)

    @property
    def embedder(self) -> Embedder:
        """What embeds with it."""
        return Embedder(self.listener, self.model.backbone, self.loaded.name, self.model, self.training)

    def predict(
        self,
        inputs: Input | Iterable[Input],
        *,
        sampling_rate: float | None = None,
        top_k: int | None = _TOP_K,
        errors: Literal["raise", "return"] = "raise",
        pool: Pool = "mean",
        threshold: AdapterThresholds | None = None,
        adapter_names: AdapterNames | None = None,
    ) -> Any:  # noqa: ANN401 - it follows the input, as in transformers' pipeline
        """Label recordings. A recording that is longer than the input is cut into consecutive windows of the input's length.

        Args:
            inputs: a path; a waveform, numpy or torch, (samples,) or (channels, samples), at any rate, floats in -1 to 1 or PCM integers;
                a dictionary of ``array`` (or ``raw``) and ``sampling_rate``; or a list or generator of these, mixed as you like.
            sampling_rate: rate in Hz of waveforms without their own; files state theirs.
            top_k: number of labels per recording; all where None, or if there are fewer.
            errors: ``"raise"`` stops at the first recording that cannot be read; ``"return"`` puts the error in place of its labels.
            pool: how window scores are combined, see :meth:`astune.inference.timeline.Timeline.pool`; with ``"first"``
                only the beginning of a recording is used, as in training.
            threshold: lowest score of a label; or ``{label: score}``, such as :attr:`thresholds`, which leaves out all other labels.
                Where several adapters are named, a label may be any one's; or give ``{adapter: threshold}``, and nothing of the adapters
                that are not in it is left out.
            adapter_names: which adapter to use: a name for all inputs, or a list with one name for each; by default the active one.

        Returns:
            Labels as ``{"label": ..., "score": ...}``, the highest score first: a list for one input, a list of lists for several.

        Raises:
            AudioError: a recording cannot be read.
            ConfigError: an input has another type, lacks its rate, ``top_k`` is below 1, a threshold cannot be used, an adapter is
                unknown, or there are more or fewer names than inputs.
            NumericalError: scores are NaN or infinite.

        Warns:
            AudioWarning: a recording is suspicious, such as silent or cut short.
        """
        found = self.predictions(
            inputs,
            sampling_rate=sampling_rate,
            top_k=top_k,
            pool=pool,
            threshold=threshold,
            adapter_names=adapter_names,
        )
        answers = labels_of(found, errors, stacklevel=2)
        return answers[0] if is_single(inputs) else answers

    def predictions(
        self,
        inputs: Input | Iterable[Input],
        *,
        sampling_rate: float | None = None,
        top_k: int | None = _TOP_K,
        pool: Pool = "mean",
        threshold: AdapterThresholds | None = None,
        on_window: OnWindow | None = None,
        adapter_names: AdapterNames | None = None,
    ) -> Iterator[Prediction]:
        """Label recordings one after the other, and report their lengths, the parts that were used, and what is suspicious.

        Args:
            inputs: see :meth:`predict`.
            sampling_rate: see :meth:`predict`.
            top_k: see :meth:`predict`.
            pool: see :meth:`predict`.
            threshold: see :meth:`predict`.
            on_window: see :meth:`timelines`.
            adapter_names: see :meth:`predict`.

        Yields:
            One prediction an input, in order; one that cannot be read says why.

        Raises:
            ConfigError: see :meth:`predict`.
        """
        refuse_pool(pool)
        hearers = self._hearers(inputs, adapter_names)
        hearings = hearers.hearings()
        chosen = label_choices([one.info for one in hearings], top_k, threshold, self.adapters)
        for timeline in self._timelines(inputs, sampling_rate, hearers, hearings, on_window, beginning=pool == "first"):
            yield prediction_of(timeline, chosen[timeline.adapter], pool)

    def timelines(
        self,
        inputs: Input | Iterable[Input],
        *,
        window: float | None = None,
        hop: float | None = None,
        sampling_rate: float | None = None,
        on_window: OnWindow | None = None,
        adapter_names: AdapterNames | None = None,
    ) -> Iterator[Timeline]:
        """Label recordings of any length window by window, one after the other. Longer ones need more time but hardly more memory.

        Args:
            inputs: see :meth:`predict`.
            window: length of the windows in seconds, at most that of the input, which is the default; shorter ones are padded.
            hop: seconds from the start of one window to the start of the next; by default the length of a window.
            sampling_rate: rate in Hz of waveforms without their own.
            on_window: called after each batch with the name of a recording and the number of its seconds processed.
            adapter_names: see :meth:`predict`.

        Yields:
            One timeline an input, in order; one that cannot be read says why.

        Raises:
            ConfigError: an input cannot be read, an adapter cannot take such windows or is unknown, or there are more or fewer names
                than inputs.
        """
        hearers = self._hearers(inputs, adapter_names)
        yield from self._timelines(inputs, sampling_rate, hearers, hearers.hearings(window, hop), on_window)

    def timeline(
        self,
        recording: Input,
        *,
        window: float | None = None,
        hop: float | None = None,
        sampling_rate: float | None = None,
        adapter_name: str | None = None,
    ) -> Timeline:
        """Label a recording of any length window by window.

        Args:
            recording: a path, a waveform or a dictionary, as for :meth:`predict`.
            window: see :meth:`timelines`.
            hop: see :meth:`timelines`.
            sampling_rate: see :meth:`timelines`.
            adapter_name: which adapter to use; by default the active one.

        Returns:
            Scores of its windows, from which follow events and scores of the whole.

        Raises:
            AudioError: it cannot be read.
            ConfigError: see :meth:`timelines`, or it is a list.
            NumericalError: scores are NaN or infinite.
        """
        if not is_single(recording):
            raise ConfigError("timeline takes one recording; give several to timelines")
        (found,) = self.timelines(
            recording, window=window, hop=hop, sampling_rate=sampling_rate, adapter_names=adapter_name
        )
        found.refuse()
        return found

    def notices(self, predictions: Sequence[Told]) -> list[str]:
        """Remarks for the user about recordings: how much of them was not used, and which are suspicious.

        Args:
            predictions: the result of :meth:`predictions`.

        Returns:
            Sentences; none where there is nothing to say.
        """
        inputs: dict[float, list[Told]] = {}
        for one in predictions:
            inputs.setdefault(one.window, []).append(one)
        return [note for seconds, told in inputs.items() for note in notices_of(told, seconds)]

    def logits(self, inputs: Input | Iterable[Input], *, sampling_rate: float | None = None) -> Tensor:
        """Logits of recordings. Only the beginning of a recording that is longer than the input is used.

        Args:
            inputs: see :meth:`predict`.
            sampling_rate: see :meth:`predict`.

        Returns:
            (inputs, classes), float32, on the CPU; one row for a single input.

        Raises:
            AudioError: a recording cannot be read.
            ConfigError: an input cannot be used.
            NumericalError: some are NaN or infinite.
        """
        return self.listener.beginnings(inputs, self._logits, (0, len(self.labels)), sampling_rate)

    def embed(
        self,
        inputs: Input | Iterable[Input],
        *,
        sampling_rate: float | None = None,
        level: Level = "output",
        pool: TokenPool | None = None,
        tokens: bool = False,
    ) -> Tensor:
        """Embeddings of recordings: the tokens of a level, pooled or one by one. By default, what the head sees.

        Only the beginning of a longer recording is used; :func:`astune.embed` embeds all of it, window by window.

        Args:
            inputs: see :meth:`predict`.
            sampling_rate: see :meth:`predict`.
            level: ``"output"``, after the final LayerNorm; or k for transformers' ``hidden_states[k]``: the patch embeddings for 0, else
                the output of the k-th layer.
            pool: ``"mean"`` of all tokens or ``"cls"``, the [CLS] token; as the adapter pools where None.
            tokens: give every token, and pool none.

        Returns:
            (inputs, d), or (inputs, tokens, d) with ``tokens``; float32, on the CPU; one row for a single input. Methods may add tokens.

        Raises:
            AudioError: a recording cannot be read.
            ConfigError: an input cannot be used, or the model has no such level.
            NumericalError: some are NaN or infinite.
        """
        return self.embedder.beginnings(inputs, Wanted(level, pool, tokens), sampling_rate)

    def evaluate(
        self,
        data: str | AudioDataset,
        split: ScoredSplit = "test",
        *,
        fold: int | None = None,
        skip_broken: bool = False,
    ) -> Evaluation:
        """Score the adapter on labelled audio.

        Args:
            data: a folder, a table or any other layout, read with the options of the training; or a data set from
                :func:`astune.load_data`.
            split: which clips.
            fold: the test fold, where folds rotate; the one that the adapter was trained without where None.
            skip_broken: leave out audio files that cannot be read, instead of raising.

        Returns:
            Scores, and what to know of them.

        Raises:
            AudioError: files cannot be read.
            ConfigError: an unknown split or fold.
            DataError: the data cannot be read, have classes that the adapter does not know, or nothing in that split.
            NumericalError: scores are NaN or infinite.
        """
        return evaluate_loaded(self.loaded, self.listener, data, split, fold, skip_broken=skip_broken)

    def _hearers(self, inputs: Input | Iterable[Input], adapter_names: AdapterNames | None) -> Hearers:
        return Hearers.of(inputs, adapter_names, self.active, self.adapter)

    def _timelines(
        self,
        inputs: Input | Iterable[Input],
        sampling_rate: float | None,
        hearers: Hearers,
        hearings: dict[LoadedAdapter, Hearing],
        on_window: OnWindow | None,
        *,
        beginning: bool = False,
    ) -> Iterator[Timeline]:
        found = hearers.assigned(inputs, hearings, sampling_rate, beginning=beginning)
        cutting = Cutting(self.threads, self.batch_size, beginning, one_core_each())
        pieces = cutting.pieces(found, single=is_single(inputs))
        adapters = {hearing: adapter for adapter, hearing in hearings.items()}
        infos = {hearing: adapter.info for hearing, adapter in adapters.items()}
        with closing(pieces):  # else its threads wait for as long as somebody keeps the model's exception
            yield from timelines(self._scored(pieces, adapters), infos, on_window)

    def _scored(
        self, pieces: Iterator[Piece], adapters: Mapping[Hearing, LoadedAdapter]
    ) -> Iterator[tuple[list[Piece], list[NDArray[np.float32]]]]:
        """Batches of pieces, of whichever adapters, and the scores of those that could be read."""
        while batch := list(islice(pieces, self.batch_size)):
            read = {number: one.features for number, one in enumerate(batch) if one.features is not None}
            yield batch, self.scores(list(read.values()), [adapters[batch[number].hearing] for number in read])

    def scored_tokens(self, features: Tensor) -> Tensor:
        """Logits and what they are computed from, in one pass.

        Args:
            features: (batch, max_length, num_mel_bins), on the model's device.

        Returns:
            (batch, classes + d): the logits, then the pooled tokens.
        """
        pooled = self.embedder.pooled()(features)
        return torch.cat([cast(Tensor, self.model.classify(pooled).logits).float(), pooled.float()], dim=1)

    def _logits(self, features: Tensor) -> Tensor:
        return cast(Tensor, self.model(features).logits)
