"""Progress where nobody watches a terminal: in a notebook's real kernel, and in logs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from typing_extensions import override

from astune import console


class Watching(NotebookClient):
    """Runs cells and keeps everything that they ever showed."""

    shown: list[str]

    @override
    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        content = msg["content"]
        if msg["msg_type"] in {"display_data", "update_display_data"}:
            self.shown.append(content["data"]["text/plain"])
        return super().process_message(msg, cell, cell_index)


def run(folder: Path, *cells: str) -> tuple[Any, list[str]]:
    """The notebook with its outputs, and all that was shown on the way."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])  # type: ignore[no-untyped-call]
    client = Watching(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    client.shown = []
    client.execute(env={**os.environ, "IPYTHONDIR": str(folder / "ipython")})
    return notebook, client.shown


SLOW = """
import time
from astune.console import notify, progress
notify("before")
with progress("Doing", 40) as advance:
    for step in range(40):
        time.sleep(0.05)
        advance(1, f"<b>{step}</b>")
notify("after")
with progress("Quick", 3) as advance:
    advance(3, "")
"""


def test_a_notebook_has_one_bar_that_moves_and_goes(tmp_path: Path) -> None:
    notebook, shown = run(tmp_path, SLOW)
    outputs = notebook.cells[0].outputs
    assert {output.output_type for output in outputs} == {"display_data"}  # nothing on stderr
    assert [output.data["text/plain"].strip() for output in outputs] == ["before", "", "after"]
    bars = [text for text in shown if text.startswith("Doing")]
    steps = [int(match[1]) for bar in bars if (match := re.search(r"(\d+)/40", bar))]
    assert len(bars) == len(steps) >= 2
    assert steps == sorted(set(steps))
    assert all(f"<b>{step - 1}</b>" in bar for bar, step in zip(bars, steps, strict=True))
    assert not any("Quick" in text for text in shown)


def test_training_in_a_notebook_says_a_line_per_epoch_and_warns_of_nothing(generated: Path, tmp_path: Path) -> None:
    cell = f"""
import astune
config = astune.TrainConfig(data={str(generated)!r}, output_dir="out", backbone="random:tiny", num_train_epochs=2)
astune.train(config)
"""
    notebook, _ = run(tmp_path, cell)
    outputs = notebook.cells[0].outputs
    assert {output.output_type for output in outputs} == {"display_data", "execute_result"}
    texts = [output.data["text/plain"].strip() for output in outputs]
    assert sum(text.startswith("Epoch ") for text in texts) in {1, 2}  # short epochs may share a line
    assert any(re.match(r"Epoch 2 of 2: loss \d\.\d+, validation accuracy [\d.]+%, \d+ s", text) for text in texts)
    assert len([text for text in texts if text]) == len({text for text in texts if text})
    assert texts[-1].startswith("TrainResult('out': lora, validation accuracy 0.")
    assert "<table" in outputs[-1].data["text/html"]


def test_a_log_has_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(console, "LOG_SECONDS", 0.0)
    for quiet in (False, True):
        with console.progress("Decoding", 3_000, quiet=quiet) as advance:
            advance(1_500, "")
            advance(1_000, "2 broken")
    with console.progress("Drawing", None) as advance:
        advance(2, "")
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(", about ")[0] for line in lines] == [
        "Decoding: 1,500 of 3,000, 0 s",
        "Decoding: 2,500 of 3,000, 2 broken, 0 s",
        "Drawing: 2, 0 s",
    ]
    assert lines[1].endswith(" left")  # once there is a speed to tell it by


def test_a_log_of_seconds_has_none() -> None:
    code = "from astune.console import progress\nwith progress('Doing', 3) as advance:\n    [advance(1, '') for _ in range(3)]"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
