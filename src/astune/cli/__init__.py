"""The ``astune`` command: one file a verb, imported when it is wanted; torch is imported when a verb runs, not before."""

from __future__ import annotations

import importlib
import io
import os
import sys
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NoReturn

import typer
from typing_extensions import override

from astune import __version__
from astune.cli.help import HelpGroup
from astune.cli.signals import catch_signals, end_signals, exit_code_of
from astune.console import notify, stderr_console
from astune.errors import AstuneError, refusal
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

VERBS = (
    "train",
    "compare",
    "search",
    "validate",
    "evaluate",
    "predict",
    "embed",
    "export",
    "info",
    "import-backbone",
    "import-peft",
    "push-to-hub",
    "review",
    "serve",
    "data",
    "methods",
    "plan",
    "reproduce",
    "report",
    "demo",
)
"""A file each, in the order of the documentation."""
PANELS = {
    "Train": ("data", "train", "compare", "search", "methods", "plan", "validate"),
    "Use an adapter": ("predict", "evaluate", "embed", "review", "serve", "info"),
    "Exchange": ("export", "import-peft", "import-backbone", "push-to-hub"),
    "Study": ("demo", "reproduce", "report"),
}
"""Every verb, as ``astune --help`` shows them."""

if TYPE_CHECKING:
    app: typer.Typer
    """With every verb; made when it is first used."""


_UsageError: Any = typer.BadParameter.__mro__[1]  # click's, or that of typer's own copy of click


@contextmanager
def _shown() -> Iterator[None]:
    """Quote what was typed in typer's errors as a terminal may show it: an option may be the name of a file, as in ``astune predict *``."""
    try:
        yield
    except _UsageError as fault:
        fault.message = printable(fault.message)
        raise


class _Verbs(HelpGroup):
    """The verbs; Ctrl-C and SIGTERM end each of them with a sentence, where typer would end it without."""

    panels: ClassVar[Mapping[str, Sequence[str]]] = PANELS

    @override
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        with _shown():
            return super().parse_args(ctx, args)

    @override
    def invoke(self, ctx: Any) -> Any:
        try:
            with _shown():
                return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            _say_stopped(stop)
            raise typer.Exit(exit_code_of(stop)) from stop


def _say_stopped(stop: KeyboardInterrupt) -> None:
    end_signals()
    if os.environ.get("RANK", "0") == "0":  # the processes of a launcher are one command
        notify(str(stop) or "interrupted; the same command may be given again")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"astune {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it and stop.")
    ] = False,
) -> None:
    del version


def _command_line(verbs: Iterable[str]) -> typer.Typer:
    """The command line with some verbs. Each is imported here: all of them take most of the time of a short command."""
    made = typer.Typer(
        name="astune",
        cls=_Verbs,
        help="Adapt a frozen Audio Spectrogram Transformer to a new audio task by training a fraction of a percent of it.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.callback()(_options)
    for verb in verbs:
        importlib.import_module(f"astune.cli.{verb.replace('-', '_')}").register(made)
    return made


@cache
def __getattr__(name: str) -> Any:  # noqa: ANN401 - one name, of a type that is stated above
    if name != "app":
        raise AttributeError(f"module 'astune.cli' has no attribute {name!r}")
    return _command_line(VERBS)


def _end(message: str) -> NoReturn:
    end_signals()
    stderr_console().print("error: ", style="bold red", end="")
    notify(message)
    sys.exit(1)


def main() -> None:
    """Run the command line; exit 0 only when all went well."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # an encoding may lack what a name holds
            stream.reconfigure(errors="backslashreplace")
    verb = sys.argv[1:2]
    catch_signals()
    try:
        _command_line(verb if set(verb) & set(VERBS) else VERBS)(prog_name="astune")
    except AstuneError as error:
        _end(str(error))
    except OSError as fault:  # a full disk, a folder that may not be written
        if fault.filename is None:
            sys.stdout = None  # else Python would try again, and fail aloud
            _end(f"the output cannot be written: {fault.strerror or fault}")
        _end(refusal(fault, fault.filename, verb="read or written"))
    except KeyboardInterrupt as stop:
        _say_stopped(stop)
        sys.exit(exit_code_of(stop))
