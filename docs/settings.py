"""Prints ``docs/settings.md``, the reference of all settings, from the fields of ``TrainConfig`` and their tags: ``make settings``."""

from __future__ import annotations

import types
from dataclasses import fields
from typing import Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from astune.markdown import code
from astune.setting import KINDS, Panel
from astune.training.config import SETTINGS, TrainConfig
from astune.training.recipe import Recipe
from astune.validated import describe

_INTRO = """# Settings

Made by `make settings` from the fields of [`TrainConfig`](../src/astune/training/config.py); do not edit this page.

A setting has one name everywhere: `--learning-rate 0.001` on the command line of `astune train`, `learning_rate: 0.001` in a YAML file for
`astune train --config` and `astune validate`, `TrainConfig(learning_rate=0.001)` in Python, and `settings: {learning_rate: 0.001}` in an
[experiment](guides/experiments.md). Options win over the file.

*Recipe* as a default means: the paper's number for the method, else the paper's for the data set, else what suits the number and the length
of the recordings. What was chosen is printed when training begins, and is in `results.json` and in the adapter.

The third column says what a setting does to a result. An experiment runs again where a setting has changed that does not say *running*:
"""
_BOUNDS = (("gt", "above {}"), ("ge", "{} or more"), ("lt", "below {}"), ("le", "{} or less"))
_OF_THE_RECIPE = frozenset(field.name for field in fields(Recipe))


def page() -> str:
    """The page, ready to be written."""
    lines = [_INTRO, *(f"- *{kind}*: {meaning}" for kind, meaning in KINDS.items())]
    for panel in get_args(Panel):
        lines += [
            "",
            f"## {panel}",
            "",
            "| setting | default | kind | what it is | values |",
            "| --- | --- | --- | --- | --- |",
        ]
        lines += [_line(name, TrainConfig.model_fields[name]) for name, tag in SETTINGS.items() if tag.panel == panel]
    return "\n".join(lines) + "\n"


def _line(name: str, info: FieldInfo) -> str:
    about = (info.description or "").replace("|", "\\|")
    return f"| {_option(name, info)} | {_default(name, info)} | {SETTINGS[name].kind} | {about} | {_values(info)} |"


def _option(name: str, info: FieldInfo) -> str:
    """As it is written on the command line; the data are its argument."""
    option = name.replace("_", "-")
    if name == "data":
        return code("DATA")
    return f"`--{option}`, `--no-{option}`" if bool in _kinds(info) else code(f"--{option}")


def _default(name: str, info: FieldInfo) -> str:
    if info.default is PydanticUndefined:
        return "required"
    if info.default is None:
        return "*recipe*" if name in _OF_THE_RECIPE else "none"
    return code(str(info.default).lower() if isinstance(info.default, bool) else str(info.default))


def _kinds(info: FieldInfo) -> list[object]:
    """The types of a setting, without None."""
    annotation = info.annotation
    members = get_args(annotation) if get_origin(annotation) in {Union, types.UnionType} else (annotation,)
    return [member for member in members if member is not type(None)]


def _values(info: FieldInfo) -> str:
    return " or ".join(_values_of(kind, info) for kind in _kinds(info))


def _values_of(kind: object, info: FieldInfo) -> str:
    if get_origin(kind) is Literal:
        return ", ".join(code(str(choice)) for choice in get_args(kind))
    if get_origin(kind) is dict:
        return "a file, or in Python and YAML a mapping"
    bounds = [
        words.format(f"{getattr(one, name):,}")
        for one in info.metadata
        for name, words in _BOUNDS
        if hasattr(one, name)
    ]
    return ", ".join([describe(kind).replace("a Path", "a folder"), *bounds])


if __name__ == "__main__":
    print(page(), end="")
