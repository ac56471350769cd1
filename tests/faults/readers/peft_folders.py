"""Folders of PEFT: what it writes, what it wrote before 0.7, and what an export of ours adds, imported as the command does it."""

from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load, save
from transformers import ASTConfig, ASTForAudioClassification

from astune import adapter_file
from astune.export.from_peft import import_peft
from tests.faults.fuzzing import Reader
from tests.faults.mutations import hostile_bytes, hostile_json, hostile_tensors
from tests.faults.readers import backbones
from tests.faults.readers.adapters import kept_folder

if TYPE_CHECKING:
    from random import Random

CONFIG, WEIGHTS, FORMER, HEAD, FACTS = (
    "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin", "head.safetensors", "head.json",
)  # fmt: skip
_LABELS = ["dog", "rain", "siren"]
_WIDTH, _RANK = backbones.SIZES["hidden_size"], 2
_FIELDS: dict[str, Any] = {
    "peft_type": "LORA", "peft_version": "0.18.0", "task_type": None, "r": _RANK, "lora_alpha": 4, "use_rslora": False,
    "alpha_pattern": {"v_proj": 2, r"layers\.1\.attention\.q_proj": 8}, "rank_pattern": {}, "init_lora_weights": True, "bias": "none",
    "target_modules": ["q_proj", "v_proj"], "modules_to_save": ["classifier"], "revision": None, "lora_dropout": 0.0,
}  # fmt: skip


@cache
def base() -> str:
    """A sound model of transformers with a head."""
    folder = kept_folder()
    torch.manual_seed(1)
    names = dict(enumerate(_LABELS))
    ASTForAudioClassification(ASTConfig(**backbones.SIZES, id2label=names)).save_pretrained(folder)
    return str(folder)


@cache
def sound_folder(exported: bool) -> dict[str, bytes]:
    torch.manual_seed(2)
    outer = "base_model.model." + ("" if exported else "audio_spectrogram_transformer.")
    tensors = {}
    for layer in range(2):
        for target in "qv":
            place = f"{outer}layers.{layer}.attention.{target}_proj"
            tensors[f"{place}.lora_A.weight"] = torch.randn(_RANK, _WIDTH)
            tensors[f"{place}.lora_B.weight"] = torch.randn(_WIDTH, _RANK)
    files = {CONFIG: json.dumps({**_FIELDS, "base_model_name_or_path": base()}).encode(), WEIGHTS: save(tensors)}
    if exported:
        head = {"weight": torch.randn(3, _WIDTH), "bias": torch.randn(3)}
        facts = {"labels": _LABELS, "task": "multi-label", "pooling": "all", "backbone": base(), "max_length": 64}
        return files | {HEAD: save(head), FACTS: json.dumps(facts).encode()}
    parts = {
        "dense.weight": (3, _WIDTH),
        "dense.bias": (3,),
        "layernorm.weight": (_WIDTH,),
        "layernorm.bias": (_WIDTH,),
    }
    tensors |= {f"base_model.model.classifier.{name}": torch.randn(shape) for name, shape in parts.items()}
    return files | {WEIGHTS: save(tensors)}


def pickled(tensors: bytes) -> bytes:
    """The same tensors as torch saves them."""
    stream = io.BytesIO()
    torch.save(load(tensors), stream)
    return stream.getvalue()


def make(folder: Path, random: Random) -> Path:
    sound = sound_folder(random.random() < 0.5)
    files = dict(sound)
    for _ in range(random.choice([1, 1, 1, 2])):
        name = random.choice([CONFIG, CONFIG, WEIGHTS, WEIGHTS, *sound])
        if name.endswith(".json"):
            files[name] = hostile_json(json.loads(sound[name]), random)
        elif name == WEIGHTS and random.random() < 0.3:
            files.pop(WEIGHTS, None)
            files[FORMER] = hostile_bytes(pickled(sound[WEIGHTS]), random)
        else:
            files[name] = hostile_tensors(sound[name], random)
    return backbones.write(folder, files)


def read(folder: Path) -> None:
    adapter_file.write(folder / "imported", import_peft(folder))


def warm_up(folder: Path) -> None:
    for exported in (False, True):
        files = sound_folder(exported)
        (folder / str(exported)).mkdir()
        read(backbones.write(folder / str(exported), files))
    former = {name: content for name, content in files.items() if name != WEIGHTS} | {FORMER: pickled(files[WEIGHTS])}
    (folder / "former").mkdir()
    read(backbones.write(folder / "former", former))


READER = Reader("peft_folders", make, read, warm_up)
