"""``astune demo``: the main job on a small data set made on the spot, in a minute or two, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

METHODS = ("linear", "lora", "bottleneck-pf-par", "full-ft")
EPOCHS = 15


def register(app: typer.Typer) -> None:
    """Add the verb.

    Args:
        app: the command line.
    """
    app.command("demo")(demo)


def demo(
    output_dir: Annotated[Path, typer.Option(help="Where the data set and the adapters go.")] = Path("demo-output"),
    epochs: Annotated[
        int, typer.Option(min=1, help="Passes over the training clips, for every method alike.")
    ] = EPOCHS,
) -> None:
    """Compare methods on generated sounds and a small backbone with random weights: it shows the program, not what AST can do."""
    from rich.console import Console
    from rich.table import Table

    from astune.console import say
    from astune.data.generated import write_generated
    from astune.training.config import TrainConfig
    from astune.training.loop import train

    data = write_generated(output_dir / "sounds")
    say(f"Wrote generated sounds to {data}")
    table = Table("method", "parameters", "adapter", "test accuracy", "time", title_justify="left")
    table.title = "Generated sounds on random:tiny (untrained weights: a demonstration, no benchmark)"
    for method in METHODS:
        config = TrainConfig(
            data=str(data),
            method=method,
            backbone="random:tiny",
            output_dir=output_dir / method,
            num_train_epochs=epochs,
            overwrite_output_dir=True,
        )
        run = train(config)
        figures = (f"{run.trainable_parameters:,}", f"{run.adapter_bytes / 1e6:.2f} MB")
        table.add_row(method, *figures, f"{run.scores['test']['accuracy']:.1%}", f"{run.train_seconds:.0f} s")
    console = Console()
    console.print(table)
    first = next((data / "test").rglob("*.wav"))
    console.print("Next, label a sound, then adapt a pretrained backbone to your own recordings:", highlight=False)
    console.print(f"  astune predict {output_dir / 'lora'} {first}", soft_wrap=True, highlight=False)
    console.print(
        "  astune train YOUR_FOLDER --method lora --output-dir adapters/mine", soft_wrap=True, highlight=False
    )
