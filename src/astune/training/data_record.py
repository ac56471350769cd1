"""The data of a run: ``clips.csv`` in its folder, one row per clip with label, split and digest of the file's content.

Where a clip is a part of its file, all rows have two columns more, its start and its end in seconds; both are empty for a
whole file, and the end where the file's is meant.

A run that goes on, a finished run that is asked for again, and an adapter that is scored are compared with it, so that data that changed
in between are named instead of mixed.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from astune.csv_text import csv_text
from astune.data.dataset import AudioDataset, Split
from astune.data.digests import UNREADABLE, content_digests
from astune.data.splits import SPLITS, SplitName
from astune.files import write_text
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from astune.adapter import AdapterConfig
    from astune.data.clip import Span

CLIPS = "clips.csv"
_HEADER = ("name", "label", "split", "sha256")
_SPANS = ("start", "end")


@dataclass(frozen=True)
class UsedClip:
    """One clip of a run."""

    label: str
    split: SplitName
    content: str
    """Digest of the file, see :func:`astune.data.digests.content_digests`."""
    span: Span = ()
    """What of the file is used, see :attr:`astune.data.clip.Clip.span`."""


@dataclass(frozen=True)
class DataRecord:
    """Labels and clips of a run."""

    labels: tuple[str, ...]
    """In the order of the class indices."""
    clips: dict[str, UsedClip]
    """By name; those that train, validate or test."""

    @classmethod
    def of(cls, dataset: AudioDataset, split: Split, *, quiet: bool = True) -> DataRecord:
        """Record the data of a run.

        Args:
            dataset: the clips.
            split: of them.
            quiet: no progress bar while files are read for the first time.

        Returns:
            The record.
        """
        used = [(name, dataset.clips[clip]) for name in SPLITS for clip in split.named(name)]
        contents = content_digests([clip.path for _, clip in used], quiet=quiet)
        clips = {
            printable(clip.name): UsedClip(clip.label_text, name, content, clip.span)
            for (name, clip), content in zip(used, contents, strict=True)
        }
        return cls(dataset.labels, clips)

    @cached_property
    def digest(self) -> str:
        """Digest of everything in the record: equal for equal data, in whatever folder."""
        rows = sorted((name, clip.label, clip.split, clip.content, *clip.span) for name, clip in self.clips.items())
        return hashlib.sha256(json.dumps([self.labels, rows]).encode()).hexdigest()[:32]

    def differences(self, now: DataRecord) -> list[str]:
        """List what changed since.

        Args:
            now: the data as they are now.

        Returns:
            A phrase for each kind of change; empty where nothing changed.
        """
        found = [f"class {label!r} is gone" for label in self.labels if label not in now.labels]
        found += [f"class {label!r} is new" for label in now.labels if label not in self.labels]
        if not found and self.labels != now.labels:
            found.append("the classes have another order")
        found += _among("clip is gone", "clips are gone", (name for name in self.clips if name not in now.clips))
        found += _among("clip is new", "clips are new", (name for name in now.clips if name not in self.clips))
        both = [(name, clip, now.clips[name]) for name, clip in self.clips.items() if name in now.clips]
        found += _changed("has another label", "have other labels", ((n, a.label, b.label) for n, a, b in both))
        found += _changed("is in another split", "are in other splits", ((n, a.split, b.split) for n, a, b in both))
        found += _changed(
            "starts or ends elsewhere", "start or end elsewhere", ((n, _shown(a), _shown(b)) for n, a, b in both)
        )
        replaced = (name for name, then, later in both if then.content != later.content)
        return found + _among("file holds something else", "files hold something else", replaced)

    def write(self, folder: Path) -> None:
        """Write ``clips.csv``; the file is whole or not there.

        Args:
            folder: of the run.
        """
        spans = any(clip.span for clip in self.clips.values())
        rows: list[tuple[object, ...]] = [(*_HEADER, *_SPANS) if spans else _HEADER]
        for name, clip in self.clips.items():
            span = (clip.span or (None, None)) if spans else ()
            rows.append((name, clip.label, clip.split, clip.content, *span))
        write_text(folder / CLIPS, csv_text(rows))

    @classmethod
    def read(cls, folder: Path, labels: Iterable[str]) -> DataRecord | None:
        """Read the record from ``clips.csv``.

        Args:
            folder: of a run or an adapter.
            labels: of the run, in order; the file does not hold them.

        Returns:
            The record; None where there is no such file, or it cannot be read.
        """
        try:
            with (folder / CLIPS).open(encoding="utf-8", newline="") as stream:
                rows = csv.reader(stream, strict=True)
                if tuple(next(rows, ())) not in (_HEADER, (*_HEADER, *_SPANS)):
                    return None
                splits: dict[str, SplitName] = {name: name for name in SPLITS}
                clips = {
                    name: UsedClip(label, splits[split], content, _span(span))
                    for name, label, split, content, *span in rows
                }
        except (OSError, ValueError, KeyError, csv.Error):
            return None
        return cls(tuple(labels), clips)


def foreign_record(folder: Path) -> list[str]:
    """A table of the user's under the name of ours.

    Args:
        folder: which need not exist.

    Returns:
        Its name; empty where there is none, or astune wrote it.
    """
    try:
        with (folder / CLIPS).open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            header = stream.readline()
    except FileNotFoundError:
        return []
    except OSError:
        return [CLIPS]
    ours = [",".join(_HEADER), ",".join((*_HEADER, *_SPANS))]
    cut = not header.endswith("\n") and ours[-1].startswith(header)
    written = re.sub("[;\t]", ",", header.strip())  # Excel saves it with other separators
    return [] if cut or written in ours else [CLIPS]


def trained_among(adapter: str | Path, config: AdapterConfig, dataset: AudioDataset, clips: Sequence[int]) -> list[str]:
    """Clips that an adapter was trained on, under whatever names: scores on them are too good.

    Args:
        adapter: folder of a run; others, such as adapters from a hub, have no list of their clips.
        config: of the adapter.
        dataset: the clips to be scored.
        clips: indices of those.

    Returns:
        Names of the clips that share sound with a training clip, by the bytes of their files and by their spans; empty where there is
        no list.
    """
    record = DataRecord.read(Path(adapter), config.labels)
    if record is None or record.digest != config.training.get("data_digest"):  # of a run that was here before
        return []
    trained: defaultdict[str, list[Span]] = defaultdict(list)
    for used in record.clips.values():
        if used.split == "train" and used.content != UNREADABLE:
            trained[used.content].append(used.span)
    some = [dataset.clips[clip] for clip in clips]
    contents = content_digests([clip.path for clip in some])
    return [
        clip.name
        for clip, content in zip(some, contents, strict=True)
        if any(_overlap(clip.span, span) for span in trained.get(content, ()))
    ]


def _span(cells: Sequence[str]) -> Span:
    """Of the last cells of a row.

    Raises:
        ValueError: there is one cell, or a cell is no number.
    """
    if not any(cells):
        return ()
    start, end = cells
    return float(start), float(end) if end else None


def _bounds(span: Span) -> tuple[float, float]:
    start, end = span or (0.0, None)
    return start, math.inf if end is None else end


def _overlap(one: Span, other: Span) -> bool:
    (start, end), (first, last) = _bounds(one), _bounds(other)
    return max(start, first) < min(end, last)


def _shown(clip: UsedClip) -> str:
    if not clip.span:
        return "the whole file"
    start, end = _bounds(clip.span)
    return f"from {start:g} s on" if end == math.inf else f"{start:g} s to {end:g} s"


def _among(one: str, many: str, names: Iterable[str]) -> list[str]:
    found = sorted(names)
    if len(found) <= 1:
        return [f"1 {one} ({printable(found[0])})"] if found else []
    return [f"{len(found):,} {many}, {printable(found[0])} among them"]


def _changed(one: str, many: str, pairs: Iterable[tuple[str, str, str]]) -> list[str]:
    """Clips of which something differs: how many, and the most frequent change."""
    moves: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], str] = {}
    for name, then, now in pairs:
        if then != now:
            moves[then, now] += 1
            first.setdefault((then, now), name)
    if not moves:
        return []
    (then, now), _ = moves.most_common(1)[0]
    total = sum(moves.values())
    shown = f"{printable(first[then, now])} ({then!r} then, {now!r} now)"
    return [f"1 clip {one}, {shown}" if total == 1 else f"{total:,} clips {many}, {shown} among them"]
