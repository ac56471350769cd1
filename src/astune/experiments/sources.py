"""Which data a table runs on: the data where they are, the data set as published where only a plan is asked for."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astune.data.dataset import DataRecipe
from astune.data.digests import content_digests
from astune.data.layouts.base import LAYOUTS, load_data
from astune.data.options import DataOptions
from astune.errors import ConfigError, DataError, format_faults, unknown_choice
from astune.experiments.table import DataEntry, Table
from astune.validated import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astune.data.dataset import AudioDataset

_SAMPLED_CLIPS = 64  # of which the digest takes some bytes; the size of all
_SAMPLED_BYTES = 1024  # of each, from its middle


@dataclass(frozen=True)
class Source:
    """A data set of a table, as far as it is known here."""

    entry: DataEntry
    source: str
    """``layout:PATH``, or a path whose layout is recognised."""
    options: DataOptions
    """The entry's; a folder of recordings among them is below the data root."""
    recipe: DataRecipe
    folds: tuple[int | None, ...]
    """Those wanted."""
    classes: int
    clips: int | None
    """Number of clips; None where the data are not on this machine."""
    digest: str | None
    """Digest of the clips; None where the data are not on this machine."""
    content: str | None = None
    """Digest of all their files, byte by byte; None where the data are not on this machine. It shows
    whether the data of a record have changed."""
    dataset: AudioDataset | None = None
    """The clips themselves; None where the data are not on this machine."""


def entries_of(table: Table, wanted: Sequence[str]) -> list[DataEntry]:
    """The data sets that are asked for.

    Args:
        table: has some.
        wanted: names of them, or sources of the user's own that replace them; all where empty.

    Returns:
        Entries of different names.

    Raises:
        ConfigError: a name that is not in the table, or two sources that would have one name.
    """
    known = {entry.name: entry for entry in table.datasets}
    found: dict[str, DataEntry] = {}
    for name in dict.fromkeys(wanted) or known:
        if name in known:
            entry = known[name]
        elif ":" in name or Path(name).exists():
            # It takes the place of the table's data sets, with what varies in the first of them.
            entry = own_entry(name, vary=table.datasets[0].vary)
        else:
            raise ConfigError(
                f"{unknown_choice('data set', name, known)}; or give a source of your own, such as folder:PATH"
            )
        if entry.name in found:
            raise ConfigError(
                f"two data sets would be named {entry.name!r}; give them names of their own in a YAML file of yours"
            )
        found[entry.name] = entry
    return list(found.values())


def own_entry(source: str, **fields: Any) -> DataEntry:
    """A data set of the user's own, under the name of its folder or file.

    Args:
        source: ``layout:PATH``, a path, or a hub id with its layout.
        fields: further ones of the entry.

    Returns:
        The entry; the same source has the same name in every experiment, so that they share their runs.

    Raises:
        ConfigError: the name cannot be shown.
    """
    layout, _, rest = source.partition(":")
    path = Path(rest if layout in LAYOUTS else source)
    path = path.parent if path.stem == "metadata" else path
    shown = path.name if path.name not in {"", ".."} else path.resolve().name or "data"
    try:
        return DataEntry(name=shown, data=source, **fields)
    except SettingsError as error:
        raise ConfigError(format_faults(error.faults, "data set")) from error


def found_data(
    entry: DataEntry, *, data_root: Path, given: Sequence[str], folds: tuple[int, ...], needs_data: bool
) -> Source:
    """Look at a data set.

    Args:
        entry: of a table.
        data_root: folder of the data sets.
        given: data sets that the user named; a source among them is not below ``data_root``.
        folds: wanted; all where empty.
        needs_data: whether published sizes may not stand for data that are not on this machine.

    Returns:
        What is known of it.

    Raises:
        ConfigError: an unknown layout, or a fold that is not in it.
        DataError: it is not there, damaged, or has nothing to test on.
    """
    source, path = _source(entry, data_root, given)
    layout = LAYOUTS.get(source.partition(":")[0])
    if layout and layout.published_classes and entry.data is None and not needs_data and not path.exists():
        return Source(
            entry=entry,
            source=source,
            options=entry.options,
            recipe=layout.recipe,
            folds=_chosen(layout.published_folds or (None,), folds),
            classes=layout.published_classes,
            clips=None,
            digest=None,
        )
    options = entry.options
    if options.audio_dir is not None:
        options = options.model_copy(update={"audio_dir": str(data_root / options.audio_dir)})
    data = load_data(source, options)
    if not data.folds and not any(clip.split == "test" for clip in data.clips):
        raise DataError(
            f"{data.source} has no test clips; divide it into folders train/ and test/, or give a CSV file a column "
            "split or fold"
        )
    return Source(
        entry=entry,
        source=source,
        options=options,
        recipe=data.recipe,
        folds=_chosen(data.folds or (None,), folds),
        classes=len(data.labels),
        clips=len(data.clips),
        digest=_digest(data),
        content=_content(data),
        dataset=data,
    )


def _source(entry: DataEntry, data_root: Path, given: Sequence[str]) -> tuple[str, Path]:
    stated = entry.data or f"{entry.name}:{entry.name}"
    layout, colon, path = stated.partition(":")
    if not colon or (layout not in LAYOUTS and (data_root / stated).exists()):  # a colon may be a part of the path
        whole = Path(stated) if entry.data in given else data_root / stated
        return str(whole), whole
    if layout not in LAYOUTS:
        raise ConfigError(unknown_choice("data layout", layout, LAYOUTS))
    as_given = entry.data in given or LAYOUTS[layout].may_be_remote
    whole = Path(path) if as_given else data_root / path
    return f"{layout}:{path if as_given else whole}", whole


def _digest(data: AudioDataset) -> str:
    """Of names, labels, splits, folds, spans and file sizes of all clips, and of what some of them sound like."""
    sizes = [_size(clip.path) for clip in data.clips]
    facts = [(c.name, c.label_text, c.split, c.fold, size, *c.span) for c, size in zip(data.clips, sizes, strict=True)]
    digest = hashlib.sha256(json.dumps(facts).encode())
    for clip, size in list(zip(data.clips, sizes, strict=True))[:: max(1, len(sizes) // _SAMPLED_CLIPS)]:
        if size:
            with clip.path.open("rb") as file:
                file.seek(size // 2)
                digest.update(file.read(_SAMPLED_BYTES))
    return digest.hexdigest()[:16]


def _content(data: AudioDataset) -> str:
    return hashlib.sha256(json.dumps(content_digests(data.paths)).encode()).hexdigest()[:16]


def refuse_changed(source: str, options: DataOptions, clips: str | None, content: str | None) -> None:
    """Look whether data are still those that a run was planned on: a table may take days.

    Args:
        source: of the data.
        options: of reading them.
        clips: digest of the plan's clips, :attr:`Source.digest`; None where they were not there.
        content: of all their files, :attr:`Source.content`; None where they were not there.

    Raises:
        DataError: they are not, or can no longer be read.
    """
    if clips is None:
        return
    data = load_data(source, options)
    if (_digest(data), content and _content(data)) != (clips, content):
        raise DataError(
            f"{data.source} has changed since this run was planned; run the same command again to plan it again"
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # training will name it
        return 0


def _chosen(folds: tuple[int | None, ...], wanted: tuple[int, ...]) -> tuple[int | None, ...]:
    if not wanted or folds == (None,):
        return folds
    known = [fold for fold in folds if fold is not None]
    absent = [unknown_choice("fold", fold, known) for fold in wanted if fold not in known]
    if absent:
        raise ConfigError(format_faults(absent, "folds") if len(absent) > 1 else absent[0])
    return tuple(fold for fold in known if fold in wanted)
