"""A folder to be corrected in Audacity: short clips with label tracks, and a table that says why each was chosen.

::

    DIR/
      clips/       garden_00083.50.wav   garden_00083.50.txt   ...
      review.csv   a row a clip: file, recording, start, end, label, score, criterion, rank, value, nearest
      review.json  how they were chosen

``clips/`` is a data set as it is. A label track has a line ``start<TAB>end<TAB>label`` in seconds from the beginning of its clip.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
import shutil
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from astune.console import notify
from astune.csv_text import csv_text
from astune.data.opening import open_sound
from astune.errors import AudioError, ConfigError, DataError, explain_write_errors
from astune.files import make_folder, move, new_folder, sync_tree, write_text
from astune.folder_lock import LOCK, lock_folder
from astune.json_text import json_text
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from astune.data.sound import Sound
    from astune.inference.review_choice import Pick

TABLE, SETTINGS, CLIPS = "review.csv", "review.json", "clips"
_COLUMNS = ("file", "recording", "start", "end", "label", "score", "criterion", "rank", "value", "nearest")
_LONGEST = 100  # letters of a recording's name that its clips keep
_NEXT = "give another folder"
_PARTIAL = ".partial"
_PASSING = {_PARTIAL, LOCK}  # what a run that was killed may leave


def refuse_folder(folder: Path) -> None:
    """Refuse a folder that is not empty, before any recording is processed.

    Args:
        folder: the folder that would be made.

    Raises:
        ConfigError: it is a file, or it is not empty.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{printable(folder)} is a file; give a folder")
    if (folder / TABLE).exists():
        raise ConfigError(f"{printable(folder)} already holds a review, whose labels may have been corrected; {_NEXT}")
    if folder.is_dir() and any(one.name not in _PASSING for one in folder.iterdir()):
        raise ConfigError(f"{printable(folder)} is not empty; {_NEXT}")
    if not folder.absolute().parent.is_dir():
        raise ConfigError(f"{printable(folder.parent)} is not a folder; make it, or {_NEXT}")


@contextmanager
def reserve_folder(folder: Path) -> Iterator[None]:
    """Reserve a folder for a review before any recording is processed, and keep other runs out.

    It may be a link, the current folder or the root of a disk: nothing but what is in it is renamed.

    Args:
        folder: made if it is not there, and gone again where no review was written.

    Raises:
        ConfigError: see :func:`refuse_folder`, or another run is writing into it.
        OutputError: nothing can be written there.
    """
    if _half_moved(folder):
        with lock_folder(folder), _room(folder):
            _finish(folder)
    refuse_folder(folder)
    with lock_folder(folder), ExitStack() as stack:
        refuse_folder(folder)  # another run may have ended meanwhile
        with explain_write_errors(printable(folder), _NEXT):
            make_folder(folder)
            partial = stack.enter_context(new_folder(folder / _PARTIAL))
            (partial / CLIPS).mkdir()
        yield


def write_folder(
    folder: Path, picks: Sequence[Pick], margin: float, nearest: Sequence[str], settings: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Cut the clips and write everything; all of it is there at the end, or nothing.

    Args:
        folder: the folder that :func:`reserve_folder` holds.
        picks: what was chosen; their clips do not overlap.
        margin: seconds of audio around each window.
        nearest: names of the training clips.
        settings: how they were chosen, as JSON has it.

    Returns:
        The rows of the table.

    Raises:
        AudioError: a recording can no longer be read.
        OutputError: something cannot be written.
    """
    partial = folder / _PARTIAL
    with _room(folder):
        names = _cut(partial / CLIPS, picks, margin)
        rows = [_row(f"{CLIPS}/{name}", pick, nearest) for name, pick in zip(names, picks, strict=True)]
        write_text(partial / SETTINGS, json_text(dict(settings), indent=1) + "\n")
        write_text(partial / TABLE, csv_text([_COLUMNS, *(row.values() for row in rows)]))
        _move(folder)
    return rows


def _move(folder: Path) -> None:
    """Give everything its name; the table is the mark of a review, so it comes last. What ends this leaves nothing its name."""
    sync_tree(folder / _PARTIAL)
    names = [name for name in (CLIPS, SETTINGS, TABLE) if (folder / _PARTIAL / name).exists()]
    try:
        for name in names:
            move(folder / _PARTIAL / name, folder / name)
    except BaseException:  # an interrupt too
        for name in reversed(names):
            if (folder / name).exists():
                (folder / name).replace(folder / _PARTIAL / name)
        raise


def _half_moved(folder: Path) -> bool:
    """Whether a run was killed while it gave its files their names: the table is written, and waits for its own."""
    partial = folder / _PARTIAL
    return (partial / TABLE).exists() and not (partial / CLIPS).exists()


def _finish(folder: Path) -> None:
    if _half_moved(folder):  # also now that the folder is held
        _move(folder)
        shutil.rmtree(folder / _PARTIAL, ignore_errors=True)
        notify(f"{printable(folder)}: a run was killed after it wrote its review; the review is now complete")


def reviewed_spans(folders: Iterable[str | Path]) -> dict[str, list[tuple[float, float]]]:
    """What was reviewed before.

    Args:
        folders: folders of earlier reviews.

    Returns:
        Start and end in seconds, by the absolute path of each recording.

    Raises:
        DataError: a folder has no table of ours.
    """
    spans: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for folder in map(Path, folders):
        try:
            with (folder / TABLE).open(encoding="utf-8", newline="") as stream:
                for row in csv.DictReader(stream):
                    spans[row["recording"]].append((float(row["start"]), float(row["end"])))
        except (OSError, ValueError, KeyError, TypeError) as fault:
            raise DataError(f"{printable(folder)} has no {TABLE} that can be read: {fault}") from fault
    return dict(spans)


def whole(recording: str) -> str:
    """A recording as the table names it.

    Args:
        recording: path as it was given.

    Returns:
        Its absolute path.
    """
    return printable(os.path.abspath(recording))  # noqa: PTH100 - links stay as they are


def _room(folder: Path) -> AbstractContextManager[None]:
    return explain_write_errors(printable(folder), f"free some disk, or {_NEXT}")


def _row(file: str, pick: Pick, nearest: Sequence[str]) -> dict[str, Any]:
    one = pick.candidate
    cells = (
        file, whole(one.recording), round(one.start, 6), round(one.end, 6), one.label, round(one.score, 6), one.criterion,
        pick.rank, round(one.value, 6), "" if one.nearest is None else printable(nearest[one.nearest]),
    )  # fmt: skip
    return dict(zip(_COLUMNS, cells, strict=True))


def _cut(folder: Path, picks: Sequence[Pick], margin: float) -> list[str]:
    """Write clips and label tracks, recording by recording, and name them in the order of the picks."""
    of_recording: defaultdict[str, list[int]] = defaultdict(list)
    for number, pick in enumerate(picks):
        of_recording[pick.candidate.recording].append(number)
    names: dict[int, str] = {}
    for recording, numbers in of_recording.items():
        with open_sound(recording, pipes=False) as sound:
            for number in sorted(numbers, key=lambda number: picks[number].candidate.start):
                one = picks[number].candidate
                first, frames = _part(recording, sound, one.start - margin, one.end + margin)
                rate = sound.rate
                names[number] = _name(recording, one.start, set(names.values()))
                begin = one.start - first / rate
                end = min(begin + one.end - one.start, len(frames) / rate)
                with _room(folder.parents[1]):  # else the disk's fault would be called the recording's
                    _write_clip(folder / names[number], frames, rate)
                    track = (folder / names[number]).with_suffix(".txt")
                    lines = (f"{begin:.6f}\t{end:.6f}\t{printable(label)}\n" for label in (one.label, *one.also))
                    write_text(track, "".join(lines))
    return [names[number] for number in range(len(picks))]


def _part(recording: str, sound: Sound, start: float, end: float) -> tuple[int, NDArray[np.float32]]:
    """Frames from ``start`` to ``end`` at the file's own rate, (frames, channels), and the number of the first one.

    Raises:
        AudioError: there are no samples.
    """
    rate = sound.rate
    first = max(sound.position, math.floor(max(0.0, start) * rate))
    blocks = list(sound.blocks(math.ceil(end * rate) - first, first - sound.position))
    if not blocks:
        raise AudioError(f"{printable(recording)}: it has become shorter since it was read")
    return first, np.concatenate(blocks)


def _write_clip(path: Path, frames: NDArray[np.float32], rate: int) -> None:
    """Write a clip as 16-bit WAV; a clip with samples beyond full scale keeps its floats, because 16 bits would cut them off."""
    coded = io.BytesIO()  # of a full disk, libsndfile would say "System error" alone
    soundfile.write(coded, frames, rate, format="WAV", subtype="PCM_16" if np.abs(frames).max() <= 1 else "FLOAT")
    path.write_bytes(
        coded.getvalue()
    )  # a view of it, left to the garbage collector by a failed write, crashes Python 3.12.1


def _name(recording: str, start: float, taken: set[str]) -> str:
    """Such as ``garden_00083.50.wav``, for the seconds at which its window starts."""
    stem = (
        re.sub(r"[^\w .()+-]", "_", Path(recording).stem).encode()[:_LONGEST].decode(errors="ignore").strip() or "clip"
    )
    name, number = f"{stem}_{start:08.2f}.wav", 1
    while name in taken:  # of a recording of that name in another folder
        number += 1
        name = f"{stem}_{start:08.2f}_{number}.wav"
    return name
