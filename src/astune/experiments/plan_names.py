"""Names of comparisons and searches in a store: another one of the same data takes another name, and the same one keeps its own.

A sample: ``compare-sounds`` has linear and lora. With dora among the methods the comparison is ``compare-sounds-1f0a93c2``, and asked for
again, it is that again. Both can be reported.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from filelock import FileLock

from astune.console import notify
from astune.errors import DataError, explain_write_errors
from astune.experiments.compared import BEST_SINGLE, SEARCHED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from astune.experiments.records import PlanEntry, SavedPlan
    from astune.experiments.store import Store

_DIGITS = 8


def digest_of_asked(entries: Iterable[PlanEntry], more: Sequence[object] = ()) -> str:
    """What tells one comparison or search from another: its rows and runs, in any order.

    Args:
        entries: of all runs that are known before any is trained.
        more: what else was asked for, as JSON has it.

    Returns:
        Hexadecimal digits.
    """
    asked = [sorted({(entry.row, entry.key) for entry in entries}), *more]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


def name_in_store(plan: SavedPlan, store: Store) -> str:
    """The name that a plan has in a store, or will have.

    Args:
        plan: a comparison or a search, with its usual name.
        store: may have plans.

    Returns:
        The usual name; with a digest behind it where that is another plan's.
    """
    other = f"{plan.name}-{str(plan.asked)[:_DIGITS]}"
    there, aside = _read(store, plan.name), _read(store, other)
    if there is not None and _same(there, plan):
        return plan.name
    if aside is not None and _same(aside, plan):  # whatever has become of the first
        return other
    return plan.name if there is None else other


def describe_name(plan: SavedPlan, name: str, store: Store) -> str | None:
    """What to say of a name that is not the usual one.

    Args:
        plan: with its usual name.
        name: the result of :func:`name_in_store`.
        store: of the plans.

    Returns:
        A note; None where the name is the usual one.
    """
    if name == plan.name:
        return None
    return (
        f"Note: {plan.name} in {store.folder} was asked for with other methods, settings or clips, and is kept; "
        f"this one is named {name}"
    )


def claim_name(plan: SavedPlan, store: Store) -> SavedPlan:
    """Take a name for a plan before its runs begin, and say so where it is not the usual one.

    Args:
        plan: a comparison or a search, with its usual name.
        store: takes the plan; that of the same comparison or search stays as it is.

    Returns:
        The plan with its name in the store.
    """
    path = store.plan_path(plan.name)
    with explain_write_errors(path, "make room, or give another store"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.name.lock"):  # of two that begin at once, one has the usual name
            named = replace(plan, name=name_in_store(plan, store))
            if _read(store, named.name) is None:
                store.write_plan(named)
    if note := describe_name(plan, named.name, store):
        notify(note)
    return named


def others_of(name: str, store: Store) -> list[str]:
    """The plans that took another name because one has the usual name.

    Args:
        name: the usual one.
        store: of the plans.

    Returns:
        Names, sorted.
    """
    found = (one.removeprefix(f"{name}-") for one in store.planned() if one.startswith(f"{name}-"))
    return [f"{name}-{rest}" for rest in found if len(rest) == _DIGITS and not set(rest) - set("0123456789abcdef")]


def _read(store: Store, name: str) -> SavedPlan | None:
    """A plan that is there; None for a damaged one too, which is written again."""
    try:
        return store.read_plan(name)
    except DataError:
        return None


def _same(there: SavedPlan, plan: SavedPlan) -> bool:
    if there.asked is not None:
        return there.asked == plan.asked
    # Plans of older versions: all rows but those that a search chooses are known before it begins.
    known, wanted = (
        {(entry.row, entry.key) for entry in one.entries if entry.row not in {SEARCHED, BEST_SINGLE}}
        for one in (there, plan)
    )
    return known == wanted
