"""Which pictures a table has, drawn from its runs: scores against parameters or shots, t-SNE, confusion, labels, training curves."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.manifold import TSNE

from astune.console import notify
from astune.errors import DataError
from astune.experiments.baseline import BASELINE
from astune.label_plots import draw_label_scores
from astune.plurals import number_of
from astune.reporting.accuracy_plots import Point, draw_accuracies, draw_accuracy_against_parameters
from astune.reporting.plots import Curve, Scatter, draw_curves, draw_scatter
from astune.score_plots import draw_confusion
from astune.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from astune.experiments.records import SavedPlan
    from astune.experiments.results import Results
    from astune.reporting.aggregate import Cell
    from astune.reporting.grid import Grid

_HEADLINES = "|".join(task.headline for task in TASKS.values())
PICTURE_NAME = re.compile(
    rf"({_HEADLINES})(-({_HEADLINES}))*|parameters|few-shot|loss|validation|(confusion|labels|tsne)-\d+"
)
"""All that :attr:`Picture.name` can be."""
Histories = dict[tuple[str, str], list[list[float]]]
"""Of each row and column its runs, with a number for each epoch."""
_MOST_CONFUSIONS = 4  # pictures, or of labels; one a column, of its best row


@dataclass(frozen=True)
class Picture:
    """One picture of a report."""

    name: str
    """End of the names of its files, after the table's."""
    caption: str
    figure: Figure


def pictures(results: Results, table: Grid) -> Iterator[Picture]:
    """Draw what a table's runs can show.

    Args:
        results: its plan, its finished runs and their tokens.
        table: the same, laid out.

    Yields:
        Pictures; none where no run is finished.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    if not results.records:
        return
    saved = results.plan
    warning = f"; {table.warning}" if table.warning else ""
    if saved.kind == "tsne":
        yield from _tsne(results, warning)
    elif saved.kind == "curve":
        yield _size_curves(saved, table, warning)
    elif any("shots" in entry.varied for entry in saved.entries):
        yield _shot_curves(saved, table, warning)
    else:
        yield from _points(table, warning)
    yield from _confusions(table, warning)
    yield from _label_scores(table, warning)
    yield from _training(results, warning)


def _measure(headlines: Mapping[str, str]) -> str:
    """What pictures call the figure they draw, such as the accuracy."""
    return " or ".join(headlines.values())


def _intervals(table: Grid) -> str:
    """What a caption says of intervals: a single run has one only where the task counts clips."""
    cells = [cell for row in table.rows for cell in row.cells.values()]
    having = [cell for cell in cells if cell.interval or cell.confusions]
    if len(having) == len(cells):
        return ", 95 % intervals"
    return ", 95 % intervals where there are several folds or seeds" if having else "; one run each has no interval"


def _capitalised(text: str) -> str:
    """With a capital letter at its beginning, but for a name such as mAP."""
    return text[:1].upper() + text[1:] if text.partition(" ")[0].islower() else text


def _points(table: Grid, warning: str) -> Iterator[Picture]:
    """Each cell with its interval: by row, and against its parameters."""
    measure, title = _measure(table.headlines), table.plan.title + warning
    points = [
        Point(row.name, cell.parameters, cell.mean, *cell.drawn_interval, "test", column)
        for row in table.rows
        for column, cell in row.cells.items()
    ]
    intervals = _intervals(table)
    about = f"{_capitalised(measure)}{intervals}{warning}"
    yield Picture("-".join(table.headlines), about, draw_accuracies(points, title, measure))
    about = f"{_capitalised(measure)} against trained parameters{intervals}{warning}"
    yield Picture("parameters", about, draw_accuracy_against_parameters(points, title, measure))


def _curve(label: str, panel: str, points: Sequence[tuple[float, Cell]]) -> Curve:
    points = sorted(points, key=lambda point: point[0])
    intervals = [cell.drawn_interval for _, cell in points]
    return Curve(
        label, panel, tuple(x for x, _ in points), tuple(cell.mean for _, cell in points),
        tuple(low for low, _ in intervals), tuple(high for _, high in intervals),
    )  # fmt: skip


def _gathered(saved: SavedPlan, table: Grid, *, by_shots: bool) -> list[Curve]:
    """A curve a row over shots, or a series over parameters; what else varies, and the data set, tell panels apart."""
    cells = {(row.name, column): cell for row in table.rows for column, cell in row.cells.items()}
    found: dict[tuple[str, str], dict[float, Cell]] = defaultdict(dict)
    for entry in saved.entries:
        cell = cells.get((entry.row, entry.column))
        if cell is not None and (not by_shots or entry.varied.get("shots") is not None):
            others = [f"{key}={value}" for key, value in entry.varied.items() if not by_shots or key != "shots"]
            panel = ", ".join([entry.dataset, *others])
            label = entry.row if by_shots else entry.series or entry.row
            found[label, panel][entry.varied["shots"] if by_shots else float(cell.parameters)] = cell
    return [_curve(label, panel, list(points.items())) for (label, panel), points in found.items()]


def _size_curves(saved: SavedPlan, table: Grid, warning: str) -> Picture:
    measure = _measure(table.headlines)
    figure = draw_curves(
        _gathered(saved, table, by_shots=False),
        x_label="trained parameters",
        y_label=f"test {measure}",
        title=saved.title + warning,
        log_base=10,
    )
    about = f"{_capitalised(measure)} against trained parameters{_intervals(table)}{warning}"
    return Picture("parameters", about, figure)


def _shot_curves(saved: SavedPlan, table: Grid, warning: str) -> Picture:
    measure = _measure(table.headlines)
    figure = draw_curves(
        _gathered(saved, table, by_shots=True),
        x_label="clips a class",
        y_label=f"test {measure}",
        title=saved.title + warning,
        log_base=2,
    )
    about = f"{_capitalised(measure)} against training clips a class{_intervals(table)}{warning}"
    return Picture("few-shot", about, figure)


def _tsne(results: Results, warning: str) -> Iterator[Picture]:
    """A panel for each row, of the first fold and seed that is finished; a picture for each column."""
    for number, column in enumerate(results.plan.columns, 1):
        scatters: dict[str, Scatter] = {}
        for entry in results.plan.entries:
            wanted = entry.column == column and entry.key in results.records and entry.method != BASELINE
            if wanted and entry.row not in scatters:
                try:
                    tensors = results.tokens(entry.key)
                except DataError as fault:
                    notify(f"left out of the t-SNE picture: {entry.row}: {fault}; `astune reproduce` keeps them")
                    continue
                if min(tensors["tokens"].shape) < 2:
                    notify(f"left out of the t-SNE picture: {entry.row}: it takes two test clips or more")
                    continue
                labels = results.records[entry.key].result.labels
                names = tuple(labels[index] for index in tensors["classes"].tolist())
                scatters[entry.row] = Scatter(entry.row, _embedded(tensors["tokens"].float().numpy()), names)
        if scatters:
            figure = draw_scatter(list(scatters.values()), f"{results.plan.title}{warning}")
            counted = all(record.task.counts_clips for record in results.records.values())
            which = "" if counted else " that have one label"
            yield Picture(f"tsne-{number}", f"{column}: [CLS] tokens of test clips{which} by t-SNE{warning}", figure)


def _embedded(tokens: NDArray[np.float32]) -> NDArray[np.float32]:
    """(clips, width) to (clips, 2)."""
    perplexity = min(30.0, (len(tokens) - 1) / 3)
    return np.asarray(TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(tokens), np.float32)


def _best_cells(table: Grid, has: Callable[[Cell], object]) -> Iterator[tuple[int, str, str, Cell]]:
    """Of each of the first columns its number, its name, and name and cell of the best finished row that has what is drawn."""
    for number, column in enumerate(table.plan.columns[:_MOST_CONFUSIONS], 1):
        cells = [(row.name, row.cells[column]) for row in table.rows if column in row.cells]
        drawn = [(name, cell) for name, cell in cells if cell.finished and has(cell)]
        if drawn:
            best, cell = max(drawn, key=lambda one: one[1].mean)
            yield number, column, best, cell


def _confusions(table: Grid, warning: str) -> Iterator[Picture]:
    for number, column, best, cell in _best_cells(table, lambda cell: cell.confusions):
        about = f"{column}: confusion of the best row, {best}, all runs summed{warning}"
        figure = draw_confusion(cell.confusion, cell.labels, f"{best}, {column}{warning}")
        yield Picture(f"confusion-{number}", about, figure)


def _label_scores(table: Grid, warning: str) -> Iterator[Picture]:
    for number, column, best, cell in _best_cells(table, lambda cell: cell.average_precision):
        about = f"{column}: average precision of each label, best row, {best}, mean of all runs{warning}"
        figure = draw_label_scores(cell.labels, cell.average_precision, f"{best}, {column}{warning}")
        yield Picture(f"labels-{number}", about, figure)


def _training(results: Results, warning: str) -> Iterator[Picture]:
    losses: Histories = defaultdict(list)
    scores: Histories = defaultdict(list)
    for entry in results.plan.entries:
        if entry.key in results.records:
            record = results.records[entry.key]
            history, headline = record.result.history, record.task.headline
            losses[entry.row, entry.column].append([epoch["train_loss"] for epoch in history])
            scored = [epoch["validation"][headline] for epoch in history if "validation" in epoch]
            scores[entry.row, entry.column].append(scored)
    for name, label, runs, percent in (
        ("loss", "training loss, nats", losses, False),
        ("validation", f"validation {_measure(results.headlines)}", scores, True),
    ):
        curves = [_mean_curve(row, column, values) for (row, column), values in runs.items() if any(values)]
        if curves:
            title = results.plan.title + warning
            figure = draw_curves(curves, x_label="epoch", y_label=label, title=title, percent=percent)
            about = f"{_capitalised(label)} by epoch, mean of the runs{_left_out(losses, runs)}{warning}"
            yield Picture(name, about, figure)


def _left_out(trained: Histories, drawn: Histories) -> str:
    """How many of the runs with epochs a picture leaves out, because their validation clips were scored at the end alone."""
    every, shown = (sum(bool(run) for runs in one.values() for run in runs) for one in (trained, drawn))
    if shown == every:
        return ""
    return f"; without {every - shown:,} of {number_of(every, 'run')}, which were not scored after each epoch"


def _mean_curve(row: str, column: str, runs: Sequence[Sequence[float]]) -> Curve:
    """Over the epochs that all runs have."""
    epochs = min(len(run) for run in runs if run)
    values = np.mean([run[:epochs] for run in runs if run], axis=0)
    return Curve(row, column, tuple(float(epoch) for epoch in range(1, epochs + 1)), tuple(values.tolist()))
