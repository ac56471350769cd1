r"""Labels as they come from folders and tables: cleaned where that is safe, compared with each other, refused where surely wrong.

A sample: ``"cafe\u0301 "`` becomes ``"café"``, with a note; ``1`` with ``1.0`` is refused; ``Dog`` with ``dog`` gives a warning.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from decimal import Decimal
from itertools import combinations
from typing import TYPE_CHECKING

from astune.data.label_cells import SURE_SEPARATORS, parts_of, shared_parts
from astune.errors import ConfigError, DataError, format_faults, unknown_choice
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_SHOWN = 3
# soft hyphen, zero-width space, marks of direction, word joiner and what is like it, byte order mark
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u061c\u2060-\u2064\ufeff]")
_AT_ENDS = "\u200c\u200d"  # joiners, which mean something inside of a word
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
_MISSING = re.compile(r"nan|null|n/a|<na>|#(n/a|ref!|value!|name\?|div/0!|num!|null!)", re.IGNORECASE)
_LIST = re.compile(r"\[(\s*['\"].*|.*,.*)\]|\{.*[,:].*\}")
_BETWEEN = re.compile(r"[;|,/+]")
_CYRILLIC = dict(zip("авеѕіјкмнорстухһԁԛԝү", "abesijkmhopctyxhdqwy", strict=True))
_GREEK = dict(zip("αβεζηικμνορτυχ", "abezhikmnoptux", strict=True))
_MARKS = dict.fromkeys("‐‑‒–—−", "-") | dict.fromkeys("‘’ʼ′", "'")
_UNDRAWN = dict.fromkeys("\ufe0e\ufe0f\u200c\u200d", "")  # variants of emoji, joiners
_DRAWN_ALIKE = str.maketrans(_CYRILLIC | _GREEK | _MARKS | _UNDRAWN)


def clean_label(label: str) -> str:
    """A label without what nobody sees.

    Args:
        label: the label, as found.

    Returns:
        It in Unicode's composed form (NFC), without outer spaces and zero-width characters.
    """
    if label.isascii():
        return label.strip()
    return unicodedata.normalize("NFC", _INVISIBLE.sub("", label).strip().strip(_AT_ENDS).strip())


def label_fault(label: object) -> str | None:
    """What makes a label impossible.

    Args:
        label: the label, as found or cleaned.

    Returns:
        A sentence; None for a label that can be used.
    """
    if not isinstance(label, str):
        return f"label {label!r} is of type {type(label).__name__}; labels are text, as in {str(label)!r}"
    if printable(label) != label:
        what = "bytes that are not UTF-8" if re.search("[\ud800-\udfff]", label) else "control characters"
        return f"label '{printable(label)}' holds {what}; rename it"
    return None if label else "a label is empty"


def label_faults(labels: Sequence[object], *, outer_spaces: bool = False) -> list[str]:
    """What is wrong with the labels of a task, which everything that shows or saves them relies on.

    Args:
        labels: names of the classes.
        outer_spaces: whether a label may have spaces around it, as those of older versions may.

    Returns:
        A sentence a fault, each with what to do about it; empty where nothing is wrong.
    """
    faults = [f"a classifier needs two labels or more, not {len(labels)}"] if len(labels) < 2 else []
    twice = sorted(printable(label) for label, times in Counter(filter(_is_text, labels)).items() if times > 1)
    if twice:
        more = f" and {len(twice) - _SHOWN:,} more" if len(twice) > _SHOWN else ""
        faults.append(f"labels that occur twice: {', '.join(twice[:_SHOWN])}{more}")
    for label in labels:
        fault = label_fault(label)
        if fault is None and not outer_spaces and label != str(label).strip():
            fault = f"label {label!r} has spaces around it; give {str(label).strip() or 'a name'!r}"
        faults += [fault] if fault else []
    return faults


def checked_labels(labels: Sequence[str], *, outer_spaces: bool) -> tuple[str, ...]:
    """Labels that a caller gives, as they can be shown and saved.

    Args:
        labels: labels in the order of the logits.
        outer_spaces: whether they may begin or end with spaces, as those of older adapters may.

    Returns:
        The labels.

    Raises:
        ConfigError: they cannot.
    """
    if isinstance(labels, set | frozenset):
        raise ConfigError("labels is a set, which has no order; give a list of names in the order of the logits")
    if isinstance(labels, str | bytes):
        raise ConfigError(f"labels={labels!r} is one text; give a list of names, such as ['dog', 'siren']")
    try:
        found = tuple(labels)
    except TypeError as fault:
        raise ConfigError(f"labels={labels!r} is not a list of names; give one, such as ['dog', 'siren']") from fault
    faults = label_faults(found, outer_spaces=outer_spaces)
    if faults:
        raise ConfigError(format_faults(faults, "labels"))
    return tuple(map(str, found))  # NumPy's texts too


def checked_negatives(negatives: Sequence[str], labels: Sequence[str]) -> tuple[str, ...]:
    """Labels that a caller declares to mean none of the others.

    Args:
        negatives: some of the labels.
        labels: all of them.

    Returns:
        The negative ones, in the order of the labels.

    Raises:
        ConfigError: the value is not a list, or one of its items is not a label.
    """
    if isinstance(negatives, str) or not isinstance(negatives, list | tuple):
        raise ConfigError(f"negatives={negatives!r} is not a list of labels; give one, such as ['noise']")
    for label in negatives:
        if label not in labels:
            raise ConfigError(unknown_choice("negative label", label, labels))
    return tuple(label for label in labels if label in negatives)


def _is_text(label: object) -> bool:
    return isinstance(label, str)


def known_labels(source: str, labels: Iterable[str], known: Sequence[str]) -> list[str]:
    """Labels of an adapter as a data set would have them.

    Args:
        source: the source of the data set.
        labels: labels of the data set.
        known: labels of the adapter.

    Returns:
        The adapter's labels in its order, cleaned as those of data sets are: older adapters may have others.

    Raises:
        DataError: the data set has others.
    """
    clean = [clean_label(label) for label in known]
    foreign = sorted(set(labels) - set(clean))
    if foreign:
        raise DataError(
            f"{source} has classes the adapter does not know: {', '.join(foreign[:5])}; it knows {', '.join(known[:20])}"
        )
    return clean


def cleaning_remark(changed: Mapping[str, str]) -> tuple[str, ...]:
    """What was cleaned, for people.

    Args:
        changed: the cleaned label of each that was changed.

    Returns:
        One sentence, or none.
    """
    if not changed:
        return ()
    shown = ", ".join(f"{old!a} as {new!r}" for old, new in list(changed.items())[:_SHOWN])
    labels = "1 label is" if len(changed) == 1 else f"{len(changed)} labels are"
    more = ", ..." if len(changed) > _SHOWN else ""
    return (f"Note: {labels} read without outer spaces and invisible characters, in composed Unicode: {shown}{more}",)


def find_similar(labels: Sequence[str], location_of: Callable[[str], str]) -> tuple[list[str], list[str]]:
    """Labels that look like one and are two.

    Args:
        labels: all, cleaned.
        location_of: the first use of a label, for the message.

    Returns:
        Faults, of pairs that are surely one label; and warnings, of pairs that may be.
    """
    faults, warnings = [], []
    same_number = set(_pairs((label, _number(label)) for label in labels))
    for a, b in sorted(same_number):
        faults.append(f"{_pair(a, b, location_of)} are the same number; write it in one way")
    for a, b in _pairs((label, _skeleton(label)) for label in labels):
        pair = _pair(a, b, location_of)
        if (a, b) in same_number:
            continue
        if _compatible(a) == _compatible(b):
            faults.append(f"{pair} differ in Unicode's form alone ({_points(a, b)}); write it in one way")
        elif _folded(a) == _folded(b):
            warnings.append(f"Warning: {pair} are two classes that differ in case or spaces alone")
        else:
            warnings.append(f"Warning: {pair} are two classes that look alike ({_points(a, b)})")
    return faults, warnings


def is_missing(text: str) -> bool:
    """Whether a cell says that a value is missing, as pandas and spreadsheets write it: ``nan``, ``#N/A``, ``#REF!``.

    Args:
        text: a label or a group.
    """
    return bool(_MISSING.fullmatch(text))


def doubtful(labels: Sequence[str], location_of: Callable[[str], str]) -> list[str]:
    """Labels that are hardly meant as they are: missing values, labels in quotes, several labels in one.

    Args:
        labels: all, cleaned.
        location_of: the first use of a label, for the message.

    Returns:
        A warning of each kind that occurs.
    """
    return [
        f"Warning: label '{printable(found[0])}' ({location_of(found[0])}) {_DOUBTS[kind]}"
        + (f" ({len(found) - 1:,} more like it)" if len(found) > 1 else "")
        for kind, found in doubtful_kinds(labels).items()
    ]


_DOUBTS = {
    "missing": "looks like a missing value",
    "quoted": "has quotes around it; is there a space before a quote?",
    "several": "looks like several labels in one, and is a class of its own",
}


def doubtful_kinds(labels: Sequence[str]) -> dict[str, list[str]]:
    """Labels that are hardly meant as they are, by what they look like.

    Args:
        labels: all, cleaned.

    Returns:
        Labels of each kind that occurs: ``missing`` (like a missing value), ``quoted``, ``several`` (like several labels in one).
    """
    known = set(labels)
    kinds = {
        "missing": [label for label in labels if is_missing(label)],
        "quoted": [label for label in labels if len(label) > 2 and label[0] == label[-1] and label[0] in "\"'"],
        "several": [label for label in labels if _LIST.fullmatch(label) or _may_be_several(label, known)],
    }
    return {kind: found for kind, found in kinds.items() if found}


def _may_be_several(label: str, known: set[str]) -> bool:
    """Whether a label has a sign that separates labels, or is made of other labels with another sign between them."""
    parts = [part.strip() for part in _BETWEEN.split(label)]
    return any(len(parts_of(label, mark)) > 1 for mark in SURE_SEPARATORS) or (
        len(parts) > 1 and all(part in known for part in parts)
    )


def several_in_one(labels: Sequence[str], location_of: Callable[[str], str], way_out: str) -> list[str]:
    """Labels that are surely several: ``dog;rain`` next to ``dog`` or ``dog;wind``; ``dog, rain`` next to ``dog`` and ``rain``.

    Args:
        labels: all, cleaned.
        location_of: the first use of a label, for the message.
        way_out: what the user can do.

    Returns:
        A fault of the first of them, with their number; or none.
    """
    known = set(labels)
    found = dict.fromkeys(label for mark in SURE_SEPARATORS for label in shared_parts(labels, mark))
    commas = {label: parts_of(label, ",") for label in labels if label not in found}
    found |= dict.fromkeys(label for label, parts in commas.items() if len(parts) > 1 and known.issuperset(parts))
    if not found:
        return []
    first = next(label for label in labels if label in found)
    more = f" ({len(found) - 1:,} more like it)" if len(found) > 1 else ""
    return [
        f"label '{printable(first)}' ({location_of(first)}) is several labels in one, for parts of it are labels elsewhere too{more}; "
        f"{way_out}, or write it without separators if it is one label"
    ]


def alike_groups(groups: Sequence[str]) -> list[str]:
    """Groups that may be one in two spellings, which a split would then divide.

    Args:
        groups: all, cleaned.

    Returns:
        One warning, or none.
    """
    keyed = [_number(group) or _skeleton(group) for group in groups]
    pairs = _pairs(zip(groups, keyed, strict=True))
    if not pairs:
        return []
    (a, b), more = pairs[0], f" ({len(pairs) - 1:,} more like them)" if len(pairs) > 1 else ""
    return [f"Warning: groups '{printable(a)}' and '{printable(b)}' are two groups that look alike{more}"]


def _pairs(keyed: Iterable[tuple[str, object]]) -> list[tuple[str, str]]:
    """Neighbours among labels of the same key."""
    groups: defaultdict[object, list[str]] = defaultdict(list)
    for label, key in keyed:
        if key is not None:
            groups[key].append(label)
    return [pair for group in groups.values() if len(group) > 1 for pair in combinations(group[: _SHOWN + 1], 2)]


def _number(label: str) -> Decimal | None:
    text = unicodedata.normalize("NFKC", label)
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def _compatible(label: str) -> str:
    return unicodedata.normalize("NFKC", label)


def _folded(label: str) -> str:
    return re.sub(r"[\s_]+", " ", _compatible(label).casefold())


def _skeleton(label: str) -> str:
    return _folded(label).translate(_DRAWN_ALIKE)


def _pair(a: str, b: str, location_of: Callable[[str], str]) -> str:
    return f"labels '{printable(a)}' ({location_of(a)}) and '{printable(b)}' ({location_of(b)})"


def _points(a: str, b: str) -> str:
    """The characters that only one of two labels has, by number and name."""
    odd = [character for character in dict.fromkeys(a + b) if (character in a) != (character in b)]
    return ", ".join(f"U+{ord(character):04X} {unicodedata.name(character, '?')}" for character in odd[:4])
