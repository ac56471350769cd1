"""An adapter and its backbone, from a folder, the hub or memory, on the device that computes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import torch
from torch import nn

from astune import adapter_file
from astune.adapter import Adapter
from astune.backbone import load_backbone
from astune.backbone.backbone import loaded_backbone
from astune.backbone.hub import is_hub_id
from astune.classifier import AudioClassifier
from astune.compute import Arithmetic, best_device, usable_device
from astune.errors import AdapterError, ConfigError, unknown_choice
from astune.names import Precision

if TYPE_CHECKING:
    from astune.adapter import AdapterConfig
    from astune.backbone import Backbone


@dataclass(frozen=True)
class Loaded:
    """What an adapter is, once it is loaded."""

    name: str
    model: AudioClassifier
    device: torch.device
    config: AdapterConfig | None
    """None of a classifier in memory."""
    own: bool
    """Whether the weights were loaded here, so that nobody else has them."""

    @property
    def training(self) -> dict[str, Any]:
        """What the adapter says of its training; nothing for a classifier in memory."""
        return self.config.training if self.config else {}


def read_adapter(adapter: str | Path | Adapter) -> Adapter:
    """Find an adapter.

    Args:
        adapter: a folder, the hub id of one, or an adapter in memory.

    Returns:
        The adapter.

    Raises:
        AdapterError: it is not an adapter, is damaged, or has values that are not finite.
        ConfigError: it is a classifier.
    """
    if isinstance(adapter, nn.Module):
        raise ConfigError(
            f"adapter is a {type(adapter).__name__}; give an adapter folder, a hub id, or classifier.to_adapter()"
        )
    if isinstance(adapter, Adapter):
        value = adapter
        adapter_file.refuse_unsound(value.tensors, f"{value.name} cannot be used")
    else:
        value = adapter_file.read(adapter)
    config = value.config
    if config.compute_dtype not in get_args(Precision):
        raise AdapterError(
            f"the adapter's configuration is damaged: compute_dtype is {config.compute_dtype!r}, neither float32 nor bfloat16"
        )
    return value


def find_backbone(adapter: Adapter, backbone: str | Path | Backbone | None) -> tuple[Backbone, bool]:
    """Find the backbone that an adapter was trained on.

    Args:
        adapter: any.
        backbone: hub id or folder of the backbone, or the loaded model; by default the one that the adapter names.

    Returns:
        The backbone, fitted to the adapter's input and lent, and whether it was loaded here, so that nobody else has it.

    Raises:
        AdapterError: the backbone is not the one it was trained on.
        BackboneError: it cannot be found.
        ConfigError: it is not a backbone, a classifier has it, or it is not in float32.
    """
    config, own = adapter.config, not isinstance(backbone, nn.Module)
    if not isinstance(backbone, nn.Module):
        name = backbone or config.backbone.name_or_path
        backbone = load_backbone(name, config.front_end.max_length, config.position_embeddings)
    found = loaded_backbone(backbone)
    adapter.refuse_other_backbone(found)
    found.lend()
    return found, own


def refuse_second_backbone(backbone: object) -> None:
    """Refuse a backbone that is given together with a classifier.

    Args:
        backbone: the backbone; None if none was given.

    Raises:
        ConfigError: there is one.
    """
    if backbone is not None:
        raise ConfigError("backbone cannot be given together with a classifier, which has its own; leave it out")


def default_name(adapter: str | Path | Adapter | AudioClassifier) -> str:
    """Under which an adapter is known, where nobody says.

    Args:
        adapter: a folder, the hub id of one, an adapter in memory, or a classifier.

    Returns:
        The name of its folder or repository, with its revision where one was asked for; ``default``, as PEFT has it, where it has none.
    """
    if isinstance(adapter, Adapter):
        where = "" if adapter.name == Adapter.name else adapter.name
    else:
        where = "" if isinstance(adapter, nn.Module) else str(adapter)
    if not where:
        return "default"
    folder = Path(where)
    if is_hub_id(where):  # a revision may have a slash
        return where.partition("/")[2]
    return folder.resolve().name if folder.exists() else folder.name


def bare_backbone(
    backbone: Backbone, device: str | torch.device | None, precision: str | None
) -> tuple[nn.Module, Arithmetic]:
    """Bring a backbone without an adapter to its device.

    Args:
        backbone: the loaded backbone; its weights are not changed.
        device: see :class:`astune.Predictor`.
        precision: precision of the matrix products; by default float32.

    Returns:
        The module that computes, in evaluation mode, and how it computes.

    Raises:
        ConfigError: the device is not there, the precision is unknown, or the backbone was loaded in another type.
    """
    if precision not in {None, *get_args(Precision)}:
        raise ConfigError(unknown_choice("precision", precision, get_args(Precision)))
    refuse_cast(backbone, precision or "float32")
    device = usable_device(device) if device is not None else best_device()
    return backbone.to(device), Arithmetic.of(device, precision == "bfloat16", store_bf16=False)


def refuse_cast(model: nn.Module, precision: str) -> None:
    """Refuse a model whose parameters have a type that features cannot be multiplied with.

    Args:
        model: a classifier or backbone that may have been cast.
        precision: the precision of the matrix products; in bfloat16, frozen matrices may be stored in it too.

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
