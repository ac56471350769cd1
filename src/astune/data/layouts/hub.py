"""``hf:ID_OR_PATH``: a data set in Hugging Face's format, on the hub or on disk. Needs ``pip install 'astune[datasets]'``.

A sample: ``{"audio": {"bytes": b"RIFF...", "path": "a.wav"}, "label": 1}`` in the split ``train``, under features in which ``label`` is
``ClassLabel(names=["no", "yes"])``, is the clip ``train/000000`` of class ``yes``. Where the column has lists of them, a clip may have
several labels. ``hf:owner/name:config`` names a configuration.

Only the encoded bytes are taken from ``datasets``; they become files in the cache (``astune.data.store``) and are decoded like every other
file, so neither torchcodec nor FFmpeg is needed.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from astune.console import notify, progress, stderr_console
from astune.data.clip import Clip
from astune.data.columns import division_columns, part_columns, unused_columns
from astune.data.dataset import AudioDataset
from astune.data.hold_out import Sides, crossing_columns, group_like
from astune.data.hub_labels import LabelColumn, item_of
from astune.data.layouts.base import Layout, dataset_of, register_layout
from astune.data.layouts.example import encoded_tone
from astune.data.options import DataOptions
from astune.data.recordings import Skipped, has_recordings
from astune.data.rows import DIGITS
from astune.data.splits import SPLITS, ask_which, is_undecided, split_named
from astune.data.store import keep
from astune.errors import ConfigError, DataError
from astune.extras import install_command
from astune.printable import printable
from astune.reachability import ask
from astune.tasks import MULTI_LABEL, SINGLE_LABEL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from astune.data.splits import SplitName

_LABELS = ("label", "labels", "intent", "intent_class", "category", "class", "keyword")
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?(:[\w.-]+)?")


@register_layout("hf")
class HuggingFace(Layout):
    """A data set of the ``datasets`` library."""

    tree: ClassVar[str] = """\
  PATH: owner/name on the Hugging Face hub, owner/name:config, or a folder with
    dataset_dict.json or state.json     as save_to_disk() writes
    *.parquet, or data/*.parquet        train-00000-of-00001.parquet ...
  one column of type Audio, one of labels (ClassLabel; or text or numbers in a column named label; or lists of these, for several labels
  a clip)
  splits train, validation, test; or one split, perhaps with a column fold; further splits are passed over
  and perhaps a column group: speaker, session or device, never divided where a validation split is drawn
"""
    may_be_remote: ClassVar[bool] = True
    reads: ClassVar[frozenset[str]] = frozenset(("task", "label_column"))

    @override
    def recognises(self, path: Path) -> bool:
        """Files that ``save_to_disk`` writes, or parquet files without recordings next to them."""
        return _is_saved(path) or bool(_parquet_files(path) and not has_recordings(path))

    @override
    def load(self, path: Path) -> AudioDataset:
        """Read clips and labels; audio that is not a file yet is written to the cache.

        Args:
            path: a folder, or a hub id in the form of a path.

        Raises:
            ConfigError: the library ``datasets`` is not installed.
            DataError: the data set does not exist, or its columns do not say what is audio and what is a label.
        """
        return self.load_with(path, DataOptions())

    @override
    def load_with(self, path: Path, options: DataOptions) -> AudioDataset:
        """Read clips and labels; audio that is not a file yet is written to the cache.

        Args:
            path: a folder, or a hub id in the form of a path.
            options: task and column of the labels.

        Raises:
            ConfigError: the library ``datasets`` is not installed.
            DataError: the data set does not exist, or its columns do not say what is audio and what is a label.
        """
        local = path.exists()
        if not (_is_saved(path) or _parquet_files(path) if local else _HUB_ID.fullmatch(str(path))):
            folder = "; folder:PATH or csv:PATH reads recordings" if local and has_recordings(path) else ""
            raise self.missing(path, f"there is no such folder in this format, and it is not a hub id{folder}")
        datasets = _library(path)
        parts, unused = _parts(path, _open(self, path, datasets))
        features = next(iter(parts.values())).features
        audio, label = self._columns(path, features, options)
        undivided = None in parts
        unread = [name for name in features if name not in (audio, label, "group", *(["fold"] if undivided else []))]
        dividing = None
        if undivided and "fold" not in features:
            texts = [name for name in unread if getattr(features[name], "dtype", None) == "string"]
            dividing = division_columns(unread, lambda name: parts[None].unique(name) if name in texts else ())
        if found := part_columns(unread) or dividing:
            raise self.missing(path, found)
        undecoded = datasets.Audio(decode=False)
        reading = LabelColumn.of(label, features[label], parts.values(), options.task)
        clips = [
            clip
            for split, part in parts.items()
            for clip in _clips(path, split, part.cast_column(audio, undecoded), audio, reading)
        ]
        used = {label for clip in clips for label in clip.labels}
        names = reading.names
        return dataset_of(
            self,
            path,
            clips,
            [name for name in names if name in used] if names else None,
            skipped=[
                *(Skipped(f"{name} ({len(rows):,} rows)", "splits of other names") for name, rows in unused.items()),
                *unused_columns(unread),
                *(Skipped(name, "labels without a clip") for name in names or () if name not in used),
            ],
            remarks=[*reading.remarks, *_same_content(clips), *crossing_columns(_sides(parts, group_like(unread)))],
            group_like=group_like(unread),
            task=MULTI_LABEL if reading.several else SINGLE_LABEL,
        )

    def _columns(self, path: Path, features: Mapping[str, Any], options: DataOptions) -> tuple[str, str]:
        """The columns of audio and of labels: a column of lists if there is no other, or if several labels are asked for."""
        kinds = {name: type(feature).__name__ for name, feature in features.items()}
        audio = [name for name, kind in kinds.items() if kind == "Audio"]
        shown = ", ".join(f"{name} ({getattr(features[name], 'dtype', kind)})" for name, kind in kinds.items())
        if len(audio) != 1:
            raise self.missing(path, f"it takes one column of type Audio, and there are {len(audio)}; columns: {shown}")
        if (given := options.label_column) is not None:
            if given not in features:
                raise self.missing(path, f"there is no column {printable(given)} (label_column); columns: {shown}")
            return audio[0], given
        lists = {name: f"{type(item_of(one)).__name__}" for name, one in features.items() if item_of(one) is not None}
        if lists and (
            options.task == "multi-label"
            or not any(kind == "ClassLabel" or _usual(name, kind) for name, kind in kinds.items())
        ):
            kinds = lists
        classes = [name for name, kind in kinds.items() if kind == "ClassLabel"]
        usual = [name for name in _LABELS if _usual(name, kinds.get(name, ""))]
        choices = [name for name in classes if name in usual] or classes or usual
        if "label" in usual:
            return audio[0], "label"
        if len(choices) != 1:
            found = f"any of {', '.join(choices)}" if choices else "none is a ClassLabel"
            raise self.missing(
                path,
                f"which column is the label? {found}; columns: {shown}; give it as label_column, or rename it to label",
            )
        return audio[0], choices[0]

    @override
    def write_example(self, folder: Path) -> Path:
        """A dictionary of three splits, as ``save_to_disk`` leaves it.

        Args:
            folder: folder to write to.

        Returns:
            The folder.

        Raises:
            ConfigError: the library ``datasets`` is not installed.
        """
        datasets = _library(folder)
        splits = {split: example_table(datasets, 4, offset=10 * number) for number, split in enumerate(SPLITS)}
        datasets.DatasetDict(splits).save_to_disk(folder)
        return folder


def _usual(name: str, kind: str) -> bool:
    return name in _LABELS and kind in ("ClassLabel", "Value")


def example_table(datasets: Any, clips: int, offset: int = 0) -> Any:  # noqa: ANN401 - a library that may be absent
    """Two classes in turn, and a third one without a clip.

    Args:
        datasets: the library.
        clips: number of clips.
        offset: number that varies the sounds.

    Returns:
        A ``Dataset``.
    """
    cell = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    features = datasets.Features({"audio": cell, "label": datasets.ClassLabel(names=["yes", "maybe", "no"])})
    rows = {
        "audio": [{"bytes": encoded_tone(300 + 10 * (n + offset)), "path": f"{n}.wav"} for n in range(clips)],
        "label": [2 * (n % 2) for n in range(clips)],
    }
    return datasets.Dataset.from_dict(rows, features=features).cast_column("audio", datasets.Audio())


def _library(path: Path) -> Any:  # noqa: ANN401 - a library that may be absent
    try:
        return import_module("datasets")
    except ImportError as fault:
        raise ConfigError(f"hf:{path} needs the library datasets: {install_command('datasets')}") from fault


def _parquet_files(path: Path) -> list[Path]:
    return sorted(file for folder in (path, path / "data") for file in folder.glob("*.parquet"))


def _content_digest(path: Path) -> str:
    whole = hashlib.sha256()
    for file in _parquet_files(path):
        with file.open("rb") as stream:
            whole.update(f"{file.relative_to(path)}\0".encode() + hashlib.file_digest(stream, "sha256").digest())
    return whole.hexdigest()[:32]


def _is_saved(path: Path) -> bool:
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def _open(layout: Layout, path: Path, datasets: Any) -> Any:  # noqa: ANN401 - a library that may be absent
    """Open what is saved, or ask the library to prepare it.

    Raises:
        DataError: it cannot be opened.
    """
    if not stderr_console().is_terminal:
        datasets.disable_progress_bars()
    try:
        if path.exists():
            if _is_saved(path):
                return datasets.load_from_disk(str(path))
            # by itself the library believes its cache wherever a file has the modification time it had
            cache = Path(datasets.config.HF_DATASETS_CACHE) / "astune" / _content_digest(path)
            return datasets.load_dataset(str(path), cache_dir=str(cache))
        repository, _, config = str(path).partition(":")
        with _offline_if_unreachable(datasets):
            return datasets.load_dataset(repository, config or None)
    except (OSError, ValueError, ImportError, datasets.exceptions.DatasetsError) as fault:
        if "torchcodec" in f"{fault} {fault.__cause__} {getattr(fault.__cause__, '__cause__', '')}":
            way = f"`hf download {path} --repo-type dataset --local-dir DIR`, then folder:DIR or csv:DIR"
            what = "a folder of audio files, which datasets opens with torchcodec alone; fetch it by"
            raise DataError(f"hf:{path} is {what} {way}") from fault
        raise layout.missing(path, f"datasets cannot open it ({type(fault).__name__}: {fault})") from fault


@contextmanager
def _offline_if_unreachable(datasets: Any) -> Iterator[None]:  # noqa: ANN401
    """Send the library to its cache where the hub does not answer: by itself it retries for half a minute first."""
    from huggingface_hub import constants

    answer = None if constants.HF_HUB_OFFLINE else ask(constants.ENDPOINT)
    if not isinstance(answer, str):  # offline by choice, or it answers, whatever it says
        yield
        return
    notify(f"{constants.ENDPOINT} does not answer ({answer}); looking into the cache of datasets")
    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


def _parts(path: Path, loaded: Any) -> tuple[dict[SplitName | None, Any], dict[str, Any]]:  # noqa: ANN401
    """Sort the tables of a DatasetDict, or one Dataset, by our splits; None for one that is undivided. And those of other names.

    Raises:
        DataError: none is a split, two have the same purpose, or one could be either.
    """
    if not hasattr(loaded, "keys"):
        return {None: loaded}, {}
    known = [(split, part) for name, part in loaded.items() if (split := split_named(name))]
    parts: dict[SplitName | None, Any] = dict(known)
    asked = [ask_which(name) for name in loaded if is_undecided(name)]
    if asked:
        raise DataError(f"hf:{path}: {'; '.join(asked)}, and save it with save_to_disk() if it is not yours")
    if not parts or len(parts) < len(known):
        raise DataError(
            f"hf:{path} must have one split train, and one validation and one test at most; it has {', '.join(loaded)}"
        )
    unused = {name: part for name, part in loaded.items() if not split_named(name)}
    return ({None: parts["train"]} if list(parts) == ["train"] else parts), unused


def _sides(parts: Mapping[SplitName | None, Any], columns: tuple[str, ...]) -> Sides:
    """The splits in which values of columns occur, or the folds of an undivided table."""
    sides: Sides = {column: defaultdict(set) for column in columns}
    for split, part in parts.items():
        folds = part["fold"] if split is None and "fold" in part.features else []
        for column in columns:
            found = (
                ((value, split) for value in part.unique(column)) if split else zip(part[column], folds, strict=False)
            )
            for value, side in found:
                sides[column]["" if value is None else str(value)].add(side)
    return sides


def _same_content(clips: list[Clip]) -> tuple[str, ...]:
    """Recordings that are in several splits: files are named by their content."""
    splits: defaultdict[str, set[SplitName | None]] = defaultdict(set)
    for clip in clips:
        splits[str(clip.path)].add(clip.split)
    count = sum(len(found) > 1 for found in splits.values())
    recordings = "1 recording is" if count == 1 else f"{count:,} recordings are"
    return (f"Warning: {recordings} in several splits, so scores may be too good",) if count else ()


def _clips(path: Path, split: SplitName | None, part: Any, audio: str, reading: LabelColumn) -> Iterator[Clip]:  # noqa: ANN401
    has_folds = split is None and "fold" in part.features
    label = reading.name
    has_groups = "group" in part.features
    rows = part.select_columns([audio, label, *(["fold"] if has_folds else []), *(["group"] if has_groups else [])])
    with progress(f"Reading {split or 'clips'}", len(rows)) as advance:
        for number, row in enumerate(rows):
            name = f"{split or 'clip'}/{number:06d}"
            labels = reading.labels(row[label])
            if labels is None:
                way = (
                    ", and task is single-label; set task=multi-label" if reading.listed and not reading.several else ""
                )
                raise DataError(
                    f"hf:{path}: {name} has no label{' or several' if way else ''} ({label} is {row[label]!r}){way}"
                )
            group = str(row["group"]).strip() if has_groups and row["group"] is not None else None
            if has_groups and not group:
                raise DataError(f"hf:{path}: {name} has no group (group is {row['group']!r})")
            fold = _fold(row["fold"]) if has_folds else None
            if has_folds and fold is None:
                raise DataError(f"hf:{path}: {name} has no fold (fold is {row['fold']!r}, not a whole number)")
            yield Clip(name, _file(row[audio]), labels, split=split, fold=fold, group=group)
            advance(1, "")


def _fold(value: object) -> int | None:
    if isinstance(value, str):
        return int(value) if value.isdecimal() and len(value) <= DIGITS else None
    return int(value) if isinstance(value, int | float) and value == value // 1 else None


def _file(entry: Mapping[str, Any] | None) -> Path:
    """The file of one cell; a cell without audio gives a path that is reported with the broken files."""
    content, name = (entry or {}).get("bytes"), (entry or {}).get("path") or ""
    return keep(content, name) if content else Path(name or "no-audio")
