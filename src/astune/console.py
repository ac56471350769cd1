"""What the user sees while something runs: on stderr, so that stdout carries results alone."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def notices() -> Console:
    """Console for announcements and progress.

    Returns:
        One on stderr.
    """
    return Console(stderr=True, highlight=False)


def say(message: str) -> None:
    """Announce something in one line.

    Args:
        message: plain text.
    """
    notices().print(message, markup=False, soft_wrap=True)


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
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"), console=console, transient=True, speed_estimate_period=86_400,
        disable=quiet or not console.is_terminal,
    )  # fmt: skip
    with bar:
        task = bar.add_task(description, total=total, note="")

        def advance(steps: int, note: str) -> None:
            bar.update(task, advance=steps, note=note)

        yield advance
