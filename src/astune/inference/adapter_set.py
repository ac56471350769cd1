"""Adapters over one backbone: loaded, deleted and chosen while others compute.

The set is a dictionary that is never changed, only replaced. Who computes has looked an adapter up before and keeps it until the end, so
nobody waits for a change, and no answer mixes two adapters that had one name.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from astune.classifier import AudioClassifier
from astune.compute import Arithmetic, best_device, bf16_is_faster, stacks_adapters, usable_device
from astune.console import notify
from astune.errors import ConfigError, unknown_choice
from astune.inference.loaded_adapter import LoadedAdapter
from astune.inference.loading import (
    Loaded,
    default_name,
    find_backbone,
    read_adapter,
    refuse_cast,
    refuse_second_backbone,
)
from astune.inference.model_digest import digest_of
from astune.inference.shells import Shells
from astune.printable import printable
from astune.shared_change import evaluating
from astune.summary import Summarised

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from astune.adapter import Adapter
    from astune.adapter_info import AdapterInfo
    from astune.backbone import Backbone
    from astune.features import FrontEnd
    from astune.inference.loaded_adapter import Kind
    from astune.names import Precision
    from astune.task import Task

_SMALL = 10  # times smaller than the backbone is an adapter that is stacked


@dataclass(frozen=True, eq=False)
class _Active:
    adapter: LoadedAdapter
    loaded: Loaded


class AdapterSet(Summarised):
    """The adapters of a Predictor, one of which is active.

    Args:
        adapter: the first one, which is active: a folder, the hub id of one, an adapter in memory, or a classifier.
        backbone: hub id or folder of the backbone, or a loaded backbone; by default the one that the adapter names.
        device: device that computes; by default the GPU if there is one, and for a classifier the device it is on.
        precision: precision of matrix products; by default the one of the adapter's training.
        adapter_name: name of the first adapter; by default the one that :meth:`load_adapter` would choose.
        batch_size: rows that the model takes at a time.

    Raises:
        AdapterError: it is not an adapter, or the backbone is not the one it was trained on.
        BackboneError: the backbone cannot be found.
        ConfigError: an unknown device or precision, a name that cannot be used, or a classifier that was cast.
    """

    def __init__(
        self,
        adapter: str | Path | Adapter | AudioClassifier,
        backbone: str | Path | Backbone | None,
        device: str | torch.device | None,
        precision: Precision | None,
        adapter_name: str | None,
        batch_size: int,
    ) -> None:
        self.batch_size = batch_size
        self._lock = Lock()
        self._announces = precision is None
        name = _checked_name(default_name(adapter) if adapter_name is None else adapter_name)
        chosen = None if device is None else usable_device(device)
        self._shells: Shells | None = None
        if isinstance(adapter, AudioClassifier):
            self._active = self._of_classifier(adapter, backbone, chosen, precision, name)
        else:
            self._active = self._of_adapter(read_adapter(adapter), backbone, chosen, precision, name)
        self._adapters: Mapping[str, LoadedAdapter] = MappingProxyType({name: self._active.adapter})
        self.stacks_rows = stacks_adapters(self.device)
        """Whether rows of different adapters go through the model in one batch, or adapter by adapter."""

    def _of_classifier(
        self,
        model: AudioClassifier,
        backbone: str | Path | Backbone | None,
        device: torch.device | None,
        precision: Precision | None,
        name: str,
    ) -> _Active:
        refuse_second_backbone(backbone)
        refuse_cast(model, precision or "float32")
        device = device or next(model.parameters()).device
        self.arithmetic = Arithmetic.of(device, precision == "bfloat16", store_bf16=False)
        loaded = Loaded(model.method.spec, model.to(device), device, None, own=False)
        return _Active(LoadedAdapter.of_classifier(model, name), loaded)

    def _of_adapter(
        self,
        value: Adapter,
        backbone: str | Path | Backbone | None,
        device: torch.device | None,
        precision: Precision | None,
        name: str,
    ) -> _Active:
        device, trained_in = device or best_device(), value.config.compute_dtype
        lent, own = find_backbone(value, backbone)
        try:
            half = (precision or trained_in) == "bfloat16"
            # Storing changes the weights, which belong to whoever loaded them.
            self.arithmetic = Arithmetic.of(device, half, own and half)
            lent.to(device)
            if own:
                self.arithmetic.prepare(lent.requires_grad_(requires_grad=False).sites)
            self._shells = shells = Shells(lent)
            shells.refuse_misfit(value)
            first = LoadedAdapter.of(value, name, device)
            loaded = Loaded(value.name, shells.classifier(first), device, value.config, own)
        except BaseException:
            lent.give_back()
            raise
        if half and self._announces and not bf16_is_faster(device):
            notify(
                f"Note: {value.name} was trained in bfloat16 and computes in it, which is slow on this device. In float32 it is "
                "faster, and its scores differ by rounding"
            )
        return _Active(first, loaded)

    @override
    def __getstate__(self) -> dict[str, Any]:
        """Return the state for copies and pickles, which have locks of their own."""
        return {name: value for name, value in vars(self).items() if name != "_lock"} | {
            "_adapters": dict(self._adapters)
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=Lock(), _adapters=MappingProxyType(state["_adapters"]))

    @property
    def model(self) -> AudioClassifier:
        """The classifier of the active adapter."""
        return self._active.loaded.model

    @property
    def loaded(self) -> Loaded:
        """Name, configuration and model of the active adapter."""
        return self._active.loaded

    @property
    def device(self) -> torch.device:
        """The device that computes."""
        return self._active.loaded.device

    @property
    def precision(self) -> str:
        """The precision of the matrix products: ``float32`` or ``bfloat16``."""
        return self.arithmetic.compute_dtype

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the active adapter's classes, in the order of the logits."""
        return self.model.labels

    @property
    def negatives(self) -> tuple[str, ...]:
        """Labels of the active adapter that mean none of the others."""
        return self.model.negatives

    @property
    def task(self) -> Task:
        """The task of the active adapter."""
        return self.model.task

    @property
    def front_end(self) -> FrontEnd:
        """How audio becomes the active adapter's input."""
        return self.model.front_end

    @property
    def seconds(self) -> float:
        """Audio that fills the input of the active adapter."""
        return self.front_end.seconds

    @property
    def scores_key(self) -> dict[str, str]:
        """What decides the active adapter's scores, except the precision; for the settings of a folder of tables."""
        return {"adapter": digest_of(self.model)}

    @property
    def thresholds(self) -> dict[str, float]:
        """The score from which on each label of the active adapter counts, chosen on validation clips; empty where the labels compete."""
        return dict(self.model.thresholds)

    @property
    def training(self) -> dict[str, Any]:
        """What the active adapter says of its training: data, fold, seed and settings; nothing for a classifier in memory."""
        return self.loaded.training

    @property
    def active(self) -> LoadedAdapter:
        """The adapter that calls without names use."""
        return self._active.adapter

    @property
    def active_adapter(self) -> str:
        """Name of the active adapter."""
        return self.active.name

    @property
    def adapters(self) -> Mapping[str, AdapterInfo]:
        """What is loaded, by name, in the order of loading; it does not change when others are loaded or deleted later."""
        return MappingProxyType({name: one.info for name, one in self._adapters.items()})

    def adapter(self, name: str) -> LoadedAdapter:
        """One of the adapters, to use it until the end of a job whatever is loaded or deleted meanwhile.

        Args:
            name: name of the adapter.

        Returns:
            The adapter; :meth:`scores` takes it in the place of its name.

        Raises:
            ConfigError: no adapter has that name.
        """
        return _named(self._adapters, name)

    def load_adapter(self, adapter: str | Path | Adapter, adapter_name: str | None = None) -> str:
        """Load one more adapter of the same backbone, of any method, task and input length. The active one stays active.

        Args:
            adapter: an adapter folder, the hub id of one, or an adapter in memory. It is copied.
            adapter_name: under which it is known; the name of its folder where None.

        Returns:
            Its name.

        Raises:
            AdapterError: it is not an adapter, is damaged, or was trained on another backbone.
            ConfigError: the name is taken or cannot be used, or this Predictor was made of a classifier.
        """
        if self._shells is None:
            raise ConfigError(
                "this Predictor was built from a classifier, whose weights may still be trained; build it from "
                "classifier.to_adapter()"
            )
        name = _checked_name(default_name(adapter) if adapter_name is None else adapter_name)
        _refuse_taken(name, self._adapters)
        value = read_adapter(adapter)
        self._shells.refuse_misfit(value)
        loaded = LoadedAdapter.of(value, name, self.device, self._adapters.values())
        with self._lock:
            _refuse_taken(name, self._adapters)
            self._adapters = MappingProxyType({**self._adapters, name: loaded})
        trained_in = value.config.compute_dtype
        if self._announces and trained_in != self.precision:
            notify(
                f"Note: {value.name} was trained in {trained_in}; this Predictor computes in {self.precision}, and its scores differ by "
                "rounding"
            )
        return name

    def delete_adapter(self, adapter_name: str) -> None:
        """Forget an adapter. Calls that use it go on to their end.

        Args:
            adapter_name: name of the adapter.

        Raises:
            ConfigError: no adapter has that name, or it is the active one.
        """
        with self._lock:
            gone = _named(self._adapters, adapter_name)
            if gone is self._active.adapter:
                others = [repr(name) for name in self._adapters if name != adapter_name]
                way = f"set_adapter({others[0]}) first" if others else "it is the only one; load another one first"
                raise ConfigError(f"the adapter {adapter_name!r} is the active one and cannot be deleted; {way}")
            self._adapters = MappingProxyType(
                {name: one for name, one in self._adapters.items() if name != adapter_name}
            )
            if self._shells is not None:
                self._shells.keep({one.kind for one in self._adapters.values()})

    def set_adapter(self, adapter_name: str) -> None:
        """Choose the adapter that calls without names use from now on. Labels, task, thresholds and input are its own.

        Args:
            adapter_name: name of the adapter.

        Raises:
            ConfigError: no adapter has that name.
        """
        with self._lock:
            chosen = _named(self._adapters, adapter_name)
            if chosen is self._active.adapter or self._shells is None:
                return
            assert chosen.config is not None  # noqa: S101 - for type checkers: it was loaded
            now = self._active.loaded
            loaded = Loaded(
                chosen.source, self._shells.classifier(chosen), now.device, chosen.config, now.own
            )  # fmt: skip
            self._active = _Active(chosen, loaded)

    def features(self, samples: NDArray[np.float32], adapter_name: str) -> NDArray[np.float16]:
        """An adapter's input, of audio; any thread may call it.

        Args:
            samples: (samples,) at 16 kHz, float32 in -1 to 1; samples after the adapter's ``info.samples`` are ignored.
            adapter_name: name of the adapter; by default the active one.

        Returns:
            (max_length, num_mel_bins), for :meth:`scores`.

        Raises:
            ConfigError: no adapter has this name, or the samples have another shape or type.
        """
        return self.adapter(adapter_name).features(samples)

    def scores(
        self, features: Sequence[NDArray[np.float16]], adapter_names: Sequence[str | LoadedAdapter]
    ) -> list[NDArray[np.float32]]:
        """Scores of inputs, each by its own adapter: of different tasks, methods, labels and input lengths. Any thread may call it.

        Args:
            features: the results of :meth:`features`, one for each row.
            adapter_names: names of adapters, one for each row; or the adapters themselves, from :meth:`adapter`.

        Returns:
            (classes,) for each row, from 0 to 1, in the order of its adapter's labels. They are NaN where the model overflows.

        Raises:
            ConfigError: an unknown adapter, or features that are another adapter's.
        """
        if len(features) != len(adapter_names):
            raise ConfigError(
                f"adapter_names has {len(adapter_names)} entries for {len(features)} rows of features; give one for each"
            )
        held, active = self._adapters, self._active
        adapters = [one if isinstance(one, LoadedAdapter) else _named(held, one) for one in adapter_names]
        groups: dict[LoadedAdapter | Kind | None, list[int]] = {}
        for number, adapter in enumerate(adapters):
            adapter.refuse_other_features(features[number])
            groups.setdefault(adapter.kind if self._stacks(adapter) else adapter, []).append(number)
        found: dict[int, NDArray[np.float32]] = {}
        for numbers in groups.values():
            for first in range(0, len(numbers), self.batch_size):
                some = numbers[first : first + self.batch_size]
                batch = torch.stack([torch.from_numpy(features[number]).float() for number in some])
                found |= zip(some, self._computed([adapters[number] for number in some], active, batch), strict=True)
        return [found[number] for number in range(len(features))]

    def _stacks(self, adapter: LoadedAdapter) -> bool:
        """Whether it shares batches with others of its kind; a large one would be copied for each row."""
        if not self.stacks_rows or self._shells is None or self.arithmetic.bf16:  # torch.vmap goes past autocast
            return False
        return adapter.bytes <= self._shells.bytes // _SMALL

    def _computed(
        self, adapters: Sequence[LoadedAdapter], active: _Active, features: Tensor
    ) -> list[NDArray[np.float32]]:
        """Scores (classes,) of each row; adapters are of one kind, and where it is not stacked, one and the same."""
        model, shells, first = active.loaded.model, self._shells, adapters[0]
        # Entered for each batch: these modes belong to the thread, and the caller works between two batches.
        with evaluating(model), torch.inference_mode(), self.arithmetic.products(), self.arithmetic.computing():
            placed = self.arithmetic.to_device(features)
            if shells is not None and any(one is not first for one in adapters):
                rows = shells.stacked_logits(adapters, placed)
                values = torch.cat(rows).float().cpu()  # once: each copy from a GPU waits for its kernels
                ends = np.cumsum([len(row) for row in rows]).tolist()
                own = [values[None, end - len(row) : end] for row, end in zip(rows, ends, strict=True)]
                return [one.task.activate(row).numpy()[0] for one, row in zip(adapters, own, strict=True)]
            if first is active.adapter or shells is None:
                logits = cast(Tensor, model(placed).logits).float().cpu()
            else:
                logits = shells.logits(first, placed).float().cpu()
        return list(first.task.activate(logits).numpy())


def _named(adapters: Mapping[str, LoadedAdapter], name: str) -> LoadedAdapter:
    found = adapters.get(name) if isinstance(name, str) else None
    if found is None:
        raise ConfigError(unknown_choice("adapter", name, adapters))
    return found


def _checked_name(name: object) -> str:
    """A name that can be shown and typed.

    Raises:
        ConfigError: the value is invalid.
    """
    if not isinstance(name, str) or not name.strip() or printable(name) != name:
        raise ConfigError(f"adapter_name={name!r}: give a name, text without control characters")
    return name


def _refuse_taken(name: str, adapters: Mapping[str, LoadedAdapter]) -> None:
    if name in adapters:
        raise ConfigError(
            f"an adapter named {name!r} is already loaded; give another adapter_name, or call delete_adapter({name!r}) first"
        )
