"""Checkpoints of a run that was stopped, as `--resume` reads them: a step is taken with what they hold."""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import torch
from safetensors.torch import load_file, save
from typing_extensions import override

from astune.data.store import cache_root
from astune.training import checkpoint
from astune.training.config import TrainConfig
from astune.training.loop import train
from astune.training.resume import refuse_other_run
from tests.faults.fuzzing import Reader
from tests.faults.mutations import hostile_bytes, hostile_text, hostile_value
from tests.stopping import PowerCut, StopAfter

if TYPE_CHECKING:
    from random import Random

    from astune.training.engine import Engine
    from astune.training.progress import Progress

_STATE = "trainer_state.json"


class _Stop(StopAfter):
    """Keeps the engine of the run that it stops."""

    engine: Engine

    @override
    def on_save(self, engine: Engine, progress: Progress) -> None:
        self.engine = engine
        super().on_save(engine, progress)


@cache
def _stopped() -> tuple[TrainConfig, Engine, Path]:
    """A run that was stopped: its configuration, its engine and its checkpoint."""
    cache_root().mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(dir=cache_root(), prefix="stopped-"))
    for split, clips in (("train", 3), ("validation", 1), ("test", 1)):
        for label, pitch in (("low", 0.1), ("high", 0.5)):
            for clip in range(clips):
                file = home / "recordings" / split / label / f"{clip}.wav"
                file.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(file, 0.3 * np.sin(np.arange(4_000) * pitch + clip), 16_000)
    config = TrainConfig(
        data=str(home / "recordings"), output_dir=home / "out", backbone="random:tiny", method="conformer", num_train_epochs=3,
        max_length=24, per_device_train_batch_size=3, ema_decay=0.9, recipe="paper", bf16=False,
        selection="best-validation", early_stopping_patience=2,
    )  # fmt: skip
    stop = _Stop(1)
    with suppress(PowerCut):
        train(config, quiet=True, callbacks=[stop])
    found = checkpoint.latest(config.output_dir)
    assert found is not None
    return config, stop.engine, found


def make(folder: Path, random: Random) -> tuple[Path, bool]:
    sound = _stopped()[2]
    hostile = shutil.copytree(sound, folder / "out" / sound.name)
    tensors = sorted(file.name for file in sound.glob("*.safetensors"))
    name = random.choice([*[_STATE] * 6, *tensors])
    file = hostile / name
    content = file.read_bytes()
    match random.randrange(5):
        case 0:
            file.unlink()
            if random.random() < 0.5:
                shutil.copy(hostile / random.choice([one for one in tensors if one != name]), file)
        case 1:
            file.write_bytes(hostile_bytes(content, random))
        case _ if name == _STATE and random.random() < 0.6:
            file.write_text(json.dumps(hostile_value(json.loads(content), random)), encoding="utf-8")
        case _ if name == _STATE:
            file.write_text(hostile_text(content.decode(), random), encoding="utf-8", errors="surrogatepass")
        case _:
            file.write_bytes(_other_tensors(file, random))
    return folder, random.random() < 0.02


def _other_tensors(file: Path, random: Random) -> bytes:
    """A sound file of tensors, one of which is not the run's."""
    state = load_file(file)
    key = random.choice([*state])
    tensor = state.pop(key)
    match random.randrange(7):
        case 0:
            pass
        case 1:
            state[f"{key}x"] = tensor
        case 2:
            state[key] = tensor.reshape(-1).repeat(2)
        case 3:
            state[key] = torch.zeros((1,) * tensor.ndim, dtype=tensor.dtype)
        case 4:
            state[key] = tensor.to(random.choice([torch.float64, torch.float16, torch.int64, torch.bool]))
        case 5:
            state[key] = torch.full_like(tensor, random.choice([-1, 0, 1, 127]))
        case _:
            value = random.choice([float("nan"), float("inf"), -1.0, 1e38, 1e-40])
            state[key] = torch.full(tensor.shape, value)
    return save(state)


def read(given: tuple[Path, bool]) -> None:
    folder, to_the_end = given
    config, engine, _ = _stopped()
    again = config.model_copy(update={"resume": True, "output_dir": folder / "out"})
    if to_the_end:
        train(again, quiet=True, picture=False)
        return
    refuse_other_run(again, engine.setup.record, lambda _: None)
    latest = checkpoint.latest(again.output_dir)
    if latest is None:
        return
    progress = checkpoint.load(latest, engine.setup.settings, engine, 0, torch.device("cpu"))
    engine.has_lost_patience(progress.scored)
    for batch in engine.steps(progress.epoch, progress.step):
        loss = engine.step([engine.backward(batch)], engine.global_step(progress))
        engine.finite(loss, progress)
    engine.refuse_unsound(progress)
    if progress.best is not None:
        engine.model.load_adapter_state(progress.best)
    engine.task.better(engine.validate()[0].figures(), progress.best_figures, None)


def warm_up(folder: Path) -> None:
    shutil.copytree(_stopped()[2], folder / "out" / _stopped()[2].name)
    read((folder, False))


READER = Reader("checkpoints", make, read, warm_up)
