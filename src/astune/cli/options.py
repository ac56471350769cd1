"""What several commands share: options, written once or made from the fields of a configuration, and how a command ends."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from astune.console import notify, shell_word
from astune.names import Precision
from astune.plurals import number_of
from astune.setting import Panel, Setting

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

LONG_RECORDINGS = "Long recordings"
"""Panel of ``--help``."""
AdapterArgument = Annotated[str, typer.Argument(help="Adapter folder, or its hub id: user/name or user/name@revision.")]
BackboneOption = Annotated[str | None, typer.Option(help="Where the backbone is, if not where the adapter says.")]
DeviceOption = Annotated[
    str | None, typer.Option(help="Where to compute, such as cpu or cuda:1; by default the GPU if there is one.")
]
PrecisionOption = Annotated[
    Precision | None,
    typer.Option(help="Precision of matrix products; by default the one the adapter was trained with."),
]
HopOption = Annotated[
    float | None,
    typer.Option(help="Seconds from one window to the next; by default the window's.", rich_help_panel=LONG_RECORDINGS),
]
ThreadsOption = Annotated[
    int | None, typer.Option(min=1, help="Threads that decode files; by default one for each core.")
]

StoreOption = Annotated[Path, typer.Option(help="Where finished runs are kept, a JSON each.")]
FoldsOption = Annotated[list[int] | None, typer.Option("--fold", help="Test fold; may be repeated.")]
RunsSideBySideOption = Annotated[int, typer.Option(min=1, help="Runs side by side on this machine.")]
ShardOption = Annotated[
    str | None, typer.Option(help="I/N: only every N-th run from the I-th, for the tasks of a SLURM array.")
]
RunsOnRayOption = Annotated[
    str | None, typer.Option(help="Address of a Ray cluster to run on: HOST:PORT, auto, or local.", metavar="ADDRESS")
]
GpusPerRunOption = Annotated[float, typer.Option(min=0, help="Share of a GPU a run takes on Ray, such as 0.25.")]
CpusPerRunOption = Annotated[float, typer.Option(min=0, help="Cores a run takes on Ray.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show the plan and stop.")]


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
        in_file = any(parameter.name == "config_file" for parameter in own)
        offered = sorted(
            (name for name in model.model_fields if name not in without), key=lambda name: _rank(model, name)
        )
        made = [_parameter(name, model, positional=name in arguments, in_file=in_file) for name in offered]
        parameters = sorted([*made, *own], key=lambda p: p.default is not inspect.Parameter.empty)
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        return command

    return decorate


def _panel(model: type[BaseModel], name: str) -> Panel | None:
    return next((tag.panel for tag in model.model_fields[name].metadata if isinstance(tag, Setting)), None)


def _rank(model: type[BaseModel], name: str) -> int:
    """``--help`` shows panels in the order in which their first options come: that of the reference page."""
    panel = _panel(model, name)
    return get_args(Panel).index(panel) if panel else -1


def _parameter(name: str, model: type[BaseModel], *, positional: bool, in_file: bool) -> inspect.Parameter:
    info = model.model_fields[name]
    kind = typer.Argument if positional else typer.Option
    default = None if info.default is PydanticUndefined else info.default  # a file may hold what is required
    shown = default is not None
    hinted: Any = info.annotation if default is not None else info.annotation | None  # type: ignore[operator]
    as_text = _as_text(info.annotation)
    hinted = str | None if as_text and default is None else hinted
    in_panel: dict[str, Any] = {} if positional else {"rich_help_panel": _panel(model, name)}
    spelled = ("--output-dir", "-o") if name == "output_dir" else ()
    where = ", here or in --config" if in_file else ""
    described = info.description if not info.is_required() else f"{info.description} [required{where}]"
    annotation = Annotated[hinted, kind(*spelled, help=described, show_default=shown, **as_text, **in_panel)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _as_text(annotation: object) -> dict[str, Any]:
    """Of a field that stays text until the configuration looks at it."""
    if annotation is Path:  # typer would make the current folder of an empty one
        return {"parser": str, "metavar": "<path>"}
    kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
    if not any(get_origin(kind) is dict for kind in kinds):
        return {}
    words = [str(word) for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    return {"parser": str, "metavar": f"[{'|'.join([*words, '<path>'])}]"}  # the mapping is in a file


def options_given(context: typer.Context, fields: dict[str, Any]) -> dict[str, Any]:
    """The options a user wrote, without the defaults.

    Args:
        context: of the command.
        fields: all options.

    Returns:
        Those from the command line.
    """
    sources = {name: context.get_parameter_source(name) for name in fields}
    return {name: value for name, value in fields.items() if getattr(sources[name], "name", "") == "COMMANDLINE"}


def end_with(faults: Sequence[str], total: int, verb: str = "read") -> None:
    """Print the faults of files, and end the command with exit code 1 if there are any.

    Args:
        faults: one for each file.
        total: files that were given.
        verb: what could not be done.

    Raises:
        Exit: there are faults.
    """
    for fault in faults:
        notify(f"error: {fault}")
    if faults:
        notify(f"{len(faults):,} of {number_of(total, 'file')} could not be {verb}")
        raise typer.Exit(1)


def end_of_runs(name: str, store: Path, failures: Sequence[str]) -> None:
    """Say how to report a comparison, print the runs that failed, and end the command with exit code 1 if there are any.

    Args:
        name: of the comparison in the store.
        store: folder of the runs.
        failures: one for each run that failed.

    Raises:
        Exit: there are failures.
    """
    notify(f"Tables, pictures and comparisons: astune report {shell_word(name)} --store {shell_word(store)}")
    for failure in failures:
        notify(f"error: {failure}")
    if failures:
        raise typer.Exit(1)
