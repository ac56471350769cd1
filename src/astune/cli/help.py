"""The help of every command: ``-h`` shows the everyday options, ``--help`` shows all of them, both sorted into panels."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup
from typing_extensions import override

from astune.cli.old_names import OLD_NAMES, OLD_VALUES, with_new_names, with_new_values
from astune.cli.wording import in_options, options_of
from astune.console import rewording, set_quiet
from astune.errors import AstuneError, Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_WIDEST_NAME = 34  # columns of names; a longer one gets a line of its own, so that nothing is cut at 80 columns
_MANY_RUNS = "Many runs"
_PANELS = {
    **dict.fromkeys(("device", "precision", "threads", "batch_size", "backbone", "runtime"), "Machine"),
    **dict.fromkeys(("workers", "shard", "ray", "gpus_per_run", "cpus_per_run", "store", "dry_run"), _MANY_RUNS),
    **dict.fromkeys(("output", "output_dir", "overwrite", "as_json", "quiet", "plot"), "Output"),
}
"""Panels of options that do not name one: by parameter."""
_PLAIN_TYPES = {"str": "TEXT", "int": "N", "float": "X", "path": "PATH", "file": "PATH", "directory": "DIR"}


class HelpCommand(TyperCommand):
    """A command with short and long help, old option names, ``--quiet`` where it helps, and errors that name options."""

    everyday: frozenset[str] = frozenset()
    """Parameters that ``-h`` shows; all of them where it is empty."""
    _short = False

    @override
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Accept the names that options and their values had in earlier releases."""
        self._short = "-h" in args and "--help" not in args
        if not ctx.resilient_parsing:
            args = with_new_values(with_new_names(args, OLD_NAMES.get(self.name or "", {})), OLD_VALUES)
        return super().parse_args(ctx, args)

    @override
    def invoke(self, ctx: Any) -> Any:
        """Run the command; errors and announcements of the library name options instead of fields.

        Raises:
            AstuneError: as of the command.
            Interrupted: as of the command.
        """
        options = options_of(self._named(ctx))
        try:
            with rewording(lambda message: in_options(message, options)):
                return super().invoke(ctx)
        except (AstuneError, Interrupted) as error:
            error.args = (in_options(str(error.args[0]), options), *error.args[1:])
            raise

    def _named(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - typer's own
        """Parameters that errors name as options: where a file has the settings, its fields keep their names."""
        if not ctx.params.get("config_file"):
            return self.params
        return [one for one in self.params if getattr(one, "is_flag", False) or _typed(ctx, one.name or "")]

    @override
    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help: all options, or the everyday ones after ``-h``."""
        del formatter
        _print_help(self, ctx, short=self._short)


class HelpGroup(TyperGroup):
    """A group of commands with the same help as a command, its commands sorted into panels."""

    panels: ClassVar[Mapping[str, Sequence[str]]] = {}
    """Commands by title; the others stand in a last panel."""

    @override
    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the commands, each with its first sentence, and the options."""
        del formatter
        _print_group_help(self, ctx)


def add_command(
    app: typer.Typer,
    name: str,
    function: Callable[..., None],
    *,
    examples: Sequence[str],
    everyday: Sequence[str] = (),
    progress: bool = False,
) -> None:
    """Add a command to the command line.

    Args:
        app: the command line.
        name: of the command.
        function: that runs it.
        examples: commands that a user may type, for the end of the help.
        everyday: parameters that ``-h`` shows, in any order; all of them by default. Arguments are always shown.
        progress: whether the command takes ``--quiet``.
    """
    cls = type("Command", (HelpCommand,), {"everyday": frozenset(everyday)})
    title = "Example" if len(examples) == 1 else "Examples"
    epilog = "\n".join([f"{title}:", *(f"  `{example}`" for example in examples)])
    app.command(name, cls=cls, epilog=epilog)(_with_quiet(function) if progress else function)


def _typed(context: Any, name: str) -> bool:  # noqa: ANN401 - typer's own
    return getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"


def _with_quiet(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command ``--quiet``, which hides its progress."""

    @functools.wraps(function)
    def run(*args: Any, quiet: bool = False, **options: Any) -> None:
        set_quiet(quiet)
        try:
            function(*args, **options)
        finally:
            set_quiet(False)

    signature = inspect.signature(function, eval_str=True)
    text = "Show no progress. Warnings and errors are still shown."
    quiet = inspect.Parameter(
        "quiet",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[bool, typer.Option("--quiet", "-q", help=text)],
    )
    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in signature.parameters.values()]
    run.__signature__ = inspect.Signature([*parameters, quiet])  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in (*parameters, quiet)}
    return run


def _print_help(command: HelpCommand, context: Any, *, short: bool) -> None:  # noqa: ANN401 - typer's own
    from rich.padding import Padding

    console = _console()
    console.print(Padding(_plain(_usage_of(command, context)), 1), style="bold")
    console.print(Padding(_plain(inspect.cleandoc(command.help or "")), (0, 1, 1, 1)))
    panels = panels_of(command, context)
    hidden = 0
    for title, parameters in panels.items():
        shown = [one for one in parameters if not short or _is_everyday(one, command)]
        hidden += len(parameters) - len(shown)
        if shown:
            _print_rows(console, title, [(name_of(one, context), meaning_of(one)) for one in shown])
    if hidden:
        console.print(_plain(f" {hidden} more options: {context.command_path} --help"))
    if command.epilog:
        console.print(Padding(_plain(command.epilog.replace("`", "")), (1, 1)), soft_wrap=True)


def _print_group_help(group: HelpGroup, context: Any) -> None:  # noqa: ANN401 - typer's own
    from rich.padding import Padding

    console = _console()
    console.print(Padding(_plain(f"Usage: {context.command_path} [OPTIONS] COMMAND [ARGS]..."), 1), style="bold")
    console.print(Padding(_plain(inspect.cleandoc(group.help or "")), (0, 1, 1, 1)))
    helps = {
        name: inspect.cleandoc(command.help or "").partition("\n\n")[0] for name, command in group.commands.items()
    }
    sorted_in = {name for names in group.panels.values() for name in names}
    rest = [name for name in helps if name not in sorted_in]
    for title, names in {**group.panels, "Commands": rest}.items():
        rows = [(name, _sentence(helps[name])) for name in names if name in helps]
        if rows:
            _print_rows(console, title, rows)
    options: list[Any] = [one for one in group.get_params(context) if not getattr(one, "hidden", False)]
    _print_rows(console, "Options", [(name_of(one, context), _sentence(one.help or "")) for one in options])
    console.print(_plain(f" {context.command_path} COMMAND --help shows the options of a command."))


def _console() -> Console:
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False)


def panels_of(command: Any, context: Any) -> dict[str, list[Any]]:  # noqa: ANN401 - typer's own
    """The panels of a command's help.

    Args:
        command: as typer makes it.
        context: of the command.

    Returns:
        By title, in the order of the help: the parameters, hidden ones left out. Each panel has one or more.
    """
    panels: dict[str, list[Any]] = {"Arguments": [], "Options": []}
    for parameter in command.get_params(context):
        if not getattr(parameter, "hidden", False):
            panels.setdefault(_panel_of(parameter), []).append(parameter)
    return {title: parameters for title, parameters in panels.items() if parameters}


def _is_everyday(parameter: Any, command: HelpCommand) -> bool:  # noqa: ANN401 - typer's own
    always = isinstance(parameter, TyperArgument) or parameter.required or parameter.name == "help"
    return always or not command.everyday or parameter.name in command.everyday


def _plain(text: str) -> Text:
    from rich.text import Text

    return Text(text)


def _panel_of(parameter: Any) -> str:  # noqa: ANN401 - typer's own
    if isinstance(parameter, TyperArgument):
        return "Arguments"
    return getattr(parameter, "rich_help_panel", None) or _PANELS.get(parameter.name or "", "Options")


def _print_rows(console: Console, title: str, rows: Sequence[tuple[str, str]]) -> None:
    """Names on the left and their meaning on the right; where the left side has no room, the meaning comes on the next line."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    names = [name for name, _ in rows]
    room = min(_WIDEST_NAME, max(20, console.width - 44))
    width = max((len(name) for name in names if len(name) <= room), default=room)
    grid = _two_columns(width)
    lines: list[Any] = []
    for name, meaning in rows:
        if len(name) <= width:
            grid.add_row(Text(name, style="bold cyan"), Text(meaning))
            continue
        if grid.row_count:
            lines.append(grid)
        lines.append(Text(name, style="bold cyan", overflow="fold"))
        grid = _two_columns(width)
        grid.add_row("", Text(meaning))
    lines.append(grid)
    console.print(Panel(Group(*lines), title=title, title_align="left", border_style="dim"))


def _two_columns(width: int) -> Table:
    from rich.table import Table

    made = Table.grid(padding=(0, 2, 0, 0), expand=True)
    made.add_column(width=width, overflow="fold")
    made.add_column(ratio=1, overflow="fold")
    return made


def name_of(parameter: Any, context: Any) -> str:  # noqa: ANN401 - typer's own
    """How the help names a parameter.

    Args:
        parameter: of the command, as typer makes it.
        context: of the command.

    Returns:
        Such as ``-o, --output FILE`` or ``--cache-frozen / --no-cache-frozen``.
    """
    if isinstance(parameter, TyperArgument):
        return parameter.display_name_raw.upper()
    spelled = sorted(parameter.opts, key=lambda name: name.startswith("--"))
    name = ", ".join(spelled)
    if parameter.secondary_opts:
        return f"{name} / {parameter.secondary_opts[0]}"
    return name if parameter.is_flag else f"{name} {_metavar_of(parameter, context)}"


def _metavar_of(parameter: Any, context: Any) -> str:  # noqa: ANN401 - typer's own
    shown = parameter.metavar or parameter.display_type_rich(ctx=context) or ""
    inner = shown.replace("<path>", "PATH").strip("<>[]").removeprefix("list[").rstrip("]").removesuffix(" range")
    return _PLAIN_TYPES.get(inner, inner)


def meaning_of(parameter: Any) -> str:  # noqa: ANN401 - typer's own
    """What the help says of a parameter.

    Args:
        parameter: of the command, as typer makes it.

    Returns:
        A sentence, with bounds, default and whether it is required in brackets.
    """
    if parameter.name == "help":
        return "-h shows the everyday options, --help shows all of them."
    return " ".join([_sentence(parameter.help or ""), *(f"[{note}]" for note in _notes_of(parameter))])


def _sentence(text: str) -> str:
    text = text.replace("`", "").strip()
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', ']', '?')) else '.'}"


def _notes_of(parameter: Any) -> list[str]:  # noqa: ANN401 - typer's own
    notes = []
    if parameter.min is not None:
        notes.append(f"at least {parameter.min}" if parameter.max is None else f"{parameter.min} to {parameter.max}")
    if getattr(parameter, "show_envvar", False) and parameter.envvar:
        notes.append(f"env var: {parameter.envvar}")
    default = parameter.default
    if parameter.show_default and default is not None and default is not False and not parameter.required:
        words = ", ".join(map(str, default)) if isinstance(default, list) else str(default)
        notes.append(f"default: {'on' if default is True else words}")
    if parameter.required:
        notes.append("required")
    return notes


def _usage_of(command: HelpCommand, context: Any) -> str:  # noqa: ANN401 - typer's own
    arguments = [one for one in command.get_params(context) if isinstance(one, TyperArgument)]
    words = [
        one.display_name_raw if one.metavar else f"{one.display_name_raw.upper()}{'...' * (one.nargs != 1)}"
        for one in arguments
    ]
    needed = [one.required or "[required" in (one.help or "") for one in arguments]
    shown = [word if need else f"[{word}]" for word, need in zip(words, needed, strict=True)]
    return " ".join([f"Usage: {context.command_path}", "[OPTIONS]", *shown])
