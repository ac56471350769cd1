"""Embeddings in one call: of a backbone or an adapter, into memory or into a file that may be larger than memory."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astune import adapter_file
from astune.adapter import Adapter
from astune.backbone import Backbone, load_backbone, load_config
from astune.backbone.load import RANDOM_BACKBONES
from astune.classifier import AudioClassifier
from astune.console import notify, progress, recording_progress
from astune.data import AudioDataset
from astune.data.dataset import frames_of
from astune.errors import (
    AdapterError,
    AudioError,
    BackboneError,
    ConfigError,
    explain_write_errors,
    format_list,
    interruptible,
)
from astune.files import local_folder
from astune.folder_lock import lock_folder
from astune.inference import array_files
from astune.inference.embedder import Embedder, Material, Wanted, is_labelled
from astune.inference.embeddings import Embeddings, columns_of, rows_of_chunk
from astune.inference.listener import Listener
from astune.inference.loading import bare_backbone
from astune.inference.machine import machine
from astune.inference.model_digest import digest_of
from astune.inference.predictor import Predictor
from astune.names import BUNDLED_BACKBONE, LONGEST_INPUT
from astune.plurals import number_of
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import torch
    from numpy.typing import NDArray

    from astune.inference.embedder import Level, RowIndex, TokenPool
    from astune.inference.inputs import Input
    from astune.inference.windows import Windows
    from astune.names import Precision

    Model = str | Path | Adapter | AudioClassifier | Backbone | Predictor


class _InMemory:
    """Rows in memory."""

    def __init__(self) -> None:
        self.rows: list[NDArray[np.float32]] = []

    def append(self, rows: NDArray[np.float32]) -> None:
        self.rows.extend(rows)

    def truncate(self, rows: int) -> None:
        del self.rows[rows:]


class _OnDisk:
    """Rows in a temporary file next to the one that is written; it is deleted at the end."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("w+b")
        path.unlink()  # so that nothing of it is left, however the process ends
        self.shape: tuple[int, ...] = ()

    def append(self, rows: NDArray[np.float32]) -> None:
        self.shape = rows.shape[1:]
        self._stream.write(np.ascontiguousarray(rows, np.float32).tobytes())

    def truncate(self, rows: int) -> None:
        self._stream.seek(rows * self._row_bytes)
        self._stream.truncate()

    def chunks(self) -> Iterator[NDArray[np.float32]]:
        """All rows, some at a time."""
        self._stream.seek(0)
        size = rows_of_chunk((0, *self.shape)) * self._row_bytes
        while part := self._stream.read(size):
            yield np.frombuffer(part, np.float32).reshape(-1, *self.shape)

    def close(self) -> None:
        """Give the disk back."""
        self._stream.close()

    @property
    def _row_bytes(self) -> int:
        return 4 * math.prod(self.shape)


@dataclass(frozen=True)
class Written:
    """What :func:`write_embeddings` wrote."""

    path: Path
    shape: tuple[int, ...]
    """Shape of the values: (rows, d) or (rows, tokens, d)."""
    inputs: int
    """Clips or recordings that have rows."""
    columns: tuple[str, ...]
    """The columns that accompany the values."""
    errors: tuple[str, ...]
    """Why others have none."""
    notices: tuple[str, ...]
    """Remarks about the data and about the audio that was used."""
    about: dict[str, Any]

    def record(self) -> dict[str, Any]:
        """Return the record that is written as JSON."""
        return {**asdict(self), "path": str(self.path)}


def embed(
    model: Model,
    data: str | AudioDataset | Input | Iterable[Input],
    *,
    level: Level = "output",
    pool: TokenPool | None = None,
    tokens: bool = False,
    window: float | None = None,
    hop: float | None = None,
    sampling_rate: float | None = None,
    skip_broken: bool = False,
    data_options: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Embeddings:
    """Embed recordings window by window, or the clips of a labelled data set with one row per clip.

    Args:
        model: an adapter (folder, hub id, value or classifier), a :class:`astune.Predictor`, or a bare backbone: ``bundled``,
            ``random:*``, a folder, a hub id, or one from :func:`astune.load_backbone`.
        data: a data set, or ``layout:PATH`` for one; or recordings: files, folders, waveforms, or an iterable of these.
        level: ``"output"``, after the final LayerNorm, or k for transformers' ``hidden_states[k]``.
        pool: ``"mean"`` of all tokens or ``"cls"``; by default as the adapter pools, or the mean for a bare backbone.
        tokens: whether to return every token, without pooling.
        window: length in seconds of the windows of recordings; by default the length of the input.
        hop: seconds from the start of one window to the start of the next; by default ``window``.
        sampling_rate: rate in Hz of waveforms without their own.
        skip_broken: whether to leave out inputs that cannot be read, with a note, instead of raising an error.
        data_options: fields of ``DataOptions`` for a named data set; the others are as in the adapter's training.
        settings: settings of :func:`load_embedder`, such as ``device`` and ``max_length``.

    Returns:
        The rows, in the order of the inputs and of time within each.

    Raises:
        AudioError: an input cannot be read, or with ``skip_broken`` none can.
        AdapterError: it is not an adapter, or the backbone is not the one it was trained on.
        BackboneError: the backbone cannot be found.
        ConfigError: a setting or an input cannot be used.
        DataError: the data set cannot be read.
        NumericalError: some values are NaN or infinite.
    """
    rows = _InMemory()
    done = _compute(
        model, data, rows, level=level, pool=pool, tokens=tokens, window=window, hop=hop, sampling_rate=sampling_rate,
        data_options=data_options, **settings,
    )  # fmt: skip
    if done.faults and not skip_broken:
        raise done.error
    for line in (*done.faults, *done.notices):
        notify(line)
    return Embeddings(np.stack(rows.rows), **done.columns, about=done.about)


def write_embeddings(
    path: str | Path,
    model: Model,
    data: str | AudioDataset | Input | Iterable[Input],
    *,
    overwrite: bool = False,
    **settings: Any,
) -> Written:
    """Embed as :func:`embed` does, into a file; memory does not grow with its rows.

    What cannot be read has no rows, and is named in what is returned.

    Args:
        path: ends in ``.npz`` or ``.parquet``. The file appears only when it is complete; until then the rows are in a file next to it.
        model: see :func:`embed`.
        data: see :func:`embed`.
        overwrite: whether a file of that name is replaced.
        settings: settings of :func:`embed` (but ``skip_broken``) and of :func:`load_embedder`.

    Returns:
        What was written.

    Raises:
        AudioError: nothing can be read.
        ConfigError: the file is there already, it has another ending, another run writes it, or as of :func:`embed`.
        OutputError: it cannot be written.
        Interrupted: a KeyboardInterrupt; nothing was written.
    """
    path = Path(path)
    array_files.refuse_suffix(path)
    if path.is_dir() or (path.exists() and not overwrite):
        what = "is a folder; give a file" if path.is_dir() else "is there already; give another file, or overwrite=True"
        raise ConfigError(f"{printable(path)} {what}")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"{printable(path.parent)} is not a folder; make it, or give another file")
    kept = f"{printable(path)} is not written, and the same command starts again"
    with (
        interruptible(lambda: kept),
        lock_folder(path.parent, path.name),
        explain_write_errors(path, "free some disk, or give another file"),
    ):
        rows = _OnDisk(path.with_name(f".{path.name}.rows"))
        try:
            done = _compute(model, data, rows, **settings)
            shape = (done.index.rows, *rows.shape)
            array_files.write(path, shape, rows.chunks(), done.columns, done.about)
        finally:
            rows.close()
    inputs = len(done.index.names) - len(done.index.errors)
    return Written(path, shape, inputs, tuple(done.columns), tuple(done.faults), tuple(done.notices), done.about)


def load_embedder(
    model: Model,
    backbone: str | Path | Backbone | None = None,
    *,
    max_length: int | None = None,
    window: float | None = None,
    device: str | torch.device | None = None,
    precision: Precision | None = None,
    threads: int | None = None,
    batch_size: int = 16,
) -> Embedder:
    """Load what embeds: an adapter on its backbone, or a bare backbone.

    Args:
        model: see :func:`embed`.
        backbone: hub id or folder of an adapter's backbone, if not the one that the adapter names.
        max_length: input length of a bare backbone, in frames of 10 ms. By default that of ``window``, or the backbone's own if that
            is None too; an adapter has the length it was trained with.
        window: length in seconds of the windows that will be embedded.
        device: see :class:`astune.Predictor`.
        precision: see :class:`astune.Predictor`; by default float32 for a bare backbone.
        threads: see :class:`astune.Predictor`.
        batch_size: see :class:`astune.Predictor`.

    Returns:
        The embedder.

    Raises:
        AdapterError: it is neither an adapter nor a backbone.
        ConfigError: a setting that cannot be used, or one that an adapter or a loaded backbone decides.
    """
    given = {"device": device, "precision": precision, "threads": threads}
    if isinstance(model, Predictor):
        named = [
            name
            for name, value in {"backbone": backbone, "max_length": max_length, **given}.items()
            if value is not None
        ]
        if named:
            raise ConfigError(f"{named[0]} cannot be given together with a Predictor, which has its own; leave it out")
        return model.embedder
    found = _loaded(model)
    if not isinstance(found, Backbone | str):
        if max_length is not None:
            raise ConfigError(
                "max_length cannot be given for an adapter, which keeps the length it was trained with; leave it out"
            )
        settings: Any = {**given, "batch_size": batch_size}
        return Predictor(found, backbone, **settings).embedder
    if backbone is not None:
        raise ConfigError(f"backbone cannot be given, because {printable(found)} is not an adapter; leave it out")
    if isinstance(found, str):
        found = load_backbone(found, max_length or _frames(window))
    elif max_length not in {None, found.max_length}:
        raise ConfigError(
            f"max_length={max_length} differs from the loaded backbone's max_length={found.max_length}; fit the backbone first"
        )
    module, arithmetic = bare_backbone(found, device, precision)
    cores, size = machine(threads, batch_size)
    listener = Listener(module, found.front_end, arithmetic, cores, size)
    return Embedder(listener, found, found.origin.name)


def _loaded(model: Model) -> str | Backbone | Adapter | AudioClassifier:
    """An adapter, or a backbone or the name of one.

    Raises:
        AdapterError: it is the name of neither.
        ConfigError: it is of another type.
    """
    if not isinstance(model, str | Path):
        if not isinstance(model, Adapter | AudioClassifier | Backbone):
            raise ConfigError(
                f"model is of type {type(model).__name__}; give an adapter, a Predictor, a backbone, or the name of one of them"
            )
        return model
    name = str(model)
    folder = local_folder(name)
    if name == BUNDLED_BACKBONE or name.startswith("random:") or name in RANDOM_BACKBONES:
        return name
    if folder and not (folder / adapter_file.CONFIG).exists() and (folder / "config.json").exists():
        return name
    try:
        return adapter_file.read(name)
    except AdapterError:
        if folder:
            raise
        with suppress(BackboneError):  # else it is neither, and the adapter's message says where was looked
            load_config(name)
            return name
        raise


def _frames(window: float | None) -> int | None:
    """Input length that holds a window; :class:`astune.inference.windows.Windows` refuses others."""
    if isinstance(window, bool) or not isinstance(window, int | float) or not 0 < window < math.inf:
        return None
    return frames_of(window, LONGEST_INPUT)


@dataclass(frozen=True)
class _Computed:
    """What rows were computed of, and what is known of them."""

    embedder: Embedder
    material: Material
    wanted: Wanted
    windows: Windows
    index: RowIndex

    @property
    def columns(self) -> dict[str, Any]:
        """The columns that accompany the values."""
        return columns_of(self.material, self.index)

    @property
    def faults(self) -> list[str]:
        """Why something has no rows."""
        left_out = self.material.found.left_out if self.material.found else []
        return [str(fault) for fault in self.index.errors.values()] + [
            one.reason for one in left_out if not one.harmless
        ]

    @property
    def error(self) -> AudioError:
        """One error that names all faults."""
        faults, read = self.faults, len(self.index.names) - len(self.index.errors)
        total = number_of(read + len(faults), "file")
        return AudioError(format_list(faults, f"{len(faults):,} of {total} cannot be read"))

    @property
    def notices(self) -> list[str]:
        """Remarks about the data and about the audio that was used."""
        dataset, found = self.material.dataset, self.material.found
        of_data = dataset.notices if dataset else found.remarks if found else ()
        gaps = self.windows.gap_note if dataset is None else None
        return [*of_data, *([gaps] if gaps else []), *self.embedder.notices(self.material, self.index)]

    @property
    def about(self) -> dict[str, Any]:
        """What the values are, as JSON has it."""
        embedder, wanted, dataset = self.embedder, self.wanted, self.material.dataset
        return {
            "model": embedder.name,
            "backbone": embedder.backbone.origin.fingerprint,
            "adapter": digest_of(embedder.classifier) if embedder.classifier else None,
            "level": wanted.level if isinstance(wanted.level, str) else int(wanted.level),
            "pool": None if wanted.tokens else wanted.pool or embedder.usual_pool,
            "max_length": embedder.listener.front_end.max_length,
            "window": self.windows.window,
            "hop": None if dataset else self.windows.hop,
            "data": dataset.source if dataset else None,
            "precision": embedder.listener.arithmetic.compute_dtype,
            "astune": version("astune"),
        }


def _compute(
    model: Model,
    data: str | AudioDataset | Input | Iterable[Input],
    rows: _InMemory | _OnDisk,
    *,
    level: Level = "output",
    pool: TokenPool | None = None,
    tokens: bool = False,
    window: float | None = None,
    hop: float | None = None,
    sampling_rate: float | None = None,
    data_options: Mapping[str, Any] | None = None,
    **settings: Any,
) -> _Computed:
    """Compute all rows; the arguments are those of :func:`embed`.

    Raises:
        AudioError: there are no samples.
    """
    wanted = Wanted(level, pool, tokens)
    labelled = isinstance(data, AudioDataset) or (isinstance(data, str) and is_labelled(data))
    embedder = load_embedder(model, window=None if labelled else window, **settings)
    material = Material.of(data, embedder.training, data_options or {})
    windows = embedder.windows(material, window, hop)
    with progress("Embedding", material.total) as advance:
        index = embedder.collect(
            material, wanted, windows, rows, sampling_rate=sampling_rate, on_input=lambda: advance(1, ""),
            on_window=recording_progress(advance),
        )  # fmt: skip
    done = _Computed(embedder, material, wanted, windows, index)
    if not index.rows:
        raise done.error if done.faults else AudioError("nothing to embed: there are no recordings")
    return done
