"""One object that puts an adapter to use: labels, logits and embeddings of recordings, scores on labelled ones.

The command line, :func:`astune.predict` and :func:`astune.evaluate` use it. Recordings are decoded and become features in threads while
the model computes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor

from astune.compute import Arithmetic, gains_from_bf16
from astune.console import say
from astune.data import AudioDataset
from astune.errors import ConfigError
from astune.inference.embedder import Embedder, Wanted
from astune.inference.evaluation import Evaluation, ScoredSplit, evaluated
from astune.inference.events import Finder, Thresholds
from astune.inference.inputs import is_single
from astune.inference.listener import Listener
from astune.inference.loading import load, refuse_cast
from astune.inference.machine import machine
from astune.inference.model_digest import digest_of
from astune.inference.prediction import answered, label_count, notices_of, prediction_of
from astune.inference.timeline import refuse_pool, timelines
from astune.inference.windows import Windows
from astune.names import Precision
from astune.summary import Summarised, Summary, here, of_model
from astune.validated import checked_but_for

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from astune.adapter import Adapter
    from astune.backbone import Backbone
    from astune.classifier import AudioClassifier
    from astune.inference.embedder import Level, TokenPool
    from astune.inference.inputs import Input
    from astune.inference.loading import Loaded
    from astune.inference.prediction import Prediction, Told
    from astune.inference.timeline import OnWindow, Pool, Timeline

_TOP_K = 5  # as transformers' pipeline has it


@checked_but_for("adapter", "backbone", "threads", "batch_size")
class Predictor(Summarised):
    """A backbone with an adapter, ready to label recordings.

    Attributes that matter to users: ``labels``, ``negatives`` (those that mean none of the others), ``thresholds`` (from which score on a
    label counts, where several may), ``model``, ``front_end``, ``device``, ``precision``.

    Args:
        adapter: an adapter folder, the hub id of one, an adapter in memory, or a classifier, which is used as it is.
        backbone: where the backbone is, if not where the adapter says; or the loaded backbone itself.
        device: where the model computes, such as ``"cpu"`` or ``"cuda:1"``. Where None, the GPU if there is one; a classifier stays
            where it is.
        precision: ``"float32"`` or ``"bfloat16"``, for matrix products. Where None, that of the adapter's training; for a classifier,
            float32.
        threads: number of threads that decode recordings while the model computes; one for each usable core where None.
        batch_size: number of recordings that the model takes at a time.

    Raises:
        AdapterError: it is no adapter, or the backbone is another than the one it was trained on.
        BackboneError: the backbone cannot be found.
        ConfigError: an unknown device or precision, a number below 1, or a classifier that was cast.
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
    ) -> None:
        self.threads, self.batch_size = machine(threads, batch_size)
        self._loaded = loaded = load(adapter, backbone, device)
        self.model, self.labels, self.device = loaded.model, loaded.model.labels, loaded.device
        self.negatives, self.task = loaded.model.negatives, loaded.model.task
        self.front_end = loaded.model.front_end
        refuse_cast(self.model, precision or loaded.precision)
        half = (precision or loaded.precision) == "bfloat16"
        # Storing changes the weights, which belong to whoever made the model.
        self.arithmetic = Arithmetic.of(self.device, half, loaded.own and half)
        if loaded.own:
            self.arithmetic.prepare(self.model.sites)
        if half and precision is None and not gains_from_bf16(self.device):
            say(
                f"Note: {loaded.name} computes in bfloat16, as it was trained; this device is slow at it. With precision float32 it is "
                "faster, and its scores differ by rounding"
            )

    @property
    def precision(self) -> str:
        """Of the matrix products: ``float32`` or ``bfloat16``."""
        return self.arithmetic.compute_dtype

    @property
    def training(self) -> dict[str, Any]:
        """What the adapter says of its training: data, fold, seed and settings; nothing for a classifier in memory."""
        return self._loaded.training

    @property
    def seconds(self) -> float:
        """Audio that fills the input."""
        return self.front_end.seconds

    @property
    def identity(self) -> dict[str, str]:
        """What decides its scores beside the precision, for the settings of a folder of tables."""
        return {"adapter": digest_of(self.model)}

    @property
    def thresholds(self) -> dict[str, float]:
        """The score from which on each label counts, chosen on validation clips; empty where the labels compete."""
        return dict(self.model.thresholds)

    def _summary(self) -> Summary:
        model, device = self.model, str(self.device)
        return of_model(
            "Predictor", here(self._loaded.name), labels=self.labels, frames=self.front_end.max_length,
            parameters=model.parameter_count(), also=(device, self.precision), method=model.method.spec,
            backbone=here(model.origin.name), task=self.task.name, device=device, precision=self.precision,
        )  # fmt: skip

    @property
    def loaded(self) -> Loaded:
        """Where it comes from: name, configuration and model."""
        return self._loaded

    @property
    def listener(self) -> Listener:
        """What hears recordings for it."""
        return Listener(self.model, self.front_end, self.arithmetic, self.threads, self.batch_size)

    @property
    def embedder(self) -> Embedder:
        """What embeds with it."""
        return Embedder(self.listener, self.model.backbone, self._loaded.name, self.model, self.training)

    def predict(
        self,
        inputs: Input | Iterable[Input],
        *,
        sampling_rate: float | None = None,
        top_k: int | None = _TOP_K,
        errors: Literal["raise", "return"] = "raise",
        pool: Pool = "mean",
        threshold: Thresholds | None = None,
    ) -> Any:  # noqa: ANN401 - it follows the input, as in transformers' pipeline
        """Label recordings. One that is longer than the input is heard in consecutive windows of its length.

        Args:
            inputs: a path; a waveform, numpy or torch, (samples,) or (channels, samples), at any rate, floats in -1 to 1 or PCM integers;
                a dictionary of ``array`` (or ``raw``) and ``sampling_rate``; or a list or generator of these, mixed as you like.
            sampling_rate: Hz, of waveforms that do not come with their own; files state theirs.
            top_k: how many labels of each; all where None, or where it is more than there are.
            errors: ``"raise"`` at the first recording that cannot be read, or ``"return"`` the error in the place of its labels.
            pool: how scores of windows become those of a recording, as :meth:`astune.inference.timeline.Timeline.pool`; with ``"first"``
                only its beginning is heard, as in training.
            threshold: leave out labels below this score, or ``{label: score}``, such as :attr:`thresholds`; others are left out too.

        Returns:
            Labels as ``{"label": ..., "score": ...}``, the likeliest first: a list for one input, a list of lists for several.

        Raises:
            AudioError: a recording cannot be read.
            ConfigError: an input is none of the above, lacks its rate, ``top_k`` is below 1, or a threshold cannot be used.
            NumericalError: scores are NaN or infinite.

        Warns:
            AudioWarning: a recording is suspicious, such as silent or cut short.
        """
        found = self.predictions(inputs, sampling_rate=sampling_rate, top_k=top_k, pool=pool, threshold=threshold)
        answers = answered(found, errors, stacklevel=2)
        return answers[0] if is_single(inputs) else answers

    def predictions(
        self,
        inputs: Input | Iterable[Input],
        *,
        sampling_rate: float | None = None,
        top_k: int | None = _TOP_K,
        pool: Pool = "mean",
        threshold: Thresholds | None = None,
        on_window: OnWindow | None = None,
    ) -> Iterator[Prediction]:
        """Label recordings one after the other, with all that is known of each: its length, what was heard, what is suspicious.

        Args:
            inputs: as for :meth:`predict`.
            sampling_rate: as for :meth:`predict`.
            top_k: as for :meth:`predict`.
            pool: as for :meth:`predict`.
            threshold: as for :meth:`predict`.
            on_window: as for :meth:`timelines`.

        Yields:
            One prediction an input, in order; one that cannot be read says why.

        Raises:
            ConfigError: an input cannot be labelled, ``top_k`` is below 1, or a threshold cannot be used.
        """
        count = label_count(top_k, len(self.labels))
        refuse_pool(pool)
        least = None if threshold is None else Finder(threshold).least(self.labels, self.negatives)
        windows = Windows.of(self.front_end)
        for timeline in self._timelines(inputs, sampling_rate, windows, on_window, beginning=pool == "first"):
            yield prediction_of(timeline, count, pool, least)

    def timelines(
        self,
        inputs: Input | Iterable[Input],
        *,
        window: float | None = None,
        hop: float | None = None,
        sampling_rate: float | None = None,
        on_window: OnWindow | None = None,
    ) -> Iterator[Timeline]:
        """Hear recordings of any length window by window, one after the other; how long they are costs time and hardly any memory.

        Args:
            inputs: as for :meth:`predict`.
            window: seconds of a window, at most those of the input, which is the default; a shorter one is padded as in training.
            hop: seconds from the start of a window to that of the next; where None, the window's, so that they follow each other.
            sampling_rate: Hz, of waveforms that do not come with their own.
            on_window: is called with the name of a recording and the seconds of it that were heard, after each batch.

        Yields:
            One timeline an input, in order; one that cannot be read says why.

        Raises:
            ConfigError: an input cannot be read, or the model cannot take such windows.
        """
        yield from self._timelines(inputs, sampling_rate, Windows.of(self.front_end, window, hop), on_window)

    def timeline(
        self,
        recording: Input,
        *,
        window: float | None = None,
        hop: float | None = None,
        sampling_rate: float | None = None,
    ) -> Timeline:
        """Hear a recording of any length window by window.

        Args:
            recording: a path, a waveform or a dictionary, as for :meth:`predict`.
            window: as for :meth:`timelines`.
            hop: as for :meth:`timelines`.
            sampling_rate: as for :meth:`timelines`.

        Returns:
            Scores of its windows, from which follow events and scores of the whole.

        Raises:
            AudioError: it cannot be read.
            ConfigError: as of :meth:`timelines`, or it is a list.
            NumericalError: scores are NaN or infinite.
        """
        if not is_single(recording):
            raise ConfigError("timeline takes one recording; give several to timelines")
        (found,) = self.timelines(recording, window=window, hop=hop, sampling_rate=sampling_rate)
        found.refuse()
        return found

    def notices(self, predictions: Sequence[Told]) -> list[str]:
        """What the user should know of recordings: how much of them was not heard, and which are suspicious.

        Args:
            predictions: from :meth:`predictions`.

        Returns:
            Sentences; none where there is nothing to say.
        """
        return notices_of(predictions, self.front_end.seconds)

    def logits(self, inputs: Input | Iterable[Input], *, sampling_rate: float | None = None) -> Tensor:
        """Logits of recordings. Of one that is longer than the input, only the beginning is heard.

        Args:
            inputs: as for :meth:`predict`.
            sampling_rate: as for :meth:`predict`.

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

        Of a recording that is longer than the input, only the beginning is heard; :func:`astune.embed` hears all of it, window by window.

        Args:
            inputs: as for :meth:`predict`.
            sampling_rate: as for :meth:`predict`.
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
        return evaluated(self._loaded, self.listener, data, split, fold, skip_broken=skip_broken)

    def _timelines(
        self,
        inputs: Input | Iterable[Input],
        sampling_rate: float | None,
        windows: Windows,
        on_window: OnWindow | None,
        *,
        beginning: bool = False,
    ) -> Iterator[Timeline]:
        computed = self.listener.outputs(
            inputs, self._logits, windows, sampling_rate=sampling_rate, beginning=beginning
        )
        scored = ((batch, self.task.activate(logits).numpy()) for batch, logits in computed)
        return timelines(scored, windows, self.labels, self.task.name, on_window, self.negatives)

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


def evaluate(adapter: str | Path | Adapter | AudioClassifier, data: str | AudioDataset, **settings: Any) -> Evaluation:
    """Score an adapter on labelled audio.

    Args:
        adapter: as for :class:`Predictor`.
        data: as for :meth:`Predictor.evaluate`.
        settings: of :meth:`Predictor.evaluate` (``split``, ``fold``, ``skip_broken``) and of :class:`Predictor`.

    Returns:
        As :meth:`Predictor.evaluate`.
    """
    own = {name: settings.pop(name) for name in ("split", "fold", "skip_broken") if name in settings}
    return Predictor(adapter, **settings).evaluate(data, **own)
