"""Adapters over one backbone's weights, which are in memory once.

A *shell* is a classifier without tensors of its own: the modules of a method around the shared weights. An adapter's tensors enter it for
one call (``torch.func.functional_call``), so hundreds of adapters of one method need one shell, and nothing shared is ever written.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F
from typing_extensions import override

from astune.adapter import refuse_other_shapes
from astune.classifier import AudioClassifier
from astune.inference.loaded_adapter import Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from astune.adapter import Adapter, AdapterConfig
    from astune.backbone import Backbone
    from astune.inference.loaded_adapter import LoadedAdapter

_HEAD = "head."


@dataclass(frozen=True)
class _Shell:
    model: AudioClassifier
    shapes: dict[str, torch.Size]
    """Shapes of the tensors that enter it, by their names in an adapter; the head's first size differs with the number of classes."""


class _Body(nn.Module):
    """A classifier without its head."""

    def __init__(self, classifier: AudioClassifier) -> None:
        super().__init__()
        self.classifier = classifier

    @override
    def forward(self, features: Tensor) -> Tensor:
        """(batch, max_length, num_mel_bins) to (batch, d)."""
        return self.classifier.pooled(features)


class Shells:
    """Makes classifiers and shells over one backbone, for any number of threads.

    Args:
        backbone: on its device, and stored as it shall be; nobody may write to it.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._device = next(backbone.parameters()).device
        self._lock = Lock()
        self._idle: dict[Kind, list[_Shell]] = {}
        self._fitted = {(backbone.max_length, backbone.origin.position_embeddings): backbone}
        self.bytes = sum(one.nbytes for one in backbone.parameters())
        """The backbone."""

    @override
    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles, which have a lock and shells of their own."""
        return {name: value for name, value in vars(self).items() if name not in {"_lock", "_idle"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=Lock(), _idle={})

    @property
    def backbone(self) -> Backbone:
        """The backbone whose weights are shared."""
        return self._backbone

    def classifier(self, adapter: LoadedAdapter) -> AudioClassifier:
        """An adapter's own classifier.

        Args:
            adapter: on the backbone's device; its tensors become parameters and are not copied.

        Returns:
            The classifier, in evaluation mode.

        Raises:
            ConfigError: the backbone cannot be fitted to the adapter.
        """
        assert adapter.config is not None  # noqa: S101 - for type checkers: no classifier in memory comes here
        model = self._bare(adapter.config)
        _put(model, adapter.tensors)
        return model

    def refuse_misfit(self, adapter: Adapter) -> None:
        """Look whether an adapter fits the backbone.

        Args:
            adapter: any.

        Raises:
            AdapterError: it was trained on another backbone, its method is unknown, or a tensor is missing, unknown, or of another
                shape.
            ConfigError: the backbone cannot be fitted to its input.
        """
        adapter.refuse_other_weights(self._backbone.origin)
        with self._borrowed(adapter.config, Kind.of(adapter.config)) as shell:
            shapes = shell.shapes
        head = {name: (len(adapter.labels), *shapes[name][1:]) for name in ("head.weight", "head.bias")}
        refuse_other_shapes(adapter.tensors, {**shapes, **head}, adapter.config.spec)

    def logits(self, adapter: LoadedAdapter, features: Tensor) -> Tensor:
        """What an adapter says of clips.

        Args:
            adapter: on the backbone's device.
            features: (batch, max_length, num_mel_bins), there too.

        Returns:
            (batch, classes).
        """
        with self._of_loaded(adapter) as shell:
            found: Tensor = functional_call(
                shell.model, _given(shell, adapter.tensors), (features,), tie_weights=False
            ).logits
            return found

    def stacked_logits(self, adapters: Sequence[LoadedAdapter], features: Tensor) -> list[Tensor]:
        """What each adapter says of its clip, with all clips in one batch.

        Products with the backbone's weights are made once for all clips, and those with the adapters' own tensors as batches.

        Args:
            adapters: adapters of one kind, one for each clip.
            features: (batch, max_length, num_mel_bins), on the backbone's device.

        Returns:
            (classes,) for each clip; adapters may have different numbers of them.
        """
        own = [name for name in adapters[0].tensors if not name.startswith(_HEAD)]
        stacks = {name: torch.stack([one.tensors[name] for one in adapters]) for name in own}
        with self._of_loaded(adapters[0]) as shell:
            body = _Body(shell.model)

            def pooled(tensors: dict[str, Tensor], clip: Tensor) -> Tensor:
                given = {f"classifier.{name}": tensor for name, tensor in tensors.items()}
                found: Tensor = functional_call(body, given, (clip[None],), tie_weights=False)
                return found[0]

            rows = vmap(pooled)(_given(shell, stacks), features)
        return [
            F.linear(row, one.tensors["head.weight"], one.tensors["head.bias"])
            for row, one in zip(rows, adapters, strict=True)
        ]

    @contextmanager
    def _of_loaded(self, adapter: LoadedAdapter) -> Iterator[_Shell]:
        assert adapter.config is not None and adapter.kind is not None  # noqa: S101, PT018 - as in classifier()
        with self._borrowed(adapter.config, adapter.kind) as shell:
            yield shell

    def keep(self, kinds: Collection[Kind | None]) -> None:
        """Forget the shells of all other kinds.

        Args:
            kinds: kinds that some adapter has.
        """
        with self._lock:
            self._idle = {kind: idle for kind, idle in self._idle.items() if kind in kinds}

    @contextmanager
    def _borrowed(self, config: AdapterConfig, kind: Kind) -> Iterator[_Shell]:
        """A shell for one thread: tensors enter its modules for the time of a call, so two threads need two."""
        with self._lock:
            idle = self._idle.get(kind)
            shell = idle.pop() if idle else None
        if shell is None:
            shell = self._new(config)
        yield shell  # one in which a call failed is not kept
        with self._lock:
            self._idle.setdefault(kind, []).append(shell)

    def _new(self, config: AdapterConfig) -> _Shell:
        model = self._bare(config)
        state = model.adapter_state()
        _put(model, {name: tensor.new_empty(0) for name, tensor in state.items()})
        return _Shell(model, {name: tensor.shape for name, tensor in state.items()})

    def _bare(self, config: AdapterConfig) -> AudioClassifier:
        backbone = self._fit(config).reader()
        # Adapters bring all values. Drawing some would take memory, and random numbers from whoever trains or draws in another thread.
        with torch.device("meta"):
            return AudioClassifier.for_adapter(config, backbone)

    def _fit(self, config: AdapterConfig) -> Backbone:
        """The backbone at an adapter's input length; all of one length share one table of positions."""
        length, positions = config.front_end.max_length, config.position_embeddings
        with self._lock:
            if (length, positions) not in self._fitted:
                self._fitted[length, positions] = self._backbone.fit(length, positions).to(self._device)
            return self._fitted[length, positions]


def _given(shell: _Shell, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An adapter's tensors by their names in a shell."""
    return {shell.model.module_names[name]: tensor for name, tensor in tensors.items()}


def _put(model: AudioClassifier, tensors: Mapping[str, Tensor]) -> None:
    """Have tensors in the place of those that a classifier trains; those before are not written to."""
    for name, tensor in tensors.items():
        path, _, last = model.module_names[name].rpartition(".")
        module = model.get_submodule(path)
        if last in dict(module.named_parameters(recurse=False)):
            setattr(module, last, nn.Parameter(tensor))
        else:
            module.register_buffer(last, tensor)
