"""``peft``: a folder that ``peft.PeftModel.from_pretrained`` loads, for LoRA and DoRA.

PEFT changes modules of a model and leaves its class as it is. transformers' ``ASTForAudioClassification`` pools as
``pooling="special"``, and then the folder holds the whole adapter. With the other poolings the model is ``ASTModel``: its tokens are the
adapter's, and ``head.safetensors`` holds the linear layer, which README applies in one line. The position embeddings of another input
length than the backbone's are in the file too, and PEFT puts them into the model that it is given.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from transformers import ASTForAudioClassification, ASTModel

from astune import markdown
from astune.backbone import load_backbone
from astune.backbone.load import RANDOM_BACKBONES, quiet_transformers
from astune.errors import AdapterError, ConfigError
from astune.export.as_transformers import extractor_of, refuse_other_patches, stock_config
from astune.export.cards import card_front, hub_model
from astune.export.folders import largest_difference, made_inputs, replace_folder, size_of
from astune.export.formats import Exported, register_format
from astune.extras import install_command, missing_packages
from astune.files import save_tensors, write_text
from astune.json_text import json_text
from astune.methods.bitfit import BitFit
from astune.methods.dora import Decomposed, DoRA
from astune.methods.layers import layer_indices
from astune.methods.lora import LoRA, LowRankUpdates
from astune.methods.size import rank_of
from astune.names import ADAPTER_CONFIG, BUNDLED_BACKBONE
from astune.plurals import enumerated

if TYPE_CHECKING:
    from torch import Tensor

    from astune.classifier import AudioClassifier
    from astune.export.formats import Source

HEAD, HEAD_FACTS, BASE = "head.safetensors", "head.json", "base"
PREFIX = "base_model.model."
"""What PEFT puts in front of the names in a model."""
_WEIGHTS = "adapter_model.safetensors"
_INNER_NAMES = {"modules_to_save", "original_module"}
_ALLOWED = 1e-5  # difference of tokens, whose numbers are about 1, and of logits


class _Update(NamedTuple):
    """What LoRA or DoRA does to one projection."""

    module: str
    """Name of the module in transformers' ``ASTModel``."""
    place: str
    """Name of the module in astune."""
    rank: int
    scale: float


@register_format("peft", ending="-peft")
def export_peft(source: Source, path: Path) -> Exported:
    """Write a LoRA or DoRA adapter of PEFT.

    Args:
        source: what is exported.
        path: the folder.

    Returns:
        What was written.

    Raises:
        AdapterError: PEFT has no form for the method.
        ConfigError: peft is not installed, or there is a file in the folder's place.
        NumericalError: what PEFT computes with the folder is not what the adapter gives.
    """
    model = source.model
    _refuse(model)
    with quiet_transformers(), warnings.catch_warnings(), replace_folder(path, ADAPTER_CONFIG) as partial:
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)  # PEFT reads it
        base = _base(model)
        if base is None:
            pretrained = load_backbone(model.origin.name, model.max_length, model.origin.position_embeddings)
            pretrained.model.save_pretrained(partial / BASE)
        _write(model, partial, base or str(path.absolute() / BASE))
        difference = _compare(model, partial)
        extractor_of(model).save_pretrained(partial)
        write_text(partial / "README.md", _card(source, base))
    what = "logits" if model.pooling == "special" else "tokens"
    sentences = [f"The {what} of PEFT for generated inputs differ from the adapter's by {difference:.1e} at most"]
    if model.pooling != "special":
        sentences.append(
            f"The model that PEFT changes is ASTModel: transformers' ASTForAudioClassification does not pool as pooling={model.pooling!r}. "
            f"The head is in {HEAD}, and README.md has the lines that apply it"
        )
    return Exported("peft", path, size_of(path), tuple(sentences), {"largest_difference": difference})


def _refuse(model: AudioClassifier) -> None:
    """Refuse what PEFT cannot say, and a missing package.

    Raises:
        AdapterError: the patches are not square; or the method is not LoRA or DoRA, with or without trained biases, or is both.
        ConfigError: peft is not installed.
    """
    refuse_other_patches(model)
    members = model.method.members
    other = [member.spec for member in members if not isinstance(member, LoRA | DoRA | BitFit)]
    updating = {type(member) for member in members if isinstance(member, LowRankUpdates)}
    if other or len(updating) != 1:
        reason = (
            "it has LoRA and DoRA in different adapters only" if updating else "without LoRA there is nothing to export"
        )
        reason = f"{enumerated(other)} is not LoRA" if other else reason
        way = "transformers, or to onnx" if model.method.mergeable else "onnx"
        raise AdapterError(f"PEFT has no form for {model.method.spec}: {reason}; export to {way}")
    if missing_packages("peft"):
        raise ConfigError(f"the format peft needs the package peft: {install_command('peft')}")


def _base(model: AudioClassifier) -> str | None:
    """The backbone's name for transformers; None if transformers cannot find it, and the folder must include it.

    Raises:
        ConfigError: nobody finds it.
    """
    name = model.origin.name
    hub = hub_model(name)
    if hub:
        return hub.repo_id
    if Path(name).is_dir():
        return name
    if name == BUNDLED_BACKBONE or name in RANDOM_BACKBONES:
        return None
    raise ConfigError(
        f"the backbone {name!r} exists only in memory; save it with backbone.model.save_pretrained, and give its folder as backbone"
    )


def _revision(model: AudioClassifier) -> str | None:
    """The backbone's branch, tag or commit on the hub, where its name has one."""
    hub = hub_model(model.origin.name)
    return hub.revision if hub else None


def _updates(model: AudioClassifier) -> list[_Update]:
    """What the members that are LoRA or DoRA do, projection by projection."""
    found, names = [], model.sites.parameter_names()
    for member in model.method.members:
        if isinstance(member, LowRankUpdates):
            rank = rank_of(model.sites.width, member.reduction_rate)
            for layer in layer_indices(member.layers, len(model.sites.layers)):
                found += [
                    _Update(
                        names[f"layers.{layer}.mhsa.{target}.weight"].removesuffix(".weight"),
                        f"layers.{layer}.mhsa.{target}.{member.name}", rank, member.alpha / member.reduction_rate,
                    )
                    for target in member.targets
                ]  # fmt: skip
    return found


def _config(model: AudioClassifier, base: str) -> Any:  # noqa: ANN401 - peft has no types
    """PEFT's configuration: by the names of projections where one LoRA is all, else module by module."""
    from peft import LoraConfig

    updates, inner = _updates(model), _inner(model)
    members = [member for member in model.method.members if isinstance(member, LowRankUpdates)]
    rank, scale = updates[0].rank, updates[0].scale
    if len(members) == 1:
        targets = sorted({update.module.rpartition(".")[2] for update in updates})
        layers = layer_indices(members[0].layers, len(model.sites.layers))
        chosen = {} if members[0].layers == "all" else {"layers_to_transform": layers, "layers_pattern": "layers"}
        where: dict[str, Any] = {"target_modules": targets, **chosen}
    else:
        where = {
            "target_modules": [inner + update.module for update in updates],
            "rank_pattern": {inner + update.module: update.rank for update in updates if update.rank != rank},
            "alpha_pattern": {inner + update.module: update.rank * update.scale for update in updates},
        }
    saved = [f"{inner}layernorm", "classifier"] if inner else ["layernorm"]
    biases = len(members) < len(model.method.members)
    return LoraConfig(
        base_model_name_or_path=base, revision=_revision(model), r=rank, lora_alpha=rank * scale,  # type: ignore[arg-type] # PEFT divides by the rank
        bias="all" if biases else "none",
        modules_to_save=saved, inference_mode=True, use_dora=isinstance(members[0], DoRA), **where,
    )  # fmt: skip


def _inner(model: AudioClassifier) -> str:
    """What precedes the names of ``ASTModel`` in the model that PEFT changes."""
    return f"{ASTForAudioClassification.base_model_prefix}." if model.pooling == "special" else ""


def _plain(model: AudioClassifier) -> Any:  # noqa: ANN401 - ASTModel or ASTForAudioClassification
    """The model that PEFT changes, with the backbone's weights and all that was trained but LoRA."""
    config = stock_config(model)
    special = model.pooling == "special"
    plain: Any = ASTForAudioClassification(config) if special else ASTModel(config)
    plain.base_model.load_state_dict(model.backbone.model.state_dict())
    if special:
        plain.classifier.layernorm.reset_parameters()  # 1 and 0
        plain.classifier.dense.load_state_dict(model.head.state_dict())
    return plain.eval()


def _own_positions(model: AudioClassifier) -> bool:
    """Whether the position embeddings are others than those of the backbone's files."""
    return model.origin.position_embeddings == "zero" or model.max_length != model.backbone.native_length


@torch.no_grad()
def _write(model: AudioClassifier, folder: Path, base: str) -> None:
    from peft import get_peft_model, get_peft_model_state_dict

    plain, config, inner = _plain(model), _config(model, base), _inner(model)
    owner = {"base_model_class": type(plain).__name__, "parent_library": type(plain).__module__}
    plain.name_or_path = base
    wrapped = get_peft_model(plain, config)
    for update in _updates(model):
        module, ours = wrapped.get_submodule(PREFIX + inner + update.module), model.modules_by_place[update.place]
        if isinstance(ours, Decomposed):
            module.lora_magnitude_vector["default"].weight.copy_(ours.magnitude)
            ours = ours.update
        module.lora_A["default"].load_state_dict(ours.get_submodule("down").state_dict())
        module.lora_B["default"].load_state_dict(ours.get_submodule("up").state_dict())
    state = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    if _own_positions(model):
        state[f"{PREFIX}{inner}embeddings.position_embeddings"] = model.sites.positions
    # bias="all" lists the biases of modules_to_save once more, under PEFT's inner names
    kept = {name: tensor for name, tensor in state.items() if not _INNER_NAMES & set(name.split("."))}
    save_tensors(folder / _WEIGHTS, {name: tensor.detach().contiguous() for name, tensor in kept.items()})
    config.save_pretrained(folder, auto_mapping_dict=owner)
    if not inner:
        save_tensors(folder / HEAD, model.head.state_dict())
    facts = {
        "labels": model.labels, "task": model.task.name, "pooling": model.pooling, "backbone": model.origin.name,
        "max_length": model.max_length,
    }  # fmt: skip
    write_text(folder / HEAD_FACTS, json_text(facts, indent=2, escaped=False) + "\n")


@torch.no_grad()
def _compare(model: AudioClassifier, folder: Path) -> float:
    """Load the folder with PEFT, into a model without anything that was trained, and compare."""
    from peft import PeftModel

    plain = _plain(model)
    names = model.sites.parameter_names()
    for name in model.trained_parameters():
        if name in names:
            plain.base_model.get_parameter(names[name]).zero_()
    if model.pooling == "special":
        plain.classifier.dense.reset_parameters()
    if _own_positions(model):
        plain.base_model.embeddings.position_embeddings.zero_()
    loaded = PeftModel.from_pretrained(plain, folder).eval()
    inputs = made_inputs(model.front_end)
    if model.pooling == "special":
        return largest_difference(model(inputs).logits, loaded(inputs).logits, _ALLOWED, "logits")
    tokens: Tensor = model.sites.output(model.sites.embed(inputs))
    return largest_difference(tokens, loaded(inputs).last_hidden_state, _ALLOWED, "tokens")


def _card(source: Source, base: str | None) -> str:
    model, config = source.model, source.adapter.config
    special = model.pooling == "special"
    where = repr(base) if base else f'f"{{folder}}/{BASE}"'
    revision = _revision(model)
    at = f", revision={revision!r}" if revision else ""
    kind = "ASTForAudioClassification" if special else "ASTModel"
    update = "DoRA" if any(isinstance(one, DoRA) for one in model.method.members) else "LoRA"
    labels = f", num_labels={len(model.labels)}" if special else ""
    mean = "mean(dim=1)" if model.pooling == "all" else "select(dim=1, index=0)"
    lines = [
        card_front(config, "peft"),
        f"# {markdown.text(source.name)}\n",
        f"{update} of an Audio Spectrogram Transformer for {len(config.labels)} classes, made by astune ({markdown.code(config.spec)}).",
        f"The labels are in `{HEAD_FACTS}`, in the order of the logits. It hears {config.front_end.seconds:.2f} s at 16 kHz.\n",
        "```python",
        "import torch",
        "from peft import PeftModel",
        *([] if special else ["from safetensors.torch import load_file"]),
        f"from transformers import AutoFeatureExtractor, {kind}\n",
        'folder = "PATH_OF_THIS_FOLDER"',
        f"base = {kind}.from_pretrained(",
        f"    {where}{at}, max_length={model.max_length}{labels}, ignore_mismatched_sizes=True, dtype=torch.float32",
        ")",
        "model = PeftModel.from_pretrained(base, folder).eval()",
        "extractor = AutoFeatureExtractor.from_pretrained(folder)",
        *([] if special else [f'head = load_file(f"{{folder}}/{HEAD}")\n']),
        "",
        "@torch.no_grad()",
        "def logits(samples):  # one channel at 16 kHz, in -1 to 1",
        '    inputs = extractor(samples, sampling_rate=16000, return_tensors="pt").input_values',
        "    return model(inputs).logits"
        if special
        else f'    return model(inputs).last_hidden_state.{mean} @ head["weight"].T + head["bias"]',
        "```",
    ]
    if not special:
        lines.append(
            f"\nPEFT changes `ASTModel`, whose tokens are the adapter's. The head is apart, in `{HEAD}`, because transformers' "
            "`ASTForAudioClassification` pools in another way."
        )
    return "\n".join(lines) + "\n"
