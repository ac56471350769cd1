"""What people write in YAML: configurations, experiments, class weights, the front of a model card; and values on the command line."""

from __future__ import annotations

import io
import json
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
import yaml

from astune.backbone.licence import licence_of
from astune.card_data import merged_card, own_text
from astune.data import load_data
from astune.experiments.plan import PlanOptions, plan, to_saved_plan
from astune.experiments.table import Table, load_table, varied
from astune.training.check import check_file, split_of
from astune.training.class_weights import weigh
from astune.training.config import TrainConfig
from tests.faults.fuzzing import Reader
from tests.faults.mutations import hostile_text, hostile_value

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

_CONFIG = {
    "data": "recordings",
    "method": "lora:reduction_rate=64",
    "backbone": "random:tiny",
    "output_dir": "adapters/mine",
    "num_train_epochs": 3,
    "learning_rate": 0.005,
    "max_length": 32,
    "class_weights": {"low": 1.5, "high": 0.5},
    "bf16": False,
    "fold": None,
    "selection": None,
    "negative": None,
    "group_by": None,
    "gain": 6.0,
    "time_shift": 0.1,
    "warmup_steps": 0.1,
    "per_device_train_batch_size": 2,
}
_EXPERIMENT = {
    "title": "Do positions matter?",
    "kind": "table",
    "notes": ["made up"],
    "datasets": [
        {
            "name": "tones",
            "data": "folder:recordings",
            "settings": {"max_length": 32},
            "vary": {"selection": ["last"]},
            "options": {"negative": None},
        }
    ],
    "settings": {"backbone": "random:tiny", "num_train_epochs": 2},
    "vary": {"position_embeddings": ["fit", "zero"], "init": ["identity", "normal"]},
    "rows": [
        {"name": "LoRA", "method": "lora", "series": "one"},
        {"name": "Full FT", "method": "full-ft", "settings": {"learning_rate": 1e-4}},
    ],
}
_WEIGHTS = {"low": 1.5, "high": 0.25}
_FRONT = {
    "license": "mit",
    "tags": ["audio-classification", "mine"],
    "library_name": "astune",
    "model-index": [{"name": "x", "results": [{"metrics": [{"type": "f1", "value": 0.5}]}]}],
}
_OURS = f"---\n{yaml.safe_dump(_FRONT)}---\n# Ours\n"
_VARIED = ["position_embeddings=fit,zero", "selection=best-validation,last", "learning_rate=0.1,1e-3", "init=identity"]
_BOMBS = [
    "a: &a [x, x, x]\nb: &b [*a, *a, *a]\nc: &c [*b, *b, *b]\nd: [*c, *c, *c]\n",
    "a: &a {x: 1}\nb: {<<: [*a, *a]}\n",
    "a: &a [*a]\n",
    "a: !!timestamp 2001-99-99\n",
    "a: !!int x\nb: !!float ''\nc: !!bool maybe\n",
    "a: !!python/object/apply:os.system [touch up]\n",
    "a: !!binary x\n",
    "a: !!set {x}\n",
    '"\\U99999999": 1\n',
    "%YAML 1.99999999999999999999\n---\na: 1\n",
    "0b_: 0x_\n",
    "? [a, b]\n: 1\n",
    f"a: {'[' * 20_000}\n",
    "- " * 20_000,
    "".join(f"{'  ' * level}a:\n" for level in range(400)),
    "".join(f"unknown_{number}: 1\n" for number in range(10_000)),
    "class_weights:\n" + "".join(f"  label{number}: 1\n" for number in range(10_000)),
    f"a: {'9' * 10_000}\n",
    f"a: {':59' * 3_000}\n",
    "a: [" + "x, " * 100_000 + "]\n",
    "x" * 1_000_000,
]


@cache
def _tone() -> bytes:
    sound = io.BytesIO()
    soundfile.write(sound, 0.3 * np.sin(np.arange(1_600) / 5), 16_000, format="WAV")
    return sound.getvalue()


def _write_recordings(folder: Path) -> None:
    for split in ("train", "validation", "test"):
        for label in ("low", "high"):
            clip = folder / "recordings" / split / label / "1.wav"
            clip.parent.mkdir(parents=True)
            clip.write_bytes(_tone())


def _hostile(content: dict[str, Any], random: Random) -> str:
    """Its text: bombs, changed values, changed text."""
    match random.randrange(8):
        case 0:
            bomb = random.choice(_BOMBS)
            return bomb if random.random() < 0.5 else yaml.safe_dump(content) + bomb
        case 1 | 2:
            return json.dumps(hostile_value(content, random), ensure_ascii=random.random() < 0.5)
        case 3:
            return yaml.safe_dump(hostile_value(content, random))
        case 4:
            changed = hostile_value(content, random)
            if isinstance(changed, dict):  # the rest as it was, so that one value is what is wrong
                name = random.choice([*content])
                return json.dumps(content | {name: changed.get(name)})
            return json.dumps(changed)
        case _:
            return hostile_text(yaml.safe_dump(content, sort_keys=random.random() < 0.5), random)


def _placed(content: object, folder: Path) -> dict[str, Any]:
    """With the paths of this folder."""
    text = json.dumps(content).replace('"recordings"', json.dumps(str(folder / "recordings")))
    placed: dict[str, Any] = json.loads(text.replace('"adapters/mine"', json.dumps(str(folder / "out"))))
    return placed


def make(folder: Path, random: Random) -> tuple[str, Path, str]:
    _write_recordings(folder)
    kind = random.choice([*_READERS])
    contents = {"config.yaml": _CONFIG, "experiment.yaml": _EXPERIMENT, "README.md": _FRONT}
    if kind == "varied":
        return kind, folder, hostile_text(random.choice(_VARIED), random)
    if kind == "option":
        name = random.choice([*_CONFIG])
        return kind, folder, f"{name}={hostile_text(str(_CONFIG[name]), random)}"
    text = _hostile(_placed(contents.get(kind, _WEIGHTS), folder), random)
    if kind == "weights.csv":
        text = hostile_text("label,weight\nlow,1\nhigh,2\n", random)
    if kind == "README.md":
        text = (
            hostile_text(f"---\n{text}---\n# Theirs\n", random) if random.random() < 0.3 else f"---\n{text}---\n# x\n"
        )
    (folder / kind).write_text(text, encoding="utf-8", errors="surrogatepass")
    return kind, folder, text[:2_000]


def _read_experiment(folder: Path, text: str) -> None:
    name, table = load_table(folder / "experiment.yaml")
    _plan(name, table, folder)


def _plan(name: str, table: Table, folder: Path, **options: Any) -> None:
    runs = plan(name, table, PlanOptions(data_root=folder, backbone="random:tiny", **options))
    to_saved_plan(name, table, runs).to_json()


def _read_weights(folder: Path, name: str) -> None:
    config = _built(folder, class_weights=str(folder / name))
    dataset, split = split_of(load_data(config.data), config)
    weigh(config.class_weights, dataset, split.train)


def _built(folder: Path, **fields: Any) -> TrainConfig:
    sound = {"data": str(folder / "recordings"), "output_dir": folder / "out"}
    return TrainConfig.build({**sound, **fields})


def _read_card(folder: Path, text: str) -> None:
    theirs = (folder / "README.md").read_text(encoding="utf-8", errors="replace")
    merged_card(_OURS, theirs).encode()
    own_text(theirs)
    licence_of(str(folder))


def _read_varied(folder: Path, text: str) -> None:
    name, table = load_table(folder / "experiment.yaml") if (folder / "experiment.yaml").exists() else _sound(folder)
    _plan(name, table, folder, vary=dict([varied(text)]))


def _sound(folder: Path) -> tuple[str, Table]:
    plain = {name: value for name, value in _EXPERIMENT.items() if name != "vary"}
    (folder / "experiment.yaml").write_text(json.dumps(_placed(plain, folder)), encoding="utf-8")
    return load_table(folder / "experiment.yaml")


def _read_option(folder: Path, text: str) -> None:
    name, _, value = text.partition("=")
    _built(folder, **{name: value}).settings_key()


_READERS = {
    "config.yaml": lambda folder, _: check_file(folder / "config.yaml"),
    "experiment.yaml": _read_experiment,
    "weights.yaml": lambda folder, _: _read_weights(folder, "weights.yaml"),
    "weights.json": lambda folder, _: _read_weights(folder, "weights.json"),
    "weights.csv": lambda folder, _: _read_weights(folder, "weights.csv"),
    "README.md": _read_card,
    "varied": _read_varied,
    "option": _read_option,
}


def read(given: tuple[str, Path, str]) -> None:
    kind, folder, text = given
    _READERS[kind](folder, text)


def warm_up(folder: Path) -> None:
    _write_recordings(folder)
    for name, content in (("config.yaml", _CONFIG), ("experiment.yaml", _EXPERIMENT)):
        (folder / name).write_text(yaml.safe_dump(_placed(content, folder)), encoding="utf-8")
        read((name, folder, ""))
    for name in ("weights.yaml", "weights.json"):
        (folder / name).write_text(json.dumps(_WEIGHTS), encoding="utf-8")
        read((name, folder, ""))
    (folder / "README.md").write_text(_OURS, encoding="utf-8")
    read(("README.md", folder, ""))
    read(("varied", folder, _VARIED[0]))


READER = Reader("yaml_files", make, read, warm_up)
