"""Run the notebooks of this folder and write them with what they show: ``make notebooks``.

They run in an empty folder, so their outputs name no folder of a developer's. What differs from run to run without meaning anything
(execution times, empty outputs of progress bars) is left out.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = sorted(Path(__file__).parent.glob("*.ipynb"))
_SECONDS = 600  # of a cell, at most


def executed(path: Path, folder: Path) -> Any:  # noqa: ANN401 - nbformat has no types
    """Run a notebook.

    Args:
        path: of the notebook, which is not changed.
        folder: where it runs and writes its files.

    Returns:
        The notebook with its outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    client = NotebookClient(
        notebook,
        timeout=_SECONDS,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env={**os.environ, "IPYTHONDIR": str(folder / ".ipython")})
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if one.get("data", {}).get("text/plain") != ""]
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"], "language_info": {"name": "python"}}
    return notebook


def main() -> None:
    """Run all notebooks and write them."""
    for path in NOTEBOOKS:
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(executed(path, Path(folder)), path)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
