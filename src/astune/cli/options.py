"""Command line options made from the fields of a configuration, so that neither can drift from the other."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined

from astune.errors import ConfigError, listing, validation_faults

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_Model = TypeVar("_Model", bound=BaseModel)


def with_fields(
    model: type[BaseModel], arguments: Collection[str] = (), without: Collection[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one option a field: ``learning_rate: float | None`` becomes ``--learning-rate FLOAT``.

    Args:
        model: the configuration.
        arguments: fields that are positional arguments.
        without: fields that are not offered.

    Returns:
        A decorator for a command whose last parameter is ``**fields``.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.kind is not p.VAR_KEYWORD]
        made = [
            _parameter(name, model, positional=name in arguments) for name in model.model_fields if name not in without
        ]
        parameters = sorted([*made, *own], key=lambda p: p.default is not inspect.Parameter.empty)
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        return command

    return decorate


def _parameter(name: str, model: type[BaseModel], *, positional: bool) -> inspect.Parameter:
    info = model.model_fields[name]
    kind = typer.Argument if positional else typer.Option
    shown = info.default is not None and info.default is not PydanticUndefined
    annotation = Annotated[info.annotation, kind(help=info.description, show_default=shown)]  # type: ignore[name-defined]
    default = inspect.Parameter.empty if info.default is PydanticUndefined else info.default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def build(model: type[_Model], fields: dict[str, Any]) -> _Model:
    """Make a configuration of option values.

    Args:
        model: the configuration.
        fields: values by name.

    Returns:
        The configuration.

    Raises:
        ConfigError: with all faults at once.
    """
    try:
        return model(**fields)
    except ValidationError as error:
        raise ConfigError(listing(validation_faults(error, model), "settings")) from error
