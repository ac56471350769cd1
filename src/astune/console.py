"""What the user sees while something runs: on stderr, so that stdout carries results alone."""

from __future__ import annotations

import os
import re
import shlex
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_SAFE_WORD = re.compile(r"[\w@%+=:,./\[\]{}^-]+")  # what a shell takes as it is
_NO_TERMINAL = 10_000  # columns of a file or a pipe: nothing folds there


def results() -> Console:
    """Console for results: text is shown as it is, so that ``[noise]`` and ``:dog:`` are no markup.

    Returns:
        One on stdout, as wide as the terminal; where there is none, as wide as the lines are.
    """
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _NO_TERMINAL
    return Console(markup=False, emoji=False, highlight=False, width=width)


def print_result(text: object) -> None:
    """Print a line of results; a terminal may break it, a copy of it is one line.

    Args:
        text: plain, of whatever names.
    """
    results().print(printable(text), soft_wrap=True)


def results_table(names: Sequence[str], numbers: Sequence[str] = ()) -> Table:
    """A table for :func:`results` whose names fold where a terminal is narrow and are never cut.

    Args:
        names: headings of columns of text.
        numbers: headings of columns of numbers, behind them.

    Returns:
        The table, without rows.
    """
    table = Table()
    for name in names:
        table.add_column(printable(name), overflow="fold")
    for name in numbers:
        table.add_column(printable(name, lines=True), justify="right", no_wrap=True)
    return table


def shell_word(text: object) -> str:
    """A path as one word of a command that the user may copy.

    Args:
        text: the path.

    Returns:
        It as it is, in quotes where a shell would take it apart, and behind ``./`` where it would be an option.
    """
    word = printable(text)
    word = f"./{word}" if word.startswith("-") else word
    return word if _SAFE_WORD.fullmatch(word) else shlex.quote(word)


def notices() -> Console:
    """Console for announcements and progress.

    Returns:
        One on stderr.
    """
    return Console(stderr=True, markup=False, emoji=False, highlight=False)


def is_terminal() -> bool:
    """Whether progress bars are shown. Logs and notebooks get lines instead."""
    return notices().is_terminal


def say(message: str) -> None:
    """Announce something in one line.

    Args:
        message: plain text.
    """
    notices().print(printable(message, lines=True), soft_wrap=True)


def announcer(*, quiet: bool) -> Callable[[str], None]:
    """What announces a line, or drops it.

    Args:
        quiet: whether nothing is announced.

    Returns:
        :func:`say`, or a function that does nothing.
    """
    return (lambda _: None) if quiet else say


@contextmanager
def progress(description: str, total: int | None, *, quiet: bool = False) -> Iterator[Callable[[int, str], None]]:
    """A progress bar for the time of a block; where stderr is no terminal, nothing.

    Args:
        description: what is being done.
        total: steps; None where nobody knows.
        quiet: no bar at all.

    Yields:
        A function that takes the steps just done and a note to show behind the bar.
    """
    console = notices()
    # Estimated over a day, not over rich's 30 seconds, within which a step may not end.
    bar = Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False), console=console, transient=True, speed_estimate_period=86_400,
        disable=quiet or not is_terminal(),
    )  # fmt: skip
    with bar:
        task = bar.add_task(description, total=total, note="")

        def advance(steps: int, note: str) -> None:
            bar.update(task, advance=steps, note=printable(note))

        yield advance


def showing(advance: Callable[[int, str], None]) -> Callable[[str, float], None]:
    """Show how far a recording was heard, behind a bar that counts recordings.

    Args:
        advance: of :func:`progress`.

    Returns:
        A function that takes the name of a recording and the seconds of it that were heard.
    """

    def show(name: str, seconds: float) -> None:
        minutes, rest = divmod(int(seconds), 60)
        advance(0, f"{name} {minutes // 60}:{minutes % 60:02d}:{rest:02d}")

    return show
