"""Runs and what is made of them: the store, the runner, statistics."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from typer.testing import CliRunner

from astune.backbone import load_backbone
from astune.cli import app
from astune.data.audio import read_audio
from astune.data.layouts.base import load_data
from astune.environment import source_state
from astune.errors import ConfigError, DataError
from astune.experiments.failures import RunsElsewhere
from astune.experiments.plan import BASELINE_ROW, PlannedRun, PlanOptions, distinct, plan, shard_of
from astune.experiments.records import RunRecord, SavedPlan
from astune.experiments.results import Results
from astune.experiments.runner import _attempt, execute, pending_runs, run_here
from astune.experiments.store import Store
from astune.experiments.table import Table, load_table
from astune.features.log_mel import FrontEnd
from astune.folder_lock import hold
from astune.reporting.aggregate import cells, compare, mean_interval


def table_of(generated: Path, epochs: int = 1, max_length: int = 32, **settings: object) -> Table:
    return Table.model_validate(
        {
            "title": "test",
            "datasets": [{"name": "sounds", "data": f"folder:{generated}", "settings": {"max_length": max_length}}],
            "settings": {"num_train_epochs": epochs, **settings},
            "rows": [{"name": "linear", "method": "linear"}, {"name": "bitfit", "method": "bitfit"}],
        }
    )


@pytest.fixture(scope="module")
def runs(generated: Path) -> list[PlannedRun]:
    return plan("test", table_of(generated), PlanOptions(backbone="random:tiny"))


@pytest.fixture(scope="module")
def record(runs: list[PlannedRun], tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    return execute(runs[0], Store(tmp_path_factory.mktemp("store")))


def test_a_record_holds_all_that_a_reader_needs(runs: list[PlannedRun], record: RunRecord, tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.status(runs[0], {}) == "missing"
    store.write(record)
    assert store.read(record.key) == record
    assert record.identity == runs[0].settings_key
    result = record.result
    assert (result.spec, result.trainable_parameters) == ("linear", 6 * 193 + 2 * 192)
    assert len(result.history) == 1
    assert {"accuracy", "macro_f1", "confusion"} <= result.scores["test"].keys()
    assert result.wall_seconds > 0
    assert result.peak_memory_mib > 0
    assert {"torch", "transformers"} <= result.versions.keys()
    assert record.commit is None or len(record.commit) == 40
    assert not store.work(record.key).exists()


def test_the_status_of_a_run(runs: list[PlannedRun], record: RunRecord, tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(record)
    now = load_backbone("random:tiny").origin.fingerprint
    assert store.status(runs[0], {"random:tiny": now}) == "done"
    assert store.status(runs[0], {}) == "done"
    assert store.status(runs[0], {"random:tiny": "another"}) == "stale"
    assert store.status(runs[1], {"random:tiny": now}) == "missing"
    path = store.path(record.key)
    content = json.loads(path.read_text())
    worse = [json.loads(path.read_text()) for _ in range(4)]
    worse[0]["result"]["scores"]["test"]["accuracy"] = 42
    del worse[1]["result"]["scores"]["test"]["macro_f1"]
    worse[2]["result"]["scores"]["test"]["confusion"].pop()
    worse[3]["result"]["spec"] = "lora"
    for damage in (
        path.read_text()[:500], "[]", "{}", json.dumps(content | {"key": "other"}), *map(json.dumps, worse),
    ):  # fmt: skip
        path.write_text(damage)
        assert store.status(runs[0], {"random:tiny": now}) == "damaged"
        with pytest.raises(DataError):
            store.read(record.key)


def test_the_key_is_of_what_decides_the_result(generated: Path, runs: list[PlannedRun]) -> None:
    again = plan("other name", table_of(generated), PlanOptions(backbone="random:tiny"))
    assert [run.key for run in again] == [run.key for run in runs]
    longer = plan("test", table_of(generated, epochs=2), PlanOptions(backbone="random:tiny"))
    seeded = plan("test", table_of(generated), PlanOptions(backbone="random:tiny", seeds=2))
    keys = {run.key for run in [*runs, *longer, *seeded]}
    assert len(keys) == 2 + 2 + 2


@pytest.mark.slow
def test_the_runner_runs_what_is_missing_and_gathers_failures(generated: Path, tmp_path: Path) -> None:
    runs = plan("test", table_of(generated), PlanOptions(backbone="random:tiny"))
    broken = replace(runs[1], config={**runs[1].config, "data": "folder:/nowhere"})
    store = Store(tmp_path)
    failures = run_here([runs[0], broken], store, workers=2)
    assert [(failure.run.row, "DataError" in str(failure.reason)) for failure in failures] == [("bitfit", True)]
    assert store.status(runs[0], {}) == "done"
    before = store.path(runs[0].key).stat().st_mtime_ns
    assert run_here(pending_runs(runs, store, {}), store) == []
    assert store.path(runs[0].key).stat().st_mtime_ns == before
    assert store.status(runs[1], {}) == "done"


def long_table_of(generated: Path, epochs: int) -> Table:
    """An epoch of it takes a tenth of a second and more on a fast machine too, so that it can be killed between two of them.

    Masks are drawn in each epoch, so the frozen layers, which are all of ``linear``'s, are computed in each one.
    """
    # bfloat16 rounds other sums at other thread counts: 1e-3 of a loss, where the machine would choose it
    return table_of(generated, epochs, max_length=100, freq_mask=16, bf16=False)


@pytest.mark.slow
def test_a_table_that_was_killed_goes_on(generated: Path, tmp_path: Path) -> None:
    """Killed with -9 in the middle of each of two runs: so ends who trains, what is finished stays, what was begun goes on."""
    file = tmp_path / "mine.yaml"
    file.write_text(json.dumps(long_table_of(generated, epochs=30).model_dump(exclude_none=True)))
    store = Store(tmp_path / "store")
    arguments = ["reproduce", str(file), "--backbone", "random:tiny", "--store", str(store.folder)]
    runs = plan(*load_table(file), PlanOptions(backbone="random:tiny"))
    finished: dict[str, int] = {}
    begun: dict[str, list[dict[str, object]]] = {}
    for run in runs:
        process = subprocess.Popen([sys.executable, "-m", "astune", *arguments])
        epochs_of(run, store, 5)
        process.kill()
        process.wait()
        let_go(store, run)
        begun[run.key] = [json.loads(line) for line in (store.work(run.key) / "metrics.jsonl").read_text().splitlines()]
        assert store.status(run, {}) == "missing"
        assert all(store.path(key).stat().st_mtime_ns == changed for key, changed in finished.items())
        finished = {one.key: store.path(one.key).stat().st_mtime_ns for one in runs if store.path(one.key).exists()}
    assert list(finished) == [runs[0].key]
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [(cell["row"], cell["runs"]) for cell in found] == [("linear", 1), ("bitfit", 1)]
    whole = [execute(run, Store(tmp_path / "whole")) for run in runs]
    for run, record in zip(runs, whole, strict=True):
        history = store.read(run.key).result.history
        kept = begun[run.key][:-1]  # the last one may have been killed before its checkpoint
        assert len(kept) >= 4
        assert history[: len(kept)] == kept  # seconds included, which no second training of these epochs would repeat
        assert losses_of(history) == pytest.approx(losses_of(record.result.history), rel=1e-5)  # of other thread counts


def losses_of(history: list[dict[str, Any]]) -> list[float]:
    return [epoch["train_loss"] for epoch in history]


def epochs_of(run: PlannedRun, store: Store, epochs: int) -> None:
    """Wait until a run that is training has so many epochs behind it."""
    history = store.work(run.key) / "metrics.jsonl"
    limit = time.monotonic() + 300
    while time.monotonic() < limit:
        if history.exists() and len(history.read_text().splitlines()) >= epochs:
            return
        time.sleep(0.02)
    raise TimeoutError(history)


def let_go(store: Store, run: PlannedRun) -> None:
    """Wait until nobody trains a run: who did ends with the command that started it."""
    limit = time.monotonic() + 60
    while holders(store, run):
        assert time.monotonic() < limit
        time.sleep(0.05)


def kill_whoever_holds(store: Store, run: PlannedRun) -> list[int]:
    """Whoever trains it."""
    killed = holders(store, run)
    for process in killed:
        os.kill(process, signal.SIGKILL)
    return killed


def holders(store: Store, run: PlannedRun) -> list[int]:
    """Processes with a run's lock open, which are the ones that train it."""
    processes = (process for process in Path("/proc").iterdir() if process.name.isdigit())
    return [int(process.name) for process in processes if _holds(process, f"{store.work(run.key)}.lock")]


def _holds(process: Path, lock: str) -> bool:
    try:
        return any(str(file.readlink()) == lock for file in (process / "fd").iterdir())
    except OSError:
        return False


@pytest.mark.slow
def test_a_run_that_fails_ends_the_command_with_1_and_is_named(generated: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sounds"
    shutil.copytree(generated, folder)
    next(folder.rglob("*.wav")).write_bytes(b"no audio")
    content = table_of(folder).model_dump(exclude_none=True)
    content["rows"][1]["settings"] = {"skip_broken": True}
    file = tmp_path / "mine.yaml"
    file.write_text(json.dumps(content))
    arguments = ["reproduce", str(file), "--backbone", "random:tiny", "--store", str(tmp_path / "store")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert "1 run failed" in done.stderr
    assert "linear, sounds, seed 0: AudioError" in done.stderr.replace("\n", " ")
    assert "bitfit" in done.stdout  # which ran all the same


def test_runs_of_other_parameters_are_counted_by_themselves(generated: Path, tmp_path: Path) -> None:
    """A short input leaves out position embeddings, so one row has several lines in the plan."""
    content = table_of(generated).model_dump(exclude_none=True)
    content["datasets"].append({**content["datasets"][0], "name": "longer", "settings": {"max_length": 64}})
    content["rows"] = content["rows"][:1]
    file = tmp_path / "mine.yaml"
    file.write_text(json.dumps(content))
    options = PlanOptions(backbone="random:tiny")
    runs = plan(*load_table(str(file)), options)
    execute(runs[0], Store(tmp_path / "store"))
    asked = ["reproduce", str(file), "--backbone", "random:tiny", "--store", str(tmp_path / "store"), "--dry-run"]
    shown = CliRunner().invoke(app, asked).stdout
    lines = [[cell.strip() for cell in line.split("│")][4:7] for line in shown.splitlines() if "│ linear" in line]
    assert lines == [[f"{run.percent_of_full:.2f}", "1", done] for run, done in zip(runs, "10", strict=True)]


def test_what_another_process_runs_is_left_to_it(runs: list[PlannedRun], tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.work("any").parent.mkdir(parents=True)
    with FileLock(f"{store.work(runs[0].key)}.lock"):
        assert "another process is running it" in str(_attempt(runs[0], tmp_path, 1, Path.cwd()))
    assert store.status(runs[0], {}) == "missing"


def test_what_another_process_finishes_meanwhile_has_not_failed(
    runs: list[PlannedRun], record: RunRecord, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two comparisons of the same data at once: each is complete when the other's last run is in the store."""
    store = Store(tmp_path)

    @contextmanager
    def finishing(label: str, total: int) -> Iterator[Callable[[int, str], None]]:
        def advance(steps: int, text: str) -> None:
            if steps:  # the run is over here, and the other process ends it
                assert text == "1 failed"
                store.write(record)

        yield advance

    store.work("any").parent.mkdir(parents=True)
    with hold(Path(f"{store.work(record.key)}.lock")):
        (left,) = run_here(runs[:1], store)
        assert run_here(runs[:1], store, bar=finishing) == []
    assert isinstance(left.reason, RunsElsewhere)
    line = f"1 of 1 left: {runs[0].row}, {runs[0].column}, seed 0: another process is running it (process {os.getpid()} on "
    assert capsys.readouterr().err.count(line) == 2


def test_what_another_process_has_finished_is_not_run_again(
    runs: list[PlannedRun], record: RunRecord, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    store.write(record)
    assert execute(runs[0], store) == record


def test_a_run_of_other_weights_is_set_aside(
    runs: list[PlannedRun], record: RunRecord, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path)
    store.write(record)
    assert pending_runs(runs[:1], store, {"random:tiny": "another"}) == runs[:1]
    assert store.status(runs[0], {}) == "missing"
    (aside,) = (tmp_path / "stale").iterdir()
    assert str(aside) in capsys.readouterr().err.replace("\n", "")
    assert json.loads(aside.read_text())["key"] == record.key


def test_a_damaged_checkpoint_is_said_to_be_and_the_run_begins_anew(
    runs: list[PlannedRun], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path)
    checkpoint = store.work(runs[0].key) / "checkpoint-3"
    checkpoint.mkdir(parents=True)
    (checkpoint / "trainer_state.json").write_text("")
    record = execute(runs[0], store)
    assert "checkpoint-3 is damaged" in capsys.readouterr().err.replace("\n", "")
    assert len(record.result.history) == 1


def test_the_baseline_is_logistic_regression_on_log_mel_statistics(generated: Path, tmp_path: Path) -> None:
    """Against scikit-learn by hand; the strength of regularisation is the validation split's choice."""
    (run,) = [run for run in planned_with_baseline(generated) if run.method is None]
    record = execute(run, Store(tmp_path))
    data = load_data(f"folder:{generated}")
    front_end = FrontEnd(32)
    energies = [
        front_end.log_mel(torch.from_numpy(read_audio(path, seconds=front_end.seconds))).numpy() for path in data.paths
    ]
    features = np.stack([np.concatenate([clip.mean(0), clip.std(0)]) for clip in energies])
    split, targets = data.split(), np.array(data.targets)
    train, validation, test = (list(part) for part in (split.train, split.validation, split.test))
    scaled = StandardScaler().fit(features[train])
    by_strength = {}
    for strength in (0.003, 0.03, 0.3):
        model = LogisticRegression(C=strength, max_iter=2000).fit(scaled.transform(features[train]), targets[train])
        chosen_by, tested = (
            float(model.score(scaled.transform(features[part]), targets[part])) for part in (validation, test)
        )
        by_strength[strength] = (chosen_by, tested)
    strength = record.result.recipe["inverse_regularisation"]
    assert by_strength[strength][0] == max(chosen_by for chosen_by, _ in by_strength.values())
    assert record.headline == pytest.approx(by_strength[strength][1])
    assert record.result.trainable_parameters == run.parameters == 6 * 257
    assert Store(tmp_path).status(run, {"random:tiny": "any"}) == "done"


def planned_with_baseline(generated: Path) -> list[PlannedRun]:
    return plan("test", table_of(generated), PlanOptions(backbone="random:tiny", with_baseline=True))


def test_the_baseline_is_a_row_that_can_be_asked_for_alone(generated: Path) -> None:
    options = PlanOptions(backbone="random:tiny", with_baseline=True, only=(BASELINE_ROW,))
    assert [run.row for run in plan("test", table_of(generated), options)] == [BASELINE_ROW]
    with pytest.raises(ConfigError, match=f"unknown row '{BASELINE_ROW}'"):
        plan("test", table_of(generated), replace(options, with_baseline=False))


def test_the_baseline_depends_on_no_backbone(generated: Path) -> None:
    options = PlanOptions(backbone="random:tiny", with_baseline=True, settings={"num_train_epochs": 3})
    keys = [
        [run.key for run in plan("test", table_of(generated), replace(options, backbone=name)) if run.method is None]
        for name in ("random:tiny", "bundled")
    ]
    assert len(keys[0]) == 1
    assert keys[0] == keys[1] == [run.key for run in planned_with_baseline(generated) if run.method is None]


def test_rows_may_have_backbones_of_their_own(generated: Path) -> None:
    content = table_of(generated).model_dump()
    content["rows"] = [
        {"name": "bundled", "method": "lora"},
        {"name": "random", "method": "lora", "settings": {"backbone": "random:tiny"}},
    ]
    bundled, random = plan("test", Table.model_validate(content), PlanOptions(backbone="bundled"))
    assert (bundled.settings_key["backbone"], random.settings_key["backbone"]) == ("bundled", "random:tiny")
    assert bundled.parameters == 6 * 2 * 2 * 192 * 2  # layers x matrices x (A, B) x d x r, which is round(192 / 128)
    assert random.parameters == 4 * 2 * 2 * 192 * 2


def test_other_clips_under_the_same_name_are_another_run(generated: Path, tmp_path: Path) -> None:
    copy = tmp_path / generated.name
    shutil.copytree(generated, copy)
    options = PlanOptions(backbone="random:tiny")
    before = [run.key for run in plan("test", table_of(copy), options)]
    assert before == [run.key for run in plan("test", table_of(generated), options)]  # wherever they lie
    next(copy.rglob("*.wav")).unlink()
    after = [run.key for run in plan("test", table_of(copy), options)]
    assert not set(before) & set(after)


def test_other_audio_under_the_same_names_is_another_run(generated: Path, tmp_path: Path) -> None:
    """Of equal size even: a denoised copy, say."""
    copy = tmp_path / generated.name
    shutil.copytree(generated, copy)
    for path in copy.rglob("*.wav"):
        content = path.read_bytes()
        path.write_bytes(content[:44] + bytes(len(content) - 44))
    options = PlanOptions(backbone="random:tiny")
    keys = [{run.key for run in plan("test", table_of(folder), options)} for folder in (generated, copy)]
    assert not keys[0] & keys[1]


def test_shards_share_no_run_and_miss_none() -> None:
    runs = distinct(plan(*load_table("table3"), PlanOptions(data_root=Path("/nowhere"))))
    shards = [shard_of(runs, f"{number}/5") for number in range(1, 6)]
    assert sorted(run.key for shard in shards for run in shard) == sorted(run.key for run in runs)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    assert shard_of(runs, None) == runs
    for wrong in ("0/5", "6/5", "5", "a/b", "1/0"):
        with pytest.raises(ConfigError, match=r"expected I/N with 1 <= I <= N"):
            shard_of(runs, wrong)


def test_tokens_are_kept_where_a_picture_wants_them(generated: Path, tmp_path: Path) -> None:
    content = table_of(generated).model_dump() | {"kind": "tsne"}
    plain = plan("test", table_of(generated), PlanOptions(backbone="random:tiny"))[0]
    wanting = plan("test", Table.model_validate(content), PlanOptions(backbone="random:tiny"))[0]
    assert plain.key == wanting.key
    assert [run.keeps_tokens for run in distinct([plain, wanting])] == [True]
    store = Store(tmp_path)
    execute(plain, store)
    assert (store.status(plain, {}), store.status(wanting, {})) == ("done", "missing")
    execute(wanting, store)
    assert store.status(wanting, {}) == "done"
    found = store.read_tokens(wanting.key)
    data = load_data(f"folder:{generated}")
    test = [data.targets[clip] for clip in data.split().test]
    assert found["classes"].tolist() == test  # six classes: all of them
    assert found["tokens"].shape == (len(test), 192)
    assert found["tokens"].float().std() > 0


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
def test_a_ray_worker_that_is_killed_loses_nothing(generated: Path, tmp_path: Path) -> None:
    """A local cluster; the worker of a run is killed with -9 once it has a checkpoint, and the table is whole in the end."""
    content = long_table_of(generated, epochs=40).model_dump(exclude_none=True)
    content["rows"] = content["rows"][:1]
    file = tmp_path / "mine.yaml"
    file.write_text(json.dumps(content))
    (run,) = plan(*load_table(file), PlanOptions(backbone="random:tiny"))
    store = Store(tmp_path / "store")
    killed: list[int] = []

    def kill() -> None:
        epochs_of(run, store, 3)
        killed.extend(kill_whoever_holds(store, run))

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    arguments = ["reproduce", str(file), "--backbone", "random:tiny", "--store", str(store.folder), "--ray", "local"]
    done = subprocess.run(
        [sys.executable, "-m", "astune", *arguments], capture_output=True, text=True, timeout=500, check=False
    )
    killer.join(1)
    assert killed
    assert done.returncode == 0, done.stderr
    record = store.read(run.key)
    assert len(record.result.history) == 40
    whole = execute(run, Store(tmp_path / "whole"))
    assert losses_of(record.result.history) == pytest.approx(losses_of(whole.result.history), rel=1e-5)


def test_a_checkout_is_dirty_where_its_source_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "src" / "astune" / "environment.py"
    module.parent.mkdir(parents=True)
    module.write_text("old")
    monkeypatch.setattr("astune.environment.__file__", str(module))
    assert source_state() == (None, None)
    for command in ("init -q", "add .", "-c user.name=t -c user.email=t@t commit -qm first"):
        subprocess.run(["git", "-C", str(tmp_path), *command.split()], check=True)  # noqa: S607 - whichever git there is
    (tmp_path / "plan.json").touch()
    commit, dirty = source_state()
    assert (len(commit or ""), dirty) == (40, False)
    module.write_text("new")
    assert source_state() == (commit, True)


def test_the_interval_of_a_mean_is_students() -> None:
    assert mean_interval([0.7]) is None
    assert mean_interval([0.5, 0.5, 0.5]) is None
    # t(3, .975) = 3.182 in any table; the standard error of 1, 2, 3, 4 is the root of 5/3 over the root of 4
    assert mean_interval([1, 2, 3, 4]) == pytest.approx((2.5 - 2.054, 2.5 + 2.054), abs=5e-4)


@pytest.mark.parametrize("runs", [4, 5, 10])
def test_the_interval_holds_the_mean_as_often_as_it_says(runs: int) -> None:
    draws = np.random.default_rng(0).normal(size=(2000, runs))
    held = [low < 0 < high for low, high in filter(None, map(mean_interval, draws.tolist()))]
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)  # three standard errors of 2,000 draws


def test_seeds_of_a_fold_are_averaged_first() -> None:
    """By hand: the differences .1 and .3 of fold 1 are one, .2; that of fold 2 is .4; t(1, .975) = 12.706 times .1."""
    first = {(1, 0): 0.6, (1, 1): 0.8, (2, 0): 0.9}
    found = compare(first, dict.fromkeys(first, 0.5))
    assert found.difference == pytest.approx(0.3)
    assert found.pairs == 3
    assert found.interval == pytest.approx((0.3 - 1.2706, 0.3 + 1.2706), abs=1e-4)
    assert found.p_value == 0.5  # of four sign patterns two are as extreme
    one_split = {(None, seed): 0.5 + 0.1 * seed for seed in range(3)}
    assert compare(one_split, dict.fromkeys(one_split, 0.5)).interval == pytest.approx(mean_interval([0.0, 0.1, 0.2]))


def test_the_paired_test_is_exact() -> None:
    first = {(fold, 0): 0.8 + 0.01 * fold for fold in range(5)}
    second = {(fold, 0): 0.7 for fold in range(5)}
    found = compare(first, second)
    assert found.pairs == 5
    assert found.difference == pytest.approx(0.12)
    assert found.p_value == pytest.approx(2 / 2**5)  # of 32 sign patterns two are as extreme
    assert found.interval == pytest.approx(
        (0.12 - 0.01963, 0.12 + 0.01963), abs=1e-5
    )  # t(4, .975) = 2.776 times .01581 / root 5
    assert compare(first, {(0, 0): 0.7, (7, 0): 0.1}).p_value is None
    assert compare(first, first).p_value == 1
    with pytest.raises(ValueError, match="share no fold"):
        compare(first, {(9, 9): 0.5})


def test_cells_count_what_is_missing(runs: list[PlannedRun], record: RunRecord, tmp_path: Path) -> None:
    entries = tuple(run.entry for run in runs)
    saved = SavedPlan(name="study", title="A study", kind="table", printed=None, entries=entries)
    found = cells(Results(saved, {record.key: record}, Store(tmp_path)))
    assert list(found) == [("linear", "sounds")]
    cell = found["linear", "sounds"]
    assert (cell.mean, cell.deviation, cell.interval, cell.planned) == (record.headline, None, None, 1)
    assert cell.parameters == record.result.trainable_parameters


def test_what_a_process_left_that_was_killed_after_its_record_is_deleted(
    runs: list[PlannedRun], record: RunRecord, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    store.write(record)
    work = store.work(runs[0].key)
    left = (work, work.with_name(f".{work.name}.removed"))
    for folder in left:
        folder.mkdir(parents=True)
        (folder / "results.json").touch()
    with FileLock(f"{work}.lock"):
        assert pending_runs(runs[:1], store, {}) == []
        assert all(folder.exists() for folder in left)  # another process may be at it
    assert pending_runs(runs[:1], store, {}) == []
    assert not any(folder.exists() for folder in left)
