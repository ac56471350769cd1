"""An adapter and its backbone, from a folder, the hub or memory, on the device that computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import torch
from torch import nn

from astune import adapter_file
from astune.adapter import Adapter
from astune.classifier import AudioClassifier
from astune.compute import Arithmetic
from astune.errors import AdapterError, ConfigError, unknown
from astune.names import Precision

if TYPE_CHECKING:
    from pathlib import Path

    from astune.adapter import AdapterConfig
    from astune.backbone import Backbone


@dataclass(frozen=True)
class Loaded:
    """What an adapter is, once it is loaded."""

    name: str
    model: AudioClassifier
    device: torch.device
    precision: str
    config: AdapterConfig | None
    """None of a classifier in memory."""
    own: bool
    """Whether the weights were loaded here, so that nobody else has them."""

    @property
    def training(self) -> dict[str, Any]:
        """What the adapter says of its training; nothing for a classifier in memory."""
        return self.config.training if self.config else {}


def load(
    adapter: str | Path | Adapter | AudioClassifier,
    backbone: str | Path | Backbone | None,
    device: str | torch.device | None,
) -> Loaded:
    """Find an adapter and its backbone, and bring them to their device.

    Args:
        adapter: a folder, the hub id of one, an adapter in memory, or a classifier.
        backbone: where the backbone is, or the loaded model; where the adapter says if None.
        device: where the model shall compute. Where None, the GPU if there is one; a classifier stays where it is.

    Returns:
        The classifier, and what is known of it.

    Raises:
        AdapterError: it is no adapter, or does not fit the backbone.
        ConfigError: the device is not there, or a backbone is given beside a classifier.
    """
    chosen = None if device is None else _device(device)
    if isinstance(adapter, AudioClassifier):
        if backbone is not None:
            raise ConfigError("backbone is given beside a classifier, which has its own; leave it out")
        place = chosen or next(adapter.parameters()).device
        return Loaded(adapter.method.spec, adapter.to(place), place, "float32", None, own=False)
    value = adapter if isinstance(adapter, Adapter) else adapter_file.read(adapter)
    config = value.config
    if config.compute_dtype not in get_args(Precision):
        raise AdapterError(
            f"the adapter's configuration is damaged: compute_dtype is {config.compute_dtype!r}, neither float32 nor bfloat16"
        )
    model = AudioClassifier.from_adapter(value, backbone)
    place = chosen or _best_device()
    own = not isinstance(backbone, nn.Module)
    return Loaded(value.name, model.to(place), place, config.compute_dtype, config, own)


def bare_backbone(
    backbone: Backbone, device: str | torch.device | None, precision: str | None
) -> tuple[nn.Module, Arithmetic]:
    """Bring a backbone without an adapter to its device.

    Args:
        backbone: as loaded; its weights are not changed.
        device: as for :func:`load`.
        precision: of the matrix products; float32 where None.

    Returns:
        The module that computes, in evaluation mode, and how it computes.

    Raises:
        ConfigError: the device is not there, the precision is unknown, or the backbone was loaded in another type.
    """
    if precision not in {None, *get_args(Precision)}:
        raise ConfigError(unknown("precision", precision, get_args(Precision)))
    refuse_cast(backbone, precision or "float32")
    place = _device(device) if device is not None else _best_device()
    return backbone.to(place), Arithmetic.of(place, precision == "bfloat16", store_bf16=False)


def _best_device() -> torch.device:
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def refuse_cast(model: nn.Module, precision: str) -> None:
    """Refuse a model whose parameters have a type that features cannot be multiplied with.

    Args:
        model: a classifier or backbone that may have been cast.
        precision: of the matrix products; in bfloat16, frozen matrices may be stored in it too.

    Raises:
        ConfigError: some are in another type.
    """
    held = {str(one.dtype).removeprefix("torch.") for one in model.parameters()}
    other = sorted(held - {"float32", precision})
    if other:
        kind = "classifier" if isinstance(model, AudioClassifier) else "backbone"
        raise ConfigError(
            f"the {kind} has parameters in {', '.join(other)}; give it in float32 ({kind}.float()), and choose "
            "precision='bfloat16' for products in bfloat16"
        )


def _device(device: str | torch.device) -> torch.device:
    """A device that is there.

    Raises:
        ConfigError: it is not, or it is none.
    """
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
        torch.autocast(found.type, torch.bfloat16, enabled=False)  # "meta" holds no values, and nothing computes there
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as fault:
        here = torch.accelerator.current_accelerator(check_available=True)
        count = torch.accelerator.device_count() if here else 0
        choices = ["cpu", *(f"{here}:{number}" for number in range(count))]
        raise ConfigError(f"device={str(device)!r} cannot be used; here there is {', '.join(choices)}") from fault
    return found
