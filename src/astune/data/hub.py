"""``hf:ID_OR_PATH``: a data set in Hugging Face's format, on the hub or on disk. Needs ``pip install 'astune[datasets]'``.

A sample: ``{"audio": {"bytes": b"RIFF...", "path": "a.wav"}, "label": 1}`` in the split ``train``, under features in which ``label`` is
``ClassLabel(names=["no", "yes"])``, is the clip ``train/000000`` of class ``yes``. ``hf:owner/name:config`` names a configuration.

Only the encoded bytes are taken from ``datasets``; they become files in the cache (``astune.data.store``) and are decoded like every other
file, so neither torchcodec nor FFmpeg is needed.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from astune.console import notices, progress, say
from astune.data.base import AudioDataset, Clip, SplitName
from astune.data.layout import Layout, dataset_of, register_layout
from astune.data.store import keep
from astune.errors import ConfigError, DataError
from astune.probe import ask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SPLITS: dict[str, SplitName] = {
    "train": "train", "training": "train", "test": "test", "testing": "test",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
}  # fmt: skip
_LABELS = ("label", "labels", "intent", "intent_class", "category", "class", "keyword")
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?(:[\w.-]+)?")


@register_layout("hf")
class HuggingFace(Layout):
    """A data set of the ``datasets`` library."""

    tree: ClassVar[str] = """\
  PATH: owner/name on the Hugging Face hub, owner/name:config, or a folder with
    dataset_dict.json or state.json     as save_to_disk() writes
    *.parquet, or data/*.parquet        train-00000-of-00001.parquet ...
  one column of type Audio, one of labels (ClassLabel; or text or numbers in a column named label)
  splits train, validation, test; or one split, perhaps with a column fold; further splits are passed over
"""
    may_be_remote: ClassVar[bool] = True

    def recognises(self, path: Path) -> bool:
        """What ``save_to_disk`` writes, or parquet files.

        Args:
            path: an existing file or folder.
        """
        return _is_saved(path) or any(next(folder.glob("*.parquet"), None) for folder in (path, path / "data"))

    def load(self, path: Path) -> AudioDataset:
        """Read clips and labels; audio that is not a file yet is written to the cache.

        Args:
            path: a folder, or a hub id in the form of a path.

        Raises:
            ConfigError: the library ``datasets`` is not installed.
            DataError: there is no such data set, or its columns do not say what is audio and what is a label.
        """
        if not (self.recognises(path) if path.exists() else _HUB_ID.fullmatch(str(path))):
            raise self.missing(path, "there is no such folder in this format, and it is no hub id")
        try:
            datasets: Any = import_module("datasets")
        except ImportError as fault:
            raise ConfigError(f"hf:{path} needs the library datasets: pip install 'astune[datasets]'") from fault
        parts = _parts(path, _open(self, path, datasets))
        features = next(iter(parts.values())).features
        audio, label = self._columns(path, features)
        undecoded = datasets.Audio(decode=False)
        clips = [
            clip
            for split, part in parts.items()
            for clip in _clips(path, split, part.cast_column(audio, undecoded), audio, label)
        ]
        used = {clip.label for clip in clips}
        names = getattr(features[label], "names", None)
        return dataset_of(self, path, clips, [name for name in names if name in used] if names else None)

    def _columns(self, path: Path, features: Mapping[str, Any]) -> tuple[str, str]:
        """The columns of audio and of labels."""
        kinds = {name: type(feature).__name__ for name, feature in features.items()}
        audio = [name for name, kind in kinds.items() if kind == "Audio"]
        shown = ", ".join(f"{name} ({getattr(features[name], 'dtype', kind)})" for name, kind in kinds.items())
        if len(audio) != 1:
            raise self.missing(path, f"it takes one column of type Audio, and there are {len(audio)}; columns: {shown}")
        classes = [name for name, kind in kinds.items() if kind == "ClassLabel"]
        usual = [name for name in _LABELS if kinds.get(name) in ("ClassLabel", "Value")]
        choices = [name for name in classes if name in usual] or classes or usual
        if "label" in usual:
            return audio[0], "label"
        if len(choices) != 1:
            found = f"any of {', '.join(choices)}" if choices else "none is a ClassLabel"
            raise self.missing(
                path, f"which column is the label? {found}; columns: {shown}; rename the one that is to label"
            )
        return audio[0], choices[0]


def _is_saved(path: Path) -> bool:
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def _open(layout: Layout, path: Path, datasets: Any) -> Any:  # noqa: ANN401 - a library that may be absent
    """Open what is saved, or ask the library to prepare it.

    Raises:
        DataError: it cannot be opened.
    """
    if not notices().is_terminal:
        datasets.disable_progress_bars()
    try:
        if path.exists():
            return datasets.load_from_disk(str(path)) if _is_saved(path) else datasets.load_dataset(str(path))
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
    say(f"{constants.ENDPOINT} does not answer ({answer}); looking into the cache of datasets")
    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


def _parts(path: Path, loaded: Any) -> dict[SplitName | None, Any]:  # noqa: ANN401
    """Sort the tables of a DatasetDict, or one Dataset, by our splits; None for one that is undivided.

    Raises:
        DataError: no split trains, or two have the same purpose.
    """
    if not hasattr(loaded, "keys"):
        return {None: loaded}
    known = [(split, part) for name, part in loaded.items() if (split := _SPLITS.get(name.lower()))]
    parts: dict[SplitName | None, Any] = dict(known)
    if "train" not in parts or len(parts) < len(known):
        raise DataError(
            f"hf:{path} must have one split train, and one validation and one test at most; it has {', '.join(loaded)}"
        )
    return {None: parts["train"]} if len(parts) == 1 else parts


def _clips(path: Path, split: SplitName | None, part: Any, audio: str, label: str) -> Iterator[Clip]:  # noqa: ANN401
    has_folds = split is None and "fold" in part.features
    names = getattr(part.features[label], "names", None)
    rows = part.select_columns([audio, label, *(["fold"] if has_folds else [])])
    with progress(f"Reading {split or 'clips'}", len(rows)) as advance:
        for number, row in enumerate(rows):
            name = f"{split or 'clip'}/{number:06d}"
            text = _label(row[label], names)
            if text is None:
                raise DataError(f"hf:{path}: {name} has no label ({label} is {row[label]!r})")
            yield Clip(_file(row[audio]), text, name, split, int(row["fold"]) if has_folds else None)
            advance(1, "")


def _label(value: object, names: list[str] | None) -> str | None:
    if names is None:
        return None if value is None or value == "" else str(value)
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else None


def _file(entry: Mapping[str, Any] | None) -> Path:
    """The file of one cell; a cell without audio gives a path that is reported with the broken files."""
    content, name = (entry or {}).get("bytes"), (entry or {}).get("path") or ""
    return keep(content, name) if content else Path(name or "no-audio")
