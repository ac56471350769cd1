"""Adapter folders: the configuration and the tensors of every family, as commands describe, load and use them."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import astune
from astune import adapter_file
from astune.adapter_digest import adapter_digest
from astune.adapter_info import AdapterInfo
from astune.model_card import model_card
from astune.tasks import MULTI_LABEL, SINGLE_LABEL
from tests.faults.fuzzing import Reader
from tests.faults.mutations import hostile_bytes, hostile_json, hostile_tensors
from tests.faults.readers import backbones

if TYPE_CHECKING:
    from random import Random

    from astune.backbone import Backbone

CONFIG, WEIGHTS, CARD = adapter_file.CONFIG, adapter_file.WEIGHTS, adapter_file.CARD
METHODS = (
    "lora",
    "lora:targets=q,layers=0+bitfit",
    "bottleneck",
    "conformer",
    "dpt:tokens=3",
    "prefix:tokens=2",
    "layermix",
    "full-ft",
)
_LABELS = ("dog", "rain", "siren")
_LONGEST = 2_048  # frames that are put through the model: how long more of them take is the user's choice


def kept_folder() -> Path:
    """A folder for all inputs, which goes when this process does."""
    parent = Path(os.environ.get("ASTUNE_CACHE", tempfile.gettempdir()))
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=parent))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def backbone_folder() -> Path:
    """A sound one."""
    return backbones.write(kept_folder(), backbones.sound_files())


@cache
def backbone() -> Backbone:
    """One for all adapters, which it is lent to."""
    return astune.load_backbone(backbone_folder())


@cache
def sound_adapter(spec: str, several: bool, version: int) -> dict[str, bytes]:
    """The files of a sound folder."""
    torch.manual_seed(0)
    task = MULTI_LABEL if several else SINGLE_LABEL
    model = astune.AudioClassifier(
        astune.load_backbone(backbone_folder()), spec, _LABELS, task=task, negatives=["rain"]
    )
    scores = {"clips": 10, "accuracy": 0.5, "macro_f1": 0.4, "loss": 1.0, "recall": [0.1, None, 0.4]}
    with tempfile.TemporaryDirectory() as folder:
        training = {"seed": 3, "data": "recordings", "fold": 1, "selection": "best-validation", "window": 0.5}
        model.save_pretrained(folder, training=training, metrics={"validation": scores, "test": scores})
        files = {name: Path(folder, name).read_bytes() for name in (CONFIG, WEIGHTS, CARD)}
    if version == 1:
        record: dict[str, Any] = json.loads(files[CONFIG])
        for name in ("peft_type", "base_model_name_or_path", "task", "negatives", "thresholds"):
            record.pop(name, None)
        files[CONFIG] = json.dumps({**record, "format_version": 1}).encode()
    return files


def make(folder: Path, random: Random) -> Path:
    sound = sound_adapter(random.choice(METHODS), random.random() < 0.5, random.choice([1, 2, 2]))
    files = dict(sound)
    for _ in range(random.choice([1, 1, 1, 2])):
        name = random.choice([CONFIG, CONFIG, CONFIG, WEIGHTS, WEIGHTS, CARD])
        if name == CONFIG:
            files[name] = hostile_json(json.loads(sound[name]), random)
        else:
            files[name] = (hostile_tensors if name == WEIGHTS else hostile_bytes)(sound[name], random)
    return backbones.write(folder, files)


def read(folder: Path) -> None:
    adapter_file.foreign_files(folder)
    adapter_digest(folder)
    adapter = adapter_file.read(folder)
    AdapterInfo.of(adapter.config, "it").record()
    model_card(adapter.config)
    repr(adapter)
    predictor = astune.Predictor(folder, backbone())
    if adapter.front_end.max_length > _LONGEST:
        return
    found = predictor.predict(backbones.SOUND, sampling_rate=backbones.RATE)
    assert all(np.isfinite(one["score"]) for one in found)
    astune.AudioClassifier.from_pretrained(folder)


def warm_up(folder: Path) -> None:
    for number, spec in enumerate(METHODS):
        inner = folder / str(number)
        inner.mkdir()
        read(backbones.write(inner, sound_adapter(spec, number % 2 == 0, 1 + number // 4)))


READER = Reader("adapters", make, read, warm_up)
