"""What a search trains: how the clips are divided, the budget's configurations, and the rungs of successive halving."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astune.architecture import Architecture
from astune.backbone import load_config
from astune.budget import PARAMETER_UNITS, parse_amount
from astune.data.layouts.base import load_data
from astune.errors import ConfigError, DataError
from astune.experiments.compared import SEARCHED
from astune.experiments.design import TEST_CLIPS_CHOOSE_NOTHING, Asked, Design, design, look_ahead, part_by_part
from astune.experiments.halving import Rung, rungs
from astune.experiments.plan import PlannedRun, PlanOptions, distinct, plan, to_saved_plan
from astune.experiments.plan_names import digest_of_asked
from astune.experiments.runner import fingerprints_of, unfinished
from astune.experiments.search_space import LEAST_SHARE, Candidate, Space, search_space, sized_methods
from astune.experiments.sources import own_entry
from astune.experiments.table import DataEntry, Row, Table
from astune.methods.registry import split_specs
from astune.names import SEARCHED_METHODS
from astune.plurals import number_of
from astune.training.check import split_of
from astune.training.config import TrainConfig
from astune.training.recipe import Recipe, resolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from astune.data.dataset import AudioDataset
    from astune.experiments.paired import Pair
    from astune.experiments.records import SavedPlan
    from astune.experiments.store import Store
    from astune.methods import Method
    from astune.task import Task

_FEWEST = 2  # candidates, of which one can be the better


@dataclass(frozen=True)
class PlannedSearch:
    """A search before it is run."""

    name: str
    """Usual name of its final comparison; a store may have another plan of that name, see :mod:`astune.experiments.plan_names`."""
    entry: DataEntry
    settings: dict[str, Any]
    """Fields of :class:`astune.TrainConfig`, for all trainings alike."""
    backbone: str
    space: Space
    candidates: Mapping[int, tuple[Candidate, ...]]
    """By seed."""
    rungs: tuple[Rung, ...]
    recipe_epochs: Mapping[Pair, int]
    """Of the whole recipe, by fold and seed."""
    notes: tuple[str, ...]
    """How the clips are divided and what is searched, a sentence each."""
    task: Task

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Fold and seed of each search."""
        return tuple(self.recipe_epochs)

    @property
    def metric(self) -> str:
        """Name of the figure of validation clips by which the search chooses, as training chooses the epoch by it."""
        return str(self.settings.get("metric_for_best_model") or self.task.headline)

    @property
    def trainings(self) -> int:
        """How many there are, of candidates and single methods."""
        return len(self.pairs) * (sum(rung.candidates for rung in self.rungs) + len(self.space.singles))

    @property
    def epochs(self) -> int:
        """Of all trainings together, at most: a training by the whole recipe may stop early."""
        short = sum(rung.candidates * rung.epochs for rung in self.rungs if rung.epochs is not None)
        return sum(short + (1 + len(self.space.singles)) * whole for whole in self.recipe_epochs.values())

    @property
    def size(self) -> str:
        """Trainings and epochs in words."""
        made = f"{number_of(self.trainings, 'training')}, at most {number_of(self.epochs, 'epoch')} together"
        return f"{number_of(len(self.pairs), 'search')}, {made}"

    def record(self) -> dict[str, Any]:
        """The plan as JSON."""
        return {
            "name": self.name,
            "data": self.entry.name,
            "parameters": self.space.budget,
            "design": self.notes,
            "candidates": [
                {"seed": seed, "method": one.spec, "parameters": one.parameters}
                for seed, drawn in self.candidates.items()
                for one in drawn
            ],
            "single_methods": [{"method": one.spec, "parameters": one.parameters} for one in self.space.singles],
            "rungs": [
                {"candidates": rung.candidates, "num_train_epochs": rung.epochs or max(self.recipe_epochs.values())}
                for rung in self.rungs
            ],
            "trainings": self.trainings,
            "epochs": self.epochs,
        }

    def runs(self, specs: Mapping[Pair, Sequence[str]], epochs: int | None) -> list[PlannedRun]:
        """Plan trainings.

        Args:
            specs: methods of each fold and seed.
            epochs: of each training; None for the whole recipe.

        Returns:
            Run by run, as :func:`astune.experiments.plan.plan` gives them.
        """
        table = self._table(dict.fromkeys(spec for some in specs.values() for spec in some))
        settings = self.settings if epochs is None else self.settings | {"num_train_epochs": epochs}
        folds = tuple(dict.fromkeys(fold for fold, _ in self.pairs if fold is not None))
        wanted = PlanOptions(Path(), self.backbone, len(self.candidates), settings, folds=folds, needs_data=True)
        return [run for run in plan(self.name, table, wanted) if run.row in specs.get((run.fold, run.seed), ())]

    def refuse_faults(self, store: Store, *, listen: bool) -> None:
        """Find what is wrong with a method, a fold or a recording before anything is trained.

        Args:
            store: takes the runs; those that are finished are not looked at.
            listen: whether the features are computed, too.

        Raises:
            ConfigError: with all faults.
        """
        runs = distinct([*self._candidate_runs, *self._single_runs])
        waiting = part_by_part(unfinished(runs, store, fingerprints_of(runs)))
        look_ahead(waiting, store, listen=listen, headline="the sizes cannot be searched")

    @cached_property
    def _candidate_runs(self) -> list[PlannedRun]:
        """Of the first rung."""
        candidates = {pair: [one.spec for one in self.candidates[pair[1]]] for pair in self.pairs}
        return self.runs(candidates, self.rungs[0].epochs)

    @cached_property
    def _single_runs(self) -> list[PlannedRun]:
        return self.runs({pair: [one.spec for one in self.space.singles] for pair in self.pairs}, None)

    @cached_property
    def draft(self) -> SavedPlan:
        """The final comparison as it is known before anything is trained: the single methods, and a digest of all that was asked for."""
        entries = [run.entry for run in (*self._candidate_runs, *self._single_runs)]
        steps = [[rung.candidates, rung.epochs] for rung in self.rungs]
        return replace(self.saved(self._single_runs), asked=digest_of_asked(entries, [self.space.budget, *steps]))

    def saved(self, runs: Sequence[PlannedRun]) -> SavedPlan:
        """The final comparison, as it is written down.

        Args:
            runs: its runs, with the names of their rows.
        """
        return to_saved_plan(self.name, self._table([SEARCHED], self.space.singles[0].spec), runs)

    def _table(self, names: Sequence[str] | dict[str, Any], method: str | None = None) -> Table:
        return Table(
            title=f"Sizes searched on {self.entry.name}: {number_of(self.space.budget, 'parameter')}",
            kind="comparison",
            notes=self.notes,
            datasets=[self.entry],
            rows=[Row(name=name, method=method or name) for name in names],
        )


def plan_search(
    data: str | Path,
    parameters: int | str,
    methods: str | Sequence[str] = SEARCHED_METHODS,
    *,
    candidates: int = 12,
    seeds: int | None = None,
    folds: Sequence[int] = (),
    **settings: Any,
) -> PlannedSearch:
    """Decide what a search trains.

    Args:
        data: as for :func:`astune.load_data`.
        parameters: the most trained parameters, as for :func:`search`.
        methods: presets or families; text with commas is taken apart.
        candidates: how many configurations are drawn for each seed.
        seeds: searches on each fold, as for :func:`search`.
        folds: test folds; all where empty.
        settings: fields of :class:`astune.TrainConfig`, for all trainings alike.

    Returns:
        The plan.

    Raises:
        ConfigError: as of :func:`search`.
        DataError: as of :func:`search`.
    """
    budget = parse_amount("parameters", parameters, PARAMETER_UNITS)
    if budget is None:
        raise ConfigError("no budget is given; give parameters, such as 250k")
    if not isinstance(candidates, int) or candidates < _FEWEST:
        raise ConfigError(f"candidates={candidates!r}; give a whole number, {_FEWEST} or more")
    texts = [methods] if isinstance(methods, str) else list(methods)
    names = list(dict.fromkeys(spec for text in texts for spec in split_specs(text) if spec))
    kinds = sized_methods(names)
    asked = Asked.of(settings)
    designed = design(load_data(data, asked.options), asked.options, seeds, folds)
    dataset = load_data(data, designed.options)
    notes = _settle_selection(asked.settings, dataset)
    own = asked.settings | {"data": str(data), "backbone": asked.backbone} | designed.options.given_data_options
    recipes = _recipes(dataset, own, next(iter(kinds.values())), folds or dataset.folds or (None,), designed.seeds)
    shape = load_config(asked.backbone)
    shape.max_length = next(iter(recipes.values())).max_length
    space = search_space(kinds, budget, len(dataset.labels), Architecture.of(shape))
    drawn = _drawn(space, candidates, designed.seeds)
    number = len(drawn[0])
    entry = own_entry(str(data), options=designed.options)
    epochs = {pair: recipe.num_train_epochs for pair, recipe in recipes.items()}
    steps = rungs(number, min(epochs.values()))
    return PlannedSearch(
        name=f"search-{entry.name}-{budget}", entry=entry, settings=asked.settings, backbone=asked.backbone, space=space,
        candidates=drawn, rungs=tuple(steps), recipe_epochs=epochs,
        notes=(*_about_data(designed), *notes, *_about_search(space, number, candidates, steps)), task=dataset.task,
    )  # fmt: skip


def _settle_selection(settings: dict[str, Any], dataset: AudioDataset) -> list[str]:
    """See to it that there are validation clips, and say what was decided.

    Raises:
        ConfigError: the user wants the last epoch, whatever it scores.
    """
    if settings.get("selection") == "last":
        raise ConfigError(
            "selection=last keeps the last epoch, and a search chooses by validation clips; leave selection out"
        )
    if settings.get("selection") is None and dataset.recipe.selection == "last":
        settings["selection"] = "best-validation"
        return ["Validation clips: the data set's recipe has none, so a part of the training clips takes their place"]
    return []


def _recipes(
    dataset: AudioDataset, settings: dict[str, Any], method: Method, folds: Iterable[int | None], seeds: int
) -> dict[Pair, Recipe]:
    """The whole recipe of each fold and seed.

    Raises:
        DataError: no clips of a fold validate.
    """
    found: dict[Pair, Recipe] = {}
    for fold in dict.fromkeys(folds):
        for seed in range(seeds):
            fields = settings | {"fold": fold, "seed": seed, "method": method.spec, "output_dir": "."}
            config = TrainConfig.build(fields, "search")
            there, split = split_of(dataset, config)
            if not split.validation:
                raise DataError(
                    f"{dataset.source} leaves no validation clips, by which a search chooses; give more clips"
                )
            found[fold, seed] = resolve(config, method, there, split, quiet=True)
    return found


def _drawn(space: Space, candidates: int, seeds: int) -> dict[int, tuple[Candidate, ...]]:
    """Candidates by seed, of each seed equally many.

    Raises:
        ConfigError: the budget leaves nothing to choose.
    """
    drawn = {seed: space.draw(candidates, seed) for seed in range(seeds)}
    number = min(map(len, drawn.values()))
    if number < _FEWEST:
        largest = max(one.parameters for one in space.singles)
        raise ConfigError(
            f"parameters={space.budget:,}: hardly any configuration has {LEAST_SHARE:.0%} to 100% of that, and the largest single method "
            f"has {number_of(largest, 'parameter')}; give another budget"
        )
    return {seed: some[:number] for seed, some in drawn.items()}


def _about_data(designed: Design) -> list[str]:
    own = "Test clips choose nothing: not the epoch, not the sizes, not the best single method"
    return [own if note == TEST_CLIPS_CHOOSE_NOTHING else note for note in designed.notes]


def _about_search(space: Space, number: int, wanted: int, steps: Sequence[Rung]) -> list[str]:
    fewer = "" if number == wanted else f", not {wanted}: there are no more of this size, or hardly any"
    whole = ", ".join(f"{one.spec} ({one.parameters:,})" for one in space.singles)
    large = [kind.smallest for kind in space.kinds if kind.single is None]
    left_out = ", ".join(f"{one.spec} ({one.parameters:,})" for one in large)
    shown = ", then ".join(
        f"{step.candidates} for {number_of(step.epochs, 'epoch') if step.epochs is not None else 'the whole recipe'}"
        for step in steps
    )
    return [
        f"Candidates: {number} for each seed{fewer}, each with {LEAST_SHARE:.0%} to 100% of {number_of(space.budget, 'parameter')}",
        f"Rungs: {shown}; the best by validation clips go on",
        f"Single methods at this budget: {whole}",
        *([f"Not among them, because all layers together are over the budget: {left_out}"] if large else []),
    ]
