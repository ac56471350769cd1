"""A loaded backbone as one value: transformers' model, where it comes from, and its sub-layers in the paper's words."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, get_args

import torch
from torch import nn
from transformers import ASTModel
from typing_extensions import override

from astune.backbone.positions import PositionEmbeddings, fit_table
from astune.backbone.sites import Sites
from astune.errors import ConfigError, unknown_choice
from astune.features.log_mel import FrontEnd
from astune.plurals import number_of
from astune.summary import Summarised, Summary, here, input_of
from astune.validated import fits, strict_constructor

if TYPE_CHECKING:
    from torch import Tensor
    from transformers.modeling_outputs import BaseModelOutputWithPooling

AUDIOSET_MEAN, AUDIOSET_STD = -4.2677393, 4.5689974  # of log-Mel energies; the defaults of ASTFeatureExtractor


@strict_constructor
@dataclass(frozen=True)
class Origin:
    """Where a backbone comes from, and how it was fitted."""

    name: str
    """``bundled``, hub id, absolute path of a folder, or ``random:<size>``."""
    fingerprint: str
    """SHA-256 over architecture and weights as the file holds them, before casting and before fitting positions."""
    position_embeddings: PositionEmbeddings
    """How its positions were fitted to its present length."""
    mean: float = AUDIOSET_MEAN
    """Mean of the log-Mel energies it was pretrained with."""
    std: float = AUDIOSET_STD
    """Their standard deviation."""


@dataclass
class _Claim:
    """Who uses a set of weights; shared by all backbones that :meth:`Backbone.fit` made of one another."""

    taken: bool = False
    """Whether a classifier has them, which may train some of them."""
    lent: int = 0
    """How many read them, and rely on them to stay as they are."""
    reads: bool = False
    """Whether they are another backbone's, which lent them."""


@strict_constructor
class Backbone(Summarised, nn.Module):
    """transformers' ``ASTModel`` and what astune knows of it.

    It is a module, so that a classifier that holds it moves, copies and saves the model with it. Its forward pass is the model's own. A
    deep copy has weights, origin and claim of its own. ``print(backbone.model)`` shows the modules.

    Args:
        model: transformers' model, weights loaded, at its native input length.
        origin: where it comes from.
    """

    def __init__(self, model: ASTModel, origin: Origin) -> None:
        super().__init__()
        self.model = model
        self.origin = origin
        self.sites = Sites(model)
        self._native_length, self._native_positions = self.sites.max_length, self.sites.positions
        self._claim = _Claim()

    @classmethod
    def of(cls, model: ASTModel) -> Backbone:
        """Make a backbone of a model that was not loaded by :func:`astune.load_backbone`; make one for each model.

        Args:
            model: transformers' model; it is fingerprinted with the weights it has now, and not copied.

        Returns:
            The backbone; its features are normalised as AudioSet's.

        Raises:
            ConfigError: it is no ``ASTModel``.
        """
        if not isinstance(model, ASTModel):
            raise ConfigError(f"model is of type {type(model).__name__}; give a transformers.ASTModel")
        return cls(model, Origin(model.name_or_path or "unnamed", fingerprint_of(Sites(model)), "fit"))

    @override
    def _summary(self) -> Summary:
        parameters = number_of(sum(parameter.numel() for parameter in self.parameters()), "parameter")
        layers = f"{number_of(self.n_layers, 'layer')} of width {self.width}"
        rows = (
            ("parameters", parameters), ("layers", layers), ("input", input_of(self.max_length).removeprefix("input of ")),
            ("position embeddings", self.origin.position_embeddings), ("fingerprint", self.origin.fingerprint[:12]),
        )  # fmt: skip
        return Summary("Backbone", here(self.origin.name), (parameters, layers, input_of(self.max_length)), rows)

    @override
    def forward(self, input_values: Tensor) -> BaseModelOutputWithPooling:
        """The model's own output; methods that mix levels or drop patches go through :attr:`sites` instead.

        Args:
            input_values: normalised log-Mel features, (batch, max_length, num_mel_bins).

        Returns:
            ``last_hidden_state``, (batch, tokens, d), after the final LayerNorm.
        """
        output: BaseModelOutputWithPooling = self.model(input_values)
        return output

    @property
    def max_length(self) -> int:
        """Input length, in frames of 10 ms."""
        return self.sites.max_length

    @property
    def native_length(self) -> int:
        """Input length of the pretraining, in frames of 10 ms."""
        return self._native_length

    @property
    def front_end(self) -> FrontEnd:
        """How audio becomes the backbone's input."""
        return FrontEnd(self.max_length, self.sites.num_mel_bins, self.origin.mean, self.origin.std)

    @property
    def patch_grid(self) -> tuple[int, int]:
        """Patches along frequency and along time."""
        return self.sites.patch_grid()

    @property
    def patch_shape(self) -> tuple[int, int]:
        """Mel bins and frames of a patch."""
        return self.sites.patch_shape

    @property
    def special_tokens(self) -> int:
        """Tokens in front of the patches: [CLS] and distillation."""
        return self.sites.special_tokens

    @property
    def width(self) -> int:
        """Width d of a token."""
        return self.sites.width

    @property
    def n_layers(self) -> int:
        """Number of transformer layers."""
        return len(self.sites.layers)

    @property
    def has_dropout(self) -> bool:
        """Whether the backbone's own layers have dropout in training mode."""
        return self.sites.has_dropout

    def fit(self, max_length: int, position_embeddings: PositionEmbeddings = "fit") -> Backbone:
        """Fit the same weights to another input length.

        Args:
            max_length: in frames of 10 ms.
            position_embeddings: ``"fit"`` cuts or interpolates the pretrained table; ``"zero"`` is the paper's effective setting, a
                table of zeros.

        Returns:
            A backbone that shares all tensors but the positions. So one classifier may take one of the two.

        Raises:
            ConfigError: an unknown setting, a length that is no whole number, under one patch or too long for the memory, or a
                classifier has taken the weights.
        """
        if position_embeddings not in get_args(PositionEmbeddings):
            raise ConfigError(unknown_choice("position_embeddings", position_embeddings, get_args(PositionEmbeddings)))
        max_length = whole_frames(max_length)
        self._refuse_if_taken()
        fitted = self._twin({id(one): one for one in self.model.parameters()}, position_embeddings)
        try:
            table = self._positions(max_length)
            fitted.sites.set_positions(
                torch.zeros_like(table) if position_embeddings == "zero" else table.clone(), max_length
            )
        except (RuntimeError, MemoryError) as fault:  # torch's refusal of memory has no class of its own on a CPU
            raise ConfigError(
                f"max_length={max_length}: there is no memory for position embeddings of so long an input; use a shorter one"
            ) from fault
        fitted._claim = self._claim
        return fitted

    def _positions(self, max_length: int) -> Tensor:
        """The pretrained table at an input length; not always a copy.

        Raises:
            ConfigError: it has another size than the model's configuration says, or the input is shorter than a patch.
        """
        table, (rows, native) = self._native_positions, self.sites.patch_grid(self._native_length)
        asked = self.special_tokens + rows * native
        if table.shape[1] != asked:
            raise ConfigError(f"the backbone holds {table.shape[1]} positions, its configuration asks for {asked}")
        return table if max_length == self._native_length else fit_table(table, *self.sites.patch_grid(max_length))

    def _twin(self, parameters: dict[int, nn.Parameter], position_embeddings: PositionEmbeddings) -> Backbone:
        """Modules of its own around other parameters, by the ``id`` of those that they replace."""
        origin = replace(self.origin, position_embeddings=position_embeddings)
        twin = Backbone(copy.deepcopy(self.model, dict[int, object](parameters)), origin)
        twin._native_length, twin._native_positions = self._native_length, self._native_positions
        return twin.train(self.training)

    def reader(self) -> Backbone:
        """Share the weights with one more classifier, which never writes to them.

        It puts parameters of its own in the place of those that it trained. However many readers there are, the weights are in memory
        once.

        Returns:
            A backbone with modules and parameters of its own, whose values are those of this one's memory.
        """
        own = {id(one): nn.Parameter(one.detach(), requires_grad=False) for one in self.model.parameters()}
        twin = self._twin(own, self.origin.position_embeddings)
        twin._claim.reads = True
        return twin

    def lend(self) -> None:
        """Promise the weights to one who makes readers of them: no classifier can have them then.

        Raises:
            ConfigError: a classifier has them, or they are not in float32.
        """
        self._refuse_if_taken()
        self._refuse_other_types()
        self._claim.lent += 1

    def give_back(self) -> None:
        """Take back a promise of :meth:`lend`."""
        self._claim.lent -= 1

    def claim(self) -> None:
        """Take the weights for one classifier, which freezes and hooks them and may train some of them.

        Raises:
            ConfigError: another classifier or a predictor has them, or they are not in float32, in which alone they are trained
                against.
        """
        self._refuse_if_taken()
        if self._claim.lent:
            raise ConfigError(
                "this backbone serves a Predictor, whose scores would change with its weights; load one for the classifier, or give a "
                "copy.deepcopy of a fresh one"
            )
        if not self._claim.reads:
            self._refuse_other_types()
        self._claim.taken = True

    def release(self) -> None:
        """Take away all that was attached, and let another classifier have the weights."""
        self.sites.detach()
        self._claim.taken = self._claim.reads = False

    def _refuse_other_types(self) -> None:
        dtypes = {parameter.dtype for parameter in self.parameters()}
        if dtypes != {torch.float32}:
            held = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))
            raise ConfigError(
                f"load the backbone in float32, not {held}; cast the classifier, or let training compute in bfloat16"
            )

    def _refuse_if_taken(self) -> None:
        if self._claim.taken:
            raise ConfigError(
                "this backbone belongs to another classifier; load one for each, or give a copy.deepcopy of a fresh one"
            )


def loaded_backbone(backbone: object) -> Backbone:
    """Check that what was given is a loaded backbone, and return it.

    Args:
        backbone: whatever was given as one.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(backbone, Backbone):
        return backbone
    if isinstance(backbone, nn.Module):
        raise ConfigError(
            f"backbone is a {type(backbone).__name__}; give load_backbone('bundled'), or astune.backbone.Backbone.of(model)"
        )
    raise ConfigError(f"backbone={backbone!r} is not a loaded backbone; give load_backbone('bundled'), or another name")


def whole_frames(max_length: object) -> int:
    """Check an input length and return it as a Python integer.

    Args:
        max_length: in frames of 10 ms.

    Returns:
        The same.

    Raises:
        ConfigError: it is no whole number.
    """
    if not fits(max_length, int):
        raise ConfigError(
            f"max_length={max_length!r} is of type {type(max_length).__name__}; give a whole number of frames"
        )
    return int(max_length)  # type: ignore[call-overload,no-any-return] # a number, NumPy's too


def fingerprint_of(sites: Sites) -> str:
    """SHA-256 of architecture and weights, under our own parameter names.

    Args:
        sites: of a model with the weights as they came from the file.

    Returns:
        64 hexadecimal digits; the same with and without a classification head, under transformers 4 and 5 names.
    """
    digest = hashlib.sha256()
    digest.update(json.dumps(sites.architecture, sort_keys=True).encode())
    for name, parameter in sorted(sites.parameters().items()):
        values = parameter.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.view(torch.uint8).numpy().data)
    return digest.hexdigest()
