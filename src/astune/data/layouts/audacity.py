r"""``audacity:PATH``: a label track of Audacity for each recording.

A sample: the line ``1.500000<TAB>2.750000<TAB>robin`` of ``garden.txt`` says that a robin sings in ``garden.wav`` from 1.5 to 2.75 s. The
line ``\<TAB>2000.0<TAB>5000.0`` below it gives frequencies, which are not used.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from astune.data.layouts.base import register_layout
from astune.data.layouts.example import write_text, write_tone
from astune.data.layouts.label_files import LabelFiles, Labelled
from astune.data.rows import read_text
from astune.data.time_cells import Seconds, has_length
from astune.errors import DataError
from astune.plurals import number_of

if TYPE_CHECKING:
    from pathlib import Path

    from astune.data.layouts.label_files import Reading
    from astune.data.options import DataOptions

_LINE = re.compile(r"\s*-?\d+([.,]\d+)?\t\s*-?\d+([.,]\d+)?(\t|$)")
_SCORE = re.compile(r"[01]([.,]\d+)?")
# Audacity asks for a name; BirdNET-Analyzer writes the second.
_ADDED = re.compile(r"([ ._-]+label(s|[ _-]?tracks?)?|\.BirdNET\.results)$", re.IGNORECASE)
_POINT = 0.001  # seconds of a point label: short enough that its window is centred on it


@register_layout("audacity")
class Audacity(LabelFiles):
    """Label tracks next to recordings."""

    kind: ClassVar[str] = "label track"
    format: ClassVar[str | None] = "audacity"
    tree: ClassVar[str] = """\
  PATH/                            any depth; or one of the tracks
    garden.wav  garden.txt         exported by Audacity (File, Export Other, Export Labels): start, end and label between tabs;
    forest.flac forest_labels.txt  an empty track means that nothing is in it
  or a folder that `astune predict --format audacity -o` wrote; audio_dir where the recordings are elsewhere
"""

    @override
    def stems(self, name: str, options: DataOptions) -> list[str]:
        """``garden`` for ``garden.txt``, ``garden.wav.txt``, ``garden_labels.txt``, ``garden.BirdNET.results.txt``.

        Args:
            name: the name of a file.
            options: options of reading the data.
        """
        del options
        stem, suffix = os.path.splitext(name)  # noqa: PTH122 - of text, for speed
        if suffix.lower() != ".txt":
            return []
        plain = _ADDED.sub("", stem)
        return list(dict.fromkeys((stem, plain)))

    @override
    def is_one(self, file: Path) -> bool:
        """Whether the first line is two times and a text.

        Args:
            file: its path.
        """
        try:
            text = read_text(file, "text")
        except DataError:
            return False
        first = next((line for line in text.splitlines() if line.strip()), None)
        return first is None or bool(_LINE.match(first))

    @override
    def lines(self, file: Path, recording: Path | None, reading: Reading) -> list[Labelled]:
        """Read a label track.

        Args:
            file: its path.
            recording: the recording that it describes.
            reading: what is passed over, decided and wrong is added.
        """
        del recording
        track, seconds = reading.shown_name(file), Seconds()
        found: list[Labelled] = []
        faults: list[str] = []
        for line, text in enumerate(read_text(file, "text").split("\n"), 1):
            cells = text.rstrip("\r").split("\t")
            if not text.strip():
                continue
            if cells[0].strip() == "\\":
                reading.passed_over(f"{track} line {line}", "ranges of frequencies")
                continue
            if len(cells) == 4 and _SCORE.fullmatch(cells[3].strip()):
                reading.passed_over(f"{track} line {line}", "scores")
                del cells[3]
            if len(cells) not in (2, 3):
                faults.append(
                    f"line {line}: {number_of(len(cells), 'cell')}; a label track has start, end and label, with tabs between them"
                )
                continue
            start = seconds.read(line, "start", cells[0], 1.0, faults)
            end = seconds.read(line, "end", cells[1], 1.0, faults)
            if start is None or end is None:
                continue
            if start == end and reading.options.window is not None:
                reading.remember_point(f"{track} line {line}")
                end = start + _POINT
            elif start == end:
                faults.append(
                    f"line {line}: a point label at {cells[0].strip()} s; give window for a window around each, "
                    "or drag its edges in Audacity"
                )
                continue
            elif not has_length(line, start, end, cells[:2], faults):
                continue
            found.append(Labelled(line, start, end, cells[2] if len(cells) == 3 else ""))
        seconds.finish(track, faults, reading.remarks)
        reading.faults += [f"{track} {fault}" for fault in faults]
        return found

    @override
    def write_example(self, folder: Path) -> Path:
        """Four recordings of two sounds each, with frequencies in one track.

        Args:
            folder: folder to write to.

        Returns:
            The folder.
        """
        for number in range(4):
            write_tone(folder / f"garden-{number}.wav", seconds=1.0, pitch=300 + 40 * number)
            lines = [f"0.100000\t{0.4 + 0.01 * number:.6f}\trobin", "0.500000\t0.900000\twren"]
            lines[1:1] = ["\\\t2000.000000\t5000.000000"] if number == 0 else []
            write_text(folder / f"garden-{number}.txt", *lines)
        return folder
