"""The table of a comparison while its runs go on: drawn in place on a terminal; a log has a line for each run that ends."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from astune.console import is_terminal, progress, results_table, stderr_console
from astune.experiments.comparison import Comparison
from astune.experiments.results import Results
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.table import Table

    from astune.experiments.records import SavedPlan
    from astune.experiments.runner import Bar
    from astune.experiments.store import Store


def table_of(comparison: Comparison) -> Table:
    """A comparison as a table for a terminal, the best method in bold.

    Args:
        comparison: any.
    """
    name, *others = comparison.headings
    table = results_table([name], others)
    for row, cells in zip(comparison.methods, comparison.cells(), strict=True):
        table.add_row(*cells, style="bold" if row is comparison.best else None)
    return table


def live_table(plan: SavedPlan, store: Store) -> Bar:
    """What shows the progress of a comparison.

    Args:
        plan: of the comparison.
        store: takes the records.

    Returns:
        On a terminal the table of what is finished so far, with a bar below it; elsewhere :func:`astune.console.progress`.
    """
    return partial(_drawn, plan, store) if is_terminal() else progress


@contextmanager
def _drawn(plan: SavedPlan, store: Store, description: str, total: int) -> Iterator[Callable[[int, str], None]]:
    # Estimated over a day, not over rich's 30 seconds, within which no run may end.
    bar = Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False), speed_estimate_period=86_400,
    )  # fmt: skip
    task = bar.add_task(description, total=total, note="")
    with Live(console=stderr_console(), transient=True, refresh_per_second=2) as live:

        def advance(steps: int, note: str) -> None:
            bar.update(task, advance=steps, note=printable(note))
            live.update(Group(table_of(Comparison.of(Results.of(plan, store))), bar))

        yield advance
