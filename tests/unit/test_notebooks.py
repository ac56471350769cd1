"""The notebooks of docs run as they are, and what they show is what is committed, as far as that is the same everywhere."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import nbformat
import pytest

_SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "notebooks.py"))
NOTEBOOKS: list[Path] = _SCRIPT["NOTEBOOKS"]
_ABSOLUTE = re.compile(r"(?<![\w.<])/(?:home|root|Users|tmp|work|private|opt|usr|var|mnt)\b")


def read(path: Path) -> Any:  # noqa: ANN401 - nbformat has no types
    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]


def shown(output: Any) -> str:  # noqa: ANN401 - nbformat has no types
    """What an output says, without its numbers: other processors round otherwise."""
    text = output.get("text") or output["data"]["text/plain"]
    return re.sub(r"\d[\d,.]*%?", "#", text)


def kinds(cell: Any) -> set[tuple[str, ...]]:  # noqa: ANN401 - nbformat has no types
    return {(output.output_type, *sorted(output.get("data", {}))) for output in cell.outputs}


def test_there_are_notebooks() -> None:
    assert [path.name for path in NOTEBOOKS] == ["first-steps.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_it_is_committed_as_it_ran_and_names_no_folder_of_ours(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell.outputs for cell in cells)
    assert not {output.output_type for cell in cells for output in cell.outputs} & {"error"}
    text = re.sub(r'"image/png": "[^"]*"', "", path.read_text(encoding="utf-8"))
    assert not _ABSOLUTE.search(text)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_it_runs_and_shows_what_is_committed(path: Path, tmp_path: Path) -> None:
    committed, ran = read(path), _SCRIPT["executed"](path, tmp_path)
    for old, new in zip(committed.cells, ran.cells, strict=True):
        assert old.source == new.source
        if old.cell_type == "code":
            assert kinds(old) == kinds(new), new.source
            last, now = old.outputs[-1], new.outputs[-1]
            if "AudioDataset(" in shown(last) or "FeatureDataset(" in shown(last) or "Timeline(" in shown(last):
                assert shown(last) == shown(now)
    assert (tmp_path / "adapters" / "own-loop" / "adapter_model.safetensors").is_file()
    rows = (tmp_path / "events.csv").read_text().splitlines()
    assert rows[0] == "onset,offset,label,score"
    assert len(rows) > 1
