"""A note where always answering one class would look like learning."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from astune.data.balance import majority_note
from tests.unit.test_cli import run

Capture = pytest.CaptureFixture[str]
SENTENCE = (
    "Note: 95% of the training clips (54 of 57) are of one class, 'low': "
    "always answering it would already be right for 95% of such clips"
)


@pytest.mark.parametrize(
    ("counts", "noted"),
    [
        ([50, 50], False), ([74, 26], False), ([75, 25], True), ([95, 5], True), ([40, 30, 30], False), ([80, 10, 10], True),
        ([60, 10, 10, 10, 10], True), ([59, 11, 10, 10, 10], False), ([60, 10, 10, 10, 5, 5], True),
        ([49] + [3] * 17, False), ([51] + [1] * 49, True),
        ([5, 0], True), ([5], False), ([], False), ([0, 0], False),
    ],
)  # fmt: skip
def test_who_is_told(counts: list[int], noted: bool) -> None:
    assert (majority_note({f"c{number}": count for number, count in enumerate(counts)}) is not None) == noted


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without a validation split: 6 and 1 of 60 and 4 clips are held out, a tenth of each class and at least one."""
    folder = tmp_path_factory.mktemp("uneven")
    for number, (label, clips) in enumerate({"low": 60, "high": 4}.items()):
        (folder / label).mkdir()
        for clip in range(clips):
            tone = 0.3 * np.sin(2 * np.pi * (200 + 300 * number) * np.arange(1600) / 16_000 + clip)
            soundfile.write(folder / label / f"{clip}.wav", tone, 16_000)
    return folder


def test_train_validate_and_check_say_it(
    uneven: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("--method", "linear", "--backbone", "random:tiny", "--num-train-epochs", "1")
    code, out, err = run(capsys, monkeypatch, "train", uneven, *settings, "--output-dir", tmp_path / "out", "--json")
    assert code == 0
    assert SENTENCE in err
    result = json.loads(out)
    assert any(SENTENCE in notice for notice in result["notices"])
    file = tmp_path / "run.yaml"
    file.write_text(json.dumps({"data": str(uneven), "backbone": "random:tiny", "output_dir": str(tmp_path / "new")}))
    code, _, err = run(capsys, monkeypatch, "validate", file)
    assert code == 0
    assert SENTENCE in err
    code, out, err = run(capsys, monkeypatch, "data", "check", uneven, "--json")
    assert code == 0
    wanted = "94% of the training clips (60 of 64) are of one class, 'low'"
    assert wanted in err
    assert any(wanted in notice for notice in json.loads(out)["notices"])


def test_the_table_shows_all_shares_of_both_splits(
    uneven: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")  # else as wide as the terminal of whoever runs the tests
    settings = ("--method", "linear", "--backbone", "random:tiny", "--num-train-epochs", "1")
    code, out, _ = run(capsys, monkeypatch, "train", uneven, *settings, "--output-dir", tmp_path / "out")
    assert code == 0
    scores = json.loads((tmp_path / "out" / "results.json").read_text())["scores"]["validation"]
    headings = [line.split("┃")[3:6] for line in out.splitlines() if line.startswith("┃")]
    assert [" ".join(words).split() for words in zip(*headings, strict=True)] == [
        ["accuracy"],
        ["macro", "F1"],
        ["balanced", "accuracy"],
    ]
    cells = [[cell.strip() for cell in line.split("│")[1:6]] for line in out.splitlines() if line.startswith("│")]
    shown = [f"{scores[name]:.1%}" for name in ("accuracy", "macro_f1", "balanced_accuracy")]
    assert [[row[0], *row[2:]] for row in cells] == [["validation", *shown], ["test", "-", "-", "-"]]
