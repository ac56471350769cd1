"""YAML as every reader takes it: mappings, lists, text, numbers, true and false, null, and nothing that builds more than is written.

Anchors, aliases and merge keys are refused: a file of a few lines can expand to more than memory holds. So are tags of other types,
keys that are there twice, and files that are too long, nested too deeply or of too many values. A date is text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from typing_extensions import override
from yaml.reader import ReaderError

from astune.files import read_text
from astune.printable import printable

if TYPE_CHECKING:
    from pathlib import Path

LETTERS = 250_000  # PyYAML reads as many in about a second
_VALUES = 50_000
_DEPTH = 20  # levels
_DIGITS = 100  # of a number
_SHOWN = 40  # letters of what is wrong

_TYPES = {
    yaml.resolver.BaseResolver.DEFAULT_SCALAR_TAG: "text",
    "tag:yaml.org,2002:int": "a whole number",
    "tag:yaml.org,2002:float": "a number",
    "tag:yaml.org,2002:bool": "true or false",
    "tag:yaml.org,2002:null": "null",
}
_TEXT, _INT, _FLOAT = list(_TYPES)[:3]
_HOLDERS = {
    yaml.resolver.BaseResolver.DEFAULT_SEQUENCE_TAG,
    yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG,
}


def yaml_file(path: Path) -> Any:  # noqa: ANN401 - what is in it
    """Read YAML from a file.

    Args:
        path: path of the file, in UTF-8.

    Returns:
        Its content.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is not text, or as of :func:`yaml_value`.
    """
    return yaml_value(read_text(path, LETTERS))


def yaml_value(text: str) -> Any:  # noqa: ANN401 - what is in it
    """Read YAML from text.

    Args:
        text: the text of a file, or of an option.

    Returns:
        Its content: dictionaries, lists, text, numbers, True, False and None; None where there is nothing.

    Raises:
        YamlError: it is not YAML, or has what is refused.
    """
    loader, node = _composed(text)
    return None if node is None else _value(loader, node)


def yaml_entries(text: str) -> list[tuple[str, Any, int]] | None:
    """The entries of a mapping as they are written: to YAML the label ``yes`` is true, and ``01`` is 1.

    Args:
        text: the text of a file.

    Returns:
        Key, value and line of each, from 1; also of keys that are there twice. A value that is a list or a mapping has its parts.
        None if it is not a mapping.

    Raises:
        YamlError: see :func:`yaml_value`.
    """
    _, node = _composed(text)
    if not isinstance(node, yaml.MappingNode):
        return None
    return [(_key(key), value.value, key.start_mark.line + 1) for key, value in node.value]


class YamlError(ValueError):
    """A text is not YAML, or has what is refused; says where and what.

    Args:
        mark: position of the fault; None if it is the whole text.
        what: is wrong.
    """

    def __init__(self, mark: yaml.Mark | None, what: str) -> None:
        super().__init__(f"line {mark.line + 1}, column {mark.column + 1}: {what}" if mark else what)


class _Loader(yaml.SafeLoader):
    """PyYAML's, which ends at the first thing that is refused."""

    # without dates, for which Python's own errors come out, and without merge keys and "="
    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's
        first: [(tag, pattern) for tag, pattern in resolvers if tag in _TYPES]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._values = 0

    @override
    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        self._values += 1
        if getattr(event, "anchor", None) is not None:  # of an alias too
            sign = "*" if isinstance(event, yaml.AliasEvent) else "&"
            raise YamlError(
                event.start_mark, f"anchors and aliases ({sign}{_cut(event.anchor)}) are not read; repeat the value"
            )
        if self._values > _VALUES:
            raise YamlError(event.start_mark, f"it has more than {_VALUES:,} values")
        if self._depth == _DEPTH:
            raise YamlError(event.start_mark, f"it is nested more than {_DEPTH} levels deep")
        self._depth += 1
        node = super().compose_node(parent, index)
        assert node is not None  # noqa: S101 - for type checkers: only aliases have none of their own
        self._depth -= 1
        self._refuse_tag(node)
        return node

    def _refuse_tag(self, node: yaml.Node) -> None:
        """Refuse what is tagged as something that it is not, or as something that is not read.

        Raises:
            YamlError: it is.
        """
        if node.tag not in (_TYPES if isinstance(node, yaml.ScalarNode) else _HOLDERS):
            raise YamlError(node.start_mark, f"the tag '{_cut(node.tag)}' is not read; leave it out")
        if not isinstance(node, yaml.ScalarNode):
            return
        if node.value == "<<" and node.style is None:
            raise YamlError(node.start_mark, "merge keys (<<) are not read; repeat the entries")
        found = self.resolve(yaml.ScalarNode, node.value, (True, False))  # type: ignore[no-untyped-call]
        if node.tag not in {_TEXT, found} and (node.tag, found) != (_FLOAT, _INT):
            raise YamlError(node.start_mark, f"'{_cut(node.value)}' is not {_TYPES[node.tag]}")
        if node.tag in {_INT, _FLOAT} and len(node.value) > _DIGITS:
            raise YamlError(node.start_mark, f"the number {_cut(node.value)} has more than {_DIGITS} digits")


def _composed(text: str) -> tuple[_Loader, yaml.Node | None]:
    """What the only document of a text is made of.

    Raises:
        YamlError: it is not YAML, or has what is refused.
    """
    if len(text) > LETTERS:
        raise YamlError(None, f"it has more than {LETTERS:,} letters")
    try:
        loader = _Loader(text)
    except ReaderError as fault:
        before = text[: fault.position]
        mark = yaml.Mark("", fault.position, before.count("\n"), len(before) - before.rfind("\n") - 1, None, 0)
        raise YamlError(mark, f"YAML cannot hold the character U+{ord(text[fault.position]):04X}") from fault
    try:
        return loader, loader.get_single_node()
    except yaml.MarkedYAMLError as fault:
        raise YamlError(fault.problem_mark or fault.context_mark, _problem(fault)) from fault
    except YamlError:
        raise
    except (ArithmeticError, ValueError) as fault:  # Python's own, of an escape or a directive
        raise YamlError(loader.get_mark(), "a number is out of range") from fault


def _value(loader: _Loader, node: yaml.Node) -> Any:  # noqa: ANN401 - what is in it
    if isinstance(node, yaml.SequenceNode):
        return [_value(loader, part) for part in node.value]
    if isinstance(node, yaml.ScalarNode):
        return _scalar(loader, node)
    found: dict[Any, Any] = {}
    written: dict[str, int] = {}
    for key, value in node.value:
        text = _key(key)
        name = _scalar(loader, key)
        if text in written or name in found:
            first = f", as in line {written[text]}" if text in written else ""
            raise YamlError(key.start_mark, f"the key '{_cut(text)}' is there twice{first}; leave one out")
        written[text] = key.start_mark.line + 1
        found[name] = _value(loader, value)
    return found


def _scalar(loader: _Loader, node: yaml.ScalarNode) -> Any:  # noqa: ANN401 - what is in it
    try:
        value = loader.construct_object(node)
        node.value.encode()
    except UnicodeEncodeError as fault:
        raise YamlError(node.start_mark, f"'{_cut(node.value)}' has half a character") from fault
    except ValueError as fault:  # such as 0b_, which looks like a number to PyYAML and has no digit
        raise YamlError(node.start_mark, f"'{_cut(node.value)}' is not {_TYPES[node.tag]}") from fault
    return value


def _key(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise YamlError(node.start_mark, "a list or a mapping cannot be a key; give text")
    return str(node.value)


def _problem(fault: yaml.MarkedYAMLError) -> str:
    """PyYAML's words, with what it was reading."""
    problem = _cut(fault.problem or "it is not YAML", 4 * _SHOWN)
    if not fault.context:
        return problem
    begin = fault.context_mark
    since = (
        f" that begins in line {begin.line + 1}" if begin and begin.line != (fault.problem_mark or begin).line else ""
    )
    return f"{problem} ({fault.context}{since})"


def _cut(text: object, letters: int = _SHOWN) -> str:
    shown = printable(text)
    return shown if len(shown) <= letters else f"{shown[:letters]}..."
