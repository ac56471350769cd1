"""Which settings of each method fit a budget of trained parameters, or of bytes, on one backbone.

Methods are attached to a sketch of the backbone and counted (``counting.py``), so no weights are read. Nothing here knows a method: each
class says which field sets its size (``methods/size.py``).
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from astune.architecture import Architecture, patch_grid
from astune.backbone import load_config
from astune.backbone.backbone import whole_frames
from astune.counting import count
from astune.data import AudioDataset, load_data
from astune.errors import ConfigError
from astune.methods import FAMILIES, PRESETS, parse_method
from astune.methods.base import Sum
from astune.names import BUNDLED_BACKBONE
from astune.plurals import enumerated, number_of
from astune.summary import Summarised, Summary, input_of
from astune.training.check import refuse_untrained
from astune.validated import fits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from transformers import ASTConfig

    from astune.methods import Method

DEFAULT_LABELS = 10
PARAMETER_UNITS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6}
BYTE_UNITS = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_MOST = 10**12  # of either; a size that nobody means


@dataclass(frozen=True)
class SizedMethod:
    """A method with its size on one backbone."""

    spec: str
    """The method, as ``method`` of :class:`astune.TrainConfig` takes it."""
    parameters: int
    """Trained, as the paper counts them."""
    percent_of_full: float
    """Trainable parameters, in percent of those of full fine-tuning."""
    with_head: int
    """All trained parameters, head and final LayerNorm included."""
    file_bytes: int
    """Size of ``adapter_model.safetensors``."""
    value: float | None = None
    """Value of the field that was searched; None if the size is fixed."""


@dataclass(frozen=True)
class Budget:
    """The most that a method may have; at least one of the two is given."""

    parameters: int | None
    """Trained, as the paper counts them."""
    file_bytes: int | None
    """Size of ``adapter_model.safetensors``."""

    def over(self, size: SizedMethod) -> tuple[str, ...]:
        """What of a size is too much, in words; nothing where it fits.

        Args:
            size: the size of a method.
        """
        excess = []
        if self.parameters is not None and size.parameters > self.parameters:
            excess.append(f"{number_of(size.parameters - self.parameters, 'parameter')} over")
        if self.file_bytes is not None and size.file_bytes > self.file_bytes:
            excess.append(f"{number_of(size.file_bytes - self.file_bytes, 'byte')} over")
        return tuple(excess)

    @override
    def __str__(self) -> str:
        limits = []
        if self.parameters is not None:
            limits.append(number_of(self.parameters, "trained parameter"))
        if self.file_bytes is not None:
            limits.append(f"{number_of(self.file_bytes, 'byte')} of adapter file")
        return f"at most {enumerated(limits)}"


@dataclass(frozen=True)
class PlannedMethod:
    """The settings of one method that fit a budget."""

    name: str
    """Preset, family or spec, as it was asked for."""
    field: str | None
    """The field that was searched; None where the size is fixed."""
    largest: SizedMethod | None
    """The largest setting that fits; None where none does."""
    next_larger: SizedMethod | None
    """The next larger setting, which does not fit; None if there is none."""


@dataclass(frozen=True, repr=False)
class MethodPlan(Summarised):
    """The settings of each method that fit a budget."""

    backbone: str
    labels: int
    """Classes of the head."""
    max_length: int
    """Input length, in frames of 10 ms."""
    budget: Budget
    methods: tuple[PlannedMethod, ...]
    notices: tuple[str, ...]
    """What was assumed, and remarks from reading the data."""

    @override
    def _summary(self) -> Summary:
        fit = f"{sum(one.largest is not None for one in self.methods)} of {number_of(len(self.methods), 'method')} fit"
        labels, length = number_of(self.labels, "label"), input_of(self.max_length)
        return Summary(
            "MethodPlan",
            self.backbone,
            (labels, length, str(self.budget), fit),
            (("labels", labels), ("input", length.removeprefix("input of ")), ("budget", str(self.budget))),
            ("largest that fits", "parameters", "% of full", "adapter file"),
            tuple(
                (one.spec, f"{one.parameters:,}", f"{one.percent_of_full:.2f}", f"{one.file_bytes:,} B")
                for one in (planned.largest for planned in self.methods)
                if one
            ),
            self.notices,
        )

    def record(self) -> dict[str, Any]:
        """The plan as JSON."""
        return asdict(self)


def plan_methods(
    parameters: int | str | None = None,
    adapter_size: int | str | None = None,
    *,
    data: AudioDataset | str | Path | None = None,
    labels: int | None = None,
    backbone: str | Path = BUNDLED_BACKBONE,
    max_length: int | None = None,
    methods: Sequence[str | Method] | None = None,
    **reading: Any,
) -> MethodPlan:
    """Find the largest setting of each method that fits a budget.

    Args:
        parameters: the most trained parameters, counted as the paper counts them; a number, or text such as ``250k`` or ``1.2M``.
        adapter_size: the most bytes of ``adapter_model.safetensors``; a number, or text such as ``1MB`` (10^6) or ``900 KiB``. The
            configuration and the model card in the same folder add some kilobytes.
        data: a data set, or where it is; it decides the number of labels and the input length.
        labels: classes of the head, where no data are given; 10 where None.
        backbone: see :func:`astune.load_backbone`; its weights are not read.
        max_length: input length in frames of 10 ms; by default as training chooses it for the data, or the backbone's own.
        methods: presets, families or specs; all that are registered where None. A size that a spec states is kept.
        reading: how the data are read, as for :func:`astune.load_data`.

    Returns:
        The plan, with the methods in order.

    Raises:
        ConfigError: the budget is missing or cannot be read; a spec is invalid or leaves several sizes open; labels are given with data,
            or options of reading are given without data.
        BackboneError: the backbone cannot be found.
        DataError: the data cannot be read.
    """
    budget = Budget(
        parse_amount("parameters", parameters, PARAMETER_UNITS), parse_amount("adapter_size", adapter_size, BYTE_UNITS)
    )
    if budget == Budget(None, None):
        raise ConfigError("no budget is given; give parameters, such as 250k, or adapter_size, such as 1MB")
    asked = _registered() if methods is None else list(methods)
    if not asked:
        raise ConfigError("methods is empty; give presets or specs, or leave it out for all of them")
    config = load_config(backbone)
    dataset = _dataset(data, reading)
    classes, length, notices = _head_and_length(dataset, labels, max_length, config)
    config.max_length = length
    architecture = Architecture.of(config)
    patch_grid(architecture)  # refuses lengths that no model can have
    planned = tuple(SizeSearch(method, budget, classes, architecture).plan() for method in asked)
    return MethodPlan(str(backbone), classes, length, budget, planned, notices)


def parse_amount(name: str, value: int | str | None, units: dict[str, int]) -> int | None:
    """Read a number with a unit.

    Args:
        name: the name of the argument, for messages.
        value: a whole number, or text.
        units: what each unit is worth; text without one is read where there is the empty unit.

    Returns:
        The amount; None where nothing is given.

    Raises:
        ConfigError: it is nothing of the kind, not whole, or less than 1.
    """
    if value is None:
        return None
    bare, named = "" in units, [f"{unit} ({worth:,})" for unit, worth in units.items() if unit]
    forms = f"{'whole number, or one with a unit' if bare else 'number with a unit'}: {', '.join(named)}"
    fault = ConfigError(f"{name}={value!r}: give a {forms}, such as {'250k or 1.2M' if bare else '1MB or 900 KiB'}")
    if isinstance(value, str):
        found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([A-Za-z]*)", value.strip(), re.ASCII)
        if not found or found[2] not in units:
            raise fault
        amount = Decimal(found[1]) * units[found[2]]
        if amount != int(amount):
            raise ConfigError(f"{name}={value!r} is {amount.normalize():f}, which is not a whole number")
    elif fits(value, int):
        amount = Decimal(int(value))
    else:
        raise fault
    if not 1 <= amount <= _MOST:
        raise ConfigError(f"{name}={value!r}: give 1 to {_MOST:,}")
    return int(amount)


def _registered() -> list[str]:
    """Every preset, and every family that has none."""
    with_presets = {type(method) for method in PRESETS.values()}
    return [*PRESETS, *(family for family, cls in FAMILIES.items() if cls not in with_presets)]


def _dataset(data: AudioDataset | str | Path | None, reading: dict[str, Any]) -> AudioDataset | None:
    """The data, read where they are a path.

    Raises:
        ConfigError: options of reading, and nothing to read.
    """
    if reading and (data is None or isinstance(data, AudioDataset)):
        why = "no data are given" if data is None else "the data have been read already"
        raise ConfigError(f"{', '.join(reading)}: {why}; give the path of the data, or leave this out")
    return data if data is None or isinstance(data, AudioDataset) else load_data(data, **reading)


def _head_and_length(
    dataset: AudioDataset | None, labels: int | None, max_length: int | None, config: ASTConfig
) -> tuple[int, int, tuple[str, ...]]:
    """Classes of the head and input length, with what to say of them.

    Raises:
        ConfigError: labels and data are both given, or there are fewer than two labels.
    """
    given = None if max_length is None else whole_frames(max_length)
    if dataset is not None:
        if labels is not None:
            raise ConfigError(
                f"labels={labels} and data are both given; the data have their own labels, so leave labels out"
            )
        split = dataset.split()
        refuse_untrained(dataset, split)
        return len(dataset.labels), given or dataset.input_length(split), dataset.notices
    if labels is not None and (not fits(labels, int) or labels < 2):
        raise ConfigError(f"labels={labels!r}: give a whole number of classes, 2 or more")
    assumed = [] if labels else [f"{DEFAULT_LABELS} labels"]
    assumed += [] if given else [f"an input of {config.max_length} frames, the backbone's own"]
    notices = [f"Note: assumed {enumerated(assumed)}; give your data to have theirs"] if assumed else []
    return int(labels or DEFAULT_LABELS), given or int(config.max_length), tuple(notices)


class SizeSearch:
    """The sizes of one method on one backbone, from the smallest to the largest.

    Args:
        method: a preset, a family or a spec; a size that it states is kept.
        budget: what the sizes are compared with.
        labels: classes of the head.
        architecture: sizes of the backbone at the input length.
    """

    def __init__(self, method: str | Method, budget: Budget, labels: int, architecture: Architecture) -> None:
        self.name, self.method = str(method), parse_method(method)
        self.budget, self.labels, self.architecture = budget, labels, architecture
        self._own, self._seen = self._size(self.method), dict[int, SizedMethod]()
        sizes = enumerate(zip(self.method.members, _stated(method), strict=True))
        self._open = [
            (index, member.size_field)
            for index, (member, stated) in sizes
            if member.size_field and member.size_field.name not in stated
        ]

    def plan(self) -> PlannedMethod:
        """The largest setting that fits, and the next larger one.

        Raises:
            ConfigError: several sizes are open, or the size does not grow with its field.
        """
        if len(self._open) > 1:
            fields = enumerated(f"{field.name} of {self.method.members[index].family}" for index, field in self._open)
            raise ConfigError(
                f"method {self.name!r} has several sizes to choose ({fields}); state all but one in the spec"
            )
        if not self._open:
            one = (self._own, None) if self._fits(self._own) else (None, self._own)
            return PlannedMethod(self.name, None, *one)
        _, field = self._open[0]
        last = field.last(self.architecture.hidden_size) if field.last else None
        ends = [self._at(step) if step is not None else None for step in self._largest_step(last)]
        self._at(2 if last is None else min(2, last))  # so that there are two to compare
        self._refuse_disorder(field.name)
        return PlannedMethod(self.name, field.name, ends[0], ends[1])

    def step(self) -> int | None:
        """The step of the largest setting that fits, as the method's ``size_field`` counts steps; None where none fits.

        Raises:
            ConfigError: as of :meth:`plan`, or no size is open.
        """
        if not self.plan().field:
            raise ConfigError(f"method {self.name!r} has no size to choose; name one whose spec leaves its size open")
        _, field = self._open[0]
        return self._largest_step(field.last(self.architecture.hidden_size) if field.last else None)[0]

    def smallest(self) -> SizedMethod:
        """The smallest setting, whether it fits or not."""
        return self._at(1) if self._open else self._own

    def _largest_step(self, last: int | None) -> tuple[int | None, int | None]:
        """The last step that fits and the first that does not, found by doubling, then by halving."""
        fitting, beyond = 0, 1
        while self._fits(self._at(beyond)):
            if beyond == last:
                return beyond, None
            fitting, beyond = beyond, 2 * beyond if last is None else min(2 * beyond, last)
        while beyond - fitting > 1:
            middle = (fitting + beyond) // 2
            fitting, beyond = (middle, beyond) if self._fits(self._at(middle)) else (fitting, middle)
        return fitting or None, beyond

    def _at(self, step: int) -> SizedMethod:
        """The method at a step of its open field; as it was asked for, where that has the same size."""
        if step not in self._seen:
            index, field = self._open[0]
            members = list(self.method.members)
            fields = members[index].model_dump(exclude_unset=True)
            value = field.value(step, self.architecture.hidden_size)
            members[index] = type(members[index])(**fields | {field.name: value})
            found = self._size(members[0] if len(members) == 1 else Sum(parts=tuple(members)))
            asked = getattr(self.method.members[index], field.name)
            same = replace(found, spec=self._own.spec) == self._own
            self._seen[step] = replace(self._own, value=asked) if same else replace(found, value=value)
        return self._seen[step]

    def _size(self, method: Method) -> SizedMethod:
        found = count(method, self.labels, self.architecture)
        return SizedMethod(method.spec, found.parameters, found.percent_of_full, found.with_head, found.file_bytes)

    def _fits(self, size: SizedMethod) -> bool:
        return not self.budget.over(size)

    def _refuse_disorder(self, field: str) -> None:
        """Refuse what halving cannot search: sizes that do not grow from step to step.

        Raises:
            ConfigError: among those that were counted, some do not.
        """
        sizes = [(size.parameters, size.file_bytes) for _, size in sorted(self._seen.items())]
        if not all(low[0] < high[0] and low[1] < high[1] for low, high in pairwise(sizes)):
            raise ConfigError(
                f"method {self.name!r} does not grow with {field} as its class says; state {field} in the spec"
            )


def _stated(method: str | Method) -> list[set[str]]:
    """Fields that a spec states itself, by member; a preset's own do not count."""
    if not isinstance(method, str):
        return [set(member.model_fields_set) for member in method.members]
    settings = [part.partition(":")[2].split(",") for part in method.split("+")]
    return [{setting.partition("=")[0].strip() for setting in part} for part in settings]
