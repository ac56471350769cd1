"""Augmentations of a run: which are active, in what order, and that a clip's draws are its own."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
import torch
from accelerate import Accelerator

from astune.errors import ConfigError
from astune.features.augmentation import ActsOn, TrainingBatch
from astune.training.augmentations import augmentations_of
from astune.training.engine import Engine
from astune.training.recipe import Recipe
from astune.training.setup import set_up
from astune.training.stage import Stage, stage_of
from tests.unit.test_loop import config

if TYPE_CHECKING:
    from pathlib import Path

    from astune.training.config import TrainConfig

RECIPE = Recipe(32, 1, 8, 1e-3, 0.1, 0.9, 0.98, 1e-6, 24, 8, "last")


class Recorded:
    """An augmentation that changes nothing and remembers what the others made of each clip."""

    acts_on: ActsOn = "targets"
    active = True
    forbids_frozen = None

    def __init__(self) -> None:
        self.seen: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def augment(self, batch: TrainingBatch) -> TrainingBatch:
        assert batch.kept_patches is not None
        for name, inputs, kept in zip(batch.names, batch.inputs, batch.kept_patches, strict=True):
            assert name not in self.seen
            self.seen[name] = (inputs, kept)
        return batch


def augmented(settings: TrainConfig, epoch: int = 1) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Masked features and kept patches of every training clip, by name."""
    setup = set_up(settings, Accelerator(cpu=True), quiet=True)
    recorded = Recorded()
    augmentations = (*augmentations_of(settings, setup.recipe, (12, 2), setup.materials), recorded)
    engine = Engine(setup, Stage(setup.model, setup.features), augmentations)
    assert sum(step.clips for step in engine.steps(epoch)) == len(setup.split.train) == len(recorded.seen)
    return recorded.seen


def assert_same_draws(
    some: dict[str, tuple[torch.Tensor, torch.Tensor]], other: dict[str, tuple[torch.Tensor, torch.Tensor]]
) -> None:
    shared = some.keys() & other.keys()
    assert len(shared) > 5
    for name in shared:
        assert torch.equal(some[name][0], other[name][0])
        assert torch.equal(some[name][1], other[name][1])


def test_adding_or_limiting_clips_changes_no_other_clips_masks(generated: Path, tmp_path: Path) -> None:
    fields = {"max_length": 32, "freq_mask": 24, "time_mask": 8, "patchout": 0.5, "seed": 3}
    before = augmented(config(generated, tmp_path / "out", **fields))
    assert len({inputs.numpy().tobytes() for inputs, _ in before.values()}) == len(before)
    limited = augmented(config(generated, tmp_path / "out", limit_clips=12, **fields))
    assert len(limited) < len(before)
    assert_same_draws(before, limited)
    more = tmp_path / "more"
    shutil.copytree(generated, more)
    first = min((more / "train").iterdir()) / "0.wav"  # so that all others move up by one
    soundfile.write(first, np.random.default_rng(0).normal(0, 0.1, 8000), 16_000)
    after = augmented(config(more, tmp_path / "out", **fields))
    assert len(after) == len(before) + 1
    assert_same_draws(before, after)


def test_only_what_is_asked_for_is_there_in_the_order_of_a_batch(generated: Path, tmp_path: Path) -> None:
    setup = set_up(config(generated, tmp_path / "out", max_length=32), Accelerator(cpu=True), quiet=True)

    def kinds(recipe: Recipe, **fields: object) -> list[str]:
        made = augmentations_of(config(generated, tmp_path, **fields), recipe, (12, 2), setup.materials)
        return [one.acts_on for one in made]

    none = replace(RECIPE, freq_mask=0, time_mask=0)
    assert kinds(none) == []
    assert kinds(RECIPE) == ["features"]
    assert kinds(none, patchout=0.5) == ["patches"]
    assert kinds(RECIPE, patchout=0.5) == ["features", "patches"]
    with pytest.raises(ConfigError, match="drops none of 12 x 2"):
        kinds(RECIPE, patchout=0.01)


def test_an_augmentation_says_whether_frozen_layers_run_once(
    generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that acts on targets alone leaves the cache of frozen layers on."""
    settings = config(generated, tmp_path / "out", method="linear", max_length=32, freq_mask=0, time_mask=0)
    setup = set_up(settings, Accelerator(cpu=True))
    assert stage_of(setup, [Recorded()]).cached_layers == 4
    capsys.readouterr()
    masks = augmentations_of(settings, RECIPE, (12, 2), setup.materials)
    assert stage_of(setup, [Recorded(), *masks]).cached_layers == 0
    assert "The 4 frozen layers run in every epoch: SpecAugment changes their input" in capsys.readouterr().err
