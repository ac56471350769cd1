"""A folder with a file of results for each recording, written as each is finished; a run that was stopped goes on.

``predictions.jsonl`` says what is in it: first the settings, then a line before the table of a recording is written and one when it is
there, whole, with the seconds that were used. So a run that was killed at any moment knows which tables are its own.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astune.data.opening import is_pipe
from astune.data.predicted import RECORD as RECORD
from astune.data.predicted import STATE as _STATE
from astune.data.predicted import record_lines
from astune.errors import ConfigError, explain_write_errors
from astune.files import make_folder, write_text
from astune.folder_lock import lock_folder
from astune.json_text import json_text
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from astune.inference.findings import Findings
    from astune.inference.writers import Writer

_PIPE = "standard input"
_NEXT = "give another folder, or delete it"


class ResultFolder:
    """The folder while it is written.

    Args:
        folder: the folder that :func:`open_result_folder` holds.
        writer: the writer of the format.
        recordings: all that results are wanted of; each once.
        known: the last line of each recording that was begun, by its path.
    """

    def __init__(self, folder: Path, writer: Writer, recordings: Sequence[Path], known: Mapping[str, Any]) -> None:
        self.folder, self._writer, self._known = folder, writer, known
        self._tables = table_names(recordings, writer.suffix)
        self.recordings = list(dict.fromkeys(recordings))
        for recording in self.recordings:
            self._refuse(recording)

    @property
    def pending(self) -> list[Path]:
        """Recordings that are not finished."""
        return [one for one in self.recordings if _STATE not in self._known.get(_whole(one), {})]

    @property
    def finished(self) -> int:
        """How many recordings were finished before."""
        return len(self.recordings) - len(self.pending)

    def write(self, findings: Findings) -> Path:
        """Write the table of a recording, then the line that says so.

        Args:
            findings: findings of one of the recordings, named as it was given.

        Returns:
            The table.

        Raises:
            OutputError: it cannot be written.
        """
        recording = Path(findings.name)
        table = self.folder / self._tables[recording]
        begun = {"file": _whole(recording), "table": self._tables[recording].as_posix()}
        done = {**begun, _STATE: _state(recording), "rows": len(findings.rows), **findings.used_columns}
        with explain_write_errors(
            self.folder, "free some disk space or repair the file, then run the same command again"
        ):
            make_folder(table.parent)
            _append(self.folder / RECORD, begun)
            write_text(table, self._writer.text(findings, _whole(recording)))
            _append(self.folder / RECORD, done)
        return table

    def _refuse(self, recording: Path) -> None:
        """Refuse what would be replaced, or would not be what it says.

        Raises:
            ConfigError: the table is there and not ours, or the recording is another than when it was finished, or may be.
        """
        known, table = self._known.get(_whole(recording)), self.folder / self._tables[recording]
        if known is None and table.exists():
            raise ConfigError(f"{printable(table)} exists already, and this command did not write it; {_NEXT}")
        if known and _STATE in known and is_pipe(recording):
            raise ConfigError(
                f"{printable(table)} belongs to another run, and the content of a pipe cannot be compared; {_NEXT}"
            )
        if known and known.get(_STATE, _state(recording)) != _state(recording):
            raise ConfigError(f"{printable(recording)} has changed since {printable(table)} was written; {_NEXT}")


@contextmanager
def open_result_folder(
    folder: Path, settings: Mapping[str, Any], writer: Writer, recordings: Sequence[Path]
) -> Iterator[ResultFolder]:
    """Take a folder for the results of some recordings, or go on with it.

    Args:
        folder: made if it is not there.
        settings: everything that decides the results, as JSON has it.
        writer: the writer of the format.
        recordings: recordings that results are wanted of.

    Yields:
        The folder; other runs are kept out meanwhile.

    Raises:
        ConfigError: it is a file, holds results of other settings, or files that are not ours.
        OutputError: it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{printable(folder)} is a file; give a folder")
    if not folder.exists() and folder.suffix == writer.suffix:
        raise ConfigError(
            f"{printable(folder)} would be a folder, with a table for each recording; give a name without {writer.suffix}, or leave it out "
            "and redirect standard output to a file"
        )
    with lock_folder(folder):
        record, made = folder / RECORD, json.loads(json_text(dict(settings)))
        before, lines = _lines(record)
        if before is not None and before != made:
            raise ConfigError(f"{printable(folder)} holds results of {_difference(before, made)}; {_NEXT}")
        results = ResultFolder(folder, writer, recordings, {line["file"]: line for line in lines})
        if before is None:
            with explain_write_errors(folder, "give another folder"):
                folder.mkdir(parents=True, exist_ok=True)  # whoever locked it has no word for what the system refuses
                write_text(record, f"{json_text({'settings': made})}\n")
        yield results


def table_names(recordings: Sequence[Path], suffix: str) -> dict[Path, Path]:
    """Paths of the tables in the folder of results, arranged like the recordings below the folder that they share.

    Args:
        recordings: paths; ``-`` for standard input.
        suffix: the suffix of the tables.

    Returns:
        A relative path each, no two the same: recordings whose names differ by their ending alone keep it.
    """
    whole = {recording: Path(_whole(recording)) for recording in recordings}
    folders = {str(path.parent) for path in whole.values() if path.is_absolute()}
    shared = os.path.commonpath(folders) if folders else "/"
    inside = {one: path.relative_to(shared) if path.is_absolute() else path for one, path in whole.items()}
    same = Counter(path.with_suffix("") for path in set(inside.values()))
    taken = {*inside.values(), Path(RECORD.removesuffix(suffix))}
    names = {}
    for one, path in inside.items():
        stem = path.with_suffix("")
        plain = same[stem] == 1 and stem not in taken
        names[one] = path.with_name(f"{stem.name if plain else path.name}{suffix}")
    return names


def _whole(recording: Path) -> str:
    return _PIPE if str(recording) == "-" else os.path.abspath(recording)  # noqa: PTH100 - links stay as they are


def _state(recording: Path) -> list[int]:
    """Size and time of a file; nothing for a pipe."""
    if is_pipe(recording):
        return []
    with suppress(OSError):  # it was deleted in the meantime
        found = recording.stat()
        return [found.st_size, found.st_mtime_ns]
    return []


def _append(path: Path, line: Mapping[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as stream:
        stream.write(f"{json_text(line)}\n")
        stream.flush()
        os.fsync(stream.fileno())


def _lines(record: Path) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Settings and lines of a record; a last one that was cut when the run was killed is taken away.

    Raises:
        ConfigError: the file is not a record of astune.
    """
    if not record.exists():
        return None, []
    text = record.read_text(encoding="utf-8", errors="backslashreplace")
    whole, end, cut = text.rpartition("\n")
    try:
        settings, lines = record_lines(whole)
    except ValueError as fault:
        raise ConfigError(f"{printable(record)} is not what this command writes; {_NEXT}") from fault
    if cut:
        write_text(record, whole + end)
    return settings, lines


def _difference(before: Mapping[str, Any], made: Mapping[str, Any]) -> str:
    other = [name for name in {**before, **made} if before.get(name) != made.get(name)]
    if "runtime" in other:
        runtimes = [one.get("runtime", "torch") for one in (before, made)]
        return f"runtime {runtimes[0]}, whose scores differ from those of {runtimes[1]} by rounding"
    if "adapter" in other:
        return "another adapter"
    return "other settings: " + ", ".join(f"{name}={before.get(name)!r}, now {made.get(name)!r}" for name in other)
