"""What a comparison and a search have in common: how the data are divided, what is said of it, and what is looked at before hours go by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from astune.console import notify
from astune.data.made_folds import usual_folds, with_folds
from astune.data.options import DataOptions
from astune.errors import AstuneError, ConfigError, DataError, format_faults
from astune.experiments.table import check_settings
from astune.names import BUNDLED_BACKBONE
from astune.plurals import number_of
from astune.training.check import check
from astune.training.config import TrainConfig
from astune.training.listening import listen_as_trained

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from astune.data.dataset import AudioDataset
    from astune.experiments.plan import PlannedRun
    from astune.experiments.store import Store
    from astune.training.check import Checked

TEST_CLIPS_CHOOSE_NOTHING = "Test clips choose nothing: not the epoch, no setting, no fold"
_SEEDS = 3  # of one split
_NAMED = 3  # rows, for each fault


@dataclass(frozen=True)
class Asked:
    """Settings of a user, sorted by what they are about."""

    options: DataOptions
    """How the data are read."""
    backbone: str
    settings: dict[str, Any]
    """All others, by name."""

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Asked:
        """Sort settings.

        Args:
            settings: fields of :class:`astune.TrainConfig`.

        Raises:
            ConfigError: an unknown one, or one that the place of a run decides.
        """
        options = DataOptions.among(dict(settings))
        own = {name: value for name, value in settings.items() if name not in DataOptions.model_fields}
        backbone = own.pop("backbone", BUNDLED_BACKBONE)
        try:
            check_settings(own)
        except ValueError as fault:
            raise ConfigError(str(fault)) from fault
        return cls(options, backbone, own)


@dataclass(frozen=True)
class Design:
    """How the clips are divided and how often each method runs."""

    options: DataOptions
    """How the data are read, with the folds that were made."""
    seeds: int
    """Runs of each method and fold."""
    notes: list[str]
    """A sentence on each decision."""


def design(data: AudioDataset, options: DataOptions, seeds: int | None, folds: Sequence[int]) -> Design:
    """Decide how the clips are divided. Labels, groups and splits decide, no audio.

    Args:
        data: as they were read.
        options: with which they were read.
        seeds: runs of each method and fold; 1 where there are several folds and 3 where there is one split, by default.
        folds: test folds; all where empty.

    Returns:
        The design.

    Raises:
        ConfigError: ``seeds`` is no whole number from 1.
        DataError: data without folds and test split cannot be divided into folds.
    """
    if seeds is not None and (not isinstance(seeds, int) or seeds < 1):
        raise ConfigError(f"seeds={seeds!r}; give a whole number, 1 or more")
    if not data.folds and not any(clip.split == "test" for clip in data.clips):
        count = usual_folds(data)
        options, data = options.model_copy(update={"make_folds": count}), with_folds(data, count)
    made = options.make_folds is not None
    tested = list(dict.fromkeys(folds)) or list(data.folds)
    several = len(tested) > 1
    seeds = seeds or (1 if several else _SEEDS)
    if made:
        how = next(line.removeprefix("Note: ") for line in data.remarks if "test folds are made" in line)
        notes = [f"Folds: the data have neither folds nor a test split, so {how}", *_ungrouped(data)]
    elif data.folds:
        notes = [f"Folds: those of the data ({', '.join(map(str, data.folds))})"]
    else:
        notes = ["Test clips: the test split of the data, in every run"]
    if data.folds:
        shown = ", ".join(map(str, tested))
        notes.append(
            f"Each of the folds {shown} tests once per seed" if several else f"Fold {shown} tests in every run"
        )
    notes.append(f"Seeds: {number_of(seeds, 'run')} of each method" + (" and fold" if several else ""))
    notes.append(TEST_CLIPS_CHOOSE_NOTHING)
    notes.append(_about_intervals(data, tested, seeds))
    return Design(options, seeds, notes)


def _ungrouped(data: AudioDataset) -> list[str]:
    if any(clip.group is not None for clip in data.clips):
        return []
    columns = f"; {' or '.join(data.group_like)} may" if data.group_like else ""
    return [
        "Warning: nothing says which clips share a speaker, session or device (column group of a table, or group_by"
        f"{columns}); if some do, they are in several folds and all scores are too good"
    ]


def _about_intervals(data: AudioDataset, tested: Sequence[int], seeds: int) -> str:
    if len(tested) > 1:
        return (
            f"Intervals: 95 %, Student's over {len(tested)} folds, the seeds of a fold averaged first, and widened because folds share "
            "training clips (Nadeau and Bengio, 2003)"
        )
    over = f"for other seeds (Student's over {seeds})" if seeds > 1 else "not for other seeds, because there is one"
    clips = len(data.split(tested[0] if tested else None).test)
    if data.task.counts_clips:
        return f"Intervals: 95 %, {over} and for other test clips ({clips:,} here), but not for other training clips"
    return f"Intervals: 95 %, {over}, and not for other test or training clips"


def part_by_part(runs: Sequence[PlannedRun]) -> list[PlannedRun]:
    """All methods on one fold and seed, then on the next: what is finished can be compared at any time.

    Args:
        runs: planned.
    """
    order = {part: number for number, part in enumerate(dict.fromkeys((run.fold, run.seed) for run in runs))}
    return sorted(runs, key=lambda run: order[run.fold, run.seed])


def look_ahead(waiting: Sequence[PlannedRun], store: Store, *, listen: bool, headline: str) -> None:
    """Find what is wrong with a method, a fold or a recording before an hour has gone into the others.

    Args:
        waiting: the runs that have to be run.
        store: takes their records.
        listen: whether the features are computed, too, which the runs then find.
        headline: what cannot be done where there are faults, for the message.

    Raises:
        ConfigError: with all faults.
    """
    rows: set[str] = set()
    parts: set[tuple[int | None, int]] = set()
    faults: dict[str, list[str]] = {}
    for run in waiting:
        part = run.fold, run.seed
        if run.method is None or (run.row in rows and part in parts):
            continue
        config = TrainConfig(**run.config, output_dir=store.work(run.key), overwrite_output_dir=True)
        who = run.row
        try:
            checked = check(config)
            if listen and part not in parts:
                who = run.dataset
                _listen(config, checked, announced=bool(parts))
        except AstuneError as fault:
            faults.setdefault(str(fault), []).append(who)
            listen = listen and who == run.row  # what is broken would be read again for each fold
        rows.add(run.row)
        parts.add(part)
    if faults:
        named = [f"{_first_of(list(dict.fromkeys(some)))}: {fault}" for fault, some in faults.items()]
        raise ConfigError(format_faults(named, headline))


def _first_of(rows: list[str]) -> str:
    """The candidates of a search are many, and often have one fault."""
    more = len(rows) - _NAMED
    return ", ".join(rows[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _listen(config: TrainConfig, checked: Checked, *, announced: bool) -> None:
    """Compute the features of a fold, which its runs then find.

    Raises:
        AudioError: recordings cannot be read.
        DataError: what can be read leaves nothing to test, or nothing of a class to train on.
    """
    listened = listen_as_trained(config, checked)
    for notice in () if announced else listened.notices:
        notify(notice)
    if not listened.split.test:
        where = "the test split" if config.fold is None else f"fold {config.fold}"
        raise DataError(f"no test clip of {where} can be read; repair or remove them")
