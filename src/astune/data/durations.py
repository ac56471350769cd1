"""Durations of many recordings, read in threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astune.console import progress
from astune.data.audio import duration
from astune.data.threads import in_threads
from astune.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astune.data.clip import Region


def measure_durations(regions: Sequence[Region], *, quiet: bool = False) -> list[float | None]:
    """Durations of recordings, or of parts of them.

    Args:
        regions: files and parts.
        quiet: no progress bar.

    Returns:
        Seconds of each; None where it cannot be read, which is reported when its audio is read.
    """
    found: list[float | None] = []
    with progress("Reading durations", len(regions), quiet=quiet) as advance:
        for seconds in in_threads(_duration, regions):
            found.append(seconds)
            advance(1, "")
    return found


def _duration(region: Region) -> float | None:
    try:
        return duration(*region)
    except AudioError:
        return None
