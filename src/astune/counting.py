"""What a method would train and store, on a backbone that exists as a shape alone: no weights, no download, milliseconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from transformers import ASTConfig

from astune.adapter_file import file_bytes
from astune.backbone import Backbone
from astune.classifier import AudioClassifier

if TYPE_CHECKING:
    from astune.methods import Method


@dataclass(frozen=True)
class Count:
    """Size of one method."""

    parameters: int
    """Trained parameters as the paper counts them."""
    percent_of_full: float
    """Of full fine-tuning's."""
    adapter_bytes: int
    """Tensors of the adapter file, head included."""


def meta_classifier(method: str | Method, classes: int = 50, config: ASTConfig | None = None) -> AudioClassifier:
    """A classifier without values.

    Args:
        method: a method or its spec string.
        classes: of the head.
        config: shape of the backbone, at the input length; AST-base at 500 frames where None.

    Returns:
        A classifier on the meta device.

    Raises:
        ConfigError: the method cannot be attached.
    """
    with torch.device("meta"):
        return AudioClassifier(
            Backbone.empty(config or ASTConfig(max_length=500)), method, [str(index) for index in range(classes)]
        )


def count(method: str | Method, classes: int = 50, config: ASTConfig | None = None) -> Count:
    """Size of a method.

    Args:
        method: a method or its spec string.
        classes: of the head.
        config: shape of the backbone; AST-base at 500 frames where None.

    Returns:
        Parameters and bytes.

    Raises:
        ConfigError: the method cannot be attached.
    """
    model = meta_classifier(method, classes, config)
    parameters = model.parameter_count()
    whole = sum(parameter.numel() for parameter in model.backbone.parameters())
    return Count(parameters, 100 * parameters / whole, file_bytes(model.adapter_state()))
