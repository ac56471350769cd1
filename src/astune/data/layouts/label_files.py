"""What layouts of label files share: a file of labels and times for each recording, next to it or in a folder of its own.

A sample: ``garden.txt`` says what sounds from when to when in ``garden.wav``. A recording without such a file is passed over, because
nobody has listened to it; an empty file says that somebody has, and nothing was there.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from astune.data.dataset import AudioDataset
from astune.data.label_cells import ONE_EACH, SURE_SEPARATORS, how_read
from astune.data.labels import clean_label, label_fault
from astune.data.layouts.base import LAYOUTS, Layout, dataset_of
from astune.data.options import DataOptions
from astune.data.predicted import read_prediction_record
from astune.data.recording_lookup import Lost, Recordings, portable_names
from astune.data.recordings import Skipped, find_recordings, subfolders
from astune.data.regions import LabelledRegion, cut
from astune.data.rows import refuse
from astune.data.splits import ask_which, is_undecided, split_named
from astune.printable import printable
from astune.tasks import MULTI_LABEL, SINGLE_LABEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astune.data.splits import SplitName


@dataclass(frozen=True)
class Labelled:
    """What one line of a label file says."""

    line: int
    start: float
    """Where the label begins in the recording, in seconds."""
    end: float
    label: str
    recording: str | None = None
    """Recording that the line names; None for the recording of the file."""


@dataclass
class Reading:
    """What is found while the files of a data set are read."""

    options: DataOptions
    root: Path
    skipped: list[Skipped] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """Faults of all files, each with its file and line."""
    _points: list[str] = field(default_factory=list)

    def shown_name(self, file: Path) -> str:
        """Name a file for messages.

        Args:
            file: below the data set's folder.

        Returns:
            Its path below that folder, with ``/``.
        """
        return file.relative_to(self.root).as_posix()

    def passed_over(self, location: str, kind: str) -> None:
        """Remember what is left out, to be counted.

        Args:
            location: file and line of it, for messages.
            kind: a noun in the plural.
        """
        self.skipped.append(Skipped(location, kind))

    def remember_point(self, location: str) -> None:
        """Count a label that marks a moment; a remark about all of them follows.

        Args:
            location: file and line of it, for messages.
        """
        self._points.append(location)

    @property
    def points(self) -> list[str]:
        """What to say of labels that mark a moment."""
        if not self._points:
            return []
        many = (
            "1 point label becomes a window around it"
            if len(self._points) == 1
            else f"{len(self._points):,} point labels become windows around them"
        )
        return [f"Note: {many}: {printable(self._points[0])}"]

    def add_columns(self, columns: Sequence[Skipped]) -> None:
        """Remember columns that are not used, each once.

        Args:
            columns: columns of one file.
        """
        self.skipped += [one for one in columns if one not in self.skipped]


@dataclass
class _Tables:
    """Label files and the recordings that they are of."""

    audio: Recordings
    of_table: dict[str, str] = field(default_factory=dict)
    """Name of each label file's recording, by its path below the data set's folder; empty where its lines alone name recordings."""
    certain: set[str] = field(default_factory=set)
    """Label files of which the recording is on record."""
    lost: Lost = field(default_factory=Lost)
    labelled: dict[str, Path] = field(default_factory=dict)
    """Recordings that somebody has listened to, by name."""
    lines: list[tuple[str, str, Labelled]] = field(default_factory=list)
    """Recording, location and content of each line."""


class LabelFiles(Layout):
    """A layout with a file of labels for each recording."""

    kind: ClassVar[str] = ""
    """Name for a file of this kind."""
    format: ClassVar[str | None] = None
    """The format's name for ``astune predict --format``; None if it cannot write this one."""
    names_recordings: ClassVar[bool] = False
    """Whether lines may name the recording."""
    one_each: ClassVar[bool] = True
    """Whether a recording has one such file at most."""
    counted: ClassVar[str] = "line"
    """What :attr:`Labelled.line` counts."""
    reads: ClassVar[frozenset[str]] = frozenset(("task", "audio_dir", "window", "hop", "min_overlap", "background"))

    @abstractmethod
    def stems(self, name: str, options: DataOptions) -> list[str]:
        """Recordings that a file may be of, by its name alone.

        Args:
            name: file name without its folder.
            options: options of reading the data.

        Returns:
            Their names, with or without suffix, the likeliest first; none where it cannot be such a file.
        """

    @abstractmethod
    def is_one(self, file: Path) -> bool:
        """Whether what a file holds looks like labels; an empty file may.

        Args:
            file: one with :meth:`stems`.
        """

    @abstractmethod
    def lines(self, file: Path, recording: Path | None, reading: Reading) -> list[Labelled]:
        """Read one file.

        Args:
            file: its path.
            recording: the recording that it describes; None where its lines say it.
            reading: what is passed over, decided and wrong is added.

        Raises:
            DataError: it cannot be read.
        """

    @override
    def recognises(self, path: Path) -> bool:
        """A folder of recordings with a label file for each, or one that ``astune predict -o`` wrote; or a label file."""
        if path.is_file():
            return bool(self.stems(path.name, DataOptions())) and path.stat().st_size > 0 and self.is_one(path)
        record = read_prediction_record(path)
        if record is not None:
            return record.format == self.format
        # Class folders, or any other file next to recordings, make it another layout.
        if subfolders(path):
            return False
        pairs = self._beside_recordings(path)
        return any(file.stat().st_size for file in pairs) and all(self.is_one(file) for file in pairs)

    @override
    def almost(self, path: Path) -> str | None:
        """A file next to its recording that is a label file of no kind."""
        if not path.is_dir() or subfolders(path):
            return None
        kinds = [layout for layout in LAYOUTS.values() if isinstance(layout, LabelFiles)]

        def is_used(file: Path) -> bool:
            return any(kind.stems(file.name, DataOptions()) and kind.is_one(file) for kind in kinds)

        return next((file.name for file in self._beside_recordings(path) if not is_used(file)), None)

    def _beside_recordings(self, folder: Path) -> list[Path]:
        """Files whose names are those of label files of a recording of the folder."""
        recordings = Recordings(folder)
        stems = {file: self.stems(file.name, DataOptions()) for file in sorted(folder.iterdir())}
        return [file for file, names in stems.items() if names and recordings.of_table("", names, anywhere=False)]

    @override
    def load(self, path: Path) -> AudioDataset:
        """Read clips and labels.

        Args:
            path: a folder with label files, at any depth; or one such file.

        Raises:
            DataError: no such file, or one that cannot be used; all faults at once, each with file and line.
        """
        return self.load_with(path, DataOptions())

    @override
    def load_with(self, path: Path, options: DataOptions) -> AudioDataset:
        """Read clips and labels.

        Args:
            path: a folder with label files, at any depth; or one such file.
            options: folder of the recordings, windows and background.

        Raises:
            DataError: no such file, or one that cannot be used; all faults at once, each with file and line.
        """
        root = path if path.is_dir() else path.parent
        reading = Reading(options, root)
        tables = self._tables(path, root, reading)
        self._read(tables, reading)
        reading.faults += tables.lost.faults(tables.audio.folder)
        refuse(path, reading.faults)
        if not tables.labelled:
            raise self.missing(path, f"no {self.kind} is of a recording there")
        if not tables.lines and options.background is None:
            raise self.missing(path, f"there is no label in any {self.kind}")
        names = portable_names(tables.labelled)
        recordings = {names[name]: file for name, file in tables.labelled.items()}
        splits = self._splits(path, recordings)
        cells = ONE_EACH
        if options.task == "multi-label":
            texts = {one.label for *_, one in tables.lines}
            cells = how_read(texts, options.task, shown="a label's text", separators=SURE_SEPARATORS)
            refuse(
                path,
                [
                    f"{location}: label {fault}"
                    for _, location, one in tables.lines
                    if (fault := cells.fault(one.label))
                ],
            )
        regions = [
            LabelledRegion(
                names[whose],
                tables.labelled[whose],
                one.start,
                one.end,
                label,
                location,
                splits.get(names[whose]),
            )
            for whose, location, one in tables.lines
            for label in cells.labels(one.label) or ("",)
        ]
        made = cut(regions, options, events=True, recordings=recordings, splits=splits, several=cells.several)
        tops = sorted({f"{name.partition('/')[0]} ({split})" for name, split in splits.items()})
        remarks = [f"Note: folders are read as splits: {', '.join(map(printable, tops))}"] if tops else []
        remarks += [f"Note: {cells.remark}"] if cells.remark else []
        remarks += [*reading.remarks, *reading.points, *made.remarks]
        return dataset_of(
            self,
            path,
            made.clips,
            skipped=reading.skipped,
            remarks=remarks,
            locations=made.locations,
            window=made.window,
            task=MULTI_LABEL if cells.several else SINGLE_LABEL,
        )

    def _tables(self, path: Path, root: Path, reading: Reading) -> _Tables:
        """Label files and their recordings.

        Raises:
            DataError: nothing was found.
        """
        audio_dir = reading.options.audio_dir
        audio = Recordings.of(audio_dir) if audio_dir is not None else Recordings(root)
        tables = _Tables(audio)
        record = read_prediction_record(path) if path.is_dir() else read_prediction_record(root)
        if path.is_dir() and record is not None and record.format == self.format:
            for table, recording in sorted(record.tables.items()):
                self._add_predicted(tables, table, recording)
            for name in record.unfinished:
                reading.passed_over(Path(name).name, "recordings without a finished table")
            return tables
        others = find_recordings(path).others if path.is_dir() else [path.name] if path.is_file() else []
        files = [file for file in others if self.stems(file.rpartition("/")[2], reading.options)]
        recorded = record.tables if record is not None and path.is_file() else {}
        for file in files:
            if file in recorded:
                self._add_predicted(tables, file, recorded[file])
            else:
                self._add(tables, file, reading, anywhere=audio_dir is not None, alone=path.is_file())
        if not (tables.of_table or tables.lost.faults(root)):
            raise self.missing(path, f"there is no {self.kind}")
        return tables

    def _add_predicted(self, tables: _Tables, table: str, recording: Path) -> None:
        """Add a table whose recording is on record: where it was, or where recordings are now."""
        if recording.is_file():
            name = recording.as_posix()
        else:
            found = tables.audio.named(str(recording))
            if len(found) != 1:
                tables.lost.add(str(recording), table, found)
                return
            name = found[0]
        tables.of_table[table] = name
        tables.certain.add(table)

    def _add(self, tables: _Tables, file: str, reading: Reading, *, anywhere: bool, alone: bool) -> None:
        """Add a file to the search, by its name."""
        folder, _, name = file.rpartition("/")
        found = tables.audio.of_table(folder, self.stems(name, reading.options), anywhere=anywhere)
        if len(found) == 1:
            taken = next((table for table, one in tables.of_table.items() if one == found[0]), None)
            if taken is not None and self.one_each:
                reading.faults.append(
                    f"{printable(found[0])} has two: {printable(taken)} and {printable(file)}; keep one of them"
                )
                return
            tables.of_table[file] = found[0]
        elif found:
            reading.faults.append(
                f"{printable(file)} may be of {' or of '.join(map(printable, found))}; "
                f"name it {printable(Path(found[0]).name)}{Path(name).suffix}"
            )
        elif self.names_recordings and (alone or self.is_one(reading.root / file)):
            tables.of_table[file] = ""
        elif alone or ((reading.root / file).stat().st_size and self.is_one(reading.root / file)):
            tables.lost.add(f"recording of {file}", file, ())
        else:
            reading.passed_over(file, "files of another kind")

    def _read(self, tables: _Tables, reading: Reading) -> None:
        """Add what all files say, and note recordings that nobody has labelled."""
        folder = tables.audio.folder
        for table, name in tables.of_table.items():
            found = self.lines(reading.root / table, folder / name if name else None, reading)
            if name and not found:
                tables.labelled[name] = folder / name
            for one in found:
                location = printable(f"{table} {self.counted} {one.line}")
                whose = name
                if one.recording and table not in tables.certain:
                    whose = _named(tables, table, one.recording, location) or ""
                elif not name:
                    reading.faults.append(f"{location}: it names no recording")
                if fault := label_fault(clean_label(one.label)):
                    reading.faults.append(f"{location}: {fault}")
                elif whose:
                    tables.labelled.setdefault(whose, folder / whose)
                    tables.lines.append((whose, location, one))
        if not tables.certain:
            searched = tables.audio.found
            without = [name for name in searched.files if name not in tables.labelled]
            reading.skipped += [Skipped(name, f"recordings without a {self.kind}") for name in without]
            reading.skipped += searched.skipped

    def _splits(self, path: Path, names: dict[str, Path]) -> dict[str, SplitName]:
        """Splits of recordings whose uppermost folders are named so.

        Raises:
            DataError: only some of the folders are named so, or this cannot be decided.
        """
        tops = {name: name.partition("/")[0] if "/" in name else "" for name in names}
        splits = {name: split for name, top in tops.items() if (split := split_named(top))}
        undecided = sorted({top for top in tops.values() if is_undecided(top)})
        if undecided and (splits or len(set(tops.values())) == len(undecided)):
            raise self.missing(path, ask_which(f"{printable(undecided[0])}/"))
        if not set(splits.values()) - {"train"}:
            return splits if len(splits) == len(names) else {}
        other = next((name for name in names if name not in splits), None)
        if other is not None:
            first = next(iter(splits))
            raise self.missing(
                path,
                f"{printable(first)} is in a folder named as a split, and {printable(other)} does not; "
                "put each recording below train/, validation/ or test/, or rename the folder",
            )
        return splits


def _named(tables: _Tables, table: str, text: str, location: str) -> str | None:
    """The recording that a line names; by default that of its file."""
    folder, of_file = table.rpartition("/")[0], tables.of_table[table]
    found = tables.audio.named(text)
    beside = [name for name in found if name.rpartition("/")[0] == folder]
    if len(beside) == 1 or of_file in found:
        return beside[0] if len(beside) == 1 else of_file
    if len(found) == 1 or (of_file and not found):
        return found[0] if found else of_file
    tables.lost.add(text, location, found)
    return None
