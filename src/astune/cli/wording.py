"""Library errors name fields. The command line names options: ``overwrite_output_dir=True`` becomes ``--overwrite-output-dir``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_BEFORE = r"(?<![\w=(:,./\\'\"{@-])"  # not inside a method such as lora:rank=8, a path, a call or a quoted word
_WITH_VALUE = re.compile(rf"{_BEFORE}([a-z][a-z0-9_]*)=([^\s;,)`{{\[][^\s;,)`]*(?<![:.]))?(?![{{\[])")
_QUOTED = re.compile(r"\bfield `([a-z][a-z0-9_]*)`")
_CHOICES = re.compile(r"(choose one of: [^;\n]*)")
_OF_A_FILE = re.compile(r"^[^\n:]*\.ya?ml\b")  # its faults are about fields, which a file names as the library does
_MISSING = re.compile(rf"{_BEFORE}([a-z][a-z0-9_]*)(?= is (?:missing|required)\b)")
_BARE = re.compile(rf"{_BEFORE}([a-z][a-z0-9]*(?:_[a-z0-9]+)+)(?![\w=(/\\'\"}}\]-]|\.\w)")


def options_of(parameters: Iterable[Any]) -> dict[str, tuple[str, str | None]]:
    """The options of a command by the fields that they set.

    Args:
        parameters: of the command, as typer makes them; arguments are left out.

    Returns:
        By field: the option, and the option that turns it off, if there is one.
    """
    found: dict[str, tuple[str, str | None]] = {}
    for parameter in parameters:
        long = [name for name in parameter.opts if name.startswith("--")]
        off = next((name for name in parameter.secondary_opts if name.startswith("--")), None)
        if long:
            for field in {parameter.name, *(name[2:].replace("-", "_") for name in long)}:
                found[field] = (long[0], off)
    return found


def in_options(message: str, options: Mapping[str, tuple[str, str | None]]) -> str:
    """A message of the library in the words of a command.

    Args:
        message: names fields, such as ``overwrite_output_dir=True``.
        options: of the command, see :func:`options_of`.

    Returns:
        It with options, such as ``--overwrite-output-dir``. Fields that the command does not have stay as they are.
    """

    def with_value(match: re.Match[str]) -> str:
        field, value = match[1], match[2]
        if field not in options or value == "None":
            return match[0]
        option, off = options[field]
        if value is None or value == "True":
            return option
        if value == "False":
            return off or match[0]
        return f"{option} {value}"

    def alone(match: re.Match[str]) -> str:
        return options[match[1]][0] if match[1] in options else match[0]

    if _OF_A_FILE.match(message):
        return message
    parts = _CHOICES.split(message)  # every second one is a list of choices
    for number in range(0, len(parts), 2):
        parts[number] = _WITH_VALUE.sub(with_value, parts[number])
        for pattern in (_QUOTED, _MISSING, _BARE):
            parts[number] = pattern.sub(alone, parts[number])
    return "".join(parts)
