"""What a table gave: its plan and the finished runs, read once and passed on as one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from astune.console import notify
from astune.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from astune.experiments.records import RunRecord, SavedPlan
    from astune.experiments.store import Store


@dataclass(frozen=True)
class Results:
    """A plan and its finished runs."""

    plan: SavedPlan
    records: Mapping[str, RunRecord]
    """The finished runs of the plan, by key."""
    store: Store
    """Where they come from, and where their tokens are."""

    @classmethod
    def load(cls, store: Store, name: str) -> Self:
        """Read a table as it was last asked for.

        Args:
            store: has it.
            name: of the table.

        Raises:
            DataError: the store has no such plan, or it is damaged.
        """
        return cls.of(store.read_plan(name), store)

    @classmethod
    def of(cls, plan: SavedPlan, store: Store) -> Self:
        """Read the finished runs of a plan; a damaged record is announced and left out.

        Args:
            plan: any.
            store: may have some of its runs.
        """
        found = {}
        for key in plan.keys:
            if store.path(key).exists():
                try:
                    found[key] = store.read(key)
                except DataError as fault:
                    notify(f"left out: {fault}; `astune reproduce` runs it again")
        return cls(plan, found, store)

    @property
    def headlines(self) -> dict[str, str]:
        """The scores that the cells show, with their headings: one for each task, so usually one."""
        tasks = [record.task for record in self.records.values()]
        return {task.headline: task.shares[task.headline] for task in tasks}

    def tokens(self, key: str) -> dict[str, Tensor]:
        """The [CLS] tokens of a run, read when they are asked for.

        Args:
            key: of the run.

        Returns:
            As :meth:`astune.experiments.store.Store.read_tokens` gives them.

        Raises:
            DataError: the file is missing or damaged.
        """
        found = self.store.read_tokens(key)
        labels = len(self.records[key].result.labels)
        if int(found["classes"].max()) >= labels:
            raise DataError(f"the tokens of the run {key} are of more classes than its {labels}")
        return found
