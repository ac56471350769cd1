"""What the user sees while something runs: on stderr, so that stdout carries results alone; in a notebook, below the cell."""

from __future__ import annotations

import io
import os
import re
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from typing_extensions import override

from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import RenderableType
    from rich.style import StyleType

_SAFE_WORD = re.compile(r"[\w@%+:,./-][\w@%+=:,./-]*")  # what bash and zsh take as it is; zsh looks "=ls" up
_NO_TERMINAL = 10_000  # columns of a file or a pipe: nothing folds there
_NOTEBOOK_DELAY, _NOTEBOOK_REFRESH = 1.0, 0.25  # seconds: what ends within the first leaves nothing in a notebook
_NOTEBOOK_WIDTH = 110  # columns of a bar
LOG_SECONDS = 60.0  # from one line of a log to the next
_quiet = [False]  # whether the user asked for no progress


def set_quiet(quiet: bool) -> None:
    """Show no progress bars and no announcements of progress, or show them again. Warnings and errors are always shown.

    Args:
        quiet: whether nothing is shown.
    """
    _quiet[0] = quiet


def results() -> Console:
    """Console for results: text is shown as it is, so that ``[noise]`` and ``:dog:`` are no markup.

    Returns:
        A console on stdout, as wide as the terminal; without a terminal, as wide as the lines are.
    """
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _NO_TERMINAL
    return Console(markup=False, emoji=False, highlight=False, width=width)


def print_result(text: object) -> None:
    """Print a line of results; a terminal may break it, a copy of it is one line.

    Args:
        text: plain, of whatever names.
    """
    results().print(printable(text), soft_wrap=True)


def print_exact(text: str) -> None:
    """Write what programs read to stdout, to the letter; a terminal would obey some letters, and gets their escapes.

    Args:
        text: the text with its line breaks.
    """
    sys.stdout.write(printable(text, lines=True) if sys.stdout.isatty() else text)


class PlainTable(Table):
    """A table whose cells of text are shown as they are."""

    @override
    def add_row(self, *cells: RenderableType | None, style: StyleType | None = None, end_section: bool = False) -> None:
        """Add a row.

        Args:
            cells: text, or what rich draws.
            style: the style of all cells.
            end_section: whether a line follows.
        """
        shown = (printable(cell) if isinstance(cell, str) else cell for cell in cells)
        super().add_row(*shown, style=style, end_section=end_section)


def results_table(names: Sequence[str], numbers: Sequence[str] = ()) -> Table:
    """A table for :func:`results` whose names fold where a terminal is narrow and are never cut.

    Args:
        names: headings of columns of text.
        numbers: headings of the columns of numbers, which follow.

    Returns:
        The table, without rows.
    """
    table = PlainTable()
    for name in names:
        table.add_column(printable(name), overflow="fold")
    for name in numbers:
        table.add_column(printable(name, lines=True), justify="right", no_wrap=True)
    return table


def shell_word(text: object) -> str:
    r"""A path as one word of a command that the user may copy into bash or zsh.

    Args:
        text: the path.

    Returns:
        The text, quoted if a shell would split it, and with ``./`` in front if it would be an option. What cannot be shown is
        written as bytes, as in ``$'a\x1b.wav'``.
    """
    return _quoted(f"./{text}" if str(text).startswith("-") else str(text))


def _quoted(word: str) -> str:
    if printable(word) != word:
        return f"$'{''.join(map(_in_bytes, word))}'"
    if _SAFE_WORD.fullmatch(word):
        return word
    inside = word.replace("'", "'\"'\"'")  # as shlex.quote has it, which leaves "=ls" as it is
    return f"'{inside}'"


def _in_bytes(letter: str) -> str:
    """A letter between ``$'`` and ``'``."""
    if letter in {"\\", "'"}:
        return f"\\{letter}"
    if printable(letter) == letter:
        return letter
    return "".join(f"\\x{byte:02x}" for byte in letter.encode(errors="surrogateescape"))


def option_words(name: str, value: object) -> str:
    """An option and its value, of a command that the user may copy.

    Args:
        name: the name of the option, with its dashes.
        value: the value of any kind.

    Returns:
        Such as ``--split test``, or ``--negative=-`` where the value would be taken for an option.
    """
    text = str(value)
    return f"{name}{'=' if text.startswith('-') else ' '}{_quoted(text)}"


def stderr_console() -> Console:
    """Console for announcements and progress.

    Returns:
        One on stderr.
    """
    return Console(stderr=True, markup=False, emoji=False, highlight=False)


def is_terminal() -> bool:
    """Whether progress bars are drawn over each other and vanish. Logs and notebooks get lines instead."""
    return stderr_console().is_terminal


def is_log() -> bool:
    """Whether nothing can be drawn: neither a terminal nor a notebook, so each line stays."""
    console = stderr_console()
    return not console.is_terminal and not console.is_jupyter


def duration(seconds: float) -> str:
    """A length of time in words, as exact as an estimate is.

    Args:
        seconds: length in seconds.

    Returns:
        Such as ``50 s``, ``12 min`` or ``3.5 h``.
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


_rewordings: list[Callable[[str], str]] = []


@contextmanager
def rewording(reword: Callable[[str], str]) -> Iterator[None]:
    """Say announcements in other words within a block: the command line names options where the library names fields.

    Args:
        reword: gives an announcement in these words.
    """
    _rewordings.append(reword)
    try:
        yield
    finally:
        _rewordings.remove(reword)


def notify(message: str) -> None:
    """Announce something. What a message is of begins a line; the lines that follow are indented, so that no name in it can begin one.

    Args:
        message: plain text.
    """
    first, *more = printable(_reworded(message), lines=True).split("\n")
    lines = [first, *(line if line.startswith("  ") or not line else f"  {line}" for line in more)]
    stderr_console().print("\n".join(lines), soft_wrap=True)


def print_note(note: str) -> None:
    """Print a note among results; with the words of the command line, as :func:`notify` does.

    Args:
        note: plain text.
    """
    print_result(_reworded(note))


def _reworded(text: str) -> str:
    for reword in _rewordings:
        text = reword(text)
    return text


def announcer(*, quiet: bool) -> Callable[[str], None]:
    """What announces a line, or drops it.

    Args:
        quiet: whether nothing is announced.

    Returns:
        :func:`notify`, or a function that does nothing.
    """
    return (lambda _: None) if quiet or _quiet[0] else notify


@contextmanager
def progress(description: str, total: int | None, *, quiet: bool = False) -> Iterator[Callable[[int, str], None]]:
    """A progress bar for the time of a block; without a terminal on stderr, a line each minute.

    A notebook shows the bar below the cell, where the block takes more than a second. It needs no ipywidgets, as rich's own would.

    Args:
        description: what is being done.
        total: steps; None where nobody knows.
        quiet: no bar and no lines.

    Yields:
        A function that takes the steps just done and a note to show after the bar.
    """
    quiet = quiet or _quiet[0]
    console = stderr_console()
    # Estimated over a day, not over rich's 30 seconds, within which a step may not end.
    bar = Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False), console=console, transient=True, speed_estimate_period=86_400,
        disable=quiet or not console.is_terminal,
    )  # fmt: skip
    beside = _NoBar() if quiet or console.is_terminal else _NotebookBar(bar) if console.is_jupyter else _LogLines(bar)
    with bar:
        task = bar.add_task(description, total=total, note="")

        def advance(steps: int, note: str) -> None:
            bar.update(task, advance=steps, note=printable(note))
            beside.show()

        try:
            yield advance
        finally:
            beside.end()


class _NoBar:
    """Progress that shows nothing in addition to rich's own bar."""

    def show(self) -> None:
        """After each step."""

    def end(self) -> None:
        """After the last step."""


class _LogLines(_NoBar):
    """A line now and then, so that a log of hours tells how far it is."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._said = time.monotonic()

    @override
    def show(self) -> None:
        if time.monotonic() - self._said < LOG_SECONDS:
            return
        self._said = time.monotonic()
        (task,) = self._bar.tasks
        of = "" if task.total is None else f" of {task.total:,.0f}"
        note = task.fields["note"]
        left = "" if task.time_remaining is None else f", about {duration(task.time_remaining)} left"
        done = f"{task.completed:,.0f}{of}{f', {note}' if note else ''}, {task.elapsed or 0.0:,.0f} s"
        notify(f"{task.description}: {done}{left}")


class _NotebookBar(_NoBar):
    """The bar as an output of the cell, which is replaced in place and emptied at the end."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._handle: Any = None
        self._next = time.monotonic() + _NOTEBOOK_DELAY

    @override
    def show(self) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _NOTEBOOK_REFRESH
        page = Console(file=io.StringIO(), record=True, force_jupyter=False, force_terminal=True, width=_NOTEBOOK_WIDTH)
        page.print(self._bar.get_renderable())
        html = page.export_html(inline_styles=True, code_format='<pre style="margin: 0">{code}</pre>', clear=False)
        self._display({"text/html": html, "text/plain": page.export_text()})

    @override
    def end(self) -> None:
        if self._handle is not None:
            self._display({"text/html": "", "text/plain": ""})

    def _display(self, content: dict[str, str]) -> None:
        from IPython.display import display  # there, because a notebook runs this

        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(content, raw=True)


def recording_progress(advance: Callable[[int, str], None]) -> Callable[[str, float], None]:
    """Show how much of a recording was processed, after a bar that counts recordings.

    Args:
        advance: the function that :func:`progress` gives.

    Returns:
        A function that takes the name of a recording and the number of its seconds processed.
    """

    def show(name: str, seconds: float) -> None:
        minutes, rest = divmod(int(seconds), 60)
        advance(0, f"{name} {minutes // 60}:{minutes % 60:02d}:{rest:02d}")

    return show
