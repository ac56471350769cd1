"""Public constructors check what they are given and refuse it in our words, with a :class:`astune.errors.ConfigError`.

:class:`Validated` is the base of configurations (pydantic models); :func:`strict_constructor` decorates dataclasses and torch modules.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import numbers
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from typing_extensions import override

from astune.errors import ConfigError, format_faults, unknown_choice, validation_faults
from astune.printable import printable

if TYPE_CHECKING:
    from typing import Self

    from astune.errors import AstuneError

_Class = TypeVar("_Class", bound=type)
_SHOWN = 80  # letters of a value that are repeated in a message


class SettingsError(ConfigError):
    """Settings that cannot be used."""

    faults: tuple[str, ...]
    """A sentence each."""
    names: tuple[str, ...]
    """The field of each."""

    @classmethod
    def of(cls, error: ValidationError, model: type[BaseModel], headline: str = "settings") -> Self:
        """Make the error from what pydantic found.

        Args:
            error: what validation raised.
            model: the settings.
            headline: what they are settings of.
        """
        faults, names = [], []
        details = error.errors(include_url=False)
        for detail, fault in zip(details, validation_faults(error, model), strict=True):
            cause = detail.get("ctx", {}).get("error")
            where = ".".join(map(str, detail["loc"]))
            inner = cause.faults if isinstance(cause, SettingsError) else None  # a model inside of this one
            faults += [fault] if inner is None else [f"{where}: {one}" for one in inner]
            names += [str(detail["loc"][0]) if detail["loc"] else ""] * (1 if inner is None else len(inner))
        found = cls(format_faults(faults, headline))
        found.faults, found.names = tuple(faults), tuple(names)
        return found


class Validated(BaseModel):
    """A frozen configuration; making one of values that cannot be used raises :class:`SettingsError`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    if not TYPE_CHECKING:  # a type checker knows the fields by pydantic's own

        def __init__(self, /, **fields: object) -> None:
            try:
                super().__init__(**{name: plain(value) for name, value in fields.items()})
            except ValidationError as error:
                raise SettingsError.of(error, type(self), type(self)._headline()) from error

    @override
    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """What ``repr`` shows: the fields that differ from their defaults."""
        fields = type(self).model_fields
        for name, value in super().__repr_args__():
            if (
                name not in fields
                or fields[name].is_required()
                or value != fields[name].get_default(call_default_factory=True)
            ):
                yield name, value

    @classmethod
    def _headline(cls) -> str:
        """What a message with faults of this class opens with."""
        return cls.__name__


class FileContent(BaseModel):
    """What is read of a file from elsewhere: fields of strict types, each with bounds; other fields are not read."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)

    @classmethod
    def of(cls, record: Mapping[str, object], headline: str, error: type[AstuneError]) -> Self:
        """Read a file's content.

        Args:
            record: the record of the file.
            headline: what a message opens with, such as the file's name.
            error: what to raise.

        Returns:
            The fields.

        Raises:
            AstuneError: the values are invalid; of the class ``error``, with all faults.
        """
        try:
            return cls.model_validate(record)
        except ValidationError as fault:
            raise error(format_faults(validation_faults(fault, cls), headline)) from fault


def checked_but_for(*own: str) -> Callable[[_Class], _Class]:
    """Like :func:`strict_constructor`, for a class that checks more of some arguments than their types.

    Args:
        own: names of arguments whose types the class, or what takes it, checks itself.

    Returns:
        A class decorator.
    """

    def decorate(cls: _Class) -> _Class:
        _check_arguments(cls, frozenset(own))
        return cls

    return decorate


def strict_constructor(cls: _Class) -> _Class:
    """Class decorator: a constructor that refuses unknown and missing arguments, and values of another type, in our words.

    NumPy scalars become Python's own. Ranges and contradictions are the class's own to check. Annotations that cannot be resolved when
    the class is first made, because they are imported for type checkers alone, are not checked.

    Args:
        cls: a dataclass or a torch module.

    Returns:
        The same class.
    """
    _check_arguments(cls, frozenset())
    return cls


def _check_arguments(cls: type, own: frozenset[str]) -> None:
    """Put the check in front of a class's constructor; it takes 3 microseconds, because a data set has 100,000 clips."""
    constructor: Callable[..., None] = cls.__init__  # type: ignore[misc]
    known = dict(list(inspect.signature(constructor).parameters.items())[1:])
    names = tuple(known)
    required = {name for name, one in known.items() if one.default is inspect.Parameter.empty}
    taken = set(names)
    positional = sum(one.kind is not inspect.Parameter.KEYWORD_ONLY for one in known.values())
    fitting: set[tuple[str, type]] = set()  # types seen before, of arguments of which the type alone decides

    @functools.cache
    def hints() -> dict[str, Any]:
        space = getattr(inspect.unwrap(constructor), "__globals__", {})
        found = {}
        for name in names:
            with contextlib.suppress(NameError, AttributeError):
                found[name] = typing.get_type_hints(_annotated(known[name].annotation), space)["value"]
        return {name: hint for name, hint in found.items() if name not in own}

    @functools.wraps(constructor)
    def __init__(self: object, *arguments: Any, **named: Any) -> None:  # noqa: N807 - any value a user may give
        arguments = tuple(map(plain, arguments))
        named = {name: plain(value) for name, value in named.items()}
        given = {**dict(zip(names, arguments, strict=False)), **named}
        whole = len(given) == len(arguments) + len(named) and len(arguments) <= positional
        if not (whole and given.keys() <= taken and required <= given.keys()):
            raise ConfigError(format_faults(_misnamed(known, arguments, named), cls.__name__))
        faults = []
        for name, value in given.items():
            if (name, type(value)) in fitting or name not in hints():
                continue
            if not fits(value, hints()[name]):
                faults.append(_unfit(name, value, hints()[name]))
            elif not _by_value(hints()[name]):
                fitting.add((name, type(value)))
        if faults:
            raise ConfigError(format_faults(faults, cls.__name__))
        constructor(self, *arguments, **named)

    cls.__init__ = __init__  # type: ignore[misc]


def _by_value(hint: Any) -> bool:  # noqa: ANN401 - any annotation
    """Whether it takes the value, and not its type alone, to see whether it fits."""
    return get_origin(hint) in {Literal, tuple} or any(_by_value(one) for one in get_args(hint))


def _annotated(annotation: Any) -> type:  # noqa: ANN401 - any annotation
    """A class with one annotation, for ``typing.get_type_hints`` to resolve by itself: one that fails hides no other."""
    return type("_Hint", (), {"__annotations__": {"value": annotation}})


def _misnamed(
    known: Mapping[str, inspect.Parameter], arguments: tuple[Any, ...], named: Mapping[str, Any]
) -> list[str]:
    """Sentences for arguments that are unknown, missing, or given twice."""
    positional = [name for name, one in known.items() if one.kind is not inspect.Parameter.KEYWORD_ONLY]
    taken = set(positional[: len(arguments)])
    faults = [unknown_choice("field", name, known) for name in named if name not in known]
    faults += [f"{name} is given twice" for name in named if name in taken]
    if len(arguments) > len(positional):
        faults.append(f"it takes {len(positional)} values at most ({', '.join(positional)}), not {len(arguments)}")
    faults += [
        f"{name} is missing"
        for name, one in known.items()
        if one.default is inspect.Parameter.empty and name not in named and name not in taken
    ]
    return faults


def _unfit(name: str, value: object, hint: Any) -> str:  # noqa: ANN401 - any annotation
    members = get_args(hint) if get_origin(hint) in {Union, types.UnionType} else (hint,)
    members = tuple(member for member in members if member is not type(None))
    choices = get_args(members[0]) if len(members) == 1 and get_origin(members[0]) is Literal else ()
    if isinstance(value, str) and choices:
        return unknown_choice(name, value, choices)
    return f"{name}={_shown(value)} is of type {type(value).__name__}; give {describe(hint)}"


def _shown(value: object) -> str:
    text = printable(repr(value))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def plain(value: Any) -> Any:  # noqa: ANN401 - any value a user may give
    """A NumPy scalar as Python's own number, text or truth value: records are JSON, which knows no others, and keys are made of them.

    Args:
        value: any.

    Returns:
        Python's own, or the value as it is.
    """
    numpy = sys.modules.get("numpy")  # not imported for this: `--help` makes no arrays
    return value.item() if numpy is not None and isinstance(value, numpy.generic) else value


def fits(value: object, hint: Any) -> bool:  # noqa: ANN401 - any annotation
    """Whether a value is of an annotated type; what is inside of containers is looked at in tuples of fixed length alone.

    Args:
        value: any.
        hint: a resolved annotation.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if hint is None or hint is type(None):
        return value is None
    if origin in {Union, types.UnionType}:
        return any(fits(value, one) for one in inner)
    if origin is Literal:
        return any(value == one and isinstance(value, type(one)) for one in inner)
    if origin is typing.Annotated:
        return fits(value, inner[0])
    if origin is tuple and inner and inner[-1] is not Ellipsis:
        return isinstance(value, tuple) and len(value) == len(inner) and all(map(fits, value, inner))
    kind = origin or hint
    if kind in {int, float}:
        wanted = numbers.Integral if kind is int else numbers.Real
        return isinstance(value, wanted) and not isinstance(value, bool)
    if kind is Callable:
        return callable(value)
    if not isinstance(kind, type) or getattr(kind, "_is_protocol", False):
        return True
    return isinstance(value, kind) and not (isinstance(value, str) and kind.__name__ in {"Sequence", "Iterable"})


def describe(hint: Any) -> str:  # noqa: ANN401 - any annotation
    """An annotated type in words.

    Args:
        hint: a resolved annotation.

    Returns:
        Such as ``a whole number or None``.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin in {Union, types.UnionType}:
        return " or ".join(describe(one) for one in inner)
    if origin is Literal:
        return f"one of {', '.join(map(repr, inner))}"
    if origin is tuple and inner and inner[-1] is not Ellipsis:
        return f"a tuple of {len(inner)}: {', '.join(describe(one) for one in inner)}"
    if hint is None or hint is type(None):
        return "None"
    words = {int: "a whole number", float: "a number", str: "text", bool: "True or False"}
    kind = origin or hint
    return words.get(kind) or f"a {getattr(kind, '__name__', kind)}"
