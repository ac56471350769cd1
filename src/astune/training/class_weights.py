"""Weights of the classes in the training loss: read from a file, or made from how many training clips each class has.

A file has a label and its weight in each row, and every class of the data has one::

    label,weight
    cough,4
    speech,0.5

or ``cough: 4`` in each line of a YAML file, or the same mapping in JSON.
"""

from __future__ import annotations

import csv
import io
import math
import numbers
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from astune.data.labels import clean_label
from astune.errors import ConfigError, format_faults, unknown_choice, unknown_choices
from astune.files import read_text
from astune.json_text import json_value
from astune.plurals import number_of
from astune.printable import printable
from astune.validated import plain
from astune.yaml_text import yaml_entries

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from astune.data.dataset import AudioDataset

ClassWeights = Literal["balanced"] | dict[str, float]
"""What a run is asked for."""

_HEADER = {"label", "weight"}
_LETTERS = 10_000_000  # of a file with weights; a million classes have no more
_SHOWN = 8  # classes of a line


def read_class_weights(value: object) -> object:
    """What a setting says: ``balanced``, weights by label, or the file that has them.

    The content of the file becomes the setting. So a run is another run where the file has changed, and a finished run does not need it.

    Args:
        value: of the setting.

    Returns:
        ``balanced``, weights by label, or whatever else was given.

    Raises:
        ValueError: the file cannot be read, or a weight cannot be used; with all faults.
    """
    if isinstance(value, Mapping):
        return _checked(_Entry(*pair) for pair in value.items())
    if value == "balanced" or not isinstance(value, str | os.PathLike):
        return value
    if not os.path.isfile(value):  # noqa: PTH113 - pathlib's raises where a name is too long
        raise ValueError(
            "expected 'balanced' or a file; give a .csv with the columns label and weight, a .yaml or a .json"
        )
    return _checked(_entries(Path(value)))


def _entries(path: Path) -> list[_Entry]:
    """Labels and weights of a file.

    Raises:
        ValueError: it cannot be read, or is of no known format.
    """
    readers = {".csv": _from_csv, ".json": _from_json, ".yaml": _from_yaml, ".yml": _from_yaml}
    if path.suffix.lower() not in readers:
        raise ValueError(unknown_choice("suffix of a file with class weights", path.suffix or path.name, readers))
    try:
        return readers[path.suffix.lower()](read_text(path, _LETTERS, "utf-8-sig"))
    except (OSError, ValueError, csv.Error) as fault:
        raise ValueError(f"it cannot be read: {getattr(fault, 'strerror', None) or fault}") from fault


class _Entry(NamedTuple):
    label: object
    weight: object
    line: int | None = None
    """Of the file, from 1; None where the format does not tell."""


def _from_csv(text: str) -> list[_Entry]:
    rows = csv.DictReader(io.StringIO(text, newline=""))
    header = rows.fieldnames or []
    if not set(header) >= _HEADER:
        raise ValueError(f"it needs the columns label and weight; its first line is {','.join(header)!r}")
    return [_Entry(row["label"] or "", row["weight"] or "", rows.line_num) for row in rows]


def _from_json(text: str) -> list[_Entry]:
    # As pairs: a dict would drop the first of two entries of one label.
    content = json_value(text, tuple, strict=False)
    if not isinstance(content, tuple):
        raise ValueError('it does not map labels to weights; give a mapping such as {"cough": 4, "speech": 0.5}')
    return [_Entry(*pair) for pair in content]


def _from_yaml(text: str) -> list[_Entry]:
    entries = yaml_entries(text)
    if entries is None:
        raise ValueError("it does not map labels to weights; give a mapping such as 'cough: 4'")
    return [_Entry(*entry) for entry in entries]


def _checked(entries: Iterable[_Entry]) -> dict[str, float]:
    """Weights by label.

    Raises:
        ValueError: with all faults.
    """
    found: dict[str, float] = {}
    faults = []
    for given, weight, line in entries:
        prefix = "" if line is None else f"line {line}: "
        if isinstance(given, bool) or not isinstance(given, str | int):
            faults.append(f"the label {printable(given)} is not text; put it in quotes")
            continue
        label = clean_label(str(given))
        number = _number(weight)
        if not label:
            faults.append(f"{prefix}a label is missing")
        elif number is None or not (0 < number < math.inf):
            faults.append(f"{prefix}the weight of {printable(label)!r} is {printable(weight)!r}; give a number above 0")
        elif label in found:
            faults.append(f"{prefix}{printable(label)!r} is there twice; leave one out")
        else:
            found[label] = number
    if not found and not faults:
        faults.append("it has no weights; give each class one")
    if faults:
        raise ValueError(format_faults(faults, "weights that cannot be used") if len(faults) > 1 else faults[0])
    return found


def _number(value: object) -> float | None:
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, str | numbers.Real):
        return None
    try:
        return float(value)
    except ValueError:
        return None


@dataclass(frozen=True)
class Weighing:
    """The class weights of a run."""

    weights: dict[str, float] = field(default_factory=dict)
    """By label, in the order of the classes; empty where all count alike."""
    notices: tuple[str, ...] = ()
    """The notes that the user sees."""


def weigh(wish: ClassWeights | None, dataset: AudioDataset, train: Sequence[int]) -> Weighing:
    """Settle the weights of the classes.

    Args:
        wish: as the configuration has it.
        dataset: the clips.
        train: indices of those that train.

    Returns:
        The weights, and what to say of them.

    Raises:
        ConfigError: a weight is missing, or is of a label that the data do not have, or a class has no training clip.
    """
    if wish is None:
        return Weighing()
    counts = Counter(label for clip in train for label in dataset.task.strata(dataset.clips[clip]))
    faults = [f"{label} has no training clip, so no weight" for label in dataset.labels if not counts[label]]
    if isinstance(wish, dict):
        faults += unknown_choices("label", wish, dataset.labels)
        faults += [f"{label} has no weight; give each class one" for label in dataset.labels if label not in wish]
    if faults:
        raise ConfigError(format_faults(faults, "class_weights"))
    if isinstance(wish, dict):
        weights = {label: wish[label] for label in dataset.labels}
        return Weighing(weights, (f"Class weights: {_line(weights)}",))
    low, high = dataset.task.weight_bounds
    made = dataset.task.balanced_weights([counts[label] for label in dataset.labels], len(train))
    weights = {label: min(max(one, low), high) for label, one in zip(dataset.labels, made, strict=True)}
    cut = [label for label, one in zip(dataset.labels, made, strict=True) if weights[label] != one]
    notices = [f"Class weights, balanced over {number_of(len(train), 'training clip')}: {_line(weights)}"]
    if cut:
        notices.append(
            f"Note: the balanced weights of {number_of(len(cut), 'class')} would be below {low:g} or above {high:g} and are cut to that: "
            f"{_some(cut)}"
        )
    return Weighing(weights, tuple(notices))


def _line(weights: Mapping[str, float]) -> str:
    """All weights, or how far apart they are."""
    if len(weights) <= _SHOWN:
        return ", ".join(f"{printable(label)} {weight:.3g}" for label, weight in weights.items())
    least, most = (pick(weights, key=weights.__getitem__) for pick in (min, max))
    if weights[least] == weights[most]:
        return f"{len(weights)} classes, all {weights[least]:.3g}"
    return f"{len(weights)} classes, from {weights[least]:.3g} ({printable(least)}) to {weights[most]:.3g} ({printable(most)})"


def _some(labels: Sequence[Any]) -> str:
    more = f" and {len(labels) - _SHOWN:,} more" if len(labels) > _SHOWN else ""
    return ", ".join(printable(label) for label in labels[:_SHOWN]) + more
