"""A frozen backbone with a method attached, a pooling and a head: what is trained, saved and served.

Head (paper, section III, "Setup details"): the mean over all output tokens after the final LayerNorm, then one linear layer;
``pooling="cls"`` takes the [CLS] token alone, and ``"special"`` pools as transformers' ``ASTForAudioClassification``.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, get_args

from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import SequenceClassifierOutput
from typing_extensions import override

from astune import adapter_file
from astune.adapter import FORMAT_VERSION, Adapter, AdapterConfig, BackboneReference, refuse_other_shapes
from astune.backbone import Backbone, load_backbone
from astune.backbone.backbone import loaded_backbone
from astune.backbone.hub import at_revision
from astune.data.labels import checked_labels, checked_negatives
from astune.environment import versions
from astune.errors import AdapterError, ConfigError, unknown_choice
from astune.methods import Method, parse_method
from astune.methods.base import trained_final_norm
from astune.methods.compatibility import refuse_dropped_patches, refuse_pooling
from astune.methods.full import FullFineTuning
from astune.methods.registry import method_record
from astune.names import Pooling
from astune.sharing import Pushed, push_to_hub
from astune.summary import Summarised, Summary, here, of_model
from astune.task import Task
from astune.tasks import SINGLE_LABEL, task_named
from astune.validated import checked_but_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any, Self

    from astune.backbone import Origin

_ABOUT = ("training", "metrics")  # entries of an adapter's configuration that callers give


@checked_but_for("backbone", "method", "labels", "pooling")
class AudioClassifier(Summarised, nn.Module):
    """Logits over the labels of one task, from log-Mel features: a backbone with an adapter that is trained.

    Attributes that matter to users: ``labels``, ``method``, ``task``, ``front_end``, ``thresholds``. Only what the method trains requires a
    gradient. ``repr`` is a line; ``print(model.backbone.model)`` and ``print(model.added)`` show the modules.

    Args:
        backbone: the result of :func:`astune.load_backbone`; changed in place (frozen, hooks added), so each classifier needs its own.
        method: a method or its spec string, such as ``"lora"`` or ``"bottleneck:configuration=houlsby"``.
        labels: names of the classes, in the order of the logits.
        pooling: ``"all"`` output tokens (the paper's), ``"cls"``, or ``"special"``, see :data:`astune.names.Pooling`.
        task: what is learned of each clip; decides the loss.
        outer_spaces: take labels with spaces around them, which adapters of older versions have.

    Raises:
        ConfigError: labels that are fewer than two, no text, not as they can be shown, or the same; an unknown pooling, or
            ``"special"`` with a method that replaces the distillation token; a method that cannot be attached, or a backbone that is
            none, another classifier's or not in float32.
    """

    def __init__(
        self,
        backbone: Backbone,
        method: str | Method,
        labels: Sequence[str],
        pooling: Pooling = "all",
        task: Task = SINGLE_LABEL,
        *,
        outer_spaces: bool = False,
        negatives: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.method = parse_method(method)
        self.labels = checked_labels(labels, outer_spaces=outer_spaces)
        self.negatives = checked_negatives(negatives, self.labels)
        self.pooling = pooling
        if pooling not in get_args(Pooling):
            raise ConfigError(unknown_choice("pooling", pooling, get_args(Pooling)))
        refuse_pooling(self.method, pooling)
        self.task = task
        self.thresholds = dict(zip(self.labels, task.default_thresholds(len(self.labels)) or (), strict=False))
        """The score from which on each label counts; empty for a task whose labels compete. Training chooses them."""
        loaded_backbone(backbone).claim()
        self.backbone = backbone
        self.sites = backbone.sites
        self.sites.set_kernel("auto")
        self.front_end = backbone.front_end
        """How audio becomes this classifier's input."""
        backbone.requires_grad_(requires_grad=False)
        try:
            attached = self.method.attach(self.sites)
        except ConfigError:  # such as of a layer that is not there
            backbone.release()
            raise
        self.modules_by_place = attached.modules
        self.added = attached.tree()
        """What the method added; the names of its parameters and buffers are those of the adapter file."""
        self.head = nn.Linear(self.sites.width, len(self.labels))
        self._counted_backbone_names = attached.backbone_parameters
        self._backbone_names = attached.backbone_parameters | {
            f"norm.{name}" for name in trained_final_norm(self.method)
        }
        for name, parameter in self.sites.parameters().items():
            parameter.requires_grad_(name in self._backbone_names)
        self.module_names = self._module_names()
        """Name in this module of every tensor of its adapter, by its name there: to run another adapter's of the same shapes with
        ``torch.func.functional_call``, give ``{names[name]: tensor for name, tensor in adapter.tensors.items()}``."""

    def _module_names(self) -> dict[str, str]:
        backbone = {
            name: f"backbone.model.{theirs}"
            for name, theirs in self.sites.parameter_names().items()
            if name in self._backbone_names
        }
        added = {name: f"added.{name}" for name, _ in (*self.added.named_parameters(), *self.added.named_buffers())}
        return backbone | added | {f"head.{name}": f"head.{name}" for name, _ in self.head.named_parameters()}

    @override
    def _summary(self) -> Summary:
        return of_model(
            type(self).__name__, "", labels=self.labels, frames=self.max_length, parameters=self.parameter_count(),
            method=self.method.spec, backbone=here(self.origin.name), pooling=self.pooling, task=self.task.name,
        )  # fmt: skip

    @property
    def origin(self) -> Origin:
        """The name and origin of the classifier's backbone."""
        return self.backbone.origin

    @property
    def max_length(self) -> int:
        """Input length, in frames of 10 ms."""
        return self.backbone.max_length

    @override
    def forward(
        self, input_values: Tensor, labels: Tensor | None = None, kept_patches: Tensor | None = None
    ) -> SequenceClassifierOutput:
        """Compute the logits of a batch.

        Args:
            input_values: normalised log-Mel features, (batch, max_length, 128).
            labels: targets as the task encodes them, such as class indices, (batch,); gives a loss.
            kept_patches: the patches looked at, (batch, K), see :class:`astune.features.Patchout`; all where None.

        Returns:
            ``logits`` (batch, classes), and ``loss``, the mean of the task's, where labels were given.

        Raises:
            ConfigError: features of another shape, or no floating point numbers.
        """
        return self.classify(self.pooled(input_values, kept_patches), labels)

    def pooled(self, input_values: Tensor, kept_patches: Tensor | None = None) -> Tensor:
        """Compute what the head is given.

        Args:
            input_values: see :meth:`forward`.
            kept_patches: see :meth:`forward`.

        Returns:
            (batch, d).

        Raises:
            ConfigError: features of another shape, or no floating point numbers; or the method needs the patches that are dropped.
        """
        if kept_patches is not None:
            refuse_dropped_patches(self.method)
        return self.normalised(self.pool(self.sites.output(self.sites.embed(input_values, kept_patches))))

    def pool(self, tokens: Tensor) -> Tensor:
        """The mean of the tokens that are classified; the final LayerNorm's weight and bias commute with it.

        Args:
            tokens: (batch, N, d).

        Returns:
            (batch, d).
        """
        if self.pooling == "all":
            return tokens.mean(dim=1)
        return tokens[:, 0] if self.pooling == "cls" else tokens[:, : self.sites.special_tokens].mean(dim=1)

    def normalised(self, pooled: Tensor) -> Tensor:
        """What the head is given of a mean over tokens: itself, or with mean 0 and variance 1 where the pooling says so.

        Args:
            pooled: (batch, d), after the final LayerNorm.
        """
        special = self.pooling == "special"  # whose LayerNorm has its weight and bias in the head
        return F.layer_norm(pooled, pooled.shape[-1:], eps=self.sites.norm.eps) if special else pooled

    def classify(self, pooled: Tensor, labels: Tensor | None = None) -> SequenceClassifierOutput:
        """Apply the head.

        Args:
            pooled: (batch, d).
            labels: targets as the task encodes them, such as class indices, (batch,); gives a loss.

        Returns:
            The same as :meth:`forward`.
        """
        logits = self.head(pooled)
        loss = None if labels is None else self.task.loss(logits, labels)
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
        own = dict(self.named_parameters())
        return {name: own[inner] for name, inner in self.module_names.items() if inner in own}

    def adapter_state(self) -> dict[str, Tensor]:
        """What an adapter file holds: everything trained, and the buffers of what the method added; not copied."""
        own = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        return {name: own[inner].detach() for name, inner in self.module_names.items()}

    def load_adapter_state(self, state: Mapping[str, Tensor]) -> None:
        """Put values, such as those of a file, in place.

        Args:
            state: the result of :meth:`adapter_state`.

        Raises:
            AdapterError: a tensor is missing, unknown, or of another shape.
        """
        self.refuse_other_tensors(state)
        for name, tensor in self.adapter_state().items():
            tensor.copy_(state[name])

    def refuse_other_tensors(self, state: Mapping[str, Tensor]) -> None:
        """Refuse values that do not fit the trained tensors.

        Args:
            state: the result of :meth:`adapter_state`.

        Raises:
            AdapterError: a tensor is missing, unknown, or of another shape.
        """
        shapes = {name: tensor.shape for name, tensor in self.adapter_state().items()}
        refuse_other_shapes(state, shapes, self.method.spec)

    def parameter_count(self) -> int:
        """Trained parameters, counted as the paper counts them: head and final LayerNorm left out, but for its two exceptions."""
        parameters = self.trained_parameters()
        counted = {name for name in parameters if name in self._counted_backbone_names}
        counted |= set(dict(self.added.named_parameters()))
        if any(member.counts_head for member in self.method.members):
            counted |= {name for name in parameters if name.startswith(("head.", "norm."))}
        return sum(parameters[name].numel() for name in counted)

    def to_adapter(self, *, compute_dtype: str = "float32", **about: Any) -> Adapter:
        """Return what was trained, with copies of all tensors: training on does not change it.

        Args:
            compute_dtype: data type in which training computes.
            about: ``training`` and ``metrics``, see :class:`astune.adapter.AdapterConfig`; a confusion matrix and figures of every class
                among the metrics stay out, but for :attr:`astune.task.Task.by_class`, because they may be many times as large as the
                weights. They are in ``results.json``.

        Returns:
            The adapter.

        Raises:
            AdapterError: ``about`` has an entry of another name.
        """
        unexpected = about.keys() - set(_ABOUT)
        if unexpected:
            raise AdapterError(unknown_choice("entry", min(unexpected), _ABOUT))
        about["metrics"] = {split: self.task.compact(scores) for split, scores in about.get("metrics", {}).items()}
        config = AdapterConfig(
            format_version=FORMAT_VERSION,
            spec=self.method.spec,
            method=method_record(self.method),
            backbone=BackboneReference(name_or_path=self.origin.name, fingerprint=self.origin.fingerprint),
            task=self.task.name,
            labels=self.labels,
            negatives=self.negatives,
            thresholds=self.thresholds,
            pooling=self.pooling,
            position_embeddings=self.origin.position_embeddings,
            front_end=self.front_end,
            compute_dtype=compute_dtype,
            trainable_parameters=self.parameter_count(),
            versions=versions(),
            **about,
        )
        return Adapter(config, self.adapter_state())

    @classmethod
    def from_adapter(cls, adapter: Adapter, backbone: str | Path | Backbone | None = None) -> Self:
        """Put an adapter on the backbone it was trained on.

        Args:
            adapter: the adapter that it is copied from.
            backbone: hub id or folder of the backbone, by default the one that the adapter names; or a loaded backbone of that length.

        Returns:
            The classifier, in float32 and evaluation mode.

        Raises:
            AdapterError: the backbone is not the one it was trained on, or a tensor is missing, unknown, or of another shape.
            ConfigError: the backbone is not a backbone, or belongs to another classifier.
        """
        config = adapter.config
        if not isinstance(backbone, nn.Module):
            name = backbone or config.backbone.name_or_path
            backbone = load_backbone(name, config.front_end.max_length, config.position_embeddings)
        adapter.refuse_other_backbone(loaded_backbone(backbone))
        model = cls.for_adapter(config, backbone)
        try:
            model.load_adapter_state(adapter.tensors)
        except AdapterError:
            backbone.release()
            raise
        return model

    @classmethod
    def for_adapter(cls, config: AdapterConfig, backbone: Backbone) -> Self:
        """What an adapter is put into: a classifier as its configuration says, untrained.

        Args:
            config: the adapter's.
            backbone: fitted to its input length.

        Returns:
            The classifier, in evaluation mode.

        Raises:
            AdapterError: this version does not know the adapter's method.
            ConfigError: the backbone is another classifier's.
        """
        model = cls(
            backbone, config.read_method(), config.labels, config.pooling, task_named(config.task), outer_spaces=True,
            negatives=config.negatives,
        )  # fmt: skip
        # The adapter's own normalisation: a copy of the backbone may have come without its preprocessor_config.json.
        model.front_end = config.front_end
        model.thresholds |= config.thresholds
        return model.eval()

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | Path, backbone: str | Path | Backbone | None = None, *, revision: str | None = None
    ) -> Self:
        """Load an adapter and the backbone it was trained on.

        Args:
            name_or_path: an adapter folder, or the hub id of one, also as ``user/name@revision``.
            backbone: hub id or folder of the backbone, if not the one that the adapter names; or the loaded backbone itself.
            revision: branch, tag or commit of a hub id; the default branch where None.

        Returns:
            The classifier, in float32 and evaluation mode; its logits equal the saved one's bit for bit on the same machine.

        Raises:
            AdapterError: the folder is not an adapter, or the backbone is not the one it was trained on.
            ConfigError: the revision is invalid, or given for a folder.
        """
        return cls.from_adapter(adapter_file.read(at_revision(name_or_path, revision)), backbone)

    def save_pretrained(self, folder: str | Path, **about: Any) -> None:
        """Write an adapter folder: weights, configuration, model card.

        Args:
            folder: made if it is not there; the three files are replaced.
            about: see :meth:`to_adapter`.
        """
        adapter_file.write(folder, self.to_adapter(**about))

    def push_to_hub(self, repo_id: str, **options: Any) -> Pushed:
        """Share what was trained on the Hugging Face hub, see :func:`astune.push_to_hub`.

        The folder that training wrote has its settings and scores too; :func:`astune.push_to_hub` shares it with them.

        Args:
            repo_id: ``user/name``; made if it is not there.
            options: see :func:`astune.push_to_hub` and :meth:`to_adapter`.

        Returns:
            Where it is, and what was left out.

        Raises:
            ConfigError: a name, a licence or a revision that can be none.
            HubError: there is no token, or the hub refuses or cannot be reached.
        """
        about = {name: options.pop(name) for name in ("compute_dtype", *_ABOUT) if name in options}
        return push_to_hub(self.to_adapter(**about), repo_id, **options)

    def merge_and_unload(self) -> AudioClassifier:
        """Fold what was trained into a copy of the backbone.

        Returns:
            A classifier without extra modules, whose logits equal this one's to rounding; saving it saves the whole backbone.

        Raises:
            AdapterError: the method does not change the backbone's weights (adapters, prompts).
        """
        merged = copy.deepcopy(self)
        merged.method.merge(merged.sites, merged.modules_by_place)
        merged.backbone.release()
        plain = AudioClassifier(
            merged.backbone, FullFineTuning(), self.labels, self.pooling, self.task, outer_spaces=True,
            negatives=self.negatives,
        )  # fmt: skip
        plain.front_end, plain.head, plain.thresholds = self.front_end, merged.head, dict(self.thresholds)
        return plain.train(self.training)
