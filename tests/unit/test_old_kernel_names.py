"""Attention kernels under the names of earlier releases: accepted wherever a setting comes in, and the same run as under today's names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
import yaml

from astune import keyed
from astune.cli.old_names import OLD_VALUES, with_new_values
from astune.errors import ConfigError
from astune.experiments.plan import PlanOptions, key_of, plan
from astune.experiments.store import Store
from astune.experiments.table import load_table
from astune.names import OLD_KERNELS, AttentionKernel, current_kernel
from astune.training.check import check_file
from astune.training.config import TrainConfig
from astune.training.loop import train
from astune.training.result import RESULTS
from tests.stopping import PowerCut, StopAfter
from tests.unit.test_callbacks import quick
from tests.unit.test_cli import run
from tests.unit.test_validate import settings, written

Capture = pytest.CaptureFixture[str]
OLD_AND_NEW = [("fused", "sdpa"), ("math", "eager")]
RESULTS_OF_OURS = Path(__file__).parents[2] / "docs" / "results"


def made(kernel: object) -> TrainConfig:
    return TrainConfig.build({"data": "x", "output_dir": "y", "attention_kernel": kernel})


def test_the_names_are_those_of_transformers() -> None:
    assert get_args(AttentionKernel) == ("auto", "sdpa", "eager")
    assert list(OLD_KERNELS.items()) == OLD_AND_NEW
    assert [current_kernel(word) for word in (*get_args(AttentionKernel), 3, ["math"])] == [
        "auto", "sdpa", "eager", 3, ["math"],
    ]  # fmt: skip


@pytest.mark.parametrize(("old", "new"), OLD_AND_NEW)
def test_an_old_name_is_made_the_new_one(old: str, new: str, tmp_path: Path, capsys: Capture) -> None:
    assert made(old) == made(new)
    assert made(old).settings_key() == made(new).settings_key()
    assert made(old).settings_key()["attention_kernel"] == new
    file = written(tmp_path, {"data": "x", "output_dir": "y", "attention_kernel": old})
    assert TrainConfig.from_yaml(file) == made(new)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


@pytest.mark.parametrize("other", ["flash", "Math", "maths", 3, ["math"], None])
def test_other_names_are_refused_with_todays_choices(other: object) -> None:
    with pytest.raises(ConfigError, match=r"attention_kernel.*choose one of: auto, sdpa, eager$"):
        made(other)


@pytest.mark.parametrize(("old", "new"), OLD_AND_NEW)
def test_a_file_of_settings_with_an_old_name_is_valid(old: str, new: str, generated: Path, tmp_path: Path) -> None:
    check_file(written(tmp_path, settings(generated, tmp_path / "out", attention_kernel=old)))


@pytest.mark.parametrize(("old", "new"), OLD_AND_NEW)
def test_the_command_line_takes_an_old_name_and_says_the_new_one(
    old: str, new: str, generated: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("--backbone", "random:tiny", "--method", "linear", "--num-train-epochs", "1", "--json", "-o")
    code, out, err = run(capsys, monkeypatch, "train", generated, *given, tmp_path / "out", "--attention-kernel", old)
    assert (code, json.loads(out)["config"]["attention_kernel"]) == (0, new)
    assert err.splitlines()[0] == (
        f"warning: --attention-kernel {old} is now called {new}; the old name will stop working in the next release"
    )


def test_values_are_replaced_where_they_belong_to_the_option(capsys: Capture) -> None:
    words = [
        "math",
        "--attention-kernel",
        "math",
        "--attention-kernel=fused",
        "--attention-kernel",
        "eager",
        "--method",
    ]
    after = ["math", "--attention-kernel", "--", "--attention-kernel", "math"]
    replaced = [
        "math",
        "--attention-kernel",
        "eager",
        "--attention-kernel=sdpa",
        "--attention-kernel",
        "eager",
        "--method",
    ]
    assert with_new_values([*words, *after], OLD_VALUES) == [*replaced, *after]
    assert with_new_values(["--attention-kernel"], OLD_VALUES) == ["--attention-kernel"]
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.parametrize("verb", ["train", "compare"])
def test_the_help_and_refusals_name_todays_alone(verb: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    _, out, _ = run(capsys, monkeypatch, verb, "--help")
    assert "auto|sdpa|eager" in out
    code, _, err = run(capsys, monkeypatch, verb, "x", "--attention-kernel", "flash")
    assert code == 2
    assert "'auto', 'sdpa', 'eager'" in " ".join(err.replace("│", " ").split())


@pytest.mark.parametrize(("old", "new"), OLD_AND_NEW)
def test_an_experiment_has_the_same_runs_under_both_names(old: str, new: str, tmp_path: Path) -> None:
    def runs(settings: object, vary: object) -> list[tuple[str, dict[str, object]]]:
        file = tmp_path / "mine.yaml"
        file.write_text(yaml.safe_dump({
            "title": "Mine", "backbone": "random:tiny", "datasets": ["esc50"], "rows": [{"name": "LoRA", "method": "lora"}],
            "settings": settings, "vary": vary,
        }))  # fmt: skip
        found = plan(*load_table(file), PlanOptions(data_root=Path("no data, published sizes"), folds=(1,)))
        return [(one.key, one.settings_key) for one in found]

    expected = runs({"attention_kernel": new}, {})
    assert expected[0][1]["attention_kernel"] == new
    assert runs({"attention_kernel": old}, {}) == expected
    assert runs({}, {"attention_kernel": [old]}) == expected
    assert expected != runs({}, {})


@pytest.mark.skipif(not RESULTS_OF_OURS.is_dir(), reason="no results beside the sources")
def test_stored_runs_keep_their_key() -> None:
    """Keys were made from the old names, and are the names of files."""
    store, kernels = Store(RESULTS_OF_OURS), {"auto": 0, "eager": 0}
    for path in (RESULTS_OF_OURS / "runs").glob("*.json"):
        record = store.read(path.stem)
        assert key_of(record.identity) == record.key
        word = record.identity.get("attention_kernel", "auto")
        kernels[str(current_kernel(word))] += 1
        if word != "auto":
            assert key_of(record.identity | {"attention_kernel": current_kernel(word)}) == record.key
            then = TrainConfig(**record.result.config)
            assert then.settings_key()["attention_kernel"] == current_kernel(word)
    assert kernels["eager"] == 5
    assert kernels["auto"] > 300
    saved = store.read_plan("arithmetic")
    assert all(store.path(key).exists() for key in saved.keys)


def test_a_key_is_of_what_decides_alone() -> None:
    assert key_of({"b": 1, "a": [1, 2]}) == key_of({"a": [1, 2], "b": 1}) != key_of({"a": [1, 2], "b": 2})


@pytest.mark.parametrize(("old", "new"), OLD_AND_NEW)
def test_a_run_stopped_under_an_old_name_continues(old: str, new: str, generated: Path, tmp_path: Path) -> None:
    stopped = quick(generated, tmp_path / "out", attention_kernel=new, save_steps=1)
    with pytest.raises(PowerCut):
        train(stopped, quiet=True, callbacks=[StopAfter(2)])
    [state] = (tmp_path / "out").glob("checkpoint-*/trainer_state.json")
    record = json.loads(state.read_text())
    assert record["identity"]["attention_kernel"] == new
    assert record["identity"]["randomness_format"] == keyed.FORMAT
    state.write_text(json.dumps({**record, "identity": record["identity"] | {"attention_kernel": old}}))
    other = next(one for one in OLD_KERNELS.values() if one != new)
    with pytest.raises(Exception, match=f"attention_kernel: '{new}' then, '{other}' now"):
        train(quick(generated, tmp_path / "out", attention_kernel=other, save_steps=1, resume=True), quiet=True)
    resumed = train(stopped.model_copy(update={"resume": True}), quiet=True)
    whole = train(quick(generated, tmp_path / "whole", attention_kernel=old), quiet=True)
    assert resumed.scores == whole.scores


def test_a_run_finished_under_an_old_name_is_recognised(generated: Path, tmp_path: Path) -> None:
    asked = quick(generated, tmp_path / "out", attention_kernel="eager", method="linear", num_train_epochs=1)
    result = train(asked, quiet=True)
    file = tmp_path / "out" / RESULTS
    record = json.loads(file.read_text())
    file.write_text(json.dumps({**record, "config": record["config"] | {"attention_kernel": "math"}}))
    for kernel in ("eager", "math"):
        again = quick(
            generated, tmp_path / "out", attention_kernel=kernel, method="linear", num_train_epochs=1, resume=True
        )
        assert train(again, quiet=True).scores == result.scores
