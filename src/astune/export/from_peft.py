"""LoRA and DoRA adapters that PEFT trained on an Audio Spectrogram Transformer, as adapters of astune.

The names in the weights file say which projections are updated, and its shapes say their ranks. Of PEFT's configuration, only the scale and
DoRA are read, and what changes the computation without leaving a tensor in the file. Each name has a place in an adapter of ours, or is
refused. Names may be those of transformers before 5.9. Projections with other ranks or scales make a sum of LoRAs, and trained biases add
BitFit.

``ASTForAudioClassification`` has a LayerNorm in front of its dense layer. With ``pooling="special"`` the classifier takes its mean and
variance, and its weight and bias are multiplied into the dense layer, which is exact.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from transformers import ASTForAudioClassification

from astune.backbone import load_backbone, load_config
from astune.backbone.hub import at_revision, find_files, is_hub_id
from astune.backbone.load import load_classifier
from astune.backbone.sites import current_name, our_name
from astune.classifier import AudioClassifier
from astune.console import notify
from astune.errors import AdapterError, ConfigError, format_faults
from astune.export.as_peft import HEAD, HEAD_FACTS, PREFIX
from astune.export.peft_files import (
    CONFIG,
    FORMER_WEIGHTS,
    WEIGHTS,
    HeadFacts,
    PeftConfig,
    read_config,
    read_facts,
    read_file,
    read_weights,
)
from astune.methods.base import Method, Sum
from astune.methods.bitfit import BitFit
from astune.methods.dora import DoRA
from astune.methods.layers import layers_text
from astune.methods.lora import LoRA
from astune.methods.size import reduction_rate_of
from astune.plurals import number_of
from astune.tasks import MULTI_LABEL, SINGLE_LABEL, task_named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from astune.adapter import Adapter
    from astune.backbone import Backbone

_PLACE = re.compile(r"layers\.(\d+)\.mhsa\.([qkvo])\.weight")
_UPDATE = re.compile(r"(.+)\.lora_([AB])(?:\.default)?\.weight")
_LENGTHS = re.compile(r"(.+)\.lora_magnitude_vector(?:\.default)?(?:\.weight)?")
_WRAPPING = re.compile(r"\b(?:modules_to_save\.(?:default\.)?|base_layer\.)")
_OUTER = f"{ASTForAudioClassification.base_model_prefix}."
_DENSE = "classifier.dense"
_UNNAMED = re.compile(r"LABEL_\d+")  # as transformers names classes that have no name


class _Scaled(NamedTuple):
    """How large an update is."""

    rank: int
    scale: float


@dataclass
class _Content:
    """The tensors of a folder of PEFT, by what they are."""

    downs: dict[str, Tensor] = field(default_factory=dict)
    """A of each module that is updated, (rank, in), by the module's name in the version of transformers that it was trained with."""
    ups: dict[str, Tensor] = field(default_factory=dict)
    """B, (out, rank)."""
    lengths: dict[str, Tensor] = field(default_factory=dict)
    """DoRA's magnitudes, (out,)."""
    backbone: dict[str, Tensor] = field(default_factory=dict)
    """Parameters of the backbone, under our names."""
    classifier: dict[str, Tensor] = field(default_factory=dict)
    """Parameters of transformers' head, under their names."""


def import_peft(
    folder: str | Path,
    *,
    backbone: str | Path | None = None,
    labels: Sequence[str] | None = None,
    task: str | None = None,
    max_length: int | None = None,
) -> Adapter:
    """Read a LoRA or DoRA adapter that PEFT trained on ``ASTForAudioClassification``, or one that was exported to PEFT.

    What is not given and had to be chosen is said on standard error.

    Args:
        folder: what ``PeftModel.save_pretrained`` wrote, or its hub id.
        backbone: the model that was adapted, as for :func:`astune.load_backbone`; by default the one that the folder names.
        labels: names of the classes, in the order of the logits; where None, those of the folder or of the model that was adapted.
        task: ``single-label`` or ``multi-label``; where None, as the folder or the model that was adapted says.
        max_length: input length in frames of 10 ms; by default the folder's or the backbone's.

    Returns:
        The adapter, whose logits are those of PEFT to rounding; ``astune.adapter_file.write`` writes it.

    Raises:
        AdapterError: the folder is not a LoRA or DoRA of PEFT, is damaged, or trains something that an adapter of astune cannot hold.
        BackboneError: the backbone cannot be found.
        ConfigError: labels, a length or a backbone have to be given, or do not fit.
    """
    files = find_files(str(folder), [CONFIG], [WEIGHTS, FORMER_WEIGHTS, HEAD, HEAD_FACTS], error=AdapterError)
    record, facts = read_config(files[CONFIG]), read_facts(files.get(HEAD_FACTS))
    content = _sorted(read_weights(files, str(folder)), decomposed=bool(record.use_dora))
    name = str(backbone or facts.backbone or _adapted(record))
    if not name:
        raise ConfigError(f"{folder} does not say which model it adapts; give backbone")
    fitted = _fitted(name, max_length or facts.max_length, content.backbone.pop("embeddings.positions", None))
    updates = _scales(content, record, files[CONFIG])
    head = _head(content, updates, files.get(HEAD), name)
    method = _method(content, updates, fitted)
    model = AudioClassifier(
        fitted, method, _labels(labels, facts, name, len(head["head.bias"])), facts.pooling,
        task_named(task or facts.task or _task(name)), outer_spaces=True,
    )  # fmt: skip
    tensors = model.adapter_state()
    tensors |= {ours: tensor for ours, tensor in content.backbone.items() if ours in tensors} | head
    for module in updates:
        place = _place(module)
        if place:
            tensors |= _update(place, module, content)
    model.load_adapter_state(tensors)
    return model.to_adapter(training={"imported from": f"PEFT {record.peft_version}".strip()})


def _adapted(record: PeftConfig) -> str:
    """The model that was adapted, as PEFT names it; empty where it does not."""
    name = record.base_model_name_or_path or ""
    return at_revision(name, record.revision) if record.revision and is_hub_id(name) else name


def _update(place: str, module: str, content: _Content) -> dict[str, Tensor]:
    """The tensors of one update, under our names."""
    down, up = content.downs[module], content.ups[module]
    if not content.lengths:
        return {f"{place}.lora.down.weight": down, f"{place}.lora.up.weight": up}
    return {
        f"{place}.dora.update.down.weight": down,
        f"{place}.dora.update.up.weight": up,
        f"{place}.dora.magnitude": content.lengths[module],
    }


def _sorted(tensors: Mapping[str, Tensor], *, decomposed: bool) -> _Content:
    """Tensors by what they are; lengths belong to the updates of DoRA alone.

    Raises:
        AdapterError: some have no place in an adapter of astune.
    """
    content, faults = _Content(), []
    for name, tensor in tensors.items():
        inner = _WRAPPING.sub("", name.removeprefix(PREFIX))
        update, lengths = _UPDATE.fullmatch(inner), _LENGTHS.fullmatch(inner)
        if lengths and decomposed:
            content.lengths[lengths[1]] = tensor
        elif lengths:
            module = lengths[1].removeprefix(_OUTER)
            faults.append(f"it holds a magnitude of {module}, and its configuration does not say use_dora")
        elif update:
            (content.downs if update[2] == "A" else content.ups)[update[1]] = tensor
            if not _place(update[1]) and update[1] != _DENSE:
                faults.append(
                    f"it updates {update[1].removeprefix(_OUTER)}, and LoRA of astune updates only the attention's q, k, v and o"
                )
        elif inner.startswith("classifier."):
            content.classifier[inner] = tensor
        else:
            try:
                content.backbone[_our_name(inner)] = tensor
            except KeyError:
                faults.append(f"it holds {inner}, which an adapter of astune cannot hold")
    faults += [
        f"it holds half of the update of {module.removeprefix(_OUTER)}"
        for module in content.downs.keys() ^ content.ups.keys()
    ]
    if decomposed:
        faults += [
            f"it holds no magnitude and update of {module.removeprefix(_OUTER)} together"
            for module in content.downs.keys() ^ content.lengths.keys()
        ]
    if not any(_place(module) for module in content.downs):
        faults.append("it updates no projection of the attention")
    if faults:
        raise AdapterError(format_faults(sorted(set(faults)), "the adapter of PEFT cannot be imported"))
    return content


def _our_name(name: str) -> str:
    """Our name of a parameter of the backbone, alone or in ``ASTForAudioClassification``, in any version of transformers.

    Raises:
        KeyError: the backbone has none of that name.
    """
    return our_name(current_name(name.removeprefix(_OUTER)))


def _place(module: str) -> str | None:
    """The projection of astune that a module of transformers is; None if its updates have no place."""
    try:
        found = _PLACE.fullmatch(_our_name(f"{module}.weight"))
    except KeyError:
        return None
    return f"layers.{found[1]}.mhsa.{found[2]}" if found else None


def _scales(content: _Content, record: PeftConfig, path: Path) -> dict[str, _Scaled]:
    """Rank and scale of each update, by its module.

    Raises:
        AdapterError: a tensor is not a matrix, the two of an update do not fit each other, or a pattern cannot be used.
    """
    patterns, found = record.alphas(path), {}
    for module, down in content.downs.items():
        up = content.ups[module]
        if down.ndim != 2 or up.ndim != 2 or not len(down) or up.shape[1] != len(down):
            raise AdapterError(
                f"the adapter of PEFT cannot be imported: the update of {module.removeprefix(_OUTER)} has the shapes "
                f"{tuple(down.shape)} and {tuple(up.shape)}, and not (rank, in) and (out, rank)"
            )
        lengths = content.lengths.get(module)
        if lengths is not None and lengths.shape != up.shape[:1]:
            raise AdapterError(
                f"the adapter of PEFT cannot be imported: the magnitude of {module.removeprefix(_OUTER)} has the shape "
                f"{tuple(lengths.shape)}, and not {tuple(up.shape[:1])}"
            )
        matching = (alpha for matches, alpha in patterns if matches(module))
        alpha, rank = next(matching, record.lora_alpha), len(down)
        found[module] = _Scaled(rank, alpha / (rank**0.5 if record.use_rslora else rank))
    return found


def _fitted(name: str, max_length: int | None, table: Tensor | None) -> Backbone:
    """The backbone, at the adapter's input length.

    Raises:
        AdapterError: its position embeddings were trained.
        ConfigError: the length has to be given.
    """
    native = load_backbone(name)
    length = max_length or native.max_length
    if max_length is None:
        notify(
            f"The input has the backbone's {native.max_length} frames; give max_length if the adapter was trained with others"
        )
    for positions in ("fit", "zero"):
        fitted = native.fit(length, positions)
        own = fitted.sites.positions
        if table is None or (table.shape == own.shape and torch.allclose(table, own, rtol=0, atol=1e-6)):
            return fitted.eval()
        if table.shape != own.shape:
            raise ConfigError(
                f"the adapter has {number_of(table.shape[1], 'position')}, and an input of {length} frames has {own.shape[1]}; give "
                "the max_length that it was trained with"
            )
    raise AdapterError(
        "the position embeddings in the adapter are neither the backbone's nor zero: they were trained, and LoRA of astune does not "
        "train them"
    )


def _head(content: _Content, updates: dict[str, _Scaled], own: Path | None, backbone: str) -> dict[str, Tensor]:
    """Our head: an exported one, or transformers', whose LayerNorm's weight and bias are multiplied into the dense layer.

    Raises:
        AdapterError: the update is missing, or a part of it.
    """
    if own is not None:
        return _own_head(own)
    tensors = load_classifier(backbone) | content.classifier
    names = [f"{_DENSE}.weight", f"{_DENSE}.bias", "classifier.layernorm.weight", "classifier.layernorm.bias"]
    absent = [name for name in names if name not in tensors]
    if absent:
        raise AdapterError(
            f"neither the adapter nor the backbone {backbone} has {absent[0]}; train ASTForAudioClassification with "
            'modules_to_save=["classifier"]'
        )
    weight, bias, factor, shift = (tensors[name].double() for name in names)
    shapes = tuple(weight.shape), *(tuple(one.shape) for one in (bias, factor, shift))
    if weight.ndim != 2 or shapes[1:] != (shapes[0][:1], shapes[0][1:], shapes[0][1:]):
        raise AdapterError(f"the parts of the classifier do not fit each other: they have the shapes {shapes}")
    if _DENSE in updates:
        down, up = content.downs[_DENSE], content.ups[_DENSE]
        if (len(up), down.shape[1]) != weight.shape:
            raise AdapterError(f"the update of {_DENSE} has another shape than its weight, {tuple(weight.shape)}")
        weight = weight + updates[_DENSE].scale * up.double() @ down.double()
        if _DENSE in content.lengths:
            weight = weight * (content.lengths[_DENSE].double() / torch.linalg.vector_norm(weight, dim=1))[:, None]
    return {"head.weight": (weight * factor).float(), "head.bias": (bias + weight @ shift).float()}


def _own_head(path: Path) -> dict[str, Tensor]:
    """A head that was exported.

    Raises:
        AdapterError: it is damaged, or something else.
    """
    found = {f"head.{name}": tensor for name, tensor in read_file(path).items()}
    if found.keys() != {"head.weight", "head.bias"} or found["head.bias"].ndim != 1:
        raise AdapterError(f"{path} holds {', '.join(sorted(found)[:5])}, and a head has a weight and a bias")
    return found


def _method(content: _Content, updates: Mapping[str, _Scaled], backbone: Backbone) -> Method:
    """The method that trains what the adapter has: one LoRA or DoRA for all projections of equal rank, scale and layers.

    Raises:
        AdapterError: something else was trained, or belongs to another backbone.
    """
    own, faults, biases = backbone.sites.parameters(), [], False
    for name, tensor in content.backbone.items():
        if name not in own or own[name].shape != tensor.shape:
            faults.append(f"{name} has the shape {tuple(tensor.shape)}, which does not fit the backbone")
        elif name.startswith("layers.") and name.endswith(".bias"):
            biases = biases or not torch.equal(own[name], tensor)
        elif not name.startswith("norm.") and not torch.equal(own[name], tensor):
            faults.append(f"{name} was trained, and LoRA of astune does not train it")
    faults += [
        f"the update of {module.removeprefix(_OUTER)} has the shapes {tuple(content.downs[module].shape)} and "
        f"{tuple(content.ups[module].shape)}, which do not fit the backbone's width of {backbone.width}"
        for module in updates
        if _place(module)
        and (content.downs[module].shape[1], len(content.ups[module])) != (backbone.width, backbone.width)
    ]
    placed: dict[tuple[_Scaled, str], list[int]] = {}
    for module, scaled in updates.items():
        place = _place(module)
        if place:
            _, layer, _, target = place.split(".")
            placed.setdefault((scaled, target), []).append(int(layer))
            if int(layer) >= backbone.n_layers:
                faults.append(f"it updates layer {layer}, and the backbone has {number_of(backbone.n_layers, 'layer')}")
    if faults:
        raise AdapterError(format_faults(faults, "the adapter of PEFT cannot be imported"))
    targets: dict[tuple[_Scaled, tuple[int, ...]], str] = {}
    for (scaled, target), indices in placed.items():
        key = scaled, tuple(sorted(indices))
        targets[key] = targets.get(key, "") + target
    parts: list[Method] = []
    kind = DoRA if content.lengths else LoRA
    for ((rank, scale), layers), letters in sorted(targets.items()):
        rate = reduction_rate_of(rank, backbone.width)
        where = layers_text(layers, backbone.n_layers)
        parts.append(kind(reduction_rate=rate, alpha=scale * rate, targets=letters, layers=where))
    parts += [BitFit()] if biases else []
    return parts[0] if len(parts) == 1 else Sum(parts=tuple(parts))


def _labels(labels: Sequence[str] | None, facts: HeadFacts, backbone: str, classes: int) -> Sequence[str]:
    """Names of the classes.

    Raises:
        ConfigError: they have to be given, or are not as many as there are classes.
    """
    found = labels or facts.labels
    if found is None:
        found = [label for _, label in sorted((load_config(backbone).id2label or {}).items())]
        if len(found) != classes or any(_UNNAMED.fullmatch(label) for label in found):
            raise ConfigError(
                f"neither the adapter nor the backbone {backbone} names its {number_of(classes, 'class')}; give labels, in the "
                "order of the classifier's rows"
            )
    if len(found) != classes:
        raise ConfigError(f"{number_of(len(found), 'label')} for {number_of(classes, 'class')}; give one for each")
    return found


def _task(backbone: str) -> str:
    """Read the value as the configuration of the adapted model states it."""
    if load_config(backbone).problem_type == "multi_label_classification":
        return MULTI_LABEL.name
    notify(f"The task is taken to be {SINGLE_LABEL.name}; give task if a clip may have several labels")
    return SINGLE_LABEL.name
