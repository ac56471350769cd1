"""The training loop: what it learns, keeps, writes, resumes and refuses."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from astune import AudioClassifier
from astune.class_scores import ClassScores, score_classes
from astune.compute import Arithmetic
from astune.data import load_data
from astune.environment import device_name
from astune.errors import AudioError, ConfigError, DataError, OutputError
from astune.features import SpecAugment, build_cache
from astune.json_record import read_record
from astune.keyed import keyed_generator
from astune.tasks import SINGLE_LABEL
from astune.training import checkpoint
from astune.training.callbacks import EpochLines
from astune.training.config import TrainConfig
from astune.training.cross_validation import cross_validate
from astune.training.loop import train
from astune.training.processes import batches
from astune.training.progress import Progress
from astune.training.result import read_result
from tests.stopping import Call, PowerCut, StopAfter, reached

LIMIT = 300  # seconds until a command that hangs is ended


def config(data: Path, output_dir: Path, **fields: object) -> TrainConfig:
    settings = {
        "backbone": "random:tiny", "method": "lora", "num_train_epochs": 2, "per_device_train_batch_size": 8, "recipe": "paper",
    }  # fmt: skip
    return TrainConfig(data=str(data), output_dir=output_dir, **{**settings, **fields})


def test_a_run_from_data_to_adapter(generated: Path, tmp_path: Path) -> None:
    result = train(config(generated, tmp_path / "out"), quiet=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "clips.csv",
        "confusion.png",
        "metrics.jsonl",
        "results.json",
    ]
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1]
    assert lines == result.history
    assert read_result(tmp_path / "out") == result
    assert result.scores["test"]["clips"] == 18
    assert sum(map(sum, result.scores["test"]["confusion"])) == 18
    assert result.trainable_parameters == 4 * 2 * 2 * 192 * 2
    adapter = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert adapter["training"]["selection"] == "best-validation"
    assert adapter["position_embeddings"] == "fit"
    assert adapter["method"][0]["init"] == "identity"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    assert (result.compute_dtype, result.device) == (Arithmetic.of(device).compute_dtype, device_name(device))


def scores_of_adapter(folder: Path, data: Path) -> ClassScores:
    """Of the test clips that can be read, by the model as it is loaded from the adapter's folder."""
    dataset = load_data(data)
    model = AudioClassifier.from_pretrained(folder)
    features = build_cache(dataset.paths, model.front_end, skip_broken=True, quiet=True)
    clips = dataset.split().test
    with torch.no_grad():
        return score_classes(model(features.batch(clips)).logits, [dataset.targets[clip] for clip in clips])


def test_the_adapter_scores_what_the_run_reported(generated: Path, tmp_path: Path) -> None:
    result = train(config(generated, tmp_path / "out", bf16=False), quiet=True)
    scores = scores_of_adapter(tmp_path / "out", generated)
    reported = result.scores["test"]
    assert (scores.accuracy, scores.confusion) == (reported["accuracy"], reported["confusion"])
    assert scores.loss == pytest.approx(reported["loss"], abs=1e-6)


def test_the_steps_are_adamw_along_a_cosine_on_keyed_batches(generated: Path, tmp_path: Path) -> None:
    """The loop against torch's own optimiser and scheduler, written out by hand."""
    fields = {"bf16": False, "selection": "last", "learning_rate": 0.01, "num_train_epochs": 2, "seed": 5}
    train(config(generated, tmp_path / "out", **fields), quiet=True)

    from astune import load_backbone

    dataset = load_data(generated)
    split = dataset.split(seed=5)
    torch.manual_seed(5)
    model = AudioClassifier(load_backbone("random:tiny", 48), "lora", dataset.labels)
    features = build_cache(dataset.paths, model.front_end, quiet=True)
    optimizer = torch.optim.AdamW(
        model.trained_parameters().values(), lr=0.01, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.1
    )
    steps = -(-len(split.train) // 8)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=2 * steps)
    augment = SpecAugment(24, 7, seed=5)
    model.train()
    for epoch in range(2):
        order = keyed_generator(5, "shuffle", epoch).permutation(split.train).tolist()
        for start in range(0, len(order), 8):
            clips = order[start : start + 8]
            inputs = augment(features.batch(clips), epoch, [dataset.clips[clip].name for clip in clips])
            optimizer.zero_grad()
            model(inputs, torch.tensor([dataset.targets[clip] for clip in clips])).loss.backward()
            optimizer.step()
            scheduler.step()
    trained = load_file(tmp_path / "out" / "adapter_model.safetensors")
    for name, tensor in model.adapter_state().items():
        torch.testing.assert_close(trained[name], tensor, atol=3e-5, rtol=1e-4)  # a GPU trained, where there is one


def test_the_best_epochs_weights_are_kept(generated: Path, tmp_path: Path) -> None:
    """Test scores must be those of the best validation epoch, not of the last, whose weights a reference would hold."""
    fields = {"bf16": False, "learning_rate": 0.03, "num_train_epochs": 6, "method": "linear"}
    best = train(config(generated, tmp_path / "best", **fields), quiet=True)
    last = train(config(generated, tmp_path / "last", **fields, selection="last"), quiet=True)
    validation = [(entry["validation"]["accuracy"], -entry["validation"]["loss"]) for entry in best.history]
    assert best.best_epoch == validation.index(max(validation))
    assert best.scores["validation"]["accuracy"] == validation[best.best_epoch][0]
    assert last.best_epoch == 5
    assert last.scores["validation"]["loss"] == pytest.approx(-validation[5][1], abs=1e-6)
    if best.best_epoch != 5:
        assert best.scores["test"] != last.scores["test"]


def test_the_same_seed_gives_the_same_bits_and_another_does_not(generated: Path, tmp_path: Path) -> None:
    weights = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(config(generated, tmp_path / name, seed=seed, num_train_epochs=1), quiet=True)
        weights.append(load_file(tmp_path / name / "adapter_model.safetensors"))
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
    assert not torch.equal(weights[0]["head.weight"], weights[2]["head.weight"])


def command(data: Path, output_dir: Path, *more: str) -> list[str]:
    options = "--backbone random:tiny --method lora --num-train-epochs 3 --per-device-train-batch-size 4 --save-steps 2"
    return [
        sys.executable,
        "-m",
        "astune",
        "train",
        str(data),
        "--output-dir",
        str(output_dir),
        *options.split(),
        *more,
    ]


@pytest.mark.slow
def test_killed_twice_and_resumed_ends_with_the_same_bits(generated: Path, tmp_path: Path) -> None:
    subprocess.run(command(generated, tmp_path / "whole"), check=True, timeout=LIMIT, capture_output=True)
    stopped = tmp_path / "stopped"
    kills = 0
    for wanted in (4, 16):  # steps; 9 an epoch, so in the middle of the first and of the second
        process = subprocess.Popen(command(generated, stopped, "--resume"), stderr=subprocess.DEVNULL)
        while process.poll() is None and not reached(stopped, wanted):
            time.sleep(0.01)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
    assert kills == 2
    assert not (stopped / "adapter_config.json").exists()
    subprocess.run(command(generated, stopped, "--resume"), check=True, timeout=LIMIT, capture_output=True)
    expected, found = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "stopped"))
    assert expected.keys() == found.keys()
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    whole, resumed = read_result(tmp_path / "whole"), read_result(stopped)
    assert whole.scores == resumed.scores
    timeless = [[{k: v for k, v in e.items() if k != "seconds"} for e in run.history] for run in (whole, resumed)]
    assert timeless[0] == timeless[1]
    assert not list(stopped.glob("*checkpoint*"))


@pytest.mark.parametrize(
    "method", ["lora", "full-ft", "convpass:sublayer=ffn+dpt:tokens=2", "conformer"]
)  # dropout and buffers among them
@pytest.mark.parametrize("steps", [2, 5, 7])
def test_resumed_anywhere_is_as_never_stopped(method: str, steps: int, generated: Path, tmp_path: Path) -> None:
    settings = config(generated, tmp_path / "out", save_steps=1, method=method, num_train_epochs=2, max_length=32)
    uninterrupted = train(settings.model_copy(update={"output_dir": tmp_path / "whole"}), quiet=True)
    with pytest.raises(PowerCut):
        train(settings, quiet=True, callbacks=[StopAfter(steps)])
    resumed = train(settings.model_copy(update={"resume": True}), quiet=True)
    assert resumed.scores == uninterrupted.scores
    expected = load_file(tmp_path / "whole" / "adapter_model.safetensors")
    found = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())


def test_used_folders_are_refused_and_say_what_to_do(generated: Path, tmp_path: Path) -> None:
    settings = config(generated, tmp_path / "out", num_train_epochs=1)
    with pytest.raises(PowerCut):
        train(settings, quiet=True, callbacks=[StopAfter(1)])
    with pytest.raises(ConfigError, match="a run that was stopped; continue with resume=True"):
        train(settings, quiet=True)
    other = settings.model_copy(update={"resume": True, "learning_rate": 0.5})
    with pytest.raises(ConfigError, match=r"other settings \(learning_rate: 0\.005 then, 0\.5 now\)"):
        train(other, quiet=True)
    finished = train(settings.model_copy(update={"overwrite_output_dir": True}), quiet=True)
    with pytest.raises(ConfigError, match="holds an adapter already"):
        train(settings, quiet=True)
    assert train(settings.model_copy(update={"resume": True}), quiet=True) == finished
    with pytest.raises(ConfigError, match=r"other settings .*method: 'lora' then, 'bitfit' now"):
        train(settings.model_copy(update={"resume": True, "method": "bitfit"}), quiet=True)


def test_a_half_written_checkpoint_is_passed_over(generated: Path, tmp_path: Path) -> None:
    (tmp_path / ".checkpoint-9.partial").mkdir()
    assert checkpoint.latest(tmp_path) is None
    train(config(generated, tmp_path, num_train_epochs=1, resume=True), quiet=True)
    assert not list(tmp_path.glob(".*partial"))


def broken_copy(generated: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "broken"
    shutil.copytree(generated, folder)
    for victim in (folder / "train" / "filling_bottle" / "000.wav", folder / "test" / "coin_spin" / "009.wav"):
        victim.write_bytes(b"RIFF, but no sound")
    return folder


def test_broken_files_are_named_before_training(generated: Path, tmp_path: Path) -> None:
    data = broken_copy(generated, tmp_path)
    with pytest.raises(AudioError) as caught:
        train(config(data, tmp_path / "out"), quiet=True)
    for part in ("2 of 72", "train/filling_bottle/000.wav", "test/coin_spin/009.wav", "skip_broken=True"):
        assert part in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_broken_files_are_skipped_on_request(
    generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = broken_copy(generated, tmp_path)
    result = train(config(data, tmp_path / "out", skip_broken=True, num_train_epochs=1))
    assert result.skipped_clips == 2
    assert result.scores["test"]["clips"] == 17
    assert "2 of 72 audio files cannot be read and are left out" in capsys.readouterr().err


def test_skipping_may_not_lose_a_class(generated: Path, tmp_path: Path) -> None:
    data = broken_copy(generated, tmp_path)
    for victim in (data / "train" / "bouncing_ball").iterdir():
        victim.write_bytes(b"RIFF, but no sound")
    with pytest.raises(DataError, match="1 class has no training clip: bouncing_ball"):
        train(config(data, tmp_path / "out", skip_broken=True), quiet=True)


def test_a_class_without_training_clips_is_refused(generated: Path, tmp_path: Path) -> None:
    shutil.copytree(generated, tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "train" / "bouncing_ball")
    with pytest.raises(DataError, match="1 class has no training clip: bouncing_ball"):
        train(config(tmp_path / "data", tmp_path / "out"), quiet=True)


def test_a_loss_that_is_no_number_stops_the_run(generated: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"training loss is (nan|inf).*try a learning rate below"):
        train(config(generated, tmp_path / "out", learning_rate=1e30, weight_decay=0), quiet=True)


def folded(generated: Path, tmp_path: Path) -> Path:
    files = sorted(generated.rglob("*.wav"))
    rows = [f"{file},{file.parent.name},{1 + number % 3}" for number, file in enumerate(files)]
    (tmp_path / "table.csv").write_text("\n".join(["file_name,label,fold", *rows]) + "\n")
    return tmp_path / "table.csv"


def test_cross_validation_tests_every_clip_once(generated: Path, tmp_path: Path) -> None:
    data = folded(generated, tmp_path)
    results = cross_validate(config(data, tmp_path / "cv", num_train_epochs=1), quiet=True)
    assert [run.fold for run in results] == [1, 2, 3]
    assert sum(run.scores["test"]["clips"] for run in results) == 72
    summary = json.loads((tmp_path / "cv" / "cross_validation.json").read_text())
    accuracies = [run.scores["test"]["accuracy"] for run in results]
    assert summary["test_accuracy"] == accuracies
    assert summary["mean"] == pytest.approx(sum(accuracies) / 3)
    assert (tmp_path / "cv" / "fold-2" / "adapter_config.json").exists()


def test_cross_validation_wants_folds(generated: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no folds to cross-validate over"):
        cross_validate(config(generated, tmp_path / "cv"), quiet=True)
    with pytest.raises(ConfigError, match="leave fold 1 out"):
        cross_validate(config(folded(generated, tmp_path), tmp_path / "cv", fold=1), quiet=True)


@given(order=st.permutations(range(23)), size=st.integers(1, 9), processes=st.integers(1, 4))
def test_processes_share_each_batch(order: Sequence[int], size: int, processes: int) -> None:
    single = list(batches(order, size * processes, 1, 0))
    parts = [list(batches(order, size, processes, rank)) for rank in range(processes)]
    assert {len(part) for part in parts} == {len(single)}
    for (whole, number), *shares in zip(single, *parts, strict=True):
        assert sorted(clip for share, _ in shares for clip in share) == sorted(whole)
        assert {number} == {count for _, count in shares} == {len(whole)}


def test_scores_by_hand() -> None:
    logits = torch.tensor([[2.0, 0, 0], [0, 2, 0], [2, 0, 0], [2, 0, 0]])
    scores = score_classes(logits, [0, 1, 1, 0])
    assert scores.accuracy == 0.75
    assert scores.macro_f1 == pytest.approx((0.8 + 2 / 3) / 2)  # class 2 neither occurs nor is predicted
    right, wrong = (torch.logsumexp(torch.tensor([2.0, 0, 0]), 0) - value for value in (2, 0))
    assert scores.loss == pytest.approx(float(3 * right + wrong) / 4)
    assert scores.confusion == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]
    with pytest.raises(ValueError, match="no clip"):
        score_classes(logits[:0], [])


def test_better_is_higher_accuracy_then_lower_loss() -> None:
    low, high = {"accuracy": 0.5, "loss": 1.0}, {"accuracy": 0.6, "loss": 2.0}
    assert SINGLE_LABEL.better(high, low)
    assert not SINGLE_LABEL.better(low, high)
    assert SINGLE_LABEL.better({"accuracy": 0.5, "loss": 0.9}, low)
    assert not SINGLE_LABEL.better(low, low)
    assert SINGLE_LABEL.better(low, None)


def test_python_m_astune_is_the_command(tmp_path: Path) -> None:
    environment = {**os.environ, "COLUMNS": "200"}
    for start in ([sys.executable, "-m", "astune"], [str(Path(sys.executable).with_name("astune"))]):
        result = subprocess.run([*start, "--version"], capture_output=True, text=True, check=True, env=environment)
        assert result.stdout.startswith("astune ")


def test_a_fault_of_the_audio_leaves_the_earlier_adapter_alone(generated: Path, tmp_path: Path) -> None:
    settings = config(generated, tmp_path / "out", num_train_epochs=1, method="linear")
    train(settings, quiet=True)
    before = (tmp_path / "out" / "adapter_model.safetensors").read_bytes()
    again = config(broken_copy(generated, tmp_path), tmp_path / "out", overwrite_output_dir=True)
    with pytest.raises(AudioError):
        train(again, quiet=True)
    assert (tmp_path / "out" / "adapter_model.safetensors").read_bytes() == before


def test_a_readme_of_the_users_own_is_not_replaced(generated: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(ConfigError, match="not ours to replace"):
        train(config(generated, tmp_path), quiet=True)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_kill_before_the_last_file_can_be_resumed(generated: Path, tmp_path: Path) -> None:
    """The adapter is written, results.json is not: the checkpoint still stands, and --resume ends the run."""
    settings = config(generated, tmp_path / "out", num_train_epochs=1, method="linear")
    whole = train(settings.model_copy(update={"output_dir": tmp_path / "whole"}), quiet=True)
    in_the_way = tmp_path / "out" / "results.json"
    with pytest.raises(OutputError, match="cannot be written"):
        train(settings, quiet=True, callbacks=[Call(epoch=lambda _: in_the_way.mkdir())])
    in_the_way.rmdir()
    assert (tmp_path / "out" / "adapter_config.json").exists()
    assert train(settings.model_copy(update={"resume": True}), quiet=True).scores == whole.scores


def test_the_input_length_does_not_follow_the_draw(tmp_path: Path) -> None:
    """Clips of many lengths, one of each drawn: seeds differ in the draw alone and share the feature cache."""
    for label in ("a", "b"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(12):
            samples = np.random.default_rng(number).normal(0, 0.1, 4000 + 1000 * number)
            soundfile.write(tmp_path / "data" / label / f"{number}.wav", samples, 16_000)
    lengths = set()
    for seed in range(3):
        fields = {"shots": 1, "seed": seed, "num_train_epochs": 1, "method": "linear"}
        result = train(config(tmp_path / "data", tmp_path / str(seed), **fields), quiet=True)
        lengths.add(result.recipe["max_length"])
    assert lengths == {1 + (15_000 - 400) // 160}  # the 23rd of 24 lengths, two clips of each


def test_logs_have_a_line_per_epoch(generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no bar is shown; of quick epochs the last one alone may have its line."""
    fields = {"method": "linear", "cache_frozen": False, "num_train_epochs": 2}
    result = train(config(generated, tmp_path / "out", **fields), callbacks=[EpochLines(seconds=0)])
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Epoch ")]
    for number, entry in enumerate(result.history, start=1):
        told = f"loss {entry['train_loss']:.3f}, validation accuracy {entry['validation']['accuracy']:.1%}"
        begins = f"Epoch {number} of 2: {told}, {entry['seconds']:.0f} s"
        assert any(line.startswith(begins) and (number == 2) == line.endswith(" s") for line in lines)
    assert sum(line.startswith("Epoch 2 of 2") for line in lines) == 2  # the run's own and the one handed in
    train(config(generated, tmp_path / "quiet", **fields), quiet=True)
    assert capsys.readouterr().err == ""


def test_long_epochs_say_how_far_they_are_and_what_is_left(
    generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a log, where one kind of line tells of training."""
    monkeypatch.setattr("astune.training.loop.LOG_SECONDS", 0.0)
    monkeypatch.setattr("astune.console.LOG_SECONDS", 0.0)
    fields = {"method": "linear", "cache_frozen": False, "num_train_epochs": 2, "per_device_train_batch_size": 1}
    train(config(generated, tmp_path / "out", **fields))
    lines = capsys.readouterr().err.splitlines()
    assert re.search(
        r"^Epoch 1 of 2: step 1 of \d+, loss [\d.]+, \d+ s, (about|up to) \d+ s left$", "\n".join(lines), re.MULTILINE
    )
    assert not [line for line in lines if line.startswith("Training:")]


def test_a_deletion_that_is_cut_short_leaves_no_checkpoint(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(generated, tmp_path, num_train_epochs=1)
    rmtree = shutil.rmtree

    def cut_short(path: str | Path, *arguments: Any, **options: Any) -> None:
        doomed = Path(path)
        if doomed.name.startswith(".checkpoint-") and doomed.name.endswith(".removed") and doomed.exists():
            (doomed / "trained.safetensors").unlink()
            raise PowerCut
        rmtree(path, *arguments, **options)

    monkeypatch.setattr(shutil, "rmtree", cut_short)
    with pytest.raises(PowerCut):
        train(settings, quiet=True)
    monkeypatch.undo()
    assert checkpoint.latest(tmp_path) is None
    assert list(tmp_path.glob(".checkpoint-*.removed"))
    train(settings.model_copy(update={"resume": True}), quiet=True)
    assert not list(tmp_path.glob(".checkpoint-*"))


def test_a_run_that_was_killed_right_after_its_results_is_cleared_up(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(generated, tmp_path, num_train_epochs=1)
    monkeypatch.setattr(checkpoint, "remove_all", lambda _: None)  # as if it had been killed before
    finished = train(settings, quiet=True)
    monkeypatch.undo()
    assert checkpoint.latest(tmp_path) is not None
    assert train(settings.model_copy(update={"resume": True}), quiet=True) == finished
    assert checkpoint.latest(tmp_path) is None


def test_what_a_checkpoint_says_of_a_run_is_read_as_it_was_written() -> None:
    figures = {"clips": 6, "accuracy": 0.5, "loss": 1.0}
    progress = Progress(epoch=1, start=figures, history=[{"validation": figures}], head_start={"strength": 1})
    text = json.dumps(progress.record())
    assert json.dumps(read_record(Progress, text).record()) == text  # a whole number stays one
