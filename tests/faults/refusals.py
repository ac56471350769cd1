"""Write errors: the system refuses the n-th change of a file, once, and the command says so, leaves nothing half done, and goes on later.

strace refuses (`--inject=write:error=ENOSPC:when=3`), in the commands of `tests/faults/commands` that are also killed.
"""

from __future__ import annotations

import errno
import os
import re
import time
from dataclasses import dataclass

from tests.faults.kills import Bench, Campaign, Change, bench, spread

REASONS = ("ENOSPC", "EIO", "EDQUOT", "EROFS", "EACCES", "ENAMETOOLONG", "ENOENT")
"""Full disk, broken disk, quota, read-only disk, forbidden, a name that the disk refuses, a folder that vanished."""
_FULL = {"ENOSPC", "EDQUOT"}
_OF_OURS = re.compile(r"^astune\.errors\.\w+: ", re.MULTILINE)


@dataclass
class Refusals(Campaign):
    """What became of a command whose changes were refused."""

    said: int = 0
    """How often it ended with a sentence; else it went on, because nothing depended on that change."""


def run(name: str, most: int | None = None, seconds: float | None = None) -> Refusals:
    """Refuse each change of a command once, or some of them, for all reasons in turn.

    Args:
        name: of the command.
        most: refusals, spread over the whole run; all where None.
        seconds: after which nothing further is refused.
    """
    found, end = Refusals(name), time.monotonic() + (seconds or float("inf"))
    with bench(name) as made:
        changes = made.changes()
        found.changes = len(changes)
        for number, change in enumerate(spread(changes, most)):
            if time.monotonic() > end:
                break
            reason = REASONS[number % len(REASONS)]
            said, fault = refuse(made, change, reason)
            found.tries += 1
            found.said += said
            if fault is not None:
                found.faults[change] = f"{reason}: {fault}"
    return found


def refuse(made: Bench, change: Change, reason: str) -> tuple[bool, str | None]:
    """Refuse one change, look at what the command says, and go on with it.

    Args:
        made: the command in its folder.
        change: that is refused.
        reason: as `errno` names it.

    Returns:
        Whether the command ended with a sentence, and what was wrong.
    """
    made.restore()
    inject = f"inject={change.call}:error={reason}:when={change.number}"
    ended = made.act("run", "-o", "/dev/null", "-e", inject)
    said = (made.folder.parent / "said.txt").read_text(encoding="utf-8", errors="replace")
    if ended < 0:
        return False, f"it was ended by signal {-ended}"
    wrong = None if ended == 0 else _no_sentence(said, reason)
    return ended != 0 and wrong is None, wrong or made.fault()


def _no_sentence(said: str, reason: str) -> str | None:
    """What the last lines of a command lack."""
    text = os.strerror(getattr(errno, reason))
    sentences = [line for line in said.splitlines() if line.startswith("error: ") or _OF_OURS.match(line)]
    if not sentences:
        return f"no sentence: {said[-600:]}"
    sentence = sentences[-1]
    if text not in sentence:
        return f"the reason, {text}, is not said: {sentence}"
    if reason in _FULL and "MB of its disk are free" not in sentence and not sentence.startswith("error: the output "):
        return f"the room is not said: {sentence}"
    return None
