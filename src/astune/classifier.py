"""A frozen backbone with a method attached, a pooling and a head: what is trained, saved and served.

Head (paper, section III, "Setup details"): the mean over all output tokens after the final LayerNorm, then one linear layer;
``pooling="cls"`` takes the [CLS] token alone.
"""

from __future__ import annotations

import copy
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor, nn
from transformers import ASTModel
from transformers.modeling_outputs import SequenceClassifierOutput

from astune import adapter_file
from astune.backbone import Sites, load_backbone, origin_of
from astune.data.labels import label_faults
from astune.errors import AdapterError, ConfigError, listing, unknown
from astune.features.log_mel import FrontEnd
from astune.methods import Method, parse_method
from astune.methods.base import trained_final_norm
from astune.methods.full import FullFineTuning
from astune.tasks import SINGLE_LABEL
from astune.validated import checked_but_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import Any, Self

Pooling = Literal["all", "cls"]
_TAKEN = "astune_taken"  # set on a backbone that a classifier has frozen, hooked and perhaps trained


@checked_but_for("backbone", "method", "labels", "pooling")
class AudioClassifier(nn.Module):
    """Logits over the labels of one task, from log-Mel features.

    Attributes that matter to users: ``labels``, ``method``, ``front_end``; only what the method trains requires a gradient.

    Args:
        backbone: from :func:`astune.load_backbone`; it is changed in place (frozen, hooks added), so give each classifier its own.
        method: a method or its spec string, such as ``"lora"`` or ``"bottleneck:configuration=houlsby"``.
        labels: names of the classes, in the order of the logits.
        pooling: ``"all"`` output tokens (the paper's) or ``"cls"``.

    Raises:
        ConfigError: labels that are fewer than two, no text, not as they can be shown, or the same; an unknown pooling, a method that
            cannot be attached, or a backbone that is none, another classifier's or not in float32.
    """

    def __init__(
        self, backbone: ASTModel, method: str | Method, labels: Sequence[str], pooling: Pooling = "all"
    ) -> None:
        super().__init__()
        self.method = parse_method(method)
        self.labels = _checked_labels(labels)
        self.pooling = pooling
        if pooling not in get_args(Pooling):
            raise ConfigError(unknown("pooling", pooling, get_args(Pooling)))
        self._take(backbone)
        self.backbone = backbone
        self.origin = origin_of(backbone)
        self.sites = Sites(backbone)
        backbone.requires_grad_(requires_grad=False)
        attached = self.method.attach(self.sites)
        self.modules_by_place = attached.modules
        self.adapter = _tree(attached.modules)
        self.head = nn.Linear(self.sites.width, len(self.labels))
        self._counted_backbone_names = attached.backbone_parameters
        self._backbone_names = attached.backbone_parameters | {
            f"norm.{name}" for name in trained_final_norm(self.method)
        }
        for name, parameter in self.sites.parameters().items():
            parameter.requires_grad_(name in self._backbone_names)

    @staticmethod
    def _take(backbone: ASTModel) -> None:
        """Refuse a backbone that another classifier has changed, or whose weights cannot be trained against.

        Raises:
            ConfigError: it is such a one.
        """
        if not isinstance(backbone, ASTModel):
            raise ConfigError(
                f"backbone={backbone!r} is no loaded backbone; give load_backbone('bundled'), or another name"
            )
        if backbone.__dict__.get(_TAKEN):
            raise ConfigError(
                "this backbone belongs to another classifier; load one for each, or give a copy.deepcopy of a fresh one"
            )
        dtypes = {parameter.dtype for parameter in backbone.parameters()}
        if dtypes != {torch.float32}:
            held = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))
            raise ConfigError(
                f"load the backbone in float32, not {held}; cast the classifier, or let training compute in bfloat16"
            )
        backbone.__dict__[_TAKEN] = True

    @property
    def max_length(self) -> int:
        """Input length, in frames of 10 ms."""
        return int(self.backbone.config.max_length)

    @property
    def front_end(self) -> FrontEnd:
        """How audio becomes this classifier's input."""
        config = self.backbone.config
        return FrontEnd(self.max_length, config.num_mel_bins, self.origin.mean, self.origin.std)

    def forward(
        self, input_values: Tensor, labels: Tensor | None = None, kept_patches: Tensor | None = None
    ) -> SequenceClassifierOutput:
        """Classify.

        Args:
            input_values: normalised log-Mel features, (batch, max_length, 128).
            labels: class indices, (batch,); gives a loss.
            kept_patches: the patches looked at, (batch, K), see :class:`astune.features.Patchout`; all where None.

        Returns:
            ``logits`` (batch, classes), and ``loss``, the mean cross-entropy, where labels were given.

        Raises:
            ConfigError: features of another shape, or no floating point numbers.
        """
        tokens = self.sites.embed(input_values, kept_patches)
        return self.classify(self.pool(self.sites.output(tokens)), labels)

    def pool(self, tokens: Tensor) -> Tensor:
        """What of a clip's tokens is classified.

        Args:
            tokens: (batch, N, d).

        Returns:
            (batch, d).
        """
        return tokens[:, 0] if self.pooling == "cls" else tokens.mean(dim=1)

    def classify(self, pooled: Tensor, labels: Tensor | None = None) -> SequenceClassifierOutput:
        """The head.

        Args:
            pooled: (batch, d).
            labels: class indices, (batch,); gives a loss.

        Returns:
            As :meth:`forward`.
        """
        logits = self.head(pooled)
        loss = None if labels is None else SINGLE_LABEL.loss(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    @property
    def frozen_depth(self) -> int:
        """How many layers, counted from the first, are as they were pretrained, with nothing trained or added in or before them."""
        depths = [len(self.sites.layers)]
        for name in {*self.modules_by_place, *self._backbone_names}:
            part, _, rest = name.partition(".")
            if part == "layers":
                depths.append(int(rest.partition(".")[0]))
            elif part == "embeddings":
                depths.append(0)
        return min(depths)

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """Everything that is trained, under the names it has in an adapter file."""
        backbone = {name: p for name, p in self.sites.parameters().items() if name in self._backbone_names}
        return {**backbone, **dict(self.adapter.named_parameters()), **_head(self.head)}

    def adapter_state(self) -> dict[str, Tensor]:
        """What an adapter file holds: everything trained, and the buffers of what the method added; not copied."""
        state = {name: parameter.detach() for name, parameter in self.trained_parameters().items()}
        return {**state, **{name: buffer.detach() for name, buffer in self.adapter.named_buffers()}}

    def load_adapter_state(self, state: dict[str, Tensor]) -> None:
        """Put values, such as those of a file, in place.

        Args:
            state: as :meth:`adapter_state` gives it.

        Raises:
            AdapterError: a tensor is missing, unknown, or of another shape.
        """
        self.refuse_other_tensors(state)
        for name, tensor in self.adapter_state().items():
            tensor.copy_(state[name])

    def refuse_other_tensors(self, state: dict[str, Tensor]) -> None:
        """Look whether values fit.

        Args:
            state: as :meth:`adapter_state` gives it.

        Raises:
            AdapterError: a tensor is missing, unknown, or of another shape.
        """
        own = self.adapter_state()
        faults = [f"{name} is missing" for name in own if name not in state]
        faults += [f"{name} is unknown to {self.method.spec}" for name in state if name not in own]
        faults += [
            f"{name} has the shape {tuple(state[name].shape)}, not {tuple(own[name].shape)}"
            for name in own
            if name in state and state[name].shape != own[name].shape
        ]
        if faults:
            raise AdapterError(listing(faults, "its tensors do not fit"))

    def parameter_count(self) -> int:
        """Trained parameters, counted as the paper counts them: head and final LayerNorm left out, but for its two exceptions."""
        parameters = self.trained_parameters()
        counted = {name for name in parameters if name in self._counted_backbone_names}
        counted |= set(dict(self.adapter.named_parameters()))
        if any(member.counts_head for member in self.method.members):
            counted |= {name for name in parameters if name.startswith(("head.", "norm."))}
        return sum(parameters[name].numel() for name in counted)

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path, backbone: str | Path | ASTModel | None = None) -> Self:
        """Load an adapter and the backbone it was trained on.

        Args:
            name_or_path: an adapter folder, or the hub id of one.
            backbone: where the backbone is, if not where the adapter says; or the loaded model itself.

        Returns:
            The classifier, in float32 and evaluation mode; its logits equal the saved one's bit for bit on the same machine.

        Raises:
            AdapterError: the folder is no adapter, or the backbone is another than the one it was trained on.
        """
        config, state = adapter_file.read(name_or_path)
        if not isinstance(backbone, ASTModel):
            backbone = load_backbone(
                backbone or config.backbone.name_or_path, config.front_end.max_length, config.position_embeddings
            )
        adapter_file.check_backbone(config, backbone, str(name_or_path))
        model = cls(backbone, config.read_method(), [str(index) for index in range(len(config.labels))], config.pooling)
        # Not through the constructor: older versions saved labels that a new classifier refuses, with spaces around them.
        model.labels = config.labels
        # The adapter's own normalisation: a copy of the backbone may have come without its preprocessor_config.json.
        model.origin = replace(model.origin, mean=config.front_end.mean, std=config.front_end.std)
        model.load_adapter_state(state)
        return model.eval()

    def save_pretrained(self, folder: str | Path, **about: Any) -> None:
        """Write an adapter folder: weights, configuration, model card.

        Args:
            folder: made if it is not there; the three files are replaced.
            about: further entries of the configuration, see :class:`astune.adapter_file.AdapterConfig`.
        """
        adapter_file.write(folder, self, **about)

    def merge_and_unload(self) -> AudioClassifier:
        """Fold what was trained into a copy of the backbone.

        Returns:
            A classifier without extra modules, whose logits equal this one's to rounding; saving it saves the whole backbone.

        Raises:
            AdapterError: the method is no change of the backbone's weights (adapters, prompts).
        """
        merged = copy.deepcopy(self)
        merged.method.merge(merged.sites, merged.modules_by_place)
        merged.sites.detach()
        merged.backbone.__dict__.pop(_TAKEN)
        plain = AudioClassifier(merged.backbone, FullFineTuning(), self.labels, self.pooling)
        plain.head = merged.head
        return plain.train(self.training)


def _checked_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Labels as they can be shown and saved.

    Raises:
        ConfigError: they cannot.
    """
    if isinstance(labels, set | frozenset):
        raise ConfigError("labels is a set, which has no order; give a list of names in the order of the logits")
    if isinstance(labels, str | bytes):
        raise ConfigError(f"labels={labels!r} is one text; give a list of names, such as ['dog', 'siren']")
    try:
        found = tuple(labels)
    except TypeError as fault:
        raise ConfigError(f"labels={labels!r} is no list of names; give one, such as ['dog', 'siren']") from fault
    faults = label_faults(found)
    if faults:
        raise ConfigError(listing(faults, "labels"))
    return tuple(map(str, found))  # NumPy's texts too


def _head(head: nn.Linear) -> dict[str, nn.Parameter]:
    return {f"head.{name}": parameter for name, parameter in head.named_parameters()}


def _tree(modules: dict[str, nn.Module]) -> nn.Module:
    """Hang modules at dotted paths, so that their parameters are named by place."""
    root = nn.Module()
    for path, module in modules.items():
        node = root
        *parents, last = path.split(".")
        for name in parents:
            if name not in dict(node.named_children()):
                node.add_module(name, nn.Module())
            node = node.get_submodule(name)
        node.add_module(last, module)
    return root


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for the time of a block.

    Args:
        model: any module.
    """
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
