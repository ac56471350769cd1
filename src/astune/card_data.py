"""What the Hugging Face hub reads of a model card: base model, tags, data set, figures, licence. And cards that others have edited."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from astune.backbone.hub import is_hub_id
from astune.card_front import body_of, front_of, read_front, with_front
from astune.errors import ConfigError
from astune.methods.full import FullFineTuning
from astune.public import hub_dataset, public_data
from astune.tasks import task_named

if TYPE_CHECKING:
    from astune.adapter import AdapterConfig

LIBRARY = "astune"
BEGIN, END = "<!-- written by astune; text outside of these two lines is kept -->", "<!-- end of what astune wrote -->"
# A name that holds one of the two lines is written within a line of its own.
_OURS = re.compile(rf"^{re.escape(BEGIN)}.*?^{re.escape(END)}", re.DOTALL | re.MULTILINE)
_METRICS = {"macro_f1": "f1", "map": "mAP"}  # of our figures whose name is not the hub's
_PIPELINE = "audio-classification"


def card_data(config: AdapterConfig, name: str, license_id: str | None = None) -> dict[str, Any]:
    """Make the metadata of an adapter that the hub reads.

    Args:
        config: the configuration of the adapter.
        name: the name of the model.
        license_id: license of the adapter, such as ``"cc-by-4.0"``; left out where None.

    Returns:
        Values by the hub's keys, without paths.
    """
    members = config.read_method().members
    backbone = config.backbone.name_or_path.partition("@")[0]
    source = config.training.get("data")
    dataset = hub_dataset(source) if isinstance(source, str) else None
    data: dict[str, Any] = {"library_name": LIBRARY, "pipeline_tag": _PIPELINE}
    if license_id:
        data["license"] = license_id
    if is_hub_id(backbone):
        whole = any(isinstance(member, FullFineTuning) for member in members)
        data |= {"base_model": backbone, "base_model_relation": "finetune" if whole else "adapter"}
    data["tags"] = list(
        dict.fromkeys([_PIPELINE, LIBRARY, "audio-spectrogram-transformer", *(member.family for member in members)])
    )
    if dataset:
        data["datasets"] = [dataset]
    figures = task_named(config.task).shares
    metrics = [_METRICS.get(name, name) for name in figures if any(name in of for of in config.metrics.values())]
    if metrics:
        data["metrics"] = metrics
    if metrics and isinstance(source, str):
        data["model-index"] = _model_index(config, name, source, dataset)
    return data


def _model_index(config: AdapterConfig, name: str, source: str, dataset: str | None) -> list[dict[str, Any]]:
    """Figures of each split, as the hub shows them."""
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import eval_results_to_model_index

    layout, colon, shown = public_data(source).partition(":")
    configuration = shown.partition(":")[2] if dataset else ""
    results = [
        EvalResult(
            task_type=_PIPELINE,
            dataset_type=dataset or (layout if colon else "audiofolder"),
            dataset_name=dataset or (shown if colon else layout),
            dataset_config=configuration or None,
            dataset_split=split,
            metric_type=_METRICS.get(figure, figure),
            metric_name=heading,
            metric_value=scores[figure],
        )
        for split, scores in config.metrics.items()
        for figure, heading in task_named(config.task).shares.items()
        if figure in scores
    ]
    return eval_results_to_model_index(name, results)


def merged_card(ours: str, theirs: str | None) -> str:
    """A card of ours that keeps what people wrote into the one before.

    Args:
        ours: the card from :func:`astune.model_card.model_card`.
        theirs: the card in the repository; None if it has none.

    Returns:
        Our card, preceded by their other keys, with their tags added to ours, and with their text around it. An older card of ours is
        replaced.

    Raises:
        ConfigError: the metadata of their card cannot be read, and would be lost.
    """
    if theirs is None:
        return ours
    front = front_of(ours)
    try:
        before = read_front(theirs)
    except ValueError as fault:
        raise ConfigError(f"the model card that is there cannot be kept: {fault}. Fix it, or delete it") from fault
    own = [tag for tag in _list(before.get("tags")) if isinstance(tag, str | int | float)]
    tags = list(dict.fromkeys([*front.get("tags", []), *own]))
    both = {**front, **{key: value for key, value in before.items() if key not in front}, "tags": tags}
    return with_front(both, _body(body_of(ours), body_of(theirs), written=before.get("library_name")))


def own_text(card: str) -> str:
    """What people wrote around our part of a card; all of a card that is not ours.

    Args:
        card: Markdown.
    """
    body = body_of(card)
    if _OURS.search(body):
        return _OURS.sub("", body, count=1).strip()
    return "" if front_of(card).get("library_name") == LIBRARY else body.strip()


def _body(ours: str, theirs: str, written: object) -> str:
    if _OURS.search(theirs):
        return _OURS.sub(lambda _: ours.strip(), theirs, count=1)
    if written == LIBRARY or not theirs.strip():
        return ours
    return f"{theirs.rstrip()}\n\n{ours.lstrip()}"


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
