"""Draws ``docs/accuracy.png``, the picture of README, from the records of Table I: ``python docs/readme_picture.py``."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

DOCS = Path(__file__).parent
METHODS = {
    "Linear, from the cache": "linear probe, 75 epochs",
    "LayerMix": "LayerMix, 75 epochs",
    "BitFit": "BitFit",
    "LoRA": "LoRA",
    "Bottleneck PF par": "bottleneck adapter (PF par)",
    "Convpass PF par": "Convpass adapter (PF par)",
    "Full FT, 5e-4": "full fine-tuning at 5e-4",
}
"""Rows of the table and their labels in the picture, in the order in which they are drawn."""
BASELINES = {"Linear, from the cache", "Full FT, 5e-4"}
"""Rows that are drawn in grey."""
DATA = {"digits": "Spoken digits: 10 words, unheard speakers", "esc10": "ESC-10: 10 everyday sounds"}
_CELL = re.compile(r"([\d.]+) ± [\d.]+ \[([\d.]+), ([\d.]+)\]")


def scores(data: str) -> dict[str, tuple[float, float, float]]:
    """Mean accuracy of each row of Table I and the ends of its 95 % interval, in percent."""
    found = {}
    for line in (DOCS / "results" / "reports" / "table1.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == "method":
            column = cells.index(data)
        elif cells[0] in METHODS and cells[0] not in found:
            match = _CELL.search(re.sub(r"\*\*|</?u>", "", cells[column]))
            if match:
                found[cells[0]] = (float(match[1]), float(match[2]), float(match[3]))
    return found


def draw() -> Figure:
    """One panel for each data set: a bar for each method, with its interval."""
    mpl.rcParams.update({"font.size": 11})
    figure = Figure(figsize=(9.6, 3.8), layout="constrained")
    for axes, (data, title) in zip(figure.subplots(1, 2, sharey=True), DATA.items(), strict=True):
        found = scores(data)
        for y, (row, label) in enumerate(reversed(METHODS.items())):
            mean, low, high = found[row]
            axes.barh(label, mean, color="#9e9e9e" if row in BASELINES else "#00897b", height=0.65)
            axes.plot([low, high], [y, y], color="black", linewidth=1.2)
            axes.text(3, y, f"{mean:.1f} %", va="center", color="white", fontweight="bold")
        axes.set(xlim=(0, 100), xlabel="accuracy on test clips in % (line: 95 % interval)")
        axes.set_title(title, fontsize=12)
        axes.tick_params(axis="y", length=0)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle("Parameter-efficient methods (green), linear probe and full fine-tuning (grey)", fontsize=13)
    return figure


if __name__ == "__main__":
    draw().savefig(DOCS / "accuracy.png", dpi=150, metadata={"Software": None})
