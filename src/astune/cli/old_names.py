"""Names that options and their values had in earlier releases.

They still work, hidden from the help, and print one warning line. The next release drops them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from astune.console import notify
from astune.names import OLD_KERNELS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OLD_NAMES: dict[str, dict[str, str]] = {
    "compare": {"--methods": "--method", "--folds": "--fold"},
    "demo": {"--epochs": "--num-train-epochs"},
    "export": {"--clips": "--clip"},
    "methods": {"--classes": "--num-labels"},
    "plan": {"--methods": "--method", "--labels": "--num-labels"},
    "reproduce": {
        "--epochs": "--num-train-epochs",
        "--only": "--row",
        "--datasets": "--dataset",
        "--folds": "--fold",
    },
}
"""By command: the old name of each renamed option, and its name now."""

OLD_VALUES: Mapping[str, Mapping[str, str]] = {"--attention-kernel": OLD_KERNELS}
"""By option: the old name of each renamed value, and its name now."""


def with_new_names(words: Sequence[str], renamed: Mapping[str, str]) -> list[str]:
    """Replace old option names and print one warning line for each.

    Args:
        words: of the command line, after the command.
        renamed: old names and new ones.

    Returns:
        The words, with the new names.
    """
    end = words.index("--") if "--" in words else len(words)
    replaced = list(words)
    warned: set[str] = set()
    for number, word in enumerate(words[:end]):
        name, equals, value = word.partition("=")
        if name not in renamed:
            continue
        replaced[number] = f"{renamed[name]}{equals}{value}"
        if name not in warned:
            notify(f"warning: {name} is now called {renamed[name]}; the old name will stop working in the next release")
            warned.add(name)
    return replaced


def with_new_values(words: Sequence[str], renamed: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Replace old names of values and print a warning line for each.

    Args:
        words: of the command line, after the command.
        renamed: old names and new ones, by option.

    Returns:
        The words, with the new names.
    """
    end = words.index("--") if "--" in words else len(words)
    replaced = list(words)
    for number, word in enumerate(words[:end]):
        name, equals, value = word.partition("=")
        at = number if equals else number + 1
        if name not in renamed or at >= end:
            continue
        old = value if equals else words[at]
        if old in renamed[name]:
            new = renamed[name][old]
            replaced[at] = f"{name}={new}" if equals else new
            notify(f"warning: {name} {old} is now called {new}; the old name will stop working in the next release")
    return replaced
