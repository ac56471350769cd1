"""Specs of methods, as the command line and experiment files give them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astune.methods import FAMILIES, PRESETS, parse_method
from astune.methods.registry import split_specs
from tests.faults.fuzzing import Reader
from tests.faults.mutations import hostile_text

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

_SOUND = [
    *PRESETS,
    *FAMILIES,
    "lora:targets=qkvo,layers=0-3+bitfit",
    "dpt:tokens=50",
    "bottleneck:reduction_rate=64",
]


def make(folder: Path, random: Random) -> str:
    return hostile_text(random.choice(_SOUND), random)


def read(text: str) -> None:
    for spec in split_specs(text):
        parse_method(spec)


def warm_up(folder: Path) -> None:
    for spec in _SOUND:
        read(spec)


READER = Reader("specs", make, read, warm_up)
