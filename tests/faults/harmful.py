"""A reader that does what no reader may; the harness is tested with it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.fuzzing import MEMORY, Reader

if TYPE_CHECKING:
    from random import Random

NAME = "tests.faults.harmful"
FOUND = {
    "reads": "",
    "is slow to make": "",
    "loops": "took more than 1 s of a processor",
    "allocates": "MemoryError at harmful.py",
    "dies": "took the process down",
    "leaves": "left files outside of its folder: ['left']",
}
"""What it does, and how the harness calls that."""


def does(random: Random) -> str:
    return random.choice(["reads", *FOUND])


def make(folder: Path, random: Random) -> str:
    what, begin = does(random), time.process_time()
    while what == "is slow to make" and time.process_time() - begin < 1.5:  # longer than a reader has
        pass
    return what


def read(what: str) -> None:
    match what:
        case "loops":
            while True:
                pass
        case "allocates":
            bytearray(2 * MEMORY)
        case "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        case "leaves":
            Path("left").write_text("here", encoding="utf-8")


READER = Reader(NAME, make, read, warm_up=str)
