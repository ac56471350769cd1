"""Embeddings: the tokens of one level of a model, pooled or one by one, of recordings, their windows, or labelled clips."""

from __future__ import annotations

import os
from array import array
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from astune.data.audio_notices import audio_notices
from astune.data.dataset import AudioDataset
from astune.data.layouts import LAYOUTS
from astune.errors import ConfigError, unknown_choice
from astune.inference.batches import refuse_non_finite
from astune.inference.evaluation import as_trained
from astune.inference.inputs import expand, is_single
from astune.inference.windows import Windows
from astune.printable import printable
from astune.validated import fits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Protocol

    from numpy.typing import NDArray
    from torch import Tensor

    from astune.backbone import Backbone
    from astune.classifier import AudioClassifier
    from astune.data.clip import Clip
    from astune.errors import AstuneError
    from astune.inference.inputs import Expanded, Input
    from astune.inference.listener import Listener
    from astune.inference.pieces import Piece
    from astune.inference.timeline import OnWindow

    class Sink(Protocol):
        """Takes the rows as they are computed."""

        def append(self, rows: NDArray[np.float32]) -> None:
            """Take (rows, ...) more."""

        def truncate(self, rows: int) -> None:
            """Forget all but the first so many."""


Level = int | Literal["output"]
"""``output``, after the final LayerNorm, which a head classifies; or a number k as transformers' ``hidden_states[k]``: the patch
embeddings for 0, else the output of the k-th layer."""
TokenPool = Literal["mean", "cls"]
"""``mean`` over all tokens of the level, or the [CLS] token alone."""
_TABLES = frozenset((".csv", ".tsv", ".jsonl", ".json", ".parquet", ".xlsx"))
_POOLS = {"all": "mean"}  # which adapters name otherwise


@dataclass(frozen=True)
class Wanted:
    """Which numbers of a model."""

    level: Level = "output"
    pool: TokenPool | None = None
    """How tokens are pooled; by default as the adapter pools them, or their mean for a bare backbone."""
    tokens: bool = False
    """Every token by itself, and none pooled."""

    def refuse(self, layers: int) -> None:
        """Refuse what a model does not have.

        Args:
            layers: layers of the model.

        Raises:
            ConfigError: another level or pool, or a pool of tokens that are not pooled.
        """
        level = self.level
        if level != "output" and not (fits(level, int) and 0 <= level <= layers):
            raise ConfigError(
                f"level={level!r}: give output (after the final LayerNorm), or a number from 0 (patch embeddings) to {layers} (the "
                "last layer)"
            )
        if self.pool is not None and self.pool not in get_args(TokenPool):
            raise ConfigError(unknown_choice("pool", self.pool, get_args(TokenPool)))
        if self.tokens and self.pool is not None:
            raise ConfigError(f"pool={self.pool!r} and tokens=True cannot be combined; leave one of them out")


@dataclass
class RowIndex:
    """The origin of each row, and what is known of the inputs."""

    inputs: array[int] = field(default_factory=lambda: array("q"))
    """Number of the input of each row."""
    starts: array[float] = field(default_factory=lambda: array("d"))
    """Seconds from the beginning of the file."""
    ends: array[float] = field(default_factory=lambda: array("d"))
    names: list[str] = field(default_factory=list)
    """Names of the inputs."""
    seconds: dict[int, float] = field(default_factory=dict)
    """Length of each input that could be read."""
    doubts: dict[int, tuple[str, ...]] = field(default_factory=dict)
    errors: dict[int, AstuneError] = field(default_factory=dict)
    """Why an input has no rows."""

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.inputs)

    def truncate(self, rows: int) -> None:
        """Drop the last rows.

        Args:
            rows: number of rows that are kept.
        """
        for column in (self.inputs, self.starts, self.ends):
            del column[rows:]


@dataclass(frozen=True)
class Material:
    """What is embedded: the clips of a data set, or recordings."""

    dataset: AudioDataset | None = None
    inputs: Any = None
    """Inputs as for :meth:`astune.Predictor.predict`."""
    found: Expanded | None = None
    """What was found in folders, where paths were given."""

    @classmethod
    def of(
        cls,
        data: str | AudioDataset | Input | Iterable[Input],
        training: Mapping[str, Any],
        options: Mapping[str, Any],
    ) -> Material:
        """Look at what is given.

        Args:
            data: a data set; ``layout:PATH``, such as ``folder:recordings``, for one; or recordings, as for
                :meth:`astune.Predictor.predict`, and folders of them.
            training: what the adapter says of its training; a data set is read as it was read then.
            options: options of reading a data set, which win.

        Returns:
            Clips or recordings.

        Raises:
            ConfigError: an unknown layout, an empty path, or options of a data set for recordings.
            DataError: the data cannot be read.
        """
        if isinstance(data, AudioDataset):
            return cls(data)
        if isinstance(data, str) and is_labelled(data):
            return cls(as_trained(data, training, **options))
        if options:
            raise ConfigError(f"{', '.join(options)}: only for a labelled data set, given as layout:PATH")
        given: Any = [data] if is_single(data) else data
        if isinstance(given, list | tuple) and all(isinstance(one, str | PathLike) for one in given):
            _refuse_tables(given)
            found = expand([os.fspath(one) for one in given])
            return cls(inputs=found.paths, found=found)
        return cls(inputs=data)

    @property
    def total(self) -> int | None:
        """How many inputs there are; None where nobody knows."""
        if self.dataset is not None:
            return len(self.dataset.clips)
        return len(self.inputs) if isinstance(self.inputs, list | tuple) else None

    @property
    def clips(self) -> tuple[Clip, ...]:
        """The clips of the data set; empty for recordings."""
        return () if self.dataset is None else self.dataset.clips


def is_labelled(text: str) -> bool:
    """Whether a text names a data set, as ``folder:PATH`` does, and no recording or folder of recordings.

    Args:
        text: the name that the user gave.
    """
    layout, colon, _ = text.partition(":")
    return bool(colon) and layout in LAYOUTS and not Path(text).exists()


def _refuse_tables(paths: Iterable[str | PathLike[str]]) -> None:
    """Refuse a table among recordings, which would be called a recording that cannot be decoded.

    Raises:
        ConfigError: there is one.
    """
    for path in map(Path, paths):
        if path.suffix.lower() in _TABLES and path.is_file():
            raise ConfigError(
                f"{printable(path)} is a table; for the clips that it names give it as a data set, such as csv:{printable(path)}"
            )


@dataclass(frozen=True)
class Embedder:
    """A model with or without an adapter, as far as embeddings need it."""

    listener: Listener
    backbone: Backbone
    name: str
    """Adapter or backbone, for messages and files."""
    classifier: AudioClassifier | None = None
    """The adapter on the backbone; None for a bare backbone."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """What the adapter says of its training."""

    @property
    def usual_pool(self) -> str:
        """How it pools where nothing else is wanted: as the adapter does."""
        return "mean" if self.classifier is None else _POOLS.get(self.classifier.pooling, self.classifier.pooling)

    def compute(self, wanted: Wanted) -> Callable[[Tensor], Tensor]:
        """What is computed of features.

        Args:
            wanted: which numbers.

        Returns:
            A function from (batch, max_length, num_mel_bins) to (batch, d) or (batch, tokens, d).

        Raises:
            ConfigError: the model has no such numbers.
        """
        sites = self.backbone.sites
        wanted.refuse(len(sites.layers))
        level, adapter = wanted.level, None if wanted.pool else self.classifier

        def computed(features: Tensor) -> Tensor:
            found = sites.embed(features)
            found = sites.output(found) if isinstance(level, str) else sites.run(found, 0, level)
            if wanted.tokens:
                return found
            if adapter is not None:
                return adapter.normalised(adapter.pool(found))
            return found[:, 0] if wanted.pool == "cls" else found.mean(dim=1)

        return computed

    def pooled(self) -> Callable[[Tensor], Tensor]:
        """What is computed of features where nothing else is wanted.

        Returns:
            A function from (batch, max_length, num_mel_bins) to (batch, d).
        """
        return self.compute(Wanted())

    def beginnings(self, inputs: Input | Iterable[Input], wanted: Wanted, sampling_rate: float | None) -> Tensor:
        """Embeddings of the beginning of each input.

        Args:
            inputs: see :meth:`astune.Predictor.predict`.
            wanted: which numbers.
            sampling_rate: rate in Hz of waveforms without their own.

        Returns:
            (inputs, d) or (inputs, tokens, d), float32, on the CPU.

        Raises:
            AudioError: a recording cannot be read.
            ConfigError: an input or a setting cannot be used.
            NumericalError: some are NaN or infinite.
        """
        width = self.backbone.width
        empty = (0, 0, width) if wanted.tokens else (0, width)
        return self.listener.beginnings(inputs, self.compute(wanted), empty, sampling_rate, stacklevel=3)

    def windows(self, material: Material, window: float | None, hop: float | None) -> Windows:
        """The windows into which an input is cut.

        Args:
            material: what is embedded.
            window: length of the windows in seconds; by default that of the input.
            hop: seconds from one window to the next; by default the length of a window.

        Returns:
            The windows; for a data set, one window at the beginning of each clip, as long as the input.

        Raises:
            ConfigError: the model cannot process such windows, or a data set has clips already.
        """
        if material.dataset is not None and (window is not None or hop is not None):
            raise ConfigError(
                f"{material.dataset.source} has clips, each of which gives one row; window and hop cut recordings, so leave them out, or "
                "give the recordings alone"
            )
        return Windows.of(self.listener.front_end, window, hop)

    def collect(
        self,
        material: Material,
        wanted: Wanted,
        windows: Windows,
        sink: Sink,
        *,
        sampling_rate: float | None = None,
        on_input: Callable[[], object] | None = None,
        on_window: OnWindow | None = None,
    ) -> RowIndex:
        """Compute all rows, in the order of the inputs and of time within each.

        Args:
            material: what is embedded.
            wanted: which numbers.
            windows: the result of :meth:`windows`.
            sink: takes the rows as they come; those of a recording that turns out to be broken are taken back.
            sampling_rate: rate in Hz of waveforms without their own.
            on_input: is called after each input.
            on_window: called after each batch with the name of a recording and the number of its seconds processed.

        Returns:
            What is known of the rows.

        Raises:
            ConfigError: an input or a setting cannot be used.
            NumericalError: some values are NaN or infinite.
        """
        compute, index, kept = self.compute(wanted), RowIndex(), 0
        if material.dataset is not None:
            batches: Iterator[tuple[list[Piece], Tensor]] = self.listener.clip_outputs(material.clips, compute)
        else:
            batches = self.listener.outputs(material.inputs, compute, windows, sampling_rate=sampling_rate)
        for batch, output in batches:
            read = [piece.features is not None for piece in batch]
            if any(read):
                refuse_non_finite(output.flatten(1))
            rows = iter(output.numpy())
            for piece in batch:
                if piece.features is not None:
                    sink.append(next(rows)[None])
                    index.inputs.append(len(index.names))
                    index.starts.append(piece.start)
                    index.ends.append(piece.end)
                if piece.last:
                    if piece.error is not None:
                        index.errors[len(index.names)] = piece.error
                        index.truncate(kept)
                        sink.truncate(kept)
                    elif piece.facts is not None:
                        index.seconds[len(index.names)] = piece.facts.seconds
                        index.doubts[len(index.names)] = piece.facts.doubts
                    index.names.append(piece.name)
                    kept = index.rows
                    if on_input:
                        on_input()
            if on_window and kept < index.rows:
                on_window(batch[-1].name, index.ends[-1])
        return index

    def notices(self, material: Material, index: RowIndex) -> list[str]:
        """Remarks for the user about the audio that was used.

        Args:
            material: the material that was embedded.
            index: index of the rows.

        Returns:
            Sentences; none where there is nothing to say.
        """
        whole = material.dataset is None
        lengths = {number: 0.0 if whole else seconds for number, seconds in index.seconds.items()}
        doubts = {number: found for number, found in index.doubts.items() if found}
        noun = "file" if whole else "clip"
        return audio_notices(lengths, doubts, index.names, self.listener.front_end.seconds, noun)
