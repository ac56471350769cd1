"""The model card of an adapter: its ``README.md``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from astune import markdown
from astune.card_data import BEGIN, END, card_data
from astune.card_front import with_front
from astune.plurals import enumerated
from astune.tasks import task_named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from astune.adapter import AdapterConfig

_LABELS_SHOWN, _CELL = 20, 200  # names and letters of a cell


def model_card(
    config: AdapterConfig, *, repo_id: str | None = None, license_id: str | None = None, base_license: str | None = None
) -> str:
    """Describe an adapter for people.

    Args:
        config: the configuration of the adapter.
        repo_id: name of the repository that it is shared in.
        license_id: license of the adapter, where its author has chosen one.
        base_license: license of the backbone's weights, where it is known.

    Returns:
        Markdown, with the hub's YAML in front.
    """
    name = config.backbone.name_or_path
    own = repo_id.rpartition("/")[2] if repo_id else config.spec
    lines = [
        BEGIN,
        f"\n# {markdown.text(config.spec)} on {markdown.text(Path(name).name)}, {len(config.labels)} classes\n",
        f"An adapter for the Audio Spectrogram Transformer, made by astune: {config.trainable_parameters:,} trained parameters",
        f"({_counted(config)}) on the backbone {markdown.code(name)}",
        f"(fingerprint {markdown.code(config.backbone.fingerprint[:12])}).\n",
        *_use(repo_id or "PATH_OF_THIS_FOLDER"),
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
        lines += ["\n## Scores\n", *_scores(config.metrics, task.shares), *_measured(config)]
        lines += _by_class(config.metrics, config.labels, task.by_class or "")
    lines += [*_limits(config), *_licences(name, license_id, base_license)]
    lines += [f"\n{', '.join(f'{package} {number}' for package, number in config.versions.items())}\n", END]
    return with_front(card_data(config, own, license_id), "\n" + "\n".join(lines) + "\n")


def _counted(config: AdapterConfig) -> str:
    """What the number of trained parameters counts."""
    if any(member.counts_head for member in config.read_method().members):
        return "counted with head and final LayerNorm, as arXiv 2312.03694 counts a linear probe"
    return "counted without head and final LayerNorm, as in arXiv 2312.03694"


def _use(name: str) -> list[str]:
    return [
        "```console", f"$ astune predict {name} recording.wav", "```\n",
        "```python", "import astune\n", f'predictor = astune.Predictor("{name}")', 'print(predictor.predict("recording.wav"))', "```\n",
    ]  # fmt: skip


def _measured(config: AdapterConfig) -> list[str]:
    """How training measured the scores; nothing of scores that came from elsewhere."""
    selection = config.training.get("selection")
    if selection is None:
        return []
    chosen = ["the epoch"] if selection == "best-validation" else []
    chosen += ["the thresholds"] if config.thresholds else []
    chosen += ["the strength of the head start"] if "head_start_strength" in config.training else []
    lines = ["\nScores are of the weights in this folder, on clips that they were not trained on."]
    if "test" in config.metrics:
        lines.append("The test clips were scored once, after training.")
    if "validation" in config.metrics and chosen:
        lines.append(f"Validation clips chose {enumerated(chosen)}, so their scores are a little too good.")
    return lines


def _limits(config: AdapterConfig) -> list[str]:
    one = task_named(config.task).counts_clips
    lines = [
        "\n## Limits\n",
        f"The model takes {config.front_end.seconds:.2f} s at a time; longer recordings are labelled window by window.",
    ]
    if one and not config.negatives:
        lines.append("Every recording gets one of the labels, even if it holds none of these sounds.")
    lines.append("Scores are not calibrated probabilities. Recordings unlike those of its training were not tested.")
    return lines


def _licences(name: str, license_id: str | None, base_license: str | None) -> list[str]:
    ours = markdown.code(license_id) if license_id else "not stated; ask its author"
    weights = f"the backbone's weights ({markdown.code(name)})"
    if name.startswith("random:"):
        return ["\n## Licence\n", f"This adapter: {ours}. Its backbone has random weights, which need none."]
    theirs = markdown.code(base_license) if base_license else "unknown; see where they come from"
    return ["\n## Licence\n", f"This adapter: {ours}. Licence of {weights}: {theirs}."]


def _scores(metrics: Mapping[str, dict[str, Any]], shares: Mapping[str, str]) -> list[str]:
    """A table of the scores of each split."""
    rows = [["split", "clips", *shares.values()], ["---"] * (2 + len(shares))]
    for split, scores in metrics.items():
        rows.append([markdown.text(split), str(scores.get("clips", "-")), *(_share(scores, name) for name in shares)])
    return [f"| {' | '.join(row)} |" for row in rows]


def _by_class(metrics: Mapping[str, dict[str, Any]], labels: Sequence[str], name: str) -> list[str]:
    """A table of one figure per class, the lowest first: for the test clips, or for the validation clips if there are no test clips."""
    split = "test" if "test" in metrics else "validation"
    values = metrics.get(split, {}).get(name)
    if not isinstance(values, list) or len(values) != len(labels):  # a caller's own figure of that name
        return []
    found = sorted((value, label) for value, label in zip(values, labels, strict=True) if _is_number(value))
    if not found:
        return []
    more = f", {_LABELS_SHOWN} lowest of {len(found):,}" if len(found) > _LABELS_SHOWN else ""
    rows = [f"| {_cell(label)} | {value:.2%} |" for value, label in found[:_LABELS_SHOWN]]
    return [f"\n| class | {split} {name.replace('_', ' ')}{more} |\n| --- | --- |", *rows]


def _share(scores: dict[str, Any], name: str) -> str:
    return f"{scores[name]:.2%}" if _is_number(scores.get(name)) else "-"


def _is_number(value: object) -> bool:
    """Whether it is one; the value under the name of a figure may be a caller's own."""
    return isinstance(value, int | float) and not isinstance(value, bool)


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
