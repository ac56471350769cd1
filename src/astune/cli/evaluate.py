"""``astune evaluate``: score an adapter on labelled audio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from astune.console import print_result, results, results_table
from astune.errors import AdapterError, DataError
from astune.json_text import json_text
from astune.plurals import number_of
from astune.printable import printable

if TYPE_CHECKING:
    from astune.classifier import AudioClassifier
    from astune.data import AudioDataset


def register(app: typer.Typer) -> None:
    """Add the verb.

    Args:
        app: the command line.
    """
    app.command("evaluate", epilog="Example: `astune evaluate adapters/birds recordings --json`")(evaluate)


def evaluate(
    adapter: Annotated[str, typer.Argument(help="Adapter folder, or its hub id.")],
    data: Annotated[str, typer.Argument(help="Labelled audio, as for `astune train`.")],
    split: Annotated[Literal["test", "validation", "train", "all"], typer.Option(help="Which clips.")] = "test",
    fold: Annotated[
        int | None, typer.Option(help="Test fold; by default the one the adapter was trained without.")
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="Where the backbone is, if not where the adapter says.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Clips a step.")] = 32,
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Leave out audio files that cannot be read.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
) -> None:
    """Score an adapter on labelled audio: the test split unless told otherwise."""
    from accelerate import Accelerator

    from astune import adapter_file
    from astune.classifier import AudioClassifier
    from astune.console import say
    from astune.data import load_data
    from astune.features import build_cache
    from astune.training.data_record import trained_among
    from astune.training.metrics import score_classes
    from astune.training.processes import logits_of

    dataset = load_data(data)
    for notice in dataset.notices:
        say(notice)
    model = AudioClassifier.from_pretrained(adapter, backbone)
    config = adapter_file.read(adapter).config
    targets = _targets(dataset, model)
    clips = _clips(dataset, split, fold, config.training)
    scored = [dataset.clips[clip] for clip in clips]  # what else the data set holds may be broken
    features = build_cache(scored, model.front_end, skip_broken=skip_broken)
    kept = [row for row in range(len(clips)) if row not in features.broken]
    if not kept:
        raise DataError(f"the {split} split has {number_of(len(clips), 'clip')}, and none can be read")
    notices = features.notices(kept, [dataset.clips[clip].name for clip in clips])
    for notice in notices:
        say(notice)
    accelerator = Accelerator()
    logits = logits_of(accelerator.prepare_model(model, evaluation_mode=True), features, kept, batch_size, accelerator)
    scores = score_classes(logits, [targets[clips[row]] for row in kept])
    record = {
        "adapter": adapter,
        "data": dataset.source,
        "split": split,
        **scores.record(),
        "labels": list(model.labels),
        "notices": [*dataset.notices, *notices],
    }
    record["skipped"] = len(clips) - len(kept)
    trained = trained_among(adapter, config, dataset, [clips[row] for row in kept]) if split != "train" else []
    record["trained_on"] = len(trained)
    if trained:
        say(
            f"Warning: the adapter was trained on {len(trained):,} of the {number_of(len(kept), 'clip')} scored, "
            f"{printable(trained[0])} among them; "
            "scores on them are too good"
        )
    if as_json:
        typer.echo(json_text(record))
    else:
        _show(record)


def _targets(dataset: AudioDataset, model: AudioClassifier) -> list[int]:
    from astune.data.labels import cleaned

    index = {cleaned(label): number for number, label in enumerate(model.labels)}  # older adapters may have others
    foreign = sorted(set(dataset.labels) - index.keys())
    if foreign:
        raise DataError(
            f"{dataset.source} has classes the adapter does not know: {', '.join(foreign[:5])}; it knows {', '.join(model.labels[:20])}"
        )
    return [index[clip.label] for clip in dataset.clips]


def _clips(dataset: AudioDataset, split: str, fold: int | None, training: dict[str, Any]) -> list[int]:
    if split == "all":
        return list(range(len(dataset.clips)))
    if fold is None and dataset.folds:
        fold = _number(training, "fold")
    parts = dataset.split(fold, _number(training, "seed") or 0, training.get("selection"))
    chosen = {"test": parts.test, "validation": parts.validation, "train": parts.train}
    if not chosen[split]:
        others = ", ".join([name for name, clips in chosen.items() if clips] + ["all"])
        raise DataError(f"{dataset.source} has no {split} split; score another one with --split ({others})")
    return list(chosen[split])


def _number(training: dict[str, Any], name: str) -> int | None:
    """A setting of the adapter's run; None where its configuration does not say.

    Raises:
        AdapterError: it is no number.
    """
    value = training.get(name)
    if value is not None and not isinstance(value, int):
        raise AdapterError(
            f"the adapter's configuration is damaged: training.{name} is {value!r}, which is no whole number"
        )
    return value


def _show(record: dict[str, Any]) -> None:
    from astune.training.confusion import whole

    print_result(f"{number_of(record['clips'], 'clip')}, split {record['split']}")
    table = results_table(["class"], ["clips", "recall"])
    matrix = whole(record["confusion"])
    for label, clips, right in zip(record["labels"], matrix.sum(axis=1), matrix.diagonal(), strict=True):
        if clips:
            table.add_row(printable(label), f"{clips:,}", f"{right / clips:.1%}")
    results().print(table)
    print_result(f"accuracy {record['accuracy']:.2%}   macro F1 {record['macro_f1']:.2%}   loss {record['loss']:.4f}")
    if record["skipped"]:
        print_result(f"left out, for they cannot be read: {number_of(record['skipped'], 'clip')}")
