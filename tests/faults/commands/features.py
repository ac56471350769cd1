"""Features that are computed once and kept: the same arrays, whoever computes what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astune import load_data
from astune.features.cache import build_cache
from astune.features.log_mel import FrontEnd
from tests.faults.kills import Command, contents
from tests.faults.training import write_sounds

if TYPE_CHECKING:
    from pathlib import Path


def _compute(folder: Path) -> None:
    clips = load_data(f"folder:{folder / 'data'}").clips
    for length in (32, 64):
        build_cache(clips, FrontEnd(length), quiet=True)


COMMAND = Command(
    "features",
    prepare=write_sounds,
    run=_compute,
    again=_compute,
    check=lambda _: (
        None
    ),  # whoever opens an entry computes what is not whole again, and the result says whether that was seen
    result=lambda folder: contents(folder / "cache", but=["digests.sqlite"]),
)
