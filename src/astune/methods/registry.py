"""The registry of methods, and spec strings.

A method is one file and one import line in ``astune/methods/__init__.py``; commands, YAML and tests find it here::

    bottleneck:configuration=houlsby,insertion=parallel      family:field=value,...
    bottleneck-pf-par:reduction_rate=32                       preset, with a field changed
    bottleneck:sublayer=ffn+lora:reduction_rate=256           a sum of methods
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from astune.errors import ConfigError, format_faults, shorten, unknown_choice
from astune.methods.base import NOMINAL_LAYERS, Method, Sum
from astune.printable import printable
from astune.validated import SettingsError

FAMILIES: dict[str, type[Method]] = {}
PRESETS: dict[str, Method] = {}
MOST_MEMBERS = 50  # of a sum; no two may take the same place, and a layer has a few

_MethodType = TypeVar("_MethodType", bound=type[Method])


def register(family: str) -> Callable[[_MethodType], _MethodType]:
    """Class decorator that makes a method known to specs, commands and the conformance suite.

    Args:
        family: its name in spec strings.

    Returns:
        The decorator.
    """

    def add(cls: _MethodType) -> _MethodType:
        if family in FAMILIES:
            raise ValueError(f"two methods are named {family!r}")
        cls.family = family
        FAMILIES[family] = cls
        for name, values in cls.presets.items():
            PRESETS[name] = cls(**values)
        return cls

    return add


def parse_method(spec: str | Method) -> Method:
    """Read a spec string.

    Args:
        spec: ``family-or-preset[:field=value,...]``, several joined by ``+``; a method is returned as it is.

    Returns:
        The method.

    Raises:
        ConfigError: with all faults of the spec: unknown names and values, contradictions, sums that cannot be.
    """
    if isinstance(spec, Method):
        return spec
    if not isinstance(spec, str):
        raise ConfigError(f"method={spec!r} is of type {type(spec).__name__}; give a spec such as 'lora', or a method")
    if spec.count("+") >= MOST_MEMBERS:
        raise ConfigError(f"method {shorten(printable(spec))!r}: a sum has at most {MOST_MEMBERS} methods")
    faults: list[str] = []
    parts = [_parse_one(part.strip(), faults) for part in spec.split("+")]
    whole = [part for part in parts if part is not None]
    if len(parts) > 1:
        faults += _sum_faults(whole)
    if len(parts) == 1 and not whole and ":" not in spec:
        raise ConfigError(faults[0])  # an unknown name, which it repeats
    if faults:
        raise ConfigError(format_faults(faults, f"method {spec!r}"))
    return whole[0] if len(whole) == 1 else Sum(parts=tuple(whole))


def _sum_faults(parts: list[Method]) -> list[str]:
    faults = [f"{part.spec} cannot be part of a sum: {part.alone}" for part in parts if part.alone]
    try:
        counts = Counter(place for part in parts for place in part.places(NOMINAL_LAYERS))
    except ConfigError:  # a layer beyond AST-base's twelve: the backbone has the last word, when it is attached
        return faults
    shared = sorted(place for place, number in counts.items() if number > 1)
    if shared:
        faults.append(f"two of its methods take the same place ({shared[0]}{', ...' if len(shared) > 1 else ''})")
    for part in parts:
        others = {place for other in parts if other is not part for place in other.places(NOMINAL_LAYERS)}
        taken = sorted(one for one in part.rewrites(NOMINAL_LAYERS) if any(p.startswith(f"{one}.") for p in others))
        if taken:
            faults.append(f"{part.spec} replaces the output of {taken[0]}, which another of its methods changes too")
    return faults


def _parse_one(text: str, faults: list[str]) -> Method | None:
    name, colon, settings = text.partition(":")
    if name in PRESETS:
        base = PRESETS[name]
        cls, values = type(base), base.model_dump(exclude_unset=True)
    elif name in FAMILIES:
        cls, values = FAMILIES[name], {}
    else:
        faults.append(unknown_choice("method", name, dict.fromkeys([*PRESETS, *FAMILIES])))
        return None
    before = len(faults)
    if colon and not settings:
        faults.append(f"{name}: nothing follows the colon; write field=value or leave the colon out")
    given: set[str] = set()
    for setting in filter(None, settings.split(",")):
        key, equals, value = (piece.strip() for piece in setting.partition("="))
        if not equals:
            faults.append(f"{name}: {setting!r} is not of the form field=value")
        elif key in given:
            faults.append(f"{name}: {key} is given twice")
        given.add(key)
        values[key] = value
    if len(faults) > before:
        return None
    try:
        return cls(**values)
    except SettingsError as error:
        faults += [f"{name}: {fault}" for fault in error.faults]
        return None


def split_specs(text: str) -> list[str]:
    """Read a list of specs in one text: commas part both specs and fields, so ``field=value`` belongs to the spec before it.

    Args:
        text: such as ``linear,lora:targets=q,layers=0-3,bitfit``.

    Returns:
        ``linear``, ``lora:targets=q,layers=0-3`` and ``bitfit``; each may still be wrong.
    """
    specs: list[str] = []
    for piece in (part.strip() for part in text.split(",")):
        of_the_last = specs and ":" in specs[-1] and re.match(r"[^:]*=", piece)
        if of_the_last:
            specs[-1] += f",{piece}"
        else:
            specs.append(piece)
    return specs


def method_fields() -> set[str]:
    """Names of the fields that any registered method has."""
    return {name for cls in FAMILIES.values() for name in cls.model_fields}


def replace_fields(method: Method, fields: Mapping[str, Any]) -> Method:
    """A method with other values of those fields that it has.

    Args:
        method: one, or a sum of several.
        fields: values by name; members without such a field stay as they are.

    Returns:
        The method.

    Raises:
        ConfigError: a value that a member cannot take.
    """
    members = []
    for member in method.members:
        own = {name: value for name, value in fields.items() if name in type(member).model_fields}
        try:
            members.append(type(member)(**member.model_dump(exclude_unset=True) | own))
        except SettingsError as error:
            raise ConfigError(format_faults(error.faults, f"method {method.spec!r}")) from error
    return members[0] if len(members) == 1 else Sum(parts=tuple(members))


def method_record(method: Method) -> list[dict[str, Any]]:
    """A method as JSON: a list of members, each with its family and every field, defaults included.

    Args:
        method: a method.

    Returns:
        What :func:`method_from_record` reads.
    """
    return [{"family": member.family, **member.model_dump()} for member in method.members]


def method_from_record(record: Iterable[Mapping[str, Any]]) -> Method:
    """The inverse of :func:`method_record`.

    Args:
        record: the members.

    Returns:
        The method.

    Raises:
        ConfigError: a family or a field this version does not know.
    """
    members: list[Method] = []
    faults: list[str] = []
    if not isinstance(record, list | tuple) or not all(isinstance(entry, Mapping) for entry in record):
        raise ConfigError("method record: it is not a list of methods, each with its family and its fields")
    if len(record) > MOST_MEMBERS:
        raise ConfigError(f"method record: it has {len(record):,} methods, and a sum has at most {MOST_MEMBERS}")
    for entry in record:
        values = dict(entry)
        family = str(values.pop("family", ""))
        if family not in FAMILIES:
            faults.append(unknown_choice("method", family, FAMILIES))
            continue
        try:
            members.append(FAMILIES[family](**values))
        except SettingsError as error:
            faults += [f"{family}: {fault}" for fault in error.faults]
    if faults or not members:
        raise ConfigError(format_faults(faults or ["it is empty"], "method record"))
    return members[0] if len(members) == 1 else Sum(parts=tuple(members))
