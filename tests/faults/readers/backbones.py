"""Folders of backbones: both configurations and the weights, loaded as commands load them, and one clip through the model."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import ASTConfig, ASTModel

import astune
from tests.faults.fuzzing import Reader
from tests.faults.mutations import hostile_bytes, hostile_json, hostile_tensors

if TYPE_CHECKING:
    from random import Random

SIZES: dict[str, Any] = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 32, "max_length": 64,
    "num_mel_bins": 32,
}  # fmt: skip # of a backbone that loads in milliseconds
CONFIG, PREPROCESSOR, WEIGHTS = "config.json", "preprocessor_config.json", "model.safetensors"
_STRANGERS = ("model.safetensors.index.json", "pytorch_model.bin", "adapter_config.json", "generation_config.json")
SOUND = np.random.default_rng(0).uniform(-0.5, 0.5, 8_000).astype(np.float32)
RATE = 16_000


@cache
def sound_files() -> dict[str, bytes]:
    """A sound folder."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        ASTModel(ASTConfig(**SIZES)).save_pretrained(folder)
        files = {name: Path(folder, name).read_bytes() for name in (CONFIG, WEIGHTS)}
    about = {
        "feature_extractor_type": "ASTFeatureExtractor",
        "num_mel_bins": 32,
        "max_length": 64,
        "mean": -4.3,
        "std": 4.6,
    }
    return files | {PREPROCESSOR: json.dumps(about).encode()}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def make(folder: Path, random: Random) -> Path:
    files = dict(sound_files())
    for _ in range(random.choice([1, 1, 1, 2])):
        name = random.choice([CONFIG, CONFIG, PREPROCESSOR, WEIGHTS, WEIGHTS, random.choice(_STRANGERS)])
        if name in _STRANGERS:
            files[name] = hostile_bytes(files[random.choice([CONFIG, WEIGHTS])], random)
        elif name == WEIGHTS:
            files[name] = hostile_tensors(sound_files()[name], random)
        else:
            files[name] = hostile_json(json.loads(sound_files()[name]), random)
    return write(folder, files)


def read(folder: Path) -> None:
    model = astune.AudioClassifier(astune.load_backbone(folder), "linear", ["a", "b"])
    found = astune.Predictor(model).predict(SOUND, sampling_rate=RATE)
    assert all(np.isfinite(one["score"]) for one in found)


def warm_up(folder: Path) -> None:
    read(write(folder, sound_files()))


READER = Reader("backbones", make, read, warm_up)
