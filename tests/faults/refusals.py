"""Write errors: the system refuses the n-th change of a file, once, and the command says so, leaves nothing half done, and goes on later.

strace refuses (`--inject=write:error=ENOSPC:when=3`), in the commands of `tests/faults/commands` that are also killed.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.faults.kills import Bench, Change, bench, spread

REASONS = ("ENOSPC", "EIO", "EDQUOT", "EROFS", "EACCES", "ENAMETOOLONG", "ENOENT")
"""Full disk, broken disk, quota, read-only disk, forbidden, a name that the disk refuses, a folder that vanished."""
_FULL = {"ENOSPC", "EDQUOT"}
_OF_OURS = re.compile(r"^astune\.errors\.\w+: ", re.MULTILINE)


@dataclass
class Refusals:
    """What became of a command whose changes were refused.

    Attributes:
        command: its name.
        changes: calls that changed files in a run that nothing disturbed.
        ends: how often the command ended how.
        faults: what was wrong, by call, number and reason.
    """

    command: str
    changes: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    faults: dict[tuple[Change, str], str] = field(default_factory=dict)


def run(name: str, most: int | None = None, seconds: float | None = None) -> Refusals:
    """Refuse each change of a command once, for reasons in turn, or some of them.

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
            how, fault = refuse(made, change, reason)
            found.ends[how] += 1
            if fault is not None:
                found.faults[change, reason] = fault
    return found


def refuse(made: Bench, change: Change, reason: str) -> tuple[str, str | None]:
    """Refuse one change, look at what the command says, and go on with it.

    Args:
        made: the command in its folder.
        change: that is refused.
        reason: as `errno` names it.

    Returns:
        How the command ended, and what was wrong.
    """
    made.restore()
    inject = f"inject={change.call}:error={reason}:when={change.number}"
    ended = made.act("run", "-o", "/dev/null", "-e", inject)
    said = (made.folder.parent / "said.txt").read_text(encoding="utf-8", errors="replace")
    wrong = None if ended == 0 else _no_sentence(said, reason)
    if ended < 0:
        wrong = f"it was ended by signal {-ended}"
    how = "goes on" if ended == 0 else "says it" if wrong is None else "other end"
    return how, wrong or made.fault()


def _no_sentence(said: str, reason: str) -> str | None:
    """What the last lines of a command lack."""
    text = os.strerror(getattr(errno, reason))
    sentences = [line for line in said.splitlines() if line.startswith("error: ") or _OF_OURS.match(line)]
    if not sentences:
        return f"no sentence: {said[-600:]}"
    sentence = sentences[-1]
    if text not in sentence:
        return f"the reason, {text}, is not said: {sentence}"
    if reason in _FULL and "MB of its disk are free" not in sentence:
        return f"the room is not said: {sentence}"
    return None
