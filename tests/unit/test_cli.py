"""The command line: what it prints where, its exit codes, its speed of answering."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import soundfile

from astune.cli import main
from astune.setting import Panel
from astune.training.config import TrainConfig
from tests.unit.test_loop import folded

LIMIT = 300  # seconds


def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command, run in this process."""
    monkeypatch.setattr(sys, "argv", ["astune", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


@pytest.fixture(scope="module")
def adapter(generated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from astune.training.loop import train

    folder = tmp_path_factory.mktemp("adapters") / "lora"
    train(TrainConfig(data=str(generated), backbone="random:tiny", output_dir=folder, num_train_epochs=2), quiet=True)
    return folder


def options(generated: Path, output_dir: Path) -> Sequence[object]:
    return ("train", generated, "--backbone", "random:tiny", "--num-train-epochs", "1", "--output-dir", output_dir)


def test_train_prints_a_table_and_the_next_command(
    generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = run(capsys, monkeypatch, *options(generated, tmp_path / "out"), "--method", "bitfit")
    assert code == 0
    assert "bitfit: 8,640 trained parameters" in out  # 4 (4 + 4 + 1 + 2) 192 + 192
    assert f"astune predict {tmp_path / 'out'} RECORDING" in out
    assert "6 classes, 36 training, 18 validation and 18 test clips of 48 frames" in err


def test_train_json_is_json_alone(
    generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = run(capsys, monkeypatch, *options(generated, tmp_path / "out"), "--method", "linear", "--json")
    assert code == 0
    record = json.loads(out)
    assert (record["spec"], record["scores"]["test"]["clips"]) == ("linear", 18)


def test_cross_validate_prints_mean_and_deviation(
    generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = folded(generated, tmp_path)
    arguments = [*options(data, tmp_path / "cv"), "--method", "linear", "--cross-validate"]
    code, out, err = run(capsys, monkeypatch, *arguments)
    assert code == 0
    assert "over 3 folds" in out
    assert "Fold 3, 3 of 3" in err


def test_evaluate_scores_what_training_reported(
    generated: Path, adapter: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = run(capsys, monkeypatch, "evaluate", adapter, generated, "--json")
    assert code == 0
    record = json.loads(out)
    reported = json.loads((adapter / "results.json").read_text())["scores"]["test"]
    assert (record["accuracy"], record["confusion"]) == (reported["accuracy"], reported["confusion"])
    code, out, _ = run(capsys, monkeypatch, "evaluate", adapter, generated, "--split", "all")
    assert code == 0
    assert "72 clips, split all" in out


def test_evaluate_uses_the_fold_the_adapter_was_trained_without(
    generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = folded(generated, tmp_path)
    run(capsys, monkeypatch, *options(data, tmp_path / "out"), "--method", "linear", "--fold", "2")
    code, out, _ = run(capsys, monkeypatch, "evaluate", tmp_path / "out", data, "--json")
    assert code == 0
    reported = json.loads((tmp_path / "out" / "results.json").read_text())["scores"]["test"]
    assert json.loads(out)["confusion"] == reported["confusion"]


def test_evaluate_refuses_classes_it_does_not_know(
    generated: Path, adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for label in ("bouncing_ball", "whale"):
        (tmp_path / "test" / label).mkdir(parents=True)
        (tmp_path / "train" / label).mkdir(parents=True)
        source = next((generated / "test" / "bouncing_ball").glob("*.wav"))
        for split in ("test", "train"):
            (tmp_path / split / label / "x.wav").write_bytes(source.read_bytes())
    code, out, err = run(capsys, monkeypatch, "evaluate", adapter, tmp_path, "--json")
    assert (code, out) == (1, "")
    assert "classes the adapter does not know: whale; it knows bouncing_ball, coin_spin" in err


def test_evaluate_without_a_test_split_names_the_others(
    generated: Path, adapter: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = run(capsys, monkeypatch, "evaluate", adapter, generated / "train")
    assert code == 1
    assert "no test split; choose another split (validation, train, all)" in err


def test_predict_gives_the_likeliest_labels(
    generated: Path, adapter: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted((generated / "test").rglob("*.wav"))
    code, out, _ = run(capsys, monkeypatch, "predict", adapter, *files, "--top-k", "6", "--json")
    assert code == 0
    records = json.loads(out)
    assert [record["file"] for record in records] == [str(file) for file in files]
    for record in records:
        scores = [entry["score"] for entry in record["labels"]]
        assert sum(scores) == pytest.approx(1, abs=1e-5)
        assert scores == sorted(scores, reverse=True)
    hits = sum(record["labels"][0]["label"] == Path(record["file"]).parent.name for record in records)
    reported = json.loads((adapter / "results.json").read_text())["scores"]["test"]
    assert hits / len(files) == pytest.approx(reported["accuracy"])


def test_predict_takes_folders_and_prints_a_line_a_file(
    generated: Path, adapter: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = run(capsys, monkeypatch, "predict", adapter, generated / "test")
    assert code == 0
    lines = out.splitlines()
    assert len(lines) == 18
    assert all("\t" in line for line in lines)


def test_predict_takes_an_empty_name_for_no_folder(
    adapter: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = run(capsys, monkeypatch, "predict", adapter, "")
    assert (code, out) == (1, "")
    assert "FILE is empty" in err


def test_predict_reports_broken_files_and_labels_the_others(
    generated: Path, adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = next((generated / "test").rglob("*.wav"))
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    code, out, err = run(
        capsys, monkeypatch, "predict", adapter, tmp_path / "bad.wav", good, tmp_path / "no.wav", "--json"
    )
    assert code == 1
    records = json.loads(out)
    assert ["error" in record for record in records] == [True, False, True]
    assert "there is no such file" in records[2]["error"]
    assert "2 of 3 files could not be read" in err


def test_predict_says_how_it_hears_what_is_longer_than_the_input(
    adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "long.flac", np.random.default_rng(0).normal(0, 0.1, 44_100 * 3), 44_100)
    code, out, err = run(capsys, monkeypatch, "predict", adapter, tmp_path / "long.flac")
    assert code == 0
    assert out.endswith("\tmean of 7 windows over 3.0 s\n")
    assert "heard in consecutive windows; scores are the mean over them" in err
    code, out, err = run(capsys, monkeypatch, "predict", adapter, tmp_path / "long.flac", "--pool", "first")
    assert code == 0
    assert out.endswith("\tits first 0.5 of 3.0 s\n")
    assert "only the first 0.5 s are used" in err


def test_predict_refuses_more_labels_than_there_are(
    generated: Path, adapter: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = run(capsys, monkeypatch, "predict", adapter, generated / "test", "--top-k", "7")
    assert code == 1
    assert "--top-k 7: the adapter has 6 labels" in err


@pytest.mark.parametrize(
    ("arguments", "code", "fault"),
    [
        (["train", "nowhere", "--output-dir", "out"], 1, "there is no 'nowhere'"),
        (["train", "nowhere"], 1, "--output-dir is missing"),
        (
            ["train", ".", "--output-dir", "out", "--learning-rate", "-1", "--max-length", "3"],
            1,
            "command line: 2 faults",
        ),
        (["train", ".", "--output-dir", "out", "--method", "lara"], 1, "did you mean 'lora'"),
        (["train", ".", "--output-dir", "out", "--pooling", "mean"], 2, "mean"),
        (["predict", "nowhere", "x.wav"], 1, "there is no folder 'nowhere'"),
        (["evaluate", "nowhere", "nothing"], 1, "there is no folder 'nowhere'"),
        (["methods", "--num-labels", "1"], 2, "num-labels"),
        (["bogus"], 2, "bogus"),
    ],
)
def test_mistakes_end_in_one_error_and_an_honest_code(
    arguments: list[str],
    code: int,
    fault: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    found, out, err = run(capsys, monkeypatch, *arguments)
    assert found == code
    assert fault in err
    assert "Traceback" not in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_every_setting_is_an_option(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    code, out, _ = run(capsys, monkeypatch, "train", "--help")
    assert code == 0
    fields = set(TrainConfig.model_fields) - {"data"}
    missing = [name for name in fields if f"--{name.replace('_', '-')}" not in out]
    assert not missing
    for info in TrainConfig.model_fields.values():
        assert info.description
        assert info.description[1:30] in out
    panels = re.findall(r"^╭─ (\w+(?: \w+)*) ─", out, re.MULTILINE)
    assert panels == ["Arguments", "Options", *get_args(Panel)]  # in the order of the reference page


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["train", "--help"], ["predict", "nowhere"], ["train", "x"]]
)
def test_help_and_mistakes_do_not_load_torch(arguments: list[str]) -> None:
    code = (
        f"import sys; sys.argv[1:] = {arguments!r}\n"
        "from astune.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('torch' in sys.modules, file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT, check=True)
    assert result.stderr.splitlines()[-1] == "False"


def test_importing_astune_does_not_load_torch() -> None:
    code = "import astune, sys; assert 'torch' not in sys.modules; astune.load_backbone; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=LIMIT)
