"""Configuration files: what `astune validate` and `astune train --config` accept, refuse and leave untouched; shots."""

from __future__ import annotations

import csv
import importlib.util
import json
from collections import Counter
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import yaml

from astune.data import load_data
from astune.data.few_shot import few_shot
from astune.training.check import check, check_file
from astune.training.config import TrainConfig
from astune.training.loop import train
from tests.unit.test_cli import run
from tests.unit.test_loop import config, folded

Capture = pytest.CaptureFixture[str]


def settings(data: Path | str, output_dir: Path, **more: object) -> dict[str, object]:
    """A small run; a value of None leaves the field out."""
    fields = {
        "data": str(data),
        "backbone": "random:tiny",
        "output_dir": str(output_dir),
        "num_train_epochs": 1,
        **more,
    }
    return {name: value for name, value in fields.items() if value is not None}


def written(folder: Path, content: object) -> Path:
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_valid_file_is_summed_up_and_nothing_is_trained(
    generated: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, settings(generated, tmp_path / "out", method="lora:targets=qv", shots=2))
    code, out, err = run(capsys, monkeypatch, "validate", file)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"{file} is valid: lora (6,144 parameters) on random:tiny;",  # 4 layers, q and v, 2 × 192 × 2 each
        f"{load_data(generated).source}: 6 classes, 12 training, 18 validation and 18 test clips",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["run.yaml"]


def test_validation_computes_no_features_and_loads_no_weights(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASTUNE_CACHE", str(tmp_path / "cache"))
    check_file(written(tmp_path, settings(generated, tmp_path / "out", backbone="random:base")))
    assert [path.name for path in tmp_path.iterdir()] == ["run.yaml"]


def test_options_win_over_the_file(
    generated: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(
        tmp_path, settings(generated, tmp_path / "out", method="bitfit", seed=3, per_device_train_batch_size=16)
    )
    options = ("--method", "linear", "--num-train-epochs", "2", "--json")
    code, out, _ = run(capsys, monkeypatch, "train", "--config", file, *options)
    assert code == 0
    record = json.loads(out)
    assert record["spec"] == "linear"
    assert len(record["history"]) == 2
    assert (record["config"]["seed"], record["config"]["per_device_train_batch_size"]) == (3, 16)


def test_options_can_complete_the_file(
    generated: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, {"backbone": "random:tiny", "num_train_epochs": 1, "method": "linear"})
    code, _, err = run(capsys, monkeypatch, "train", "--config", file)
    assert code == 1
    for field in ("data is missing", "output_dir is missing"):
        assert field in err
    code, _, _ = run(capsys, monkeypatch, "train", generated, "--config", file, "--output-dir", tmp_path / "out")
    assert code == 0


def without(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = importlib.util.find_spec

    def find_spec(name: str, home: str | None = None) -> ModuleSpec | None:
        return None if name == package else original(name, home)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)


def used(tmp_path: Path) -> Path:
    folder = tmp_path / "used"
    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"format_version": 1, "spec": "lora"}')
    return folder


@pytest.mark.parametrize("verb", [["validate"], ["train", "--config"]], ids=["validate", "train"])
def test_all_faults_come_at_once(
    verb: list[str], tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    without("tensorboard", monkeypatch)
    folder = used(tmp_path)
    faulty = {
        "learning_rat": 0.1,
        "num_train_epochs": "many",
        "pooling": "al",
        "weight_decay": -1,
        "method": "lara",
        "backbone": "random:tinny",
        "report_to": "tensorboard",
    }
    file = written(tmp_path, settings(tmp_path / "nowhere", folder, **faulty))
    code, out, err = run(capsys, monkeypatch, *verb, file)
    assert (code, out) == (1, "")
    assert f"{file}: 9 faults" in err
    for fault in (
        "unknown field 'learning_rat'",
        "did you mean 'learning_rate'?",
        "num_train_epochs=many: Input should be a valid integer",
        "unknown pooling 'al'; choose one of: all, cls, special; did you mean 'all'?",
        "weight_decay=-1: Input should be greater than or equal to 0",
        "unknown method 'lara'",
        f"there is no '{tmp_path / 'nowhere'}'",
        "random:tinny",
        f"{folder} holds an adapter already",
        "pip install -e '.[tensorboard]'",
    ):
        assert fault in err, err
    assert "Traceback" not in err
    assert [path.name for path in folder.iterdir()] == ["adapter_config.json"]


@pytest.mark.parametrize("value", [3, ["lora"], None], ids=str)
def test_a_field_of_the_wrong_kind_hides_no_other_fault(value: object, tmp_path: Path) -> None:
    """Neither a backbone that is no text, which must not become a question to the hub, nor missing data."""
    from astune.errors import ConfigError

    fields = {"backbone": value, "output_dir": str(used(tmp_path)), "method": "lara"}
    with pytest.raises(ConfigError) as caught:
        check_file(written(tmp_path, fields))
    message = str(caught.value)
    assert "4 faults" in message
    for fault in ("data is missing", f"backbone={value}", "unknown method 'lara'", "holds an adapter already"):
        assert fault in message


def test_faults_of_data_and_method_come_together(
    generated: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that need the data and the backbone's shape to be seen: folds and layers."""
    file = written(tmp_path, settings(folded(generated, tmp_path), tmp_path / "out", fold=4, method="lora:layers=2-9"))
    code, _, err = run(capsys, monkeypatch, "validate", file)
    assert code == 1
    assert "2 faults" in err
    assert "unknown fold '4'; choose one of: 1, 2, 3" in err
    assert "layers=2-9: the backbone has 4 layers, 0 to 3" in err


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"shots": 7}, "fewer than 7 training clips of"),
        ({"shots": 0}, "shots=0: Input should be greater than or equal to 1"),
        ({"fold": 1}, "fold"),
        ({"method": "lora:layers=4"}, "the backbone has 4 layers, 0 to 3"),
        ({"max_length": 8}, "max_length=8"),
        ({"report_to": "wanb"}, "did you mean 'wandb'?"),
        ({"selection": "best"}, "choose one of: best-validation, last"),
        ({"bf16": "perhaps"}, "bf16=perhaps"),
        ({"backbone": "nowhere/at-all"}, "nowhere/at-all"),
    ],
    ids=str,
)
def test_a_single_fault_is_one_line(
    fields: dict[str, object],
    fault: str,
    generated: Path,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = written(tmp_path, settings(generated, tmp_path / "out", **fields))
    code, out, err = run(capsys, monkeypatch, "validate", file)
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {file}: ")
    assert fault in err
    assert "faults" not in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"- data\n- method\n", "is not a mapping of settings"),
        (b"", "is not a mapping of settings"),
        (b"data: [unclosed\n", "cannot be read"),
        (b"data: \xff\xfe\n", "cannot be read"),
        (None, "cannot be read"),
    ],
    ids=["list", "empty", "syntax", "bytes", "missing"],
)
@pytest.mark.parametrize("verb", [["validate"], ["train", "--config"]], ids=["validate", "train"])
def test_files_that_cannot_be_read(
    verb: list[str],
    content: bytes | None,
    fault: str,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "run.yaml"
    if content is not None:
        file.write_bytes(content)
    code, out, err = run(capsys, monkeypatch, *verb, file)
    assert (code, out) == (1, "")
    assert f"{file} {fault}" in err
    assert "Traceback" not in err


def test_a_stopped_run_is_told_apart_from_a_finished_one(generated: Path, tmp_path: Path) -> None:
    from astune.errors import ConfigError

    (tmp_path / "checkpoint-4").mkdir()
    stopped = config(generated, tmp_path)
    with pytest.raises(ConfigError, match="a run that was stopped; continue with resume=True"):
        check(stopped)
    for way in ("resume", "overwrite_output_dir"):
        assert check(stopped.model_copy(update={way: True})).parameters == 6144
    assert (tmp_path / "checkpoint-4").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file; give another one"):
        check(config(generated, tmp_path / "file"))


def test_shots_trains_on_that_many_clips_a_class(
    generated: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, settings(generated, tmp_path / "out", method="linear"))
    code, out, err = run(capsys, monkeypatch, "train", "--config", file, "--shots", "2", "--seed", "4", "--json")
    assert code == 0
    assert "6 classes, 12 training, 18 validation and 18 test clips" in err
    dataset = load_data(generated)
    drawn = few_shot(dataset, dataset.split(seed=4), 2, 4).train
    with (tmp_path / "out" / "clips.csv").open(newline="") as stream:
        trained = {row["name"] for row in csv.DictReader(stream) if row["split"] == "train"}
    assert trained == {dataset.clips[clip].name for clip in drawn}
    assert set(Counter(dataset.targets[clip] for clip in drawn).values()) == {2}
    record = json.loads(out)
    assert (record["config"]["shots"], record["scores"]["test"]["clips"]) == (2, 18)
    about = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (about["training"]["shots"], about["training"]["seed"]) == (2, 4)


def test_another_seed_draws_other_shots(generated: Path, tmp_path: Path) -> None:
    splits = [check(config(generated, tmp_path / "out", shots=2, seed=seed)).split for seed in (0, 0, 1)]
    assert splits[0] == splits[1]
    assert set(splits[0].train) != set(splits[2].train)
    assert splits[0].test == splits[2].test


def test_a_validated_file_trains(generated: Path, tmp_path: Path) -> None:
    file = written(tmp_path, settings(generated, tmp_path / "out", method="bitfit", max_length=32))
    found, checked = check_file(file)
    assert found == TrainConfig.from_yaml(file)
    result = train(found, quiet=True)
    assert result.trainable_parameters == checked.parameters


def test_validate_knows_experiments_and_tells_all_faults(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from astune.cli import main

    def validated(rows: str) -> tuple[int, str, str]:
        path = tmp_path / "experiment.yaml"
        path.write_text(f"title: T\ndatasets:\n  - {{name: made, data: 'folder:{generated}'}}\nrows:\n{rows}")
        words = ["astune", "validate", str(path), "--data-root", "/", "--backbone", "random:tiny"]
        monkeypatch.setattr("sys.argv", words)
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    code, out, _ = validated("  - {name: A, method: lora}\n  - {name: B, method: linear}\n")
    assert code == 0
    assert "is valid: 2 rows, 1 data set, 2 runs on random:tiny" in out
    code, out, err = validated("  - {name: A, method: lara}\n  - {name: B, method: linaer}\n")
    assert (code, out) == (1, "")
    assert "2 faults" in err
    assert "did you mean 'lora'" in err
    assert "did you mean 'linear'" in err


def test_validate_plans_an_experiment_on_the_backbone_that_it_states(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from astune.cli import main

    path = tmp_path / "experiment.yaml"
    path.write_text(
        f"title: T\nbackbone: random:tiny\ndatasets:\n  - {{name: made, data: 'folder:{generated}'}}\n"
        "rows:\n  - {name: A, method: lora}\n"
    )
    for words, backbone in (([], "random:tiny"), (["--backbone", "random:small"], "random:small")):
        monkeypatch.setattr("sys.argv", ["astune", "validate", str(path), *words])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        assert capsys.readouterr().out.rstrip().endswith(f"1 run on {backbone}")
