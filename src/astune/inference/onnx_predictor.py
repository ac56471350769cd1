"""An exported adapter put to use by onnxruntime: labels of recordings, without torch. It starts in a fraction of the time and memory.

How recordings become windows, scores become labels, and what is said of them is the code of :class:`astune.Predictor`. A window reaches
the graph as samples, because the front end is in the graph.
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from typing_extensions import override

from astune.environment import usable_cores
from astune.errors import ConfigError
from astune.inference.inputs import is_single, sources
from astune.inference.machine import machine, refuse_other_number
from astune.inference.onnx_graph import INT8, open_graph
from astune.inference.pieces import Cutting
from astune.inference.prediction import LabelChoice, labels_of, notices_of, prediction_of
from astune.inference.timeline import refuse_pool, timelines
from astune.inference.windows import Hearing, Windows
from astune.summary import Summarised, Summary, here, input_of, some
from astune.tasks import task_named
from astune.validated import checked_but_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from astune.adapter_info import AdapterInfo
    from astune.inference.events import Thresholds
    from astune.inference.inputs import Input
    from astune.inference.pieces import Piece
    from astune.inference.prediction import Prediction, Told
    from astune.inference.timeline import OnWindow, Timeline
    from astune.names import Pool
    from astune.task import Task

_TOP_K = 5  # as Predictor has it
_FRAMES, _MOST = 2_048, 16  # of a batch; rows of one
_DIGITS = 32  # hexadecimal ones


@checked_but_for("threads", "batch_size", "cores")
class OnnxPredictor(Summarised):
    """An adapter that ``astune export --format onnx`` wrote with its backbone into one file, ready to label recordings.

    Args:
        path: the path of the ONNX file.
        threads: number of threads that decode recordings while the graph computes; one for each usable core where None.
        batch_size: number of recordings or windows that the graph takes at a time; where None, as many as have 2,048 frames together,
            at most 16: a long input fills the memory, and gains nothing from company.
        cores: number of threads that the graph computes with; one for each usable core where None.

    Raises:
        AdapterError: the file does not exist, is damaged, comes from another program, or has a newer version.
        ConfigError: onnxruntime is not installed, or a number is below 1.
    """

    def __init__(
        self, path: str | Path, *, threads: int | None = None, batch_size: int | None = None, cores: int | None = None
    ) -> None:
        self.threads, size = machine(threads, 1 if batch_size is None else batch_size)
        if cores is not None:
            refuse_other_number("cores", cores)
            if cores > usable_cores():
                raise ConfigError(f"cores={cores}: {usable_cores()} can be used here; give at most that")
        self._graph = open_graph(path, cores)
        self.batch_size = size if batch_size is not None else min(_MOST, max(1, _FRAMES // self.info.max_length))

    @property
    def path(self) -> Path:
        """Path of the file."""
        return self._graph.path

    @property
    def info(self) -> AdapterInfo:
        """What the adapter is."""
        return self._graph.info

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the scores."""
        return self.info.labels

    @property
    def negatives(self) -> tuple[str, ...]:
        """Labels that mean none of the others."""
        return self.info.negatives

    @property
    def thresholds(self) -> dict[str, float]:
        """The score from which on each label counts; empty where the labels compete."""
        return dict(self.info.thresholds)

    @property
    def task(self) -> Task:
        """What the scores are."""
        return task_named(self.info.task)

    @property
    def seconds(self) -> float:
        """Audio that fills the input."""
        return self.info.seconds

    @property
    def precision(self) -> str:
        """The precision of the matrix products: ``float32`` or ``int8``."""
        return self._graph.precision

    @property
    def adapter_digest(self) -> str | None:
        """Digest of the exported adapter folder, see :func:`astune.adapter_digest.adapter_digest`; None if there was no folder."""
        return self._graph.adapter_digest

    @property
    def scores_key(self) -> dict[str, str]:
        """What decides its scores, for the settings of a folder of tables."""
        with self.path.open("rb") as stream:
            return {"adapter": hashlib.file_digest(stream, "sha256").hexdigest()[:_DIGITS], "runtime": "onnx"}

    @override
    def _summary(self) -> Summary:
        info, input_length, classes = self.info, input_of(self.info.max_length), some(self.labels, "class")
        line = (f"{info.method} on {info.backbone}", classes, input_length, "onnxruntime", self.precision)
        rows = {
            "method": info.method, "backbone": info.backbone, "task": info.task, "runtime": "onnxruntime",
            "precision": self.precision, "classes": classes, "input": input_length.removeprefix("input of "),
        }  # fmt: skip
        return Summary("OnnxPredictor", here(self.path), line, tuple(rows.items()))

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
        """Label recordings, as :meth:`astune.Predictor.predict`, which says what the arguments are.

        Args:
            inputs: a path, a NumPy or torch waveform, a dictionary, or a list of these.
            sampling_rate: rate in Hz of waveforms without their own.
            top_k: number of labels per recording; all where None.
            errors: ``"raise"`` or ``"return"``.
            pool: how scores of windows become those of a recording.
            threshold: leave out labels below.

        Returns:
            Labels as ``{"label": ..., "score": ...}``, the likeliest first: a list for one input, a list of lists for several.

        Raises:
            AudioError: a recording cannot be read.
            ConfigError: an input, ``top_k`` or a threshold cannot be used.
            NumericalError: scores are NaN or infinite.

        Warns:
            AudioWarning: a recording is suspicious.
        """
        found = self.predictions(inputs, sampling_rate=sampling_rate, top_k=top_k, pool=pool, threshold=threshold)
        answers = labels_of(found, errors, stacklevel=2)
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
        """Label recordings one after the other, as :meth:`astune.Predictor.predictions`.

        Args:
            inputs: see :meth:`predict`.
            sampling_rate: see :meth:`predict`.
            top_k: see :meth:`predict`.
            pool: see :meth:`predict`.
            threshold: see :meth:`predict`.
            on_window: see :meth:`timelines`.

        Yields:
            One prediction an input, in order; one that cannot be read says why.

        Raises:
            ConfigError: an input cannot be labelled, ``top_k`` is below 1, or a threshold cannot be used.
        """
        refuse_pool(pool)
        choice = LabelChoice.of(self.labels, self.negatives, top_k, threshold)
        for timeline in self._timelines(inputs, sampling_rate, Windows.of(self), on_window, beginning=pool == "first"):
            yield prediction_of(timeline, choice, pool)

    def timelines(
        self,
        inputs: Input | Iterable[Input],
        *,
        window: float | None = None,
        hop: float | None = None,
        sampling_rate: float | None = None,
        on_window: OnWindow | None = None,
    ) -> Iterator[Timeline]:
        """Label recordings of any length window by window, as :meth:`astune.Predictor.timelines` does.

        Args:
            inputs: see :meth:`predict`.
            window: length of the windows in seconds, at most that of the input, which is the default.
            hop: seconds from the start of one window to the start of the next; by default the length of a window.
            sampling_rate: rate in Hz of waveforms without their own.
            on_window: called after each batch with the name of a recording and the number of its seconds processed.

        Yields:
            One timeline an input, in order; one that cannot be read says why.

        Raises:
            ConfigError: an input cannot be read, or the graph cannot take such windows.
        """
        yield from self._timelines(inputs, sampling_rate, Windows.of(self, window, hop), on_window)

    def timeline(
        self,
        recording: Input,
        *,
        window: float | None = None,
        hop: float | None = None,
        sampling_rate: float | None = None,
    ) -> Timeline:
        """Label a recording of any length window by window, as :meth:`astune.Predictor.timeline` does.

        Args:
            recording: a path, a waveform or a dictionary.
            window: see :meth:`timelines`.
            hop: see :meth:`timelines`.
            sampling_rate: see :meth:`timelines`.

        Returns:
            Scores of its windows, from which follow events and scores of the whole.

        Raises:
            AudioError: it cannot be read.
            ConfigError: see :meth:`timelines`, or it is a list.
            NumericalError: scores are NaN or infinite.
        """
        if not is_single(recording):
            raise ConfigError("timeline takes one recording; give several to timelines")
        (found,) = self.timelines(recording, window=window, hop=hop, sampling_rate=sampling_rate)
        found.refuse()
        return found

    def notices(self, predictions: Sequence[Told]) -> list[str]:
        """Remarks for the user about recordings, as :meth:`astune.Predictor.notices`.

        Args:
            predictions: the result of :meth:`predictions`.

        Returns:
            Sentences; none where there is nothing to say.
        """
        return notices_of(predictions, self.seconds)

    def scores(self, samples: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Scores of recordings that are decoded; from any thread.

        Args:
            samples: arrays of shape (samples,), floats at 16 kHz in -1 to 1; samples after the end of the input are ignored.

        Returns:
            (recordings, classes), from 0 to 1; NaN where an input has them.

        Raises:
            ConfigError: one of them is of another shape or type, or empty.
        """
        rows = [_samples(one, number)[: self.info.samples] for number, one in enumerate(samples)]
        # int8 products are scaled by the largest value of a batch: together, a clip's scores would depend on the other clips of the batch.
        size = 1 if self.precision == INT8 else self.batch_size
        parts = [self._computed(rows[start : start + size]) for start in range(0, len(rows), size)]
        return np.concatenate(parts) if parts else np.empty((0, len(self.labels)), np.float32)

    def row(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The samples of a window that :meth:`scores` needs; may be called from any thread.

        Args:
            samples: (samples,) at 16 kHz.

        Returns:
            A copy, so that it does not keep the recording's block in memory.
        """
        return np.array(samples[: self.info.samples], np.float32)

    def _computed(self, rows: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        batch = np.zeros((len(rows), self.info.samples), np.float32)
        for padded, row in zip(batch, rows, strict=True):
            padded[: len(row)] = row
        return self._graph.scores(batch, np.array([len(row) for row in rows], np.int64))

    def _timelines(
        self,
        inputs: Input | Iterable[Input],
        sampling_rate: float | None,
        windows: Windows,
        on_window: OnWindow | None,
        *,
        beginning: bool = False,
    ) -> Iterator[Timeline]:
        cutting, hearing = Cutting(self.threads, self.batch_size, beginning), Hearing(windows, self.row)
        assigned = (
            (source, hearing) for source in sources(inputs, sampling_rate, windows.window if beginning else None)
        )

        def computed() -> Iterator[tuple[list[Piece], NDArray[np.float32]]]:
            with closing(cutting.batches(assigned, single=is_single(inputs))) as batches:
                for batch, rows in batches:
                    yield batch, self.scores(rows)

        return timelines(computed(), {hearing: self.info}, on_window)


def _samples(samples: NDArray[Any], number: int) -> NDArray[np.float32]:
    """Samples that can be computed with.

    Raises:
        ConfigError: another shape or type, or none.
    """
    found = np.asarray(samples)
    if found.ndim != 1 or found.dtype.kind != "f" or not len(found):
        raise ConfigError(
            f"samples[{number}] is {found.dtype} of shape {found.shape}; give floats at 16 kHz in -1 to 1, (samples,), at least one"
        )
    return found
