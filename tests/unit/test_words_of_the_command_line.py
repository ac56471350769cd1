"""What the command line says: options by the names that one types, and where to go next."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from astune import AudioClassifier, load_backbone
from astune.adapter_file import read
from astune.cli import main
from astune.errors import AdapterError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters") / "birds"
    AudioClassifier(load_backbone("random:tiny", 64), "lora", ("wren", "robin"), pooling="special").save_pretrained(
        folder
    )
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr("sys.argv", ["astune", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize("words", [("export", "-o"), ("embed", "--max-length", 64, "-o")], ids=lambda words: words[0])
def test_an_error_names_the_option_not_the_field(
    words: tuple[object, ...],
    adapter: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    verb, *rest = words
    target = tmp_path / ("taken.onnx" if verb == "export" else "taken.npz")
    target.write_text("mine")
    sources = [adapter] if verb == "export" else ["random:tiny", tmp_path]
    assert run(monkeypatch, verb, *sources, *rest, target) == 1
    error = " ".join(capsys.readouterr().err.split())
    what = "path" if verb == "export" else "file"
    assert error.endswith(f"is there already; give another {what}, or --overwrite")


def test_a_folder_of_peft_is_answered_with_the_command_that_reads_it(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 8}))
    (tmp_path / "adapter_model.safetensors").touch()
    with pytest.raises(
        AdapterError, match=r"is a folder of PEFT; make it an adapter with `astune import-peft .* -o ADAPTER`"
    ):
        read(tmp_path)


def test_import_peft_says_what_to_do_next(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "export", adapter, "--format", "peft", "-o", tmp_path / "peft") == 0
    capsys.readouterr()
    assert run(monkeypatch, "import-peft", tmp_path / "peft", "-o", tmp_path / "back") == 0
    assert f"astune predict {tmp_path / 'back'} RECORDING" in capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "back").iterdir()}
    assert run(monkeypatch, "import-peft", tmp_path / "peft", "-o", tmp_path / "back") == 1
    assert f"there is an adapter in {tmp_path / 'back'}; give another folder, or --overwrite" in one_line(capsys)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert run(monkeypatch, "import-peft", tmp_path / "peft", "-o", tmp_path / "back", "--overwrite") == 0


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("verb", ["serve", "import-peft", "export", "push-to-hub"])
def test_no_choice_is_broken_in_two_at_80_columns(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(monkeypatch, verb, "--help") == 0
    cells = [line.split("│")[1] for line in capsys.readouterr().out.splitlines() if line.count("│") == 2]
    assert cells
    assert not [cell for cell in cells if "<" in cell and ">" not in cell.split("<", 1)[1]]
