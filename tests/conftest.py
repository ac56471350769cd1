"""Shared by all tests: where real audio is, a private cache, a small generated data set, one thread."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import settings

from astune.data.generated import write_generated

if TYPE_CHECKING:
    from collections.abc import Iterator

REAL_AUDIO = Path(__file__).parents[2] / "shared" / "data"

settings.register_profile("astune", deadline=None)  # the machine may be busy with other tests
settings.load_profile("astune")

torch.set_num_threads(1)  # tests run side by side, and bit-equality holds for one thread count
os.environ["OMP_NUM_THREADS"] = "1"  # for the commands they start
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test asks the network by accident


@pytest.fixture(scope="session")
def real_audio() -> Path:
    """Folder of the real recordings that lie beside the project; the test is skipped where they do not."""
    if not REAL_AUDIO.is_dir():
        pytest.skip(f"real audio is not at {REAL_AUDIO}")
    return REAL_AUDIO


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests did not run for want of real audio."""
    skipped = [r for r in terminalreporter.stats.get("skipped", []) if "real audio is not at" in str(r.longrepr)]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} tests want real audio at {REAL_AUDIO} and were skipped")


@pytest.fixture(autouse=True, scope="session")
def _private_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["ASTUNE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of generated sounds: 6 classes, 12 clips each, with train, validation and test."""
    return write_generated(tmp_path_factory.mktemp("generated"), clips_per_class=(6, 3, 3), seconds=0.5)


@pytest.fixture(autouse=True)
def _usual_signals() -> Iterator[None]:
    """A command that runs within a test catches signals from then on; a later test of the same process must not meet its handler."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    handlers, hook = [signal.getsignal(number) for number in numbers], sys.unraisablehook
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)
    sys.unraisablehook = hook
