"""Killed and stopped commands leave no process, and say how to go on."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from astune.cli.signals import Terminated, exit_code_of
from astune.data.generated import write_generated
from astune.errors import Interrupted
from tests.faults import stops

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")


def test_workers_end_with_the_process_that_computes_features(tmp_path: Path) -> None:
    """500 frames of 128 bins fill the pipe of a worker's results, for whose room it would wait for ever."""
    data = write_generated(tmp_path, clips_per_class=(20, 1, 1), seconds=0.3)
    assert stops.kill_while_features_are_computed(data, 500) is not None


@pytest.mark.slow
@pytest.mark.parametrize("number", stops.SIGNALS)
@pytest.mark.parametrize("name", stops.COMMANDS)
def test_a_stopped_command_says_how_to_go_on(name: str, number: signal.Signals) -> None:
    found = stops.stopped(name, number, tries=1, seed=1)
    assert found.faults == []
    assert found.tries == 1


def assert_clears_up(script: str) -> None:
    """That a process which is stopped comes to its last line, and says nothing else."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "cleared up\n", "")


def test_signals_that_come_together_stop_once() -> None:
    """Launchers send SIGTERM to processes that the terminal, or the scheduler, has sent a signal already."""
    script = (
        "import os, signal, time\n"
        "from astune.cli.signals import Terminated, catch_signals\n"
        "catch_signals()\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(10)\n"
        "except Terminated:\n"
        "    for number in (signal.SIGTERM, signal.SIGINT):\n"
        "        os.kill(os.getpid(), number)\n"
        "    print('cleared up')\n"
    )
    assert_clears_up(script)


def test_a_stop_that_is_lost_comes_again() -> None:
    script = (
        "import os, signal, time\n"
        "from astune.cli.signals import Terminated, catch_signals, end_signals\n"
        "catch_signals()\n"
        "class Deleted:\n"
        "    def __del__(self):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        time.sleep(1e-3)\n"
        "made = Deleted()\n"
        "try:\n"
        "    del made\n"
        "    try:\n"
        "        time.sleep(30)\n"
        "    except:\n"
        "        pass\n"
        "    time.sleep(30)\n"
        "except Terminated:\n"
        "    time.sleep(3)\n"
        "    end_signals()\n"
        "    print('cleared up')\n"
    )
    assert_clears_up(script)


def test_a_signal_that_is_switched_off_stays_so() -> None:
    """As `nohup` and shells do it for what runs in the background."""
    script = (
        "import os, signal\n"
        "from astune.cli.signals import catch_signals\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "catch_signals()\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_the_exit_code_is_that_of_the_signal() -> None:
    for cause, code in ((KeyboardInterrupt(), 130), (Terminated(), 143)):
        stop = Interrupted("interrupted; all is kept")
        stop.__cause__ = cause
        assert exit_code_of(stop) == exit_code_of(cause) == code
