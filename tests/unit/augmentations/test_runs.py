"""Runs with augmentations: what is kept frozen, refused, said, resumed and shared by processes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from astune.data.generated import write_generated
from astune.errors import AstuneError, AudioError, CheckpointError, ConfigError, DataError
from astune.experiments.plan import PlanOptions, plan
from astune.experiments.runner import execute
from astune.experiments.store import Store
from astune.training.augmentations import augmentations_of
from astune.training.check import check
from astune.training.cross_validation import cross_validate
from astune.training.engine import Engine
from astune.training.listening import listen_as_trained
from astune.training.loop import train
from astune.training.setup import set_up
from astune.training.stage import Stage
from tests.several_labels import write_several
from tests.stopping import PowerCut, StopAfter
from tests.unit.augmentations.batches import noise
from tests.unit.augmentations.test_waveforms import AddNoise, same
from tests.unit.test_experiments import table_of
from tests.unit.test_loop import config, folded, scores_of_adapter
from tests.unit.test_processes import assert_same_run, epochs, forking, together

if TYPE_CHECKING:
    from astune.training.config import TrainConfig

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork.*:DeprecationWarning"  # Python 3.12; the threads of a test runner hold no lock of ours
)
WITHOUT: dict[str, Any] = {"max_length": 32, "freq_mask": 0, "time_mask": 0, "num_train_epochs": 1}
TARGETS: dict[str, Any] = {"label_smoothing_factor": 0.1, "mixup_alpha": 0.4}
SOUNDS: dict[str, Any] = {"gain": 6.0, "time_shift": 0.1, "random_crop": True}


@pytest.fixture(scope="module")
def noises(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("noises")
    (folder / "rain").mkdir()
    for name, seconds in (("rain/a.wav", 2.0), ("b.wav", 0.2), ("c.flac", 1.0)):
        soundfile.write(folder / name, noise(len(name), seconds), 16_000)
    return folder


def all_of(noises: Path) -> dict[str, Any]:
    return {**TARGETS, **SOUNDS, "background_noise": str(noises), "max_length": 32, "patchout": 0.25}


def assert_same_bits(one: Path, other: Path) -> None:
    first, second = (load_file(folder / "adapter_model.safetensors") for folder in (one, other))
    assert first.keys() == second.keys()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"mixup_alpha": 0.2}, "mixup mixes their input with another clip each time (set mixup_alpha=0 to avoid it)"),
        ({"gain": 3.0}, "gain changes the loudness of their input each time (set gain=0 to avoid it)"),
        ({"time_shift": 0.1}, "time_shift moves their input each time (set time_shift=0 to avoid it)"),
        ({"random_crop": True}, "random_crop takes another part of longer clips each time (set random_crop=False to avoid it)"),
        ({"background_noise": "NOISES"}, "background_noise adds another noise to their input each time (leave background_noise out"),
        ({"label_smoothing_factor": 0.1}, None),
    ],
)  # fmt: skip
def test_each_says_whether_frozen_layers_run_once(
    fields: dict[str, Any],
    said: str | None,
    generated: Path,
    noises: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fields = {name: str(noises) if value == "NOISES" else value for name, value in fields.items()}
    result = train(config(generated, tmp_path / "out", method="linear", **WITHOUT, **fields))
    message = capsys.readouterr().err
    assert (f"The 4 frozen layers run in every epoch: {said}" if said else "The 4 frozen layers run once") in message
    assert result.cached_layers == (0 if said else 4)
    told = json.loads((tmp_path / "out" / "adapter_config.json").read_text())["training"]
    assert {name: told[name] for name in fields} == fields
    if said:
        asked = config(generated, tmp_path / "asked", method="linear", cache_frozen=True, **WITHOUT, **fields)
        with pytest.raises(ConfigError, match=r"cache_frozen=True computes frozen layers once, and [a-z_]+ changes"):
            check(asked)
        assert train(asked.model_copy(update={"cache_frozen": False}), quiet=True).scores == result.scores


def test_the_targets_of_a_step_are_mixed_and_smoothed_and_scores_are_of_plain_clips(
    generated: Path, tmp_path: Path
) -> None:
    settings = config(generated, tmp_path / "out", bf16=False, **WITHOUT, **TARGETS)
    setup = set_up(settings, Accelerator(cpu=True), quiet=True)
    augmentations = augmentations_of(settings, setup.recipe, (12, 2), setup.materials)
    engine = Engine(setup, Stage(setup.model, setup.features), augmentations)
    mixup = augmentations[0]
    step = next(engine.steps(0))
    order = [clip for clip in setup.split.train if clip]  # names decide, so any order shows it
    batch = engine.training_clips.batch(order[:5], 0)
    for row, name, clip in zip(batch.targets, batch.names, batch.clips, strict=True):
        partner, share = mixup.drawn(name, 0)  # type: ignore[attr-defined]
        expected = torch.zeros(6)
        expected[engine.targets[clip]] += share
        expected[engine.targets[partner]] += 1 - share
        torch.testing.assert_close(row, 0.9 * expected + 0.1 / 6)
    assert step.targets.shape == (8, 6)
    assert engine.score(setup.split.validation).clips == len(setup.split.validation)
    result = train(settings, quiet=True)
    scores = scores_of_adapter(tmp_path / "out", generated)
    assert scores.accuracy == result.scores["test"]["accuracy"]
    assert scores.loss == pytest.approx(result.scores["test"]["loss"], abs=1e-5)


def test_stopped_and_resumed_ends_with_the_same_bits(generated: Path, noises: Path, tmp_path: Path) -> None:
    settings = config(generated, tmp_path / "out", save_steps=1, **all_of(noises))
    whole = train(
        settings.model_copy(update={"output_dir": tmp_path / "whole"}), quiet=True, waveform_augmentation=AddNoise()
    )
    with pytest.raises(PowerCut):
        train(settings, quiet=True, callbacks=[StopAfter(3)], waveform_augmentation=AddNoise())
    np.random.seed(3)  # noqa: NPY002 - another process would have other generators
    resumed = train(settings.model_copy(update={"resume": True}), quiet=True, waveform_augmentation=AddNoise())
    assert resumed.scores == whole.scores
    assert_same_bits(tmp_path / "whole", tmp_path / "out")


def test_a_run_that_goes_on_hears_the_same_noise_and_function(generated: Path, noises: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(noises, moved)
    settings = config(generated, tmp_path / "out", save_steps=1, background_noise=str(noises), **WITHOUT)
    with pytest.raises(PowerCut):
        train(settings, quiet=True, callbacks=[StopAfter(1)], waveform_augmentation=AddNoise(0.2))
    again = settings.model_copy(update={"resume": True, "background_noise": str(moved)})
    with pytest.raises(CheckpointError, match=r"waveform_augmentation: '.*level=0.2.*' then, None now"):
        train(again, quiet=True)
    with pytest.raises(CheckpointError, match=r"waveform_augmentation: '.*level=0.2.*' then, '.*level=0.3.*' now"):
        train(again, quiet=True, waveform_augmentation=AddNoise(0.3))
    soundfile.write(moved / "d.wav", noise(1), 16_000)
    with pytest.raises(CheckpointError, match=r"background_noise: '[0-9a-f]{32}' then, '[0-9a-f]{32}' now"):
        train(again, quiet=True, waveform_augmentation=AddNoise(0.2))
    (moved / "d.wav").unlink()
    with pytest.raises(CheckpointError, match=r"gain: None then, 3\.0 now"):
        train(again.model_copy(update={"gain": 3.0}), quiet=True, waveform_augmentation=AddNoise(0.2))
    with pytest.raises(CheckpointError, match=r"background_noise: '[0-9a-f]{32}' then, None now"):
        train(again.model_copy(update={"background_noise": None}), quiet=True, waveform_augmentation=AddNoise(0.2))
    result = train(again, quiet=True, waveform_augmentation=AddNoise(0.2))  # elsewhere, the same noise
    assert set(result.beside_settings) == {"background_noise", "waveform_augmentation"}
    told = json.loads((tmp_path / "out" / "adapter_config.json").read_text())["training"]
    assert told["background_noise_digest"] == result.beside_settings["background_noise"]
    assert (told["min_snr_db"], told["max_snr_db"]) == (3.0, 30.0)
    finished = settings.model_copy(update={"resume": True})
    assert train(finished, quiet=True, waveform_augmentation=AddNoise(0.2)) == result
    with pytest.raises(CheckpointError, match="waveform_augmentation"):
        train(finished, quiet=True)
    soundfile.write(moved / "d.wav", noise(1), 16_000)
    with pytest.raises(CheckpointError, match="background_noise"):
        train(again, quiet=True, waveform_augmentation=AddNoise(0.2))
    shutil.rmtree(moved)
    with pytest.raises(CheckpointError, match="background_noise"):  # another path, and nothing to compare it with
        train(again.model_copy(update={"background_noise": str(tmp_path / "nowhere")}), quiet=True)


@forking
def test_two_processes_train_as_one(generated: Path, noises: Path, tmp_path: Path) -> None:
    """36 clips in steps of 2 x 5."""
    fields = {"per_device_train_batch_size": 5, "bf16": False, **all_of(noises)}
    settings = config(generated, tmp_path / "many", **fields)
    said = together(tmp_path / "said", settings)
    assert said[1] == ""
    train(settings.model_copy(update={"output_dir": tmp_path / "one", "per_device_train_batch_size": 10}), quiet=True)
    assert_same_run(tmp_path / "one", tmp_path / "many")


@forking
@pytest.mark.parametrize("balance", ["sampler", "class_weights"])
def test_several_labels_train_alike_with_rare_ones_made_up_for(balance: str, noises: Path, tmp_path: Path) -> None:
    """Two processes as one, in steps of two batches."""
    data = write_several(tmp_path / "data")
    more = {balance: "balanced", "gradient_accumulation_steps": 2, "bf16": False}
    settings = config(data, tmp_path / "many", per_device_train_batch_size=4, **more, **all_of(noises))
    together(tmp_path / "said", settings)
    alone = settings.model_copy(update={"output_dir": tmp_path / "one", "per_device_train_batch_size": 8})
    train(alone, quiet=True)
    losses = [[entry["train_loss"] for entry in epochs(tmp_path / name)] for name in ("one", "many")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    one, many = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("one", "many"))
    for name, tensor in one.items():
        assert float((many[name] - tensor).abs().max()) <= 5e-5, name


def test_a_function_that_changes_nothing_changes_no_run(
    generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = config(generated, tmp_path / "plain", max_length=32, num_train_epochs=1)
    plain = train(settings, quiet=True)
    capsys.readouterr()
    result = train(settings.model_copy(update={"output_dir": tmp_path / "out"}), waveform_augmentation=same)
    assert_same_bits(tmp_path / "plain", tmp_path / "out")
    assert result.scores == plain.scores
    assert list(result.beside_settings) == ["waveform_augmentation"]
    note = f"Note: every epoch decodes the training clips and gives them to {same.__module__}.same; their cached"
    assert note in capsys.readouterr().err
    assert any(notice.startswith(note) for notice in result.notices)
    with pytest.raises(ConfigError, match="is of type str"):
        train(settings, waveform_augmentation="gain")  # type: ignore[arg-type]
    with pytest.raises(
        ConfigError, match="cache_frozen=True computes frozen layers once, and waveform_augmentation changes"
    ):
        train(settings.model_copy(update={"cache_frozen": True}), waveform_augmentation=same)


def test_each_fold_takes_the_function(generated: Path, tmp_path: Path) -> None:
    settings = config(folded(generated, tmp_path), tmp_path / "cv", **WITHOUT)
    results = cross_validate(settings, quiet=True, waveform_augmentation=AddNoise())
    alone = settings.model_copy(update={"fold": 2, "output_dir": tmp_path / "alone"})
    assert results[1].scores == train(alone, quiet=True, waveform_augmentation=AddNoise()).scores
    assert {len(result.beside_settings) for result in results} == {1}
    with pytest.raises(ConfigError, match="is the class AddNoise"):
        cross_validate(settings, waveform_augmentation=AddNoise)  # type: ignore[arg-type]


def test_long_clips_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_generated(tmp_path / "data", clips_per_class=(2, 1, 1), seconds=1.0)
    result = train(config(data, tmp_path / "out", random_crop=True, **WITHOUT))
    said = "Note: 12 of 12 training clips are longer than the input, 0.3 s, and each epoch hears another part of them; clips are scored"
    assert said in capsys.readouterr().err
    assert sum(notice.startswith(said) for notice in result.notices) == 1
    train(config(data, tmp_path / "whole", random_crop=True, **{**WITHOUT, "max_length": 98}))
    assert (
        "Note: random_crop changes nothing: no training clip is longer than the input, 1.0 s" in capsys.readouterr().err
    )


def test_noise_that_is_in_the_data_or_broken_is_said(
    generated: Path, noises: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mixed = tmp_path / "noises"
    shutil.copytree(noises, mixed)
    clip = sorted((generated / "test").rglob("*.wav"))[0]
    shutil.copy(clip, mixed / "copy.wav")
    (mixed / "broken.wav").write_bytes(b"RIFF, but no sound")
    settings = config(generated, tmp_path / "out", background_noise=str(mixed), **WITHOUT)
    with pytest.raises(AudioError, match=r"1 of 5 audio files cannot be read:\n  - .*broken.wav"):
        train(settings, quiet=True)
    with pytest.raises(AudioError, match=r"1 of 5 audio files"):
        listen_as_trained(settings, check(settings), quiet=True)
    settings = settings.model_copy(update={"skip_broken": True})
    listened = listen_as_trained(settings, check(settings), quiet=True)
    result = train(settings)
    assert result.notices == listened.notices
    said = capsys.readouterr().err
    for part in (
        "Note: background_noise: 1 of 5 audio files cannot be read and is left out: ",
        f"Warning: 1 of 5 recordings of {mixed} is in the data too, such as test/{clip.parent.name}/{clip.name} (test)",
    ):
        assert part in said
        assert any(part in notice for notice in result.notices)


def refused(settings: TrainConfig) -> str:
    with pytest.raises(AstuneError) as caught:
        check(settings)
    return str(caught.value)


def test_what_cannot_be_used_is_refused_before_anything_is_computed(
    generated: Path, noises: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("astune.features.cache.listen", None)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("nothing to hear")

    def with_fields(**fields: object) -> str:
        return refused(config(generated, tmp_path / "out", **fields))

    assert "nowhere does not exist; give a folder of recordings" in with_fields(
        background_noise=str(tmp_path / "nowhere")
    )
    assert "b.wav is a file; give a folder of recordings" in with_fields(background_noise=str(noises / "b.wav"))
    assert "empty holds no recordings, only notes.txt" in with_fields(background_noise=str(tmp_path / "empty"))
    noisy = {"background_noise": str(noises)}
    assert "min_snr_db=9.0 is above max_snr_db=5.0" in with_fields(min_snr_db=9.0, max_snr_db=5.0, **noisy)
    assert with_fields(min_snr_db=1.0).startswith("min_snr_db: no noise is added; give background_noise")
    assert "time_shift=0.5 s; give 0.01 (a frame) to 0.32 (the input)" in with_fields(time_shift=0.5, max_length=32)
    both = with_fields(mixup_alpha=0.2, gain=3.0, cache_frozen=True)
    assert "mixup_alpha and gain change their input in every epoch" in both
    with pytest.raises(ConfigError, match="background_noise=: it is empty"):
        with_fields(background_noise="")
    check(config(generated, tmp_path / "out", min_snr_db=1.0, **noisy))
    monkeypatch.undo()
    with pytest.raises(ConfigError, match=r"time_shift=5\.0 s; give 0\.01 \(a frame\) to 0\.48 \(the input\)"):
        train(config(generated, tmp_path / "out", time_shift=5.0), quiet=True)  # half a second, measured
    check(config(generated, tmp_path / "out", mixup_alpha=0.2))


def test_the_content_of_the_noise_names_a_planned_run(generated: Path, noises: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(noises, moved)

    def planned(folder: Path | None) -> Any:  # noqa: ANN401 - what plan gives
        settings: dict[str, Any] = (
            {} if folder is None else {"background_noise": str(folder), "freq_mask": 0, "time_mask": 0}
        )
        return plan("test", table_of(generated, **settings), PlanOptions(backbone="random:tiny"))[0]

    assert planned(noises).key == planned(moved).key != planned(None).key
    before = planned(moved)
    assert before.key == before.key
    soundfile.write(moved / "d.wav", noise(1), 16_000)
    assert planned(moved).key != before.key
    with pytest.raises(DataError, match=r"background_noise, .*moved, has changed since this run was planned"):
        execute(before, Store(tmp_path / "store"))
    record = execute(planned(moved), Store(tmp_path / "store"))
    assert record.identity["background_noise"] == record.result.beside_settings["background_noise"]
