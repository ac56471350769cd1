"""What was run, and how it differs from the paper's protocol.

The shipped tables are the paper's protocol, in two settings: the paper's text, and the published code that made the printed figures.
A shipped table is planned again without data, in the setting of the runs, and compared with them. So nothing has to be declared.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astune.data.layouts.base import LAYOUTS
from astune.experiments.baseline import BASELINE
from astune.experiments.plan import AS_PUBLISHED, PlanOptions, plan
from astune.experiments.published import PUBLISHED
from astune.experiments.table import load_table, shipped_tables
from astune.methods import parse_method
from astune.methods.base import default_learning_rate
from astune.methods.published_code import PUBLISHED_CODE_FIELDS, PUBLISHED_CODE_SETTINGS
from astune.plurals import enumerated, number_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from astune.experiments.plan import PlannedRun
    from astune.experiments.records import PlanEntry, RunRecord, SavedPlan
    from astune.experiments.results import Results

_UNSEEN = ("data", "clips", "method", "seed", "fold", "format")
"""Settings that are not compared: columns, rows and counts of runs show them, or they are no part of the protocol."""

_COMPARED_ELSEWHERE = ("backbone", "num_train_epochs", "per_device_train_batch_size", "learning_rate")
"""Settings that are compared on data of which the paper has no column; the others go with the data."""


def what_ran(results: Results, devices: Mapping[str, str]) -> tuple[str, ...]:
    """What was run, one sentence per line.

    Args:
        results: of a table.
        devices: what the runs ran on, with a letter for each where they are several, as in :class:`astune.reporting.grid.Grid`.
    """
    entries, done = results.plan.entries, results.records
    data_sets: dict[str, list[PlanEntry]] = defaultdict(list)
    for entry in entries:
        data_sets[entry.dataset].append(entry)
    return (
        f"Backbone: {_values(entries, done, 'backbone')}",
        *(_data_set(name, own, done) for name, own in data_sets.items()),
        *_rows_apart(entries),
        f"Seeds: {_listed(sorted({entry.seed for entry in entries}))}",
        f"Runs: {len(done)} of {len(results.plan.keys)} finished",
        f"Setting: {_setting(entries)} ({_setting_values(entries, done)})",
        *_origin(done, devices),
    )


def summary(results: Results, differences: Sequence[str]) -> str:
    """What a report says first: what was run, and how it differs from the paper.

    Args:
        results: of a table.
        differences: of :func:`unlike_the_paper`.

    Returns:
        Two sentences.
    """
    entries, done = results.plan.entries, results.records
    datasets = list(dict.fromkeys(entry.dataset for entry in entries))
    rows, backbones = number_of(len(results.plan.rows), "row"), _values(entries, done, "backbone")
    ran = f"This report shows {rows} on {enumerated(datasets)}, with the backbone {backbones}"
    if results.plan.kind == "comparison":
        return f"{ran}."
    setting = _setting(entries)
    ran += f", in the setting of {setting}." if setting in _SETTINGS else ", in more than one setting."
    if (name := shipped_name(results.plan)) is None:
        return f"{ran} It is an experiment of its own: the paper has no such table."
    printed = PUBLISHED.get(name)
    theirs = f"Table {printed.numeral}" if printed else name.replace("figure", "Figure ")
    if differences and len(listed := "; ".join(differences)) < _LONGEST_LIST:
        return f"{ran} It differs from the paper's {theirs}: {listed}."
    if differences:
        return f"{ran} It differs from the paper's {theirs} in {number_of(len(differences), 'way')}, which are listed below."
    return f"{ran} It differs from the paper's {theirs} in nothing."


def shipped_name(saved: SavedPlan) -> str | None:
    """Which table of the paper a plan is.

    Args:
        saved: the plan.

    Returns:
        Its name, without what says in which setting it was run; None for a table of the user's own.
    """
    name = saved.name.removesuffix(AS_PUBLISHED) if saved.as_published else saved.name
    return name if saved.kind != "comparison" and name in shipped_tables() else None


_LONGEST_LIST = 300  # characters of differences in a summary
_SETTINGS = ("the paper's text", "the published code")


def _setting(entries: Iterable[PlanEntry]) -> str:
    """The setting that runs have: the paper's text, the published code, or a mixture."""
    positions = {entry.settings.get("position_embeddings") for entry in entries if entry.method != BASELINE}
    inits = _inits(entries)
    if positions <= {"fit"} and inits <= {"identity"}:
        return _SETTINGS[0]
    if positions <= {PUBLISHED_CODE_SETTINGS["position_embeddings"]} and inits <= {PUBLISHED_CODE_FIELDS["init"]}:
        return _SETTINGS[1]
    return "a mixture of the paper's text and the published code"


def _setting_values(entries: Iterable[PlanEntry], done: Mapping[str, RunRecord]) -> str:
    """What tells the two settings apart, as it was set."""
    values = {name: _values(entries, done, name) for name in PUBLISHED_CODE_SETTINGS}
    values["init"] = ", ".join(sorted(_inits(entries)))
    return "; ".join(f"{name} {value}" for name, value in values.items() if value)


def _inits(entries: Iterable[PlanEntry]) -> set[str]:
    """First weights of the methods that have a choice of them."""
    specs = {entry.method for entry in entries if entry.method != BASELINE}
    members = [member for spec in specs for member in parse_method(spec).members]
    return {str(init) for member in members if (init := getattr(member, "init", None)) is not None}


def _data_set(name: str, entries: Sequence[PlanEntry], done: Mapping[str, RunRecord]) -> str:
    """One line on a data set: its size, how it is split, and the settings that go with it."""
    finished = [done[entry.key] for entry in entries if entry.key in done]
    tested = [record.test["clips"] for record in finished]
    classes = max((len(record.result.labels) for record in finished), default=0)
    size = f"{classes} classes, {_range(tested)} test clips a run; " if finished else ""
    folds = sorted({entry.fold for entry in entries if entry.fold is not None})
    early = [len(record.result.history) for record in finished if record.result.stopped_early]
    stopped = f" ({number_of(len(early), 'run')} stopped early, after {_range(early)})" if early else ""
    return (
        f"{name}: {size}{f'folds {_listed(folds)}' if folds else 'its own split'}; "
        f"epochs {_values(entries, done, 'num_train_epochs')}{stopped}, frames {_values(entries, done, 'max_length')}, "
        f"selection {_values(entries, done, 'selection')}"
    )


def _origin(done: Mapping[str, RunRecord], devices: Mapping[str, str]) -> list[str]:
    """Which weights, sources, devices and versions the finished runs had; a line each."""
    if not done:
        return []
    weights = Counter((one.identity.get("backbone"), one.backbone_fingerprint) for one in done.values())
    names = [name for name, _ in weights if name]
    lines = [f"Weights: {name} of two kinds!" for name in sorted({n for n in names if names.count(n) > 1})]
    states = Counter((record.commit, record.dirty) for record in done.values())
    lines.append("Commit: " + ", ".join(_commit(*state) for state in states))
    lines.append("Device: " + "; ".join(f"{letter}: {name}" if letter else name for name, letter in devices.items()))
    versions = (record.result.versions for record in done.values())
    shown = dict.fromkeys(
        f"torch {one.get('torch', '?')}, transformers {one.get('transformers', '?')}" for one in versions
    )
    return [*lines, f"Versions: {'; '.join(shown)}"]


def _values(entries: Iterable[PlanEntry], done: Mapping[str, RunRecord], setting: str) -> str:
    """What a setting was: as the runs resolved it where they are finished, as planned where not."""
    found: set[float | str] = set()
    for entry in entries:
        resolved = done[entry.key].result.recipe if entry.key in done else {}
        value = resolved.get(setting, entry.settings.get(setting))
        if value is not None:
            found.add(value)
    return (
        ", ".join(str(value) for value in sorted(found, key=lambda value: (isinstance(value, str), value)))
        or "as the data decide"
    )


def _rows_apart(entries: Iterable[PlanEntry]) -> list[str]:
    """One line on rows whose settings are not those of most rows of their column, if there are any."""
    columns: dict[str, list[PlanEntry]] = defaultdict(list)
    for entry in entries:
        if entry.method != BASELINE:
            columns[entry.column].append(entry)
    apart: dict[str, dict[str, None]] = defaultdict(dict)
    for own in columns.values():
        for name in sorted({name for entry in own for name in entry.settings} - set(_UNSEEN)):
            values = [
                "the method's" if _is_default_rate(name, entry) else _shown(entry.settings.get(name)) for entry in own
            ]
            usual = Counter(values).most_common(1)[0][0]
            for entry, value in zip(own, values, strict=True):
                if value != usual:
                    apart[entry.row][f"{name} {value}"] = None
    ordered = dict.fromkeys(entry.row for own in columns.values() for entry in own if entry.row in apart)
    listed = "; ".join(f"{row} ({', '.join(apart[row])})" for row in ordered)
    return [f"Rows with settings of their own: {listed}"] if listed else []


def _is_default_rate(setting: str, entry: PlanEntry) -> bool:
    """Whether this is the learning rate that the entry's method asks for: the paper's differ between methods."""
    return setting == "learning_rate" and entry.settings.get(setting) == default_learning_rate(
        parse_method(entry.method)
    )


def _commit(commit: str | None, dirty: bool | None) -> str:
    return "not from a checkout" if commit is None else commit[:10] + (" with uncommitted changes" if dirty else "")


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def _range(numbers: list[int]) -> str:
    return str(numbers[0]) if len(set(numbers)) == 1 else f"{min(numbers)} to {max(numbers)}"


def unlike_the_paper(results: Results) -> tuple[str, ...]:
    """Each way in which runs differ from the shipped table of their name, in the setting that they have.

    Args:
        results: of a table.

    Returns:
        A phrase each; none for a whole run of the paper's protocol. A table of the user's own only says if it was a trial run.
    """
    saved, done = results.plan, results.records
    limits = {limit for entry in saved.entries if (limit := entry.settings.get("limit_clips"))}
    tried = [f"trial run on at most {_listed(sorted(limits))} clips of each split: not a result"] if limits else []
    name = shipped_name(saved)
    if name is None:  # it claims nothing of the paper
        return tuple(tried)
    as_published = _setting(saved.entries) == _SETTINGS[1]
    options = PlanOptions(data_root=Path("no data, published sizes"), as_published=as_published)
    paper = plan(*load_table(name), options)
    ours = [entry for entry in saved.entries if entry.method != BASELINE]  # an addition, which changes nothing else
    missing = len(saved.keys) - len(done)
    unfinished = [f"{number_of(missing, 'run')} {'is' if missing == 1 else 'are'} not finished"] if missing else []
    phrases = [
        *tried,
        *_other_settings(ours, paper),
        *_other_data(saved.entries, done),
        *_left_out(saved, {entry.row for entry in ours}, paper),
        *unfinished,
    ]
    return tuple(dict.fromkeys(phrases))


def _other_settings(entries: Iterable[PlanEntry], paper: Sequence[PlannedRun]) -> Iterator[str]:
    """Rows and columns that the paper does not have, and what is set otherwise in those that it has."""
    settings = {(run.row, run.column): run.settings_key for run in paper}
    columns = {run.column for run in paper}
    for entry in entries:
        theirs = settings.get((entry.row, entry.column))
        if theirs is None:
            what, name = ("row", entry.row) if entry.column in columns else ("column", entry.column)
            yield f"the paper's table has no {what} {name!r}"
            yield from _settings_elsewhere(entry, [run for run in paper if run.row == entry.row])
            continue
        if _but_for_the_rate(entry.method) != _but_for_the_rate(theirs["method"]) or (
            entry.settings.get("backbone") == theirs["backbone"] and entry.method != theirs["method"]
        ):
            yield f"{entry.row}: method {entry.method} instead of {theirs['method']}"
        for name in {**theirs, **entry.settings}:
            if name not in {*_UNSEEN, "limit_clips"} and entry.settings.get(name) != theirs.get(name):
                yield f"{name} {_shown(entry.settings.get(name))} instead of {_shown(theirs.get(name))}"


def _settings_elsewhere(entry: PlanEntry, paper: Sequence[PlannedRun]) -> Iterator[str]:
    """What a run on other data sets otherwise than all the paper's runs of its row."""
    for name in _COMPARED_ELSEWHERE:
        theirs = {run.settings_key.get(name) for run in paper}
        if theirs and entry.settings.get(name) not in theirs:
            yield f"{name} {_shown(entry.settings.get(name))} instead of {' or '.join(sorted(map(_shown, theirs)))}"


def _left_out(saved: SavedPlan, rows: set[str], paper: Sequence[PlannedRun]) -> Iterator[str]:
    """Rows, columns and folds of the paper that were not planned."""
    for what, shown, all_of_them in (
        ("rows", rows, {run.row for run in paper}),
        ("columns", set(saved.columns), {run.column for run in paper}),
    ):
        if len(shown & all_of_them) < len(all_of_them):
            yield f"{len(shown & all_of_them)} of the paper's {len(all_of_them)} {what}"
    for column in saved.columns:
        ours = {entry.fold for entry in saved.entries if entry.column == column}
        folds = {run.fold for run in paper if run.column == column}
        if folds and ours != folds:
            yield f"{column}: {len(ours)} of {len(folds)} folds"


def _other_data(entries: Iterable[PlanEntry], done: Mapping[str, RunRecord]) -> Iterator[str]:
    """Data sets that are not whole, or not the published ones at all."""
    for entry in entries:
        layout = LAYOUTS.get(entry.dataset)
        if layout is None:
            continue
        clips, classes = entry.dataset_clips, len(done[entry.key].result.labels) if entry.key in done else None
        for what, here, published in (
            ("clips", clips, layout.published_clips), ("classes", classes, layout.published_classes)
        ):  # fmt: skip
            if here is not None and published is not None and here != published:
                yield f"{entry.dataset} has {here:,} {what} here, {published:,} as published"


def _but_for_the_rate(spec: str) -> list[tuple[str, dict[str, Any]]]:
    """A method without what a backbone of another width changes."""
    return [(one.family, one.model_dump(exclude={"reduction_rate"})) for one in parse_method(spec).members]


def _shown(value: Any) -> str:  # noqa: ANN401 - any setting
    return "unset" if value is None else str(value)
