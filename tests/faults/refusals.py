"""Write errors: the system refuses the n-th change of a file, once, and the command says so, leaves nothing half done, and goes on later.

strace refuses (`--inject=write:error=ENOSPC:when=3`), in the commands of `tests/faults/commands` that are also killed.
"""

from __future__ import annotations

import errno
import os
import re

from tests.faults.kills import Bench, Campaign, Change, each_change

REASONS = ("ENOSPC", "EIO", "EDQUOT", "EROFS", "EACCES", "ENAMETOOLONG", "ENOENT")
"""Full disk, broken disk, quota, read-only disk, forbidden, a name that the disk refuses, a folder that vanished."""
_FULL = {"ENOSPC", "EDQUOT"}
_OF_OURS = re.compile(r"^astune\.errors\.\w+: ", re.MULTILINE)


def run(name: str, most: int | None = None, seconds: float | None = None) -> Campaign:
    """Refuse each change of a command once, or some of them, for all reasons in turn.

    Args:
        name: of the command.
        most: refusals, spread over the whole run; all where None.
        seconds: after which nothing further is refused.
    """

    def attempt(made: Bench, change: Change, number: int) -> tuple[bool, str | None]:
        reason = REASONS[number % len(REASONS)]
        said, fault = refuse(made, change, reason)
        return said, None if fault is None else f"{reason}: {fault}"

    return each_change(name, most, seconds, attempt)


_DELETE = frozenset(("rmdir", "unlink", "unlinkat"))
"""Where one of them is refused, something hidden stays until the next training into the same folder."""


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
    said = made.printed()
    if ended < 0:
        return False, f"it was ended by signal {-ended}"
    wrong = None if ended == 0 else _no_sentence(said, reason)
    return ended != 0 and wrong is None, wrong or made.fault(hidden_may_stay=change.call in _DELETE)


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
