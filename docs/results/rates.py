"""Which learning rate the bundled backbone wants: validation accuracy by method and rate, on clips without the test fold.

    python docs/results/rates.py --data-root DATA

writes rates.csv beside this file. Fold 1 is left out of the lists of clips before anything is trained, fold 2 validates, the others
train: two speakers of digits, where table1.yaml trains on three. ESC-10 comes as a list, whose SpecAugment masks half the time of
ESC-50's recipe. Else all is as in table1.yaml, the last epoch included. Stopped, it goes on where it was, in rates-work/.
"""

from __future__ import annotations

import argparse
import csv
from itertools import product
from pathlib import Path

from astune import TrainConfig, train
from astune.backbone import load_config
from astune.data import load_data
from astune.experiments.plan import at_width
from astune.experiments.table import load_table
from astune.methods import parse_method
from astune.methods.base import default_learning_rate
from astune.names import BUNDLED_BACKBONE

HERE = Path(__file__).parent
UP, AROUND = (1, 3, 10, 30), (1 / 3, 1, 3)
FACTORS = {"full-ft": UP, "linear": UP, "lora": AROUND, "bottleneck-pf-par": AROUND}
"""Times the paper's rate, by method."""
TEST, VALIDATION = 1, 2


def main() -> None:
    """Train every method at every rate and write the table."""
    parser = argparse.ArgumentParser(description="Validation accuracy by learning rate.")
    parser.add_argument("--data-root", type=Path, required=True, help="folder of spoken_digits and esc10")
    root = parser.parse_args().data_root
    table = load_table(HERE / "table1.yaml")[1]
    work = HERE / "rates-work"
    work.mkdir(exist_ok=True)
    clips = {one.name: without_test(one.data or "", root, work / f"{one.name}.csv") for one in table.datasets}
    width = load_config(BUNDLED_BACKBONE).hidden_size
    tried = [(name, factor) for name, factors in FACTORS.items() for factor in factors]
    rows = []
    for dataset, (name, factor) in product(table.datasets, tried):
        method = at_width(parse_method(name), width)
        rate = float(f"{factor * default_learning_rate(method):.2g}")
        folder = work / f"{dataset.name}-{name}-{rate:g}"
        settings = {"recipe": "paper", **table.settings, **dataset.settings, "learning_rate": rate}
        config = TrainConfig(
            data=f"csv:{clips[dataset.name]}", method=method.spec, output_dir=folder, resume=True, **settings
        )
        last = train(config).history[-1]
        shown = f"{last['validation']['accuracy']:.4f}"
        print(dataset.name, name, f"{rate:g}", shown, flush=True)
        rows.append((dataset.name, name, f"{rate:g}", f"{last['train_loss']:.3f}", shown))
    with (HERE / "rates.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([("dataset", "method", "learning_rate", "train_loss", "validation_accuracy"), *rows])


def without_test(data: str, root: Path, target: Path) -> Path:
    """Write the list of the clips that may choose: all but the test fold's."""
    layout, _, path = data.partition(":")
    found = load_data(f"{layout}:{root / path}")
    with target.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("file_name", "label", "split"))
        for clip in found.clips:
            if clip.fold != TEST:
                writer.writerow((clip.path.resolve(), clip.label, "validation" if clip.fold == VALIDATION else "train"))
    return target


if __name__ == "__main__":
    main()
