"""Several processes train as one does: with torchrun, with accelerate launch, and forked here, on gloo and the CPU."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState
from safetensors.torch import load_file

from astune.errors import ConfigError
from astune.training import checkpoint
from astune.training.callbacks import Callback
from astune.training.check import check
from astune.training.config import TrainConfig
from astune.training.cross_validation import cross_validate
from astune.training.loop import train
from astune.training.recipe import resolve
from astune.training.result import read_result
from tests.stopping import StopAfter
from tests.unit.test_loop import broken_copy, config, folded, scores_of_adapter

LIMIT = 300  # seconds until processes that hang are ended
TOGETHER = 2  # processes

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork.*:DeprecationWarning"  # Python 3.12; the threads of a test runner hold no lock of ours
)
forking = pytest.mark.skipif(torch.cuda.is_available(), reason="a process that has used CUDA cannot be forked")


def _enter(
    rank: int, rendezvous: Path, output: Path, settings: list[TrainConfig], folds: bool, callbacks: list[Callback]
) -> None:
    """Join the others, then train; torch is loaded already, which makes this ten times cheaper than torchrun."""
    with output.open("w", buffering=1) as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        sys.stdout = sys.stderr = stream
        code = 1
        try:
            os.environ.update(WORLD_SIZE=str(TOGETHER), LOCAL_WORLD_SIZE=str(TOGETHER))
            os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
            if "CACHES" in os.environ:  # of a machine each
                os.environ["ASTUNE_CACHE"] = f"{os.environ['CACHES']}/cache-{rank}"
            AcceleratorState._reset_state(reset_partial_state=True)
            GradientState._reset_state()
            torch.distributed.init_process_group(
                "gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=TOGETHER
            )
            for setting in settings:
                (cross_validate if folds else train)(setting, callbacks=callbacks)
            PartialState().destroy_process_group()
            code = 0
        except BaseException:  # noqa: BLE001 - the parent is told by the exit code
            traceback.print_exc()
        finally:
            stream.flush()
            os._exit(code)  # the runner's own clean-up is not this process's


_GLOO = "[Gloo] Rank "  # torch before 2.13 prints such a line of its own


def together(
    folder: Path, *settings: TrainConfig, folds: bool = False, callbacks: Sequence[Callback] = ()
) -> list[str]:
    """Train one configuration after the other in two processes; what each of them said."""
    folder.mkdir(exist_ok=True)
    context = multiprocessing.get_context("fork")
    outputs = [folder / f"said-{rank}.txt" for rank in range(TOGETHER)]
    rendezvous = folder / "rendezvous"
    processes = [
        context.Process(target=_enter, args=(rank, rendezvous, output, list(settings), folds, list(callbacks)))
        for rank, output in enumerate(outputs)
    ]
    for process in processes:
        process.start()
    deadline = time.monotonic() + LIMIT
    while any(process.is_alive() for process in processes) and time.monotonic() < deadline:
        if any(process.exitcode for process in processes):  # as torchrun does
            break
        time.sleep(0.02)
    for process in processes:
        if process.is_alive():
            process.kill()
        process.join()
    said = [output.read_text() for output in outputs]
    codes = [process.exitcode for process in processes]
    assert codes == [0] * TOGETHER, f"exit codes {codes}\n" + "\n".join(said)
    return ["".join(line for line in text.splitlines(keepends=True) if not line.startswith(_GLOO)) for text in said]


def epochs(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def assert_same_run(one: Path, many: Path) -> None:
    """Losses within 1e-5 of each other, the same test clips confused, weights within 5e-5.

    That is 1 % of one step at 5e-3: sums taken in another order differ by rounding, which AdamW magnifies where a gradient is almost zero.
    """
    alone, joined = epochs(one), epochs(many)
    assert [entry["train_loss"] for entry in joined] == pytest.approx([e["train_loss"] for e in alone], rel=1e-5)
    assert [entry["validation"]["accuracy"] for entry in joined] == [e["validation"]["accuracy"] for e in alone]
    expected, found = (load_file(folder / "adapter_model.safetensors") for folder in (one, many))
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert float((found[name] - tensor).abs().max()) <= 5e-5, name
    results = [read_result(folder) for folder in (one, many)]
    assert results[0].scores["test"]["confusion"] == results[1].scores["test"]["confusion"]


# Not convpass: summing a batch in another order alone moves its second epoch's loss by 1e-4 (lora's by 2e-8).
QUICK = ("lora", "bitfit+dpt:tokens=4", "bottleneck", "layermix")
OTHERS = ("linear", "spt-300", "pref-t-24", "bottleneck-hou-par", "lora:targets=qkvo", "full-ft")


@forking
@pytest.mark.parametrize("methods", [QUICK, pytest.param(OTHERS, marks=pytest.mark.slow)], ids=["quick", "others"])
def test_two_processes_train_as_one_with_twice_the_batch(
    methods: tuple[str, ...], generated: Path, tmp_path: Path
) -> None:
    """36 clips in steps of 2 × 5: three whole ones and a last one of 6, three clips a process."""
    settings = [
        config(
            generated,
            tmp_path / f"many-{number}",
            method=method,
            per_device_train_batch_size=5,
            bf16=False,
            max_length=32,
        )
        for number, method in enumerate(methods)
    ]
    said = together(tmp_path / "said", *settings)
    assert said[1] == ""
    assert said[0].count("Trained 2 epochs") == len(methods)
    for setting in settings:
        one = tmp_path / setting.output_dir.name.replace("many", "one")
        alone = setting.model_copy(update={"output_dir": one, "per_device_train_batch_size": 10})
        train(alone, quiet=True)
        assert_same_run(one, setting.output_dir)
        assert sorted(path.name for path in setting.output_dir.iterdir()) == sorted(p.name for p in one.iterdir())


def last_step_of_one_clip(generated: Path, tmp_path: Path) -> Path:
    """35 training, 17 validation and 17 test clips, so that in the last step of each one process has none."""
    folder = tmp_path / "odd"
    shutil.copytree(generated, folder)
    for split in ("train", "validation", "test"):
        next((folder / split / "bouncing_ball").glob("*.wav")).unlink()
    return folder


@forking
@pytest.mark.parametrize("method", ["lora", "conformer"])
def test_a_process_may_have_no_clip_of_the_last_step(method: str, generated: Path, tmp_path: Path) -> None:
    """35 = 17 × 2 + 1 training clips; 17 = 2 × 8 + 1 to score.

    Conformer's BatchNorm normalises by each process's own clips, so that two processes are not as one; it only has to run.
    """
    data = last_step_of_one_clip(generated, tmp_path)
    fields = {"bf16": False, "method": method, "per_device_eval_batch_size": 4, "num_train_epochs": 1}
    many = config(data, tmp_path / "many", **fields, per_device_train_batch_size=1, max_length=32)
    together(tmp_path / "said", many)
    assert sum(map(sum, read_result(many.output_dir).scores["test"]["confusion"])) == 17
    if method == "lora":
        one = many.model_copy(update={"output_dir": tmp_path / "one", "per_device_train_batch_size": 2})
        train(one, quiet=True)
        assert_same_run(one.output_dir, many.output_dir)


@forking
def test_what_several_processes_report_is_what_the_adapter_scores(generated: Path, tmp_path: Path) -> None:
    """BatchNorm's running statistics too: those saved are those all processes score with."""
    many = config(generated, tmp_path / "many", method="conformer", bf16=False, selection="last")
    together(tmp_path / "said", many)
    found = scores_of_adapter(many.output_dir, generated)
    assert found.loss == pytest.approx(read_result(many.output_dir).scores["test"]["loss"], abs=1e-5)


@forking
def test_processes_agree_on_the_cache_of_frozen_layers(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one's cache cannot be written: neither trains from it, and neither waits for the other for ever."""
    for rank in range(TOGETHER):
        (tmp_path / f"cache-{rank}").mkdir()
    (tmp_path / "cache-1" / "frozen").touch()
    monkeypatch.setenv("CACHES", str(tmp_path))
    many = config(generated, tmp_path / "many", method="layermix", bf16=False, max_length=32)
    said = together(tmp_path / "said", many)
    assert f"run in every epoch: {tmp_path / 'cache-1' / 'frozen'} cannot be written" in said[0]
    assert read_result(many.output_dir).cached_layers == 0


def test_steps_by_default_are_those_of_one_process_with_the_whole_batch(generated: Path, tmp_path: Path) -> None:
    settings = config(generated, tmp_path / "out", num_train_epochs=None, per_device_train_batch_size=1)
    found = check(settings)
    shared = resolve(settings, found.method, found.dataset, found.split, processes=TOGETHER)
    whole = settings.model_copy(update={"per_device_train_batch_size": TOGETHER})
    alone = resolve(whole, found.method, found.dataset, found.split)
    assert shared.num_train_epochs == alone.num_train_epochs == 75  # 1500 steps of 2 would be 83 passes over 36 clips
    assert resolve(settings, found.method, found.dataset, found.split).num_train_epochs == 42  # 1500 steps of 1


@forking
def test_cross_validation_in_two_processes(generated: Path, tmp_path: Path) -> None:
    data = folded(generated, tmp_path)
    fields = {"method": "linear", "num_train_epochs": 1, "bf16": False}
    many = config(data, tmp_path / "many", **fields, per_device_train_batch_size=8)
    said = together(tmp_path / "said", many, folds=True)
    assert said[1] == ""
    cross_validate(config(data, tmp_path / "one", **fields, per_device_train_batch_size=16), quiet=True)
    one, found = (json.loads((tmp_path / name / "cross_validation.json").read_text()) for name in ("one", "many"))
    assert found == one


def launch(*arguments: object, output_dir: Path, launcher: str = "torchrun") -> list[str]:
    """The command of a run in two processes; torchrun's stand-alone meeting point and accelerate's port 0 are free ports."""
    starts = {
        "torchrun": f"torchrun --standalone --nproc-per-node {TOGETHER}",
        "accelerate": f"accelerate launch --multi_gpu --num_processes {TOGETHER} --num_machines 1 --main_process_port 0 "
        "--mixed_precision no --dynamo_backend no",
    }
    program, *start = starts[launcher].split()
    settings = "--backbone random:tiny --num-train-epochs 2 --no-bf16 --output-dir"
    more = [str(argument) for argument in arguments]
    return [
        str(Path(sys.executable).with_name(program)),
        *start,
        "-m",
        "astune",
        "train",
        *more,
        *settings.split(),
        str(output_dir),
    ]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200"}


def end(process: subprocess.Popen[str]) -> None:
    """Kill a launcher and all it started, first what was started last: each of torchrun's processes is a session of its own."""
    for member in reversed([psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]):
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()


def finish(command: list[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a launch; one that hangs is ended whole."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    try:
        out, err = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        end(process)
        raise
    return process.returncode, out, err


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["torchrun", "accelerate"])
def test_launchers_train_as_one_process_and_speak_once(launcher: str, generated: Path, tmp_path: Path) -> None:
    options = (generated, "--method", "lora", "--recipe", "own", "--per-device-train-batch-size", "5", "--json")
    code, out, err = finish(launch(*options, output_dir=tmp_path / "many", launcher=launcher))
    assert code == 0, err
    assert json.loads(out)["output_dir"] == str(tmp_path / "many")
    assert err.count("Trained 2 epochs") == 1
    train(config(generated, tmp_path / "one", bf16=False, per_device_train_batch_size=10, recipe="own"), quiet=True)
    assert_same_run(tmp_path / "one", tmp_path / "many")


@pytest.mark.slow
def test_killed_and_resumed_in_two_processes_ends_with_the_same_bits(generated: Path, tmp_path: Path) -> None:
    options = (generated, "--method", "lora", "--per-device-train-batch-size", "2", "--save-steps", "2")
    code, _, err = finish(launch(*options, output_dir=tmp_path / "whole"))
    assert code == 0, err
    stopped = tmp_path / "stopped"
    process = subprocess.Popen(
        launch(*options, output_dir=stopped),
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(),
    )
    deadline = time.monotonic() + LIMIT
    try:
        while process.poll() is None and checkpoint.latest(stopped) is None and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        alive = process.poll() is None
        if alive:
            end(process)
    assert alive
    assert checkpoint.latest(stopped) is not None
    assert not (stopped / "results.json").exists()
    code, _, err = finish(launch(*options, "--resume", output_dir=stopped))
    assert code == 0, err
    assert err.count("Resumed from") == 1
    expected, found = (load_file(folder / "adapter_model.safetensors") for folder in (tmp_path / "whole", stopped))
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    assert read_result(tmp_path / "whole").scores == read_result(stopped).scores


@pytest.mark.slow
def test_a_fault_ends_all_processes(generated: Path, tmp_path: Path) -> None:
    data = broken_copy(generated, tmp_path)
    code, out, err = finish(launch(data, "--method", "lora", output_dir=tmp_path / "out"))
    assert code != 0
    assert out == ""
    assert "2 of 72 audio files cannot be read" in err
    assert not (tmp_path / "out").exists()


@forking
def test_a_run_of_two_processes_is_not_resumed_by_one(generated: Path, tmp_path: Path) -> None:
    settings = config(generated, tmp_path / "out")
    with pytest.raises(AssertionError, match="exit codes"):
        together(tmp_path / "said", settings, callbacks=[StopAfter(1)])
    with pytest.raises(ConfigError, match="processes: 2 then, 1 now"):
        train(settings.model_copy(update={"resume": True}), quiet=True)
