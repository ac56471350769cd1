"""Which method to use, in words: the simplest one that no other is shown to be better than."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astune.console import duration
from astune.experiments.compared import BEST_SINGLE, SEARCHED
from astune.plurals import number_of

if TYPE_CHECKING:
    from astune.experiments.compared import Compared, ComparedMethod, Difference
    from astune.experiments.paired import Estimate

_FASTER = 1.5  # times, from which on it is worth a word
_FEW = 3  # folds or seeds
_NO_NETWORK = "logistic regression on log-Mel statistics, without a network"


def percent(found: Estimate) -> str:
    """A share with its interval.

    Args:
        found: from 0 to 1.

    Returns:
        ``93.1 [91.0, 95.2]``, in percent.
    """
    ends = "" if found.interval is None else " [{:.1f}, {:.1f}]".format(*(100 * end for end in found.interval))
    return f"{100 * found.mean:.1f}{ends}"


def points(found: Difference | None) -> str:
    """A difference of shares with its interval.

    Args:
        found: from -1 to 1.

    Returns:
        ``-1.2 [-2.1, -0.3]``, in points of percent; a dash where no run is shared.
    """
    if found is None:
        return "-"
    ends = found.estimate.interval
    return f"{100 * found.estimate.mean:+.1f}" + (
        "" if ends is None else " [{:+.1f}, {:+.1f}]".format(*(100 * end for end in ends))
    )


def took(seconds: float) -> str:
    """A time of training.

    Args:
        seconds: of it.

    Returns:
        Such as ``0.8 s`` or ``12 min``.
    """
    return f"{seconds:.1f} s" if seconds < 9.95 else duration(seconds)


def simplest_best(compared: Compared) -> ComparedMethod | None:
    """The simplest network that no other is shown to be better than.

    Args:
        compared: methods with their finished runs.

    Returns:
        Of those that the best one leads by less than 1.96 standard errors, the one with the smallest adapter; None where no network is
        finished.
    """
    networks = _networks(compared)
    if not networks:
        return None
    best = _best(networks)
    alike = [row for row in networks if row is best or not _better(compared, best, row)]
    return min(alike, key=lambda row: row.cost)


def recommend(compared: Compared) -> str:
    """Recommend one method in words.

    Args:
        compared: methods with their finished runs.

    Returns:
        A few sentences: the method of :func:`simplest_best`, how it compares, what it takes, and what is doubtful. Of a search, whether
        it was worth it: there validation clips have chosen, and test scores may not choose once more.
    """
    if compared.is_search:
        return judge_search(compared)
    chosen, networks = simplest_best(compared), _networks(compared)
    if chosen is None:
        return "No run of a network is finished, so no method can be recommended."
    needed, verdict = _against_no_network(compared, chosen)
    sentences = [
        *([] if needed else verdict),
        *_why(compared, networks, chosen, needed=needed),
        _what_it_takes(chosen),
        *_faster(compared, networks, chosen),
        *(verdict if needed else []),
        *_doubts(compared, networks),
    ]
    return " ".join(sentences)


def judge_search(compared: Compared) -> str:
    """Say in words whether a search of sizes is shown to be worth it.

    Args:
        compared: what was found and the single methods, with their finished runs.
    """
    named = {SEARCHED, BEST_SINGLE} <= {row.name for row in compared.methods}
    found = compared.difference(SEARCHED, BEST_SINGLE) if named else None
    if found is None:
        return "No fold has both what was found and a single method, so nothing can be said of the search."
    ours, theirs = (
        percent(compared.estimate(one, other)) for one, other in ((SEARCHED, BEST_SINGLE), (BEST_SINGLE, SEARCHED))
    )
    planned = max(row.planned for row in compared.methods)
    some = (
        ""
        if found.pairs == planned
        else f" Only {found.pairs} of {planned} searches have both, and all figures are of these."
    )
    sentence = (
        f"Searched sizes: {compared.measure} {ours} %; best single method with at most as many parameters: {theirs} %; "
        f"difference {points(found)} points.{some}"
    )
    if found.estimate.interval is None:
        unknown = "there is one run of each" if found.pairs == 1 else f"all {found.pairs} differ by the same"
        return f"{sentence} Not shown to be better or worse: {unknown}, and nothing is known of others."
    low, high = found.estimate.interval
    if low > 0:
        return f"{sentence} The search is shown to be better: the interval is above zero."
    if high < 0:
        return f"{sentence} The search is shown to be worse: the interval is below zero. Use the single method."
    return f"{sentence} Not shown to be better or worse: the interval includes zero. The single method is simpler."


def _networks(compared: Compared) -> list[ComparedMethod]:
    return [row for row in compared.comparable if not row.is_baseline]


def _best(networks: list[ComparedMethod]) -> ComparedMethod:
    return max(networks, key=lambda row: (row.mean, *(-one for one in row.cost)))


def _better(compared: Compared, first: ComparedMethod, second: ComparedMethod) -> bool:
    """Whether the first one is clearly ahead, by its standard error."""
    found = compared.difference(first.name, second.name)
    return found is not None and found.estimate.clear


def _why(compared: Compared, networks: list[ComparedMethod], chosen: ComparedMethod, *, needed: bool) -> list[str]:
    opening = "Use" if needed else "Of the networks use"
    reached = f"{opening} {chosen.name}: {compared.measure} {_share(compared.estimate(chosen.name))}"
    if len(networks) == 1:
        return [f"{reached}."]
    best = _best(networks)
    if chosen is best:
        simpler = [row for row in networks if row.cost < chosen.cost]
        rival = max(simpler or [row for row in networks if row is not chosen], key=lambda row: row.mean)
        found = compared.difference(chosen.name, rival.name)
        sentences = [
            f"{reached}, {_above(found, rival.name)}." if found else f"{reached}.",
            *_unproven(compared, found),
        ]
        highest = "the highest mean" if found is None or found.estimate.mean else "no lower mean than the others"
        return sentences if simpler else [*sentences, f"It is the simplest network and has {highest}."]
    found = compared.difference(best.name, chosen.name)
    ahead = f", {_gap(found)} more{_ends(found)}" if found else ""
    sentences = [
        f"{reached}.",
        f"{best.name} has {_share(compared.estimate(best.name), ends=False)}{ahead}: not shown to be better.",
    ]
    if not any(_better(compared, best, row) for row in networks):
        sentences.append(f"No network is shown to differ from the best one, and {chosen.name} is the simplest.")
    return sentences


def _unproven(compared: Compared, found: Difference | None) -> list[str]:
    """What to add where a lead decides that an interval does not prove."""
    if found is None or not found.estimate.clear or found.estimate.above_zero:
        return []
    few = number_of(compared.repeats, "fold" if compared.rotating else "seed")
    if found.estimate.interval is None:
        same = f"It is ahead by the same in all {few}, so nothing is known of the spread, and the lead is not proven."
        return [same] if compared.repeats > 1 else []
    return [f"That is more than two standard errors, but {few} cannot prove it."]


def _what_it_takes(chosen: ComparedMethod) -> str:
    return f"Training takes {took(chosen.seconds)}, and the adapter has {chosen.adapter_bytes / 1e6:.2f} MB."


def _faster(compared: Compared, networks: list[ComparedMethod], chosen: ComparedMethod) -> list[str]:
    """The fastest network, where it is much faster."""
    fastest = min(networks, key=lambda row: row.seconds)
    found = compared.difference(chosen.name, fastest.name)
    if found is None or chosen.seconds < _FASTER * fastest.seconds or not fastest.seconds:
        return []
    times = chosen.seconds / fastest.seconds
    how = f"{times:.1f}" if times < 9.95 else f"{times:.0f}"
    gap = f"{_gap(found)} {'lower' if found.estimate.mean >= 0 else 'higher'}"
    return [f"{fastest.name} is {how} times faster and {gap}."]


def _against_no_network(compared: Compared, chosen: ComparedMethod) -> tuple[bool, list[str]]:
    """Whether a network is shown to be better than none, or nothing is known of it; and what to say of that."""
    found = compared.difference(chosen.name, compared.baseline.name) if compared.baseline else None
    if compared.baseline is None or found is None:
        return True, []
    if _better(compared, chosen, compared.baseline):
        return True, [f"It is {_above(found, _NO_NETWORK)}."]
    score = _share(compared.estimate(compared.baseline.name))
    name = _NO_NETWORK[0].upper() + _NO_NETWORK[1:]
    ahead = found.estimate.mean < 0
    wins = found.estimate.interval is not None and found.estimate.interval[1] < 0
    verdict = "wins" if wins else "has a higher mean" if ahead else "is not shown to be worse"
    unproven = ", but is not shown to be better" if ahead and not wins else ""
    return False, [
        f"{name}, {verdict}: {compared.measure} {score}, {_gap(found)} {'more' if ahead else 'less'} than {chosen.name}"
        f"{_ends(found)}{unproven}.",
        "So these runs do not show that a network is needed; look whether level, noise or device give the classes away "
        "(astune data check).",
    ]


def _doubts(compared: Compared, networks: list[ComparedMethod]) -> list[str]:
    doubts = []
    unit = "fold" if compared.rotating else "seed"
    if compared.repeats == 1:
        doubts.append("Each method ran once, so nothing is known of other seeds and folds; give more seeds.")
    elif compared.repeats <= _FEW and len(networks) > 1:
        doubts.append(
            f"{number_of(compared.repeats, unit)} are few: intervals are wide, and more {unit}s would narrow them."
        )
    if not compared.knows_other_clips:
        doubts.append("There is one test split, and nothing is known of what other test clips would give.")
    if compared.missing:
        verb = "is" if compared.missing == 1 else "are"
        doubts.append(
            f"{number_of(compared.missing, 'run')} {verb} missing, and this may change with {'it' if compared.missing == 1 else 'them'}."
        )
    return doubts


def _share(found: Estimate, *, ends: bool = True) -> str:
    shown = f"{100 * found.mean:.1f} %"
    if not ends or found.interval is None:
        return shown
    return shown + " ({:.1f} to {:.1f})".format(*(100 * end for end in found.interval))


def _gap(found: Difference) -> str:
    size = f"{abs(100 * found.estimate.mean):.1f}"
    return f"{size} point" if size == "1.0" else f"{size} points"


def _ends(found: Difference) -> str:
    if found.estimate.interval is None:
        return ""
    low, high = found.estimate.interval
    low, high = (low, high) if found.estimate.mean >= 0 else (-high, -low)
    return f" ({100 * low:.1f} to {100 * high:.1f})"


def _above(found: Difference, name: str) -> str:
    if not found.estimate.mean:
        return f"as much as {name}{_ends(found)}"
    side = "above" if found.estimate.mean >= 0 else "below"
    return f"{_gap(found)} {side} {name}{_ends(found)}"
