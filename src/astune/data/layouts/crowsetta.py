"""``crowsetta:PATH``: annotations in a format that crowsetta reads. Needs ``pip install 'astune[crowsetta]'``.

A sample: an interval ``robin`` from 1.5 to 2.75 in ``garden.TextGrid`` says that a robin sings in ``garden.wav`` then. Praat's text grids,
TIMIT's ``.phn`` and ``.wrd``, ``.not.mat`` of evsonganaly and crowsetta's own tables are recognised by their suffix; others are named by
``annotation_format``. A text grid of several tiers needs ``textgrid:TIER``.
"""

from __future__ import annotations

import inspect
import re
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from astune.data.layouts.base import register_layout
from astune.data.layouts.example import write_text, write_tone
from astune.data.layouts.label_files import LabelFiles, Labelled
from astune.data.mat_files import refuse_damaged
from astune.data.named_files import refuse_pipes
from astune.data.part import LATEST
from astune.errors import ConfigError, DataError, unknown_choice
from astune.extras import install_command
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from astune.data.dataset import AudioDataset
    from astune.data.layouts.label_files import Reading
    from astune.data.options import DataOptions

_TABLE = ".csv"
_LONGEST_LINE = 50_000  # bytes of a table's line, which has ten cells
_GUESSED = {
    ".textgrid": "textgrid", ".phn": "timit", ".wrd": "timit", ".not.mat": "notmat", _TABLE: "generic-seq",
}  # fmt: skip
_ASKED = re.compile(r"\.(csv|mat|txt|xml)", re.IGNORECASE)  # of formats that share a suffix


@register_layout("crowsetta")
class Crowsetta(LabelFiles):
    """Annotation files of other programs next to recordings."""

    kind: ClassVar[str] = "file of annotations"
    counted: ClassVar[str] = "label"
    names_recordings: ClassVar[bool] = True
    reads: ClassVar[frozenset[str]] = LabelFiles.reads | {"annotation_format"}
    tree: ClassVar[str] = """\
  PATH/                                any depth; or one of the files
    garden.wav  garden.TextGrid        or .phn, .wrd, .not.mat (garden.wav.not.mat)
    annotations.csv                    crowsetta's own table, of many recordings
  annotation_format for others, as crowsetta names them: aud-seq, aud-bbox, simple-seq, birdsong-recognition-dataset, yarden;
    textgrid:words for the tier words of a TextGrid
  audio_dir where the recordings are elsewhere
"""

    @override
    def stems(self, name: str, options: DataOptions) -> list[str]:
        """``garden`` for ``garden.TextGrid`` and ``garden.wav.not.mat``.

        Args:
            name: the name of a file.
            options: options; ``annotation_format`` says which suffixes count.
        """
        lowered = name.lower()
        suffix = next((one for one in _GUESSED if lowered.endswith(one)), None)
        wanted, _ = _format(options)
        if wanted is not None and suffix is not None:
            suffix = suffix if _GUESSED[suffix] == wanted else None
        if suffix is None and wanted not in (None, *_GUESSED.values()):
            asked = _ASKED.search(lowered, max(lowered.rfind("."), 0))
            suffix = asked[0] if asked else None
        if suffix is None:
            return []
        stem = name[: -len(suffix)]
        return list(dict.fromkeys((stem, stem.rpartition(".")[0] or stem)))

    @override
    def load_with(self, path: Path, options: DataOptions) -> AudioDataset:
        """Read clips and labels.

        Args:
            path: a folder with annotation files, at any depth; or one such file.
            options: format, folder of the recordings, windows and background.

        Raises:
            ConfigError: the library crowsetta is not installed, or knows no such format.
            DataError: no such file, or one that cannot be used.
        """
        name, tier = _format(options)
        if name is not None:
            formats = _library().formats
            if name not in formats.as_list():
                raise ConfigError(unknown_choice("annotation_format", name, formats.as_list()))
            if tier and "tier" not in _arguments(formats.by_name(name).to_annot):
                raise ConfigError(
                    f"annotation_format {options.annotation_format!r}: the format {name} has no tiers; give {name!r}"
                )
        return super().load_with(path, options)

    @override
    def is_one(self, file: Path) -> bool:
        """Whether it is a format of one recording; or a table with the columns of crowsetta's own.

        Args:
            file: its path.
        """
        if not file.is_file():
            return False
        if file.suffix.lower() != _TABLE:
            return True
        with file.open(encoding="utf-8", errors="replace") as stream:
            return {"label", "onset_s", "offset_s", "notated_path"} <= set(
                stream.readline(_LONGEST_LINE).strip().split(",")
            )

    @override
    def lines(self, file: Path, recording: Path | None, reading: Reading) -> list[Labelled]:
        """Read an annotation file.

        Args:
            file: its path.
            recording: the recording that it describes, where its name says so.
            reading: what is passed over, decided and wrong is added.

        Raises:
            ConfigError: the library crowsetta is not installed.
            DataError: it cannot be read.
        """
        table = printable(reading.shown_name(file))
        found: list[Labelled] = []
        for annotation in self._annotations(file, recording, reading):
            named = None if recording is not None else str(annotation.notated_path or "") or None
            for start, end, label in _segments(annotation):
                number = len(found) + 1
                if start is None or end is None:
                    reading.faults.append(
                        f"{table}: it counts samples, and its recording does not say how many are a second"
                    )
                    return []
                if not 0 <= start < end < LATEST:
                    times = f"it goes from {start:g} to {end:g} s"
                    reading.faults.append(
                        f"{table} label {number}: {times}; start must be 0 or more, and end after it and below {LATEST:,.0f}"
                    )
                    continue
                found.append(Labelled(number, start, end, label, named))
        return found

    def _annotations(self, file: Path, recording: Path | None, reading: Reading) -> list[Any]:
        """What crowsetta makes of a file.

        Raises:
            ConfigError: see :meth:`lines`.
            DataError: see :meth:`lines`.
        """
        name, tier = _format(reading.options)
        name = name or next(_GUESSED[one] for one in _GUESSED if file.name.lower().endswith(one))
        form = _library().formats.by_name(name)
        _refuse_unsafe(file)
        given: dict[str, Any] = {}
        if recording is not None and "audio_path" in _arguments(form.from_file):
            given["audio_path"] = recording
        wanted: dict[str, Any] = {"round_times": False} if "round_times" in _arguments(form.to_annot) else {}
        wanted |= {"tier": tier} if tier else {}
        try:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                read = form.from_file(file, **given)
                made = read.to_annot(**wanted)
        except Exception as fault:
            reason = " ".join(str(fault).split())[:200]
            raise DataError(f"{printable(file)} is not a readable {name} file ({printable(reason)})") from fault
        reading.remarks += [f"Note: {printable(reading.shown_name(file))}: {printable(one.message)}" for one in said]
        if not tier and len(getattr(read, "tier_names", ())) > 1:
            tiers = [printable(one) for one in read.tier_names]
            raise DataError(
                f"{printable(file)} has {len(tiers)} tiers ({', '.join(tiers)}); say which with annotation_format, "
                f"such as {f'{name}:{tiers[0]}'!r}"
            )
        return made if isinstance(made, list) else [made]

    @override
    def write_example(self, folder: Path) -> Path:
        """Four recordings of two sounds each, with Praat's text grids.

        Args:
            folder: folder to write to.

        Returns:
            The folder.

        Raises:
            ConfigError: the library crowsetta is not installed.
        """
        _library()
        for number in range(4):
            write_tone(folder / f"garden-{number}.wav", seconds=1.0, pitch=300 + 40 * number)
            end = 0.4 + 0.01 * number
            sounds = ((0.0, 0.1, ""), (0.1, end, "robin"), (end, 0.5, ""), (0.5, 0.9, "wren"), (0.9, 1.0, ""))
            write_text(folder / f"garden-{number}.TextGrid", *_text_grid(1.0, sounds))
        return folder


def _refuse_unsafe(file: Path) -> None:
    """Refuse what the library cannot refuse: files that end the process, and tables of so many columns that it reads them for minutes.

    Raises:
        DataError: it is such.
    """
    refuse_pipes(file, "annotation")
    if file.suffix.lower() == ".mat":
        refuse_damaged(file)
    if file.suffix.lower() != _TABLE:
        return
    with file.open("rb") as stream:
        for number, line in enumerate(iter(lambda: stream.readline(_LONGEST_LINE), b""), 1):
            if len(line) == _LONGEST_LINE:
                raise DataError(f"{printable(file)}: line {number} has {_LONGEST_LINE:,} bytes or more; is it damaged?")


def _format(options: DataOptions) -> tuple[str | None, str]:
    """Format and tier of ``textgrid:words``."""
    name, _, tier = (options.annotation_format or "").partition(":")
    return name or None, tier


def _text_grid(seconds: float, intervals: tuple[tuple[float, float, str], ...]) -> list[str]:
    """Praat's format, in its short form."""
    cells = [str(cell) if isinstance(cell, float) else f'"{cell}"' for interval in intervals for cell in interval]
    tier = ['"IntervalTier"', '"sounds"', "0", str(seconds), str(len(intervals))]
    return [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "0",
        str(seconds),
        "<exists>",
        "1",
        *tier,
        *cells,
    ]


def _segments(annotation: Any) -> Iterator[tuple[float | None, float | None, str]]:  # noqa: ANN401 - of an optional library
    """Start, end and label of everything in an annotation: of one sequence, of several, or of boxes."""
    if hasattr(annotation, "bboxes"):
        for box in annotation.bboxes:
            yield float(box.onset), float(box.offset), str(box.label)
        return
    sequences = annotation.seq if isinstance(annotation.seq, list) else [annotation.seq]
    for segment in (one for sequence in sequences for one in sequence.segments):
        times = (None if time is None else float(time) for time in (segment.onset_s, segment.offset_s))
        yield (*times, str(segment.label))  # type: ignore[misc]


def _arguments(function: Any) -> set[str]:  # noqa: ANN401 - of an optional library
    return set(inspect.signature(function).parameters)


def _library() -> Any:  # noqa: ANN401 - of an optional library
    """The library.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return import_module("crowsetta")
    except ImportError as fault:
        raise ConfigError(f"crowsetta:PATH needs the library crowsetta: {install_command('crowsetta')}") from fault
