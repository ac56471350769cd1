"""The one file that knows the names in transformers' model and configuration.

Everything else speaks of ``layers.3.mhsa.q`` or ``layers.3.ffn.norm``, and of a width or a patch grid. Our names also stand in adapter
files and in the fingerprint of a backbone, so a renaming in transformers changes this file and nothing on disk.
"""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import ASTModel

from astune.architecture import SPECIAL_TOKENS, Architecture, patch_grid
from astune.backbone.attention import NAMES
from astune.backbone.sublayer import Handle, Kind, LayerHook, SubLayer
from astune.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import ASTConfig

    from astune.names import AttentionKernel

_NAMES = (  # transformers >= 5.9, ours
    (r"^embeddings\.cls_token$", "embeddings.cls"),
    (r"^embeddings\.distillation_token$", "embeddings.distillation"),
    (r"^embeddings\.position_embeddings$", "embeddings.positions"),
    (r"^embeddings\.patch_embeddings\.projection\.", "embeddings.patches."),
    (r"^layers\.(\d+)\.layernorm_before\.", r"layers.\1.mhsa.norm."),
    (r"^layers\.(\d+)\.attention\.([qkvo])_proj\.", r"layers.\1.mhsa.\2."),
    (r"^layers\.(\d+)\.layernorm_after\.", r"layers.\1.ffn.norm."),
    (r"^layers\.(\d+)\.mlp\.fc([12])\.", r"layers.\1.ffn.w\2."),
    (r"^layernorm\.", "norm."),
)
_FORMER_NAMES = (  # transformers < 5.9, >= 5.9
    (r"^encoder\.layer\.(\d+)\.", r"layers.\1."),
    (r"\.attention\.attention\.(query|key|value)\b", lambda match: f".attention.{match[1][0]}_proj"),
    (r"\.attention\.output\.dense\b", ".attention.o_proj"),
    (r"\.intermediate\.dense\b", ".mlp.fc1"),
    (r"\.output\.dense\b", ".mlp.fc2"),
)
_ARCHITECTURE = (
    "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act", "layer_norm_eps",
    "patch_size", "qkv_bias", "frequency_stride", "time_stride", "num_mel_bins",
)  # fmt: skip


def empty_model(config: ASTConfig) -> ASTModel:
    """Make transformers' model, with patches of any shape; its own class makes square ones only.

    Args:
        config: whose ``patch_size`` is the side of a square, or mel bins and frames; it is not changed.

    Returns:
        The model, with weights as transformers starts them. If patches are not square, the position embeddings are zero.
    """
    shape = Architecture.of(config).patch_shape
    if shape[0] == shape[1]:
        return ASTModel(config)
    config = copy.deepcopy(config)
    config.patch_size = min(shape)  # a square that fits the input; all that depends on it is replaced
    model = ASTModel(config)
    config.patch_size = list(shape)
    rows, columns = patch_grid(Architecture.of(config))
    strides = (config.frequency_stride, config.time_stride)
    embeddings = model.embeddings
    embeddings.patch_embeddings.projection = nn.Conv2d(1, config.hidden_size, kernel_size=shape, stride=strides)
    embeddings.position_embeddings = nn.Parameter(torch.zeros(1, SPECIAL_TOKENS + rows * columns, config.hidden_size))
    return model


def our_name(name: str) -> str:
    """Translate the name of a parameter of transformers' model into ours.

    Args:
        name: as in ``ASTModel.state_dict()``, such as ``layers.0.attention.q_proj.weight``.

    Returns:
        Such as ``layers.0.mhsa.q.weight``.

    Raises:
        KeyError: transformers has a parameter this file does not know.
    """
    for pattern, replacement in _NAMES:
        ours, found = re.subn(pattern, replacement, name)
        if found:
            return ours
    raise KeyError(f"transformers' parameter {name!r} has no name in astune.backbone.sites")


def current_name(name: str) -> str:
    """A name of transformers' model, of a parameter or a module, as transformers has it since 5.9.

    Args:
        name: of any version, such as ``encoder.layer.0.attention.attention.query.weight``.

    Returns:
        Such as ``layers.0.attention.q_proj.weight``; names that have not changed are returned as they are.
    """
    for pattern, replacement in _FORMER_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


class Sites:
    """A backbone in the paper's words: its sizes, its sub-layers, its tokens.

    Args:
        model: transformers' model.
    """

    def __init__(self, model: ASTModel) -> None:
        self.model = model
        self.width: int = model.config.hidden_size
        self.special_tokens = SPECIAL_TOKENS
        self.handles: list[Handle] = []
        self.layers = [self._layer(index, layer) for index, layer in enumerate(model.layers)]
        self.norm: nn.LayerNorm = model.layernorm
        self.mixer: nn.Module | None = None

    @property
    def architecture(self) -> dict[str, Any]:
        """Everything but the weights that decides what the model computes at its native length, for fingerprints."""
        return {key: getattr(self.model.config, key) for key in _ARCHITECTURE}

    @property
    def max_length(self) -> int:
        """Input length, in frames of 10 ms."""
        return int(self.model.config.max_length)

    @property
    def num_mel_bins(self) -> int:
        """Mel filters of the input."""
        return int(self.model.config.num_mel_bins)

    @property
    def has_dropout(self) -> bool:
        """Whether training mode draws random numbers in the backbone's own layers."""
        config = self.model.config
        return bool(config.hidden_dropout_prob or config.attention_probs_dropout_prob)

    @property
    def positions(self) -> Tensor:
        """The table of position embeddings, (1, special tokens + patches, d), frequency-major; not copied."""
        return self.model.embeddings.position_embeddings.detach()

    def patch_grid(self, max_length: int | None = None) -> tuple[int, int]:
        """How many patches lie along frequency and along time.

        Args:
            max_length: input length, in frames of 10 ms; the present one where None.

        Returns:
            Rows and columns.

        Raises:
            ConfigError: the input is shorter than one patch.
        """
        sizes = Architecture.of(self.model.config)
        return patch_grid(sizes if max_length is None else replace(sizes, max_length=max_length))

    @property
    def patch_shape(self) -> tuple[int, int]:
        """Mel bins and frames of a patch."""
        return Architecture.of(self.model.config).patch_shape

    def set_positions(self, table: Tensor, max_length: int) -> None:
        """Give the model, in place, the position embeddings of an input length.

        Args:
            table: (1, special tokens + patches, d).
            max_length: input length, in frames of 10 ms.
        """
        self.model.config.max_length = max_length
        self.model.embeddings.position_embeddings = nn.Parameter(table)

    def _layer(self, index: int, layer: nn.Module) -> dict[Kind, SubLayer]:
        attention, mlp = layer.get_submodule("attention"), layer.get_submodule("mlp")
        norms = [layer.get_submodule(name) for name in ("layernorm_before", "layernorm_after")]
        heads = {name: attention.get_submodule(f"{name}_proj") for name in "qkvo"}
        matrices = {name: mlp.get_submodule(f"fc{name[1]}") for name in ("w1", "w2")}
        return {
            "mhsa": SubLayer(f"layers.{index}.mhsa", norms[0], attention, heads, self.handles),  # type: ignore[arg-type]
            "ffn": SubLayer(f"layers.{index}.ffn", norms[1], mlp, matrices, self.handles),  # type: ignore[arg-type]
        }

    def set_kernel(self, kernel: AttentionKernel) -> None:
        """Choose the kernel of every layer's attention.

        Args:
            kernel: ``auto`` goes by device and shape, see :func:`astune.compute.prefers_eager_attention`.
        """
        self.model.set_attn_implementation(NAMES[kernel])

    def before_layer(self, index: int, editor: nn.Module) -> None:
        """Edit the tokens that enter a layer.

        Args:
            index: of the layer.
            editor: (batch, N, d) to (batch, M, d).
        """
        self.handles.append(self.model.layers[index].register_forward_pre_hook(LayerHook(editor)))

    def mix_levels(self, mixer: nn.Module) -> None:
        """Have a mixture of all levels classified, the embeddings' and every layer's, instead of the last one; seen by :meth:`output`.

        Args:
            mixer: takes their normalised tokens, a tensor a level; gives one of that shape.
        """
        self.mixer = mixer

    def embed(self, input_values: Tensor, kept_patches: Tensor | None = None) -> Tensor:
        """Tokens with their positions.

        Args:
            input_values: (batch, max_length, bins).
            kept_patches: indices of the patches that are looked at, (batch, K), frequency-major; all where None.

        Returns:
            (batch, 2 + patches or K, d).

        Raises:
            ConfigError: features of another shape, or no floating point numbers.
        """
        self._refuse_other_features(input_values)
        tokens: Tensor = self.model.embeddings(input_values)
        if kept_patches is None:
            return tokens
        patches = torch.take_along_dim(tokens[:, SPECIAL_TOKENS:], kept_patches[:, :, None], dim=1)
        return torch.cat([tokens[:, :SPECIAL_TOKENS], patches], dim=1)

    def _refuse_other_features(self, input_values: Tensor) -> None:
        """By shape and type alone, so that it costs nothing and compiled, vectorised and meta tensors pass too.

        Raises:
            ConfigError: they are not what this model takes.
        """
        if not isinstance(input_values, Tensor):
            raise ConfigError(f"input_values is a {type(input_values).__name__}; give a torch.Tensor")
        frames, bins = self.max_length, self.num_mel_bins
        shape, wanted = (
            tuple(input_values.shape),
            f"(batch, {frames}, {bins}): {frames} frames of 10 ms, {bins} mel bins",
        )
        if len(shape) != 3:
            raise ConfigError(f"input_values has the shape {shape}; give {wanted}")
        if not shape[0]:
            raise ConfigError(f"input_values has the shape {shape}: the batch is empty")
        if shape[1] != frames and shape[2] == bins:
            raise ConfigError(
                f"input_values has {shape[1]} frames, and this model takes {frames}; make them with its front_end or with "
                f"ASTFeatureExtractor(max_length={frames}), or load the backbone with max_length={shape[1]}"
            )
        if shape[1:] != (frames, bins):
            hint = "; the axes are swapped: give input_values.transpose(1, 2)" if shape[1:] == (bins, frames) else ""
            raise ConfigError(f"input_values has the shape {shape}; give {wanted}{hint}")
        weights = self.model.embeddings.cls_token.dtype
        if not input_values.is_floating_point() or input_values.dtype == torch.float64 != weights:
            raise ConfigError(
                f"input_values has the type {input_values.dtype}; give normalised log-Mel features in {weights}, as its front_end "
                "makes them"
            )

    def run(self, tokens: Tensor, first: int = 0, last: int | None = None) -> Tensor:
        """Layers ``first`` to ``last`` - 1, which is to the end where None.

        Args:
            tokens: (batch, N, d) that enter the first of them.
            first: index of a layer.
            last: index of the layer after the last one; None for the end.

        Returns:
            (batch, N, d), before the final LayerNorm.
        """
        for layer in self.model.layers[first:last]:
            tokens = layer(tokens)
        return tokens

    def output(self, tokens: Tensor) -> Tensor:
        """All layers and the final LayerNorm: of the last level, or of the mixture where levels are mixed.

        Args:
            tokens: (batch, N, d) that enter the first layer.

        Returns:
            (batch, M, d), where a method may have added or taken away tokens.
        """
        if self.mixer is None:
            normed: Tensor = self.norm(self.run(tokens))
            return normed
        return self.scaled(self.mixed(self.levels(tokens)))

    def levels(self, tokens: Tensor) -> list[Tensor]:
        """What the method classifies, with mean 0 and variance 1 in every token: the final LayerNorm before its weight and bias.

        Args:
            tokens: (batch, N, d) that enter the first layer.

        Returns:
            (batch, N, d), one for each level: of the last one alone, or of all, the embeddings first, where they are mixed.
        """
        found: list[Tensor] = []
        for layer in self.model.layers:
            if self.mixer is not None:
                found.append(tokens)
            tokens = layer(tokens)
        return [F.layer_norm(level, self.norm.normalized_shape, eps=self.norm.eps) for level in [*found, tokens]]

    def mixed(self, levels: Sequence[Tensor]) -> Tensor:
        """Mix several levels into one.

        Args:
            levels: as :meth:`levels` gives them, (batch, N, d) each, or pooled, (batch, d); the last one counts where nothing mixes
                them.

        Returns:
            Of the shape of one level.
        """
        mixed: Tensor = levels[-1] if self.mixer is None else self.mixer(levels)
        return mixed

    def scaled(self, normalised: Tensor) -> Tensor:
        """The final LayerNorm's weight and bias; they commute with a mean over tokens.

        Args:
            normalised: (..., d).
        """
        return normalised * self.norm.weight + self.norm.bias

    def parameters(self) -> dict[str, nn.Parameter]:
        """The backbone's parameters under our names, in the model's order."""
        return {our_name(name): parameter for name, parameter in self.model.named_parameters()}

    def parameter_names(self) -> dict[str, str]:
        """Our name of every parameter with the one it has in transformers' model, in the model's order."""
        return {our_name(name): name for name, _ in self.model.named_parameters()}

    def detach(self) -> None:
        """Take away everything that was attached."""
        for handle in self.handles:
            handle.remove()
        self.handles.clear()
        self.mixer = None
