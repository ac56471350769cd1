"""Which sizes a search may give each layer, and how candidates are drawn that use up a budget and do not exceed it.

The sizes come from the budget. Of each kind of module, such as LoRA, there is one size with which it spends the whole budget if all layers
have it. A layer may have none, a quarter, half, once, twice or four times of it. A candidate grows from nothing: the kinds that take part
are drawn, then a weight of each kind and of each layer, and then by these weights where the next larger size goes, as long as one fits. So
candidates differ in what they prefer and spend about all of the budget. Drawing each layer's size alone would make them all alike: their
sums would be near the mean, and hardly one in a thousand would have the right number of parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from astune.budget import Budget, SizeSearch
from astune.counting import count
from astune.errors import ConfigError, format_faults
from astune.keyed import keyed_generator
from astune.methods import parse_method
from astune.methods.base import Sum
from astune.methods.layers import layers_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from astune.architecture import Architecture
    from astune.budget import SizedMethod
    from astune.methods import Method

LEAST_SHARE = 0.8  # of the budget, that a candidate uses
_SHARES = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the size that spends the budget where all layers have it
_TRIES = 50  # draws for each candidate; small budgets have few configurations, and the same one is drawn again


@dataclass(frozen=True)
class Candidate:
    """One configuration: sizes of each layer."""

    spec: str
    """The method, as ``method`` of :class:`astune.TrainConfig` takes it."""
    parameters: int
    """Trained, as the paper counts them."""


@dataclass(frozen=True)
class SizedKind:
    """A kind of module that a layer may have, with its sizes."""

    method: Method
    """The preset or family, for all layers."""
    single: SizedMethod | None
    """The largest setting that fits where all layers have the same; None where none fits."""
    smallest: SizedMethod
    """The smallest setting for all layers."""
    values: tuple[float, ...]
    """Values of the field that sets its size, from the smallest."""
    costs: tuple[tuple[int, ...], ...]
    """Parameters that a layer has with each value: (layers, values)."""

    def at(self, value: float, layers: str) -> Method:
        """The method at some layers.

        Args:
            value: of the field that sets its size.
            layers: such as ``0-2|9``.
        """
        return _at(self.method, value, layers)


@dataclass(frozen=True)
class Space:
    """All configurations of a search."""

    kinds: tuple[SizedKind, ...]
    budget: int
    """The most trained parameters, as the paper counts them."""
    labels: int
    """Classes of the head."""
    architecture: Architecture

    @property
    def singles(self) -> tuple[SizedMethod, ...]:
        """The methods of one kind and one size that fit: what a search has to be compared with."""
        return tuple(kind.single for kind in self.kinds if kind.single)

    def draw(self, number: int, seed: int) -> tuple[Candidate, ...]:
        """Draw different candidates.

        Args:
            number: how many.
            seed: of the draw.

        Returns:
            Those found; fewer where the budget allows few configurations. Each has at most the budget and at least 0.8 of it.
        """
        generator = keyed_generator(seed, "search", self.budget, *(kind.method.spec for kind in self.kinds))
        found: dict[str, Candidate] = {}
        known = {single.spec for single in self.singles}  # which run anyway
        for _ in range(number * _TRIES):
            method = self._method(self._grown(generator))
            if method is None or method.spec in found.keys() | known:
                continue
            parameters = count(method, self.labels, self.architecture).parameters
            if LEAST_SHARE * self.budget <= parameters <= self.budget:
                found[method.spec] = Candidate(method.spec, parameters)
            if len(found) == number:
                break
        return tuple(found.values())

    def _grown(self, generator: np.random.Generator) -> NDArray[np.int64]:
        """Sizes of a configuration, (kinds, layers): 0 for none, else the number of the value from 1."""
        layers = self.architecture.num_hidden_layers
        part = 1 + int(generator.random() * (2 ** len(self.kinds) - 1))  # a set of kinds that is not empty, in binary
        takes_part = np.array([part >> number & 1 for number in range(len(self.kinds))])
        kinds, places = (-np.log1p(-generator.random(size)) for size in (len(self.kinds), layers))
        weights = np.outer(takes_part * kinds, places)
        costs = [np.array(kind.costs) for kind in self.kinds]
        grid = np.zeros((len(self.kinds), layers), dtype=np.int64)
        left = self.budget
        while True:
            steps = np.array([[_step(costs[k][i], grid[k, i]) for i in range(layers)] for k in range(len(costs))])
            chances = np.where(steps <= left, weights, 0.0).cumsum()
            if not chances[-1] > 0:
                return grid
            place = int(np.searchsorted(chances, generator.random() * chances[-1], side="right"))
            left -= int(steps.flat[place])
            grid.flat[place] += 1

    def _method(self, grid: NDArray[np.int64]) -> Method | None:
        """A configuration as a method, layers of one size in one member; None where all layers have none."""
        members = [
            kind.at(value, layers_text(np.flatnonzero(row == number).tolist(), grid.shape[1]))
            for kind, row in zip(self.kinds, grid, strict=True)
            for number, value in enumerate(kind.values, start=1)
            if (row == number).any()
        ]
        return None if not members else members[0] if len(members) == 1 else Sum(parts=tuple(members))


def search_space(methods: Mapping[str, Method], budget: int, labels: int, architecture: Architecture) -> Space:
    """The configurations of a search.

    Args:
        methods: of :func:`sized_methods`.
        budget: the most trained parameters, as the paper counts them.
        labels: classes of the head.
        architecture: sizes of the backbone at the input length.

    Returns:
        The space.

    Raises:
        ConfigError: two methods that cannot be in one layer, or nothing fits the budget.
    """
    kinds = tuple(_kind(name, method, budget, labels, architecture) for name, method in methods.items())
    parse_method("+".join(kind.at(kind.values[0], "all").spec for kind in kinds))  # refuses what takes the same places
    space = Space(kinds, budget, labels, architecture)
    if not space.singles:
        least = min((kind.smallest for kind in kinds), key=lambda size: size.parameters)
        raise ConfigError(
            f"parameters={budget:,} is too small for all methods of the search; the smallest is {least.spec} with {least.parameters:,}"
        )
    return space


def sized_methods(names: Sequence[str]) -> dict[str, Method]:
    """The methods whose sizes a search chooses.

    Args:
        names: presets or families that have a size and a field ``layers``; specs may state everything else.

    Returns:
        The methods by name.

    Raises:
        ConfigError: a method that has no size for each layer, or whose spec states it; all faults at once.
    """
    faults: list[str] = []
    found: dict[str, Method] = {}
    for name in names:
        try:
            method = parse_method(name)
        except ConfigError as fault:
            faults.append(str(fault))
            continue
        fields = type(method).model_fields
        if method.size_field is None or "layers" not in fields:
            faults.append(f"{name}: it has no size that may differ from layer to layer")
        elif {"layers", method.size_field.name} & _stated(name):
            faults.append(f"{name}: the search chooses {method.size_field.name} and layers; leave them out")
        found[name] = method
    if not names:
        faults.append("no method is given; give one or more, such as lora")
    if faults:
        raise ConfigError(format_faults(faults, "methods") if len(faults) > 1 else f"methods: {faults[0]}")
    return found


def _stated(spec: str) -> set[str]:
    return {setting.partition("=")[0].strip() for setting in spec.partition(":")[2].split(",")}


def _kind(name: str, method: Method, budget: int, labels: int, architecture: Architecture) -> SizedKind:
    field, width, layers = method.size_field, architecture.hidden_size, architecture.num_hidden_layers
    if field is None:
        raise TypeError(f"{name} has no size")
    found = SizeSearch(name, Budget(budget, None), labels, architecture)
    whole, last = found.step() or 1, field.last(width) if field.last else None
    wanted = {max(1, round(share * whole)) for share in _SHARES}
    steps = sorted({step if last is None else min(step, last) for step in wanted})
    values = tuple(field.value(step, width) for step in steps)
    costs = tuple(
        tuple(count(_at(method, value, str(layer)), labels, architecture).parameters for value in values)
        for layer in range(layers)
    )
    return SizedKind(method, found.plan().largest, found.smallest(), values, costs)


def _at(method: Method, value: float, layers: str) -> Method:
    fields: dict[str, Any] = method.model_dump(exclude_unset=True)
    name = method.size_field.name if method.size_field else ""
    return type(method)(**fields | {name: value, "layers": layers})


def _step(costs: NDArray[np.int64], size: int) -> float:
    """What the next larger size of a layer costs more; infinite where there is none."""
    return np.inf if size == len(costs) else float(costs[size] - (costs[size - 1] if size else 0))
