"""The model card of an adapter: its ``README.md``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from astune import markdown
from astune.tasks import task_named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from astune.adapter import AdapterConfig

_LABELS_SHOWN, _CELL = 20, 200  # names and letters of a cell


def model_card(config: AdapterConfig) -> str:
    """Describe an adapter for people.

    Args:
        config: of the adapter.

    Returns:
        Markdown, with the hub's YAML in front.
    """
    name = config.backbone.name_or_path
    about = {"library_name": "astune", "pipeline_tag": "audio-classification"}
    if "/" in name and not Path(name).is_absolute():
        about["base_model"] = name
    front = yaml.safe_dump({**about, "tags": ["audio-classification", "astune"]}, sort_keys=False, width=math.inf)
    lines = [
        f"---\n{front}---\n",
        f"# {markdown.text(config.spec)} on {markdown.text(Path(name).name)}, {len(config.labels)} classes\n",
        f"An adapter for the Audio Spectrogram Transformer, made by [astune]: {config.trainable_parameters:,} trained parameters",
        f"(counted without head and final LayerNorm, as in arXiv 2312.03694) on the backbone {markdown.code(name)}",
        f"(fingerprint {markdown.code(config.backbone.fingerprint[:12])}).\n",
        "```console",
        "$ astune predict PATH_OF_THIS_FOLDER recording.wav",
        "```\n",
        "| | |\n| --- | --- |",
        f"| method | {markdown.code(config.spec, in_table=True)} |",
        f"| input | {config.front_end.max_length} frames of 10 ms ({config.front_end.seconds:.2f} s) |",
        f"| positions | {config.position_embeddings} |",
        f"| pooling | {config.pooling} |",
        f"| labels | {_first(config.labels)} |",
        *([f"| thresholds | {_thresholds(config)} |"] if config.thresholds else []),
        *([f"| negative labels, never events | {_first(config.negatives)} |"] if config.negatives else []),
        f"| compute | {markdown.text(config.compute_dtype)} |",
    ]
    lines += [f"| {markdown.text(key)} | {_cell(value)} |" for key, value in sorted(config.training.items())]
    if config.metrics:
        task = task_named(config.task)
        lines += ["\n## Scores\n", *_scores(config.metrics, task.shares)]
        lines += _by_class(config.metrics, config.labels, task.by_class or "")
    lines.append(f"\n{', '.join(f'{package} {number}' for package, number in config.versions.items())}")
    return "\n".join(lines) + "\n"


def _scores(metrics: Mapping[str, dict[str, Any]], shares: Mapping[str, str]) -> list[str]:
    """A table of the scores of each split."""
    rows = [["split", "clips", *shares.values()], ["---"] * (2 + len(shares))]
    for split, scores in metrics.items():
        rows.append([markdown.text(split), str(scores.get("clips", "-")), *(_share(scores, name) for name in shares)])
    return [f"| {' | '.join(row)} |" for row in rows]


def _by_class(metrics: Mapping[str, dict[str, Any]], labels: Sequence[str], name: str) -> list[str]:
    """A table of a figure of each class, the lowest first: of the test clips, or of the validation clips where there are none."""
    split = "test" if "test" in metrics else "validation"
    values = metrics.get(split, {}).get(name)
    if not isinstance(values, list) or len(values) != len(labels):  # a caller's own figure of that name
        return []
    found = sorted((value, label) for value, label in zip(values, labels, strict=True) if value is not None)
    if not found:
        return []
    more = f", {_LABELS_SHOWN} lowest of {len(found):,}" if len(found) > _LABELS_SHOWN else ""
    rows = [f"| {_cell(label)} | {value:.2%} |" for value, label in found[:_LABELS_SHOWN]]
    return [f"\n| class | {split} {name.replace('_', ' ')}{more} |\n| --- | --- |", *rows]


def _share(scores: dict[str, Any], name: str) -> str:
    return f"{scores[name]:.2%}" if name in scores else "-"


def _first(labels: tuple[str, ...]) -> str:
    """The labels as far as they make a line that is read."""
    shown = ", ".join(_cell(label) for label in labels[:_LABELS_SHOWN])
    more = len(labels) - _LABELS_SHOWN
    return f"{shown} and {more:,} more" if more > 0 else shown


def _thresholds(config: AdapterConfig) -> str:
    """The score from which on each label counts, in the order of the labels."""
    return _first(tuple(f"{label} {config.thresholds[label]:.3f}" for label in config.labels))


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    whole = str(value)
    return markdown.text(whole if len(whole) <= _CELL else f"{whole[:_CELL]}...")
