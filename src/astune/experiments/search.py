"""Which sizes, layer by layer, for a budget? Successive halving for each fold and seed, every training a run of the store.

A fold's test clips choose nothing: candidates and single methods are ranked by its own validation clips, and each fold has its own winner.
So the test scores are those of the whole procedure, and no clip that tests a winner has chosen it.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astune.console import notify, progress
from astune.errors import ConfigError, DataError
from astune.experiments.compared import BEST_SINGLE, SEARCHED
from astune.experiments.comparison import Comparison
from astune.experiments.design import part_by_part
from astune.experiments.failures import RunsElsewhere
from astune.experiments.halving import Score, best
from astune.experiments.live_table import live_table
from astune.experiments.paired import in_words
from astune.experiments.plan import PlannedRun, distinct
from astune.experiments.plan_names import claim_name
from astune.experiments.results import Results
from astune.experiments.runner import fingerprints_of, pending_runs, run_here, run_on_ray
from astune.experiments.search_plan import PlannedSearch, plan_search
from astune.experiments.searched import RungResult, SearchResult, Trained
from astune.experiments.store import Store
from astune.folder_lock import in_brackets
from astune.names import SEARCHED_METHODS
from astune.plurals import number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from astune.experiments.failures import Failure
    from astune.experiments.paired import Pair
    from astune.experiments.records import SavedPlan
    from astune.experiments.runner import Bar


def search(
    data: str | Path,
    parameters: int | str,
    methods: str | Sequence[str] = SEARCHED_METHODS,
    *,
    candidates: int = 12,
    seeds: int | None = None,
    folds: Sequence[int] = (),
    store: str | Path = "results",
    workers: int = 1,
    ray: str | None = None,
    gpus_per_run: float = 0.0,
    cpus_per_run: float = 1.0,
    **settings: Any,
) -> SearchResult:
    """Search the sizes of adapters, LoRA and prompts, layer by layer, for a number of trained parameters.

    For each fold and seed, candidates within the budget are trained for a short while; the best third by validation score goes on with
    three times the epochs, until one is left, which is trained by the whole recipe. It is compared with the best single method at the
    same budget, which the same validation clips choose. Test clips choose nothing. The clips are divided as by :func:`astune.compare`.
    Trainings that are finished in the store are not run again, and those that were stopped go on. Each training is a process that
    imports the script it was started from: begin a script with ``if __name__ == "__main__":``.

    Args:
        data: as for :func:`astune.load_data`.
        parameters: the most trained parameters, counted as the paper counts them; a number, or text such as ``250k`` or ``1.2M``.
        methods: presets or families whose sizes are chosen for each layer; text with commas is taken apart.
        candidates: how many configurations are drawn for each seed, 2 or more.
        seeds: searches on each fold; 1 where there are several folds and 3 where there is one split, by default.
        folds: test folds; all where empty.
        store: folder of the runs, shared with ``astune compare`` and ``astune reproduce``.
        workers: trainings side by side on this machine.
        ray: address of a Ray cluster to run on.
        gpus_per_run: share of a GPU that a training takes on Ray.
        cpus_per_run: cores that a training takes on Ray.
        settings: fields of :class:`astune.TrainConfig`, for all trainings alike, such as ``backbone``, ``num_train_epochs`` or ``shots``.

    Returns:
        What was found for each fold and seed, and how it compares with the best single method. Trainings that failed are named in it.

    Raises:
        ConfigError: the budget is too small for all methods, or methods or settings cannot be used; before anything is trained. Or no
            candidate of a fold could be trained, or another process runs some of them.
        DataError: the data or a record of the store cannot be used, or the data leave no validation clips.
        Interrupted: a KeyboardInterrupt; the same call goes on from there.
    """
    if ray is not None and workers > 1:
        raise ConfigError("ray shares the runs out itself; give it without workers")
    planned = plan_search(data, parameters, methods, candidates=candidates, seeds=seeds, folds=folds, **settings)
    for note in planned.notes:
        notify(note)
    runs_store = Store(Path(store))

    def run(waiting: Sequence[PlannedRun], bar: Bar) -> list[Failure]:
        if ray:
            return run_on_ray(waiting, runs_store, ray, gpus_per_run, cpus_per_run, bar, split="validation")
        return run_here(waiting, runs_store, workers, bar, split="validation")

    return _Search(planned, runs_store, run, listen=ray is None).result()


class _Search:
    """A search that goes on: what has been trained and what was chosen by it.

    Args:
        planned: what is searched.
        store: takes the runs.
        run: trains some runs, and gives those that failed.
        listen: whether features are computed here before anything is trained.
    """

    def __init__(
        self,
        planned: PlannedSearch,
        store: Store,
        run: Callable[[Sequence[PlannedRun], Bar], list[Failure]],
        *,
        listen: bool,
    ) -> None:
        self.planned, self.store, self.run, self.listen = planned, store, run, listen
        self.failures: list[Failure] = []
        self.rungs: list[RungResult] = []
        self.named = planned.draft

    def result(self) -> SearchResult:
        """Train rung by rung, then what was found and the single methods.

        Raises:
            ConfigError: no candidate of a fold could be trained, something is wrong with a method, a fold or a recording, or another
                process runs trainings of this search.
            DataError: a record has no scores by which to choose.
        """
        planned = self.planned
        standing = {pair: [one.spec for one in planned.candidates[pair[1]]] for pair in planned.pairs}
        for number, (rung, after) in enumerate(pairwise(planned.rungs), start=1):
            epochs = rung.epochs or 1  # all but the last rung state them
            notify(
                f"Rung {number} of {len(planned.rungs)}: {number_of(rung.candidates, 'candidate')} for each fold and seed, "
                f"{number_of(epochs, 'epoch')} each"
            )
            runs = planned.runs(standing, epochs)
            if number == 1:
                planned.refuse_faults(self.store, listen=self.listen)
                self.named = claim_name(planned.draft, self.store)
            self._train(runs, progress)
            trained = {pair: self._trained(runs, pair, specs) for pair, specs in standing.items()}
            standing = {pair: self._best(some, after.candidates, pair) for pair, some in trained.items()}
            self.rungs.append(
                RungResult(
                    epochs,
                    tuple(
                        replace(one, kept=one.spec in standing[pair]) for pair, some in trained.items() for one in some
                    ),
                )
            )
        return self._compared({pair: specs[0] for pair, specs in standing.items()})

    def _compared(self, winners: Mapping[Pair, str]) -> SearchResult:
        """Train what was found and the single methods by the whole recipe, and compare them."""
        planned, singles = self.planned, [one.spec for one in self.planned.space.singles]
        notify(
            f"Rung {len(planned.rungs)} of {len(planned.rungs)}: what was found and the single methods, by the whole recipe"
        )
        runs = planned.runs({pair: [winner, *singles] for pair, winner in winners.items()}, None)
        rows = [replace(run, row=SEARCHED) for run in runs if run.row == winners[run.fold, run.seed]]
        rows += [run for run in runs if run.row in singles]
        saved = self._saved(rows)
        self.store.write_plan(saved)
        self._train(rows, live_table(saved, self.store))
        found = [one for pair, winner in winners.items() for one in self._trained(runs, pair, [winner])]
        single = {pair: self._trained(runs, pair, singles) for pair in winners}
        chosen = {pair: self._best(some, 1, pair)[0] for pair, some in single.items() if some}
        rows += [replace(run, row=BEST_SINGLE) for run in runs if run.row == chosen.get((run.fold, run.seed))]
        saved = self._saved(rows)
        saved = replace(saved, notes=(*saved.notes, *_chosen(winners, chosen)))
        self.store.write_plan(saved)
        return SearchResult(
            name=saved.name,
            parameters=planned.space.budget,
            rungs=tuple(self.rungs),
            found=tuple(found),
            single=tuple(
                replace(one, kept=one.spec == chosen.get(pair)) for pair, some in single.items() for one in some
            ),
            comparison=Comparison.of(Results.of(saved, self.store), list(map(str, self.failures))),
        )

    def _saved(self, rows: Sequence[PlannedRun]) -> SavedPlan:
        return replace(self.planned.saved(rows), name=self.named.name, asked=self.named.asked)

    def _train(self, runs: Sequence[PlannedRun], bar: Bar) -> None:
        waiting = pending_runs(distinct(runs), self.store, fingerprints_of(runs))
        failures = self.run(part_by_part(waiting), bar)
        elsewhere = [one.reason for one in failures if isinstance(one.reason, RunsElsewhere)]
        if elsewhere:  # the best of the others may not be the best
            failed = "".join(f"\n  failed: {one}" for one in failures if not isinstance(one.reason, RunsElsewhere))
            who = ", ".join(dict.fromkeys(one.holder for one in elsewhere if one.holder))
            raise ConfigError(
                f"another process runs {number_of(len(elsewhere), 'training')} of this search{in_brackets(who)}; when it has "
                f"ended, the same command goes on{failed}"
            )
        self.failures += failures

    def _trained(self, runs: Sequence[PlannedRun], pair: Pair, specs: Sequence[str]) -> list[Trained]:
        """The finished runs of a fold and seed, in the order of their methods; what failed is not among them.

        Raises:
            DataError: a record has no scores by which to choose.
        """
        found = []
        rows = {run.row: run for run in runs if (run.fold, run.seed) == pair}
        for spec in specs:
            run = rows[spec]
            if self.store.status(run, {}) == "done":
                result = self.store.read(run.key).result
                if "validation" not in result.scores:
                    path = self.store.path(run.key)
                    raise DataError(
                        f"{path} has no scores of validation clips, by which a search chooses; delete it, and start again"
                    )
                figures = result.scores["validation"]
                named = self.planned.metric, "loss"
                found.append(
                    Trained(
                        fold=run.fold, seed=run.seed, spec=spec, parameters=run.parameters, key=run.key,
                        validation={name: float(figures[name]) for name in dict.fromkeys(named)},
                        epochs=len(result.history), seconds=result.train_seconds + result.frozen_seconds,
                    )
                )  # fmt: skip
        return found

    def _best(self, trained: Sequence[Trained], number: int, pair: Pair) -> list[str]:
        """Methods of the best ones by validation clips.

        Raises:
            ConfigError: none could be trained.
        """
        if not trained:
            reasons = "".join(f"\n  {one}" for one in self.failures if (one.run.fold, one.run.seed) == pair)
            raise ConfigError(f"no candidate of {in_words(pair)} could be trained:{reasons}")
        scores = [Score(one.spec, one.parameters, one.validation) for one in trained]
        return [one.spec for one in best(scores, number, self.planned.task, self.planned.metric)]


def _chosen(winners: Mapping[Pair, str], singles: Mapping[Pair, str]) -> list[str]:
    """For the report, which has one row for all that was found: a sentence for each fold and seed."""
    notes = []
    for pair, spec in winners.items():
        best = f"; best single method: {singles[pair]}" if pair in singles else ""
        notes.append(f"Chosen by validation clips, {in_words(pair)}: {spec}{best}")
    return notes
