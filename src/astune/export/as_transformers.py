"""``transformers``: a folder that ``ASTForAudioClassification`` and ``pipeline("audio-classification")`` load.

The method is merged into the backbone. What is left is the pooling: transformers' class takes the mean of [CLS] and the distillation token,
and a LayerNorm of its own in front of the dense layer. The pooling ``special`` is that. The mean over all tokens is computed by one more
layer, whose weights are made here. Its queries and keys are zero, so each token attends to all alike; its values are the logits of
a token after the final LayerNorm::

    x_i + o(mean_j v(LayerNorm(x_j)))  =  x_i + S * (logits, 0, K, -K, 0, ...)

S is so large that x_i vanishes next to it in float32, and K so much larger still that it alone decides the variance, which the two
LayerNorms that follow divide by: they scale all logits by the same constant, and the dense layer scales them back. The mean that a
LayerNorm takes away is the same in all dimensions, so the dense layer subtracts the dimension that holds nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification
from transformers.utils import CONFIG_NAME

from astune import markdown
from astune.backbone.load import quiet_transformers
from astune.errors import AdapterError
from astune.export.cards import card_front
from astune.export.folders import largest_difference, made_inputs, replace_folder, size_of
from astune.export.formats import Exported, register_format
from astune.files import write_text
from astune.tasks import MULTI_LABEL

if TYPE_CHECKING:
    from pathlib import Path

    from astune.adapter import AdapterConfig
    from astune.classifier import AudioClassifier
    from astune.export.formats import Source

_ALLOWED = 1e-5  # difference of scores
_CARRIED = 3  # dimensions in addition to the logits
_LARGE = 1e9  # S; tokens are below 1e3
_LARGER = 1e15  # K; its square fits float32, and the logits' is a trillionth of it


@register_format("transformers", ending="-transformers")
def export_transformers(source: Source, path: Path) -> Exported:
    """Write a model of transformers, with its feature extractor.

    Args:
        source: what is exported.
        path: the folder.

    Returns:
        What was written.

    Raises:
        AdapterError: the patches are not square, the method cannot be merged, or transformers' class cannot compute the head.
        ConfigError: there is a file in the folder's place.
        NumericalError: the model's scores are not the adapter's.
    """
    model = stock_model(source.model)
    inputs = made_inputs(source.model.front_end)
    with torch.no_grad():
        ours, theirs = (source.model.task.activate(one(inputs).logits) for one in (source.model, model))
    difference = largest_difference(ours, theirs, _ALLOWED, "scores")
    extra = model.config.num_hidden_layers - source.model.backbone.n_layers
    sentences = [f"Scores of {len(inputs)} generated inputs differ from the adapter's by {difference:.1e} at most"]
    if extra:
        sentences.append(
            "The folder has one layer more than the backbone, which computes the mean over all tokens. Use it in float32 or "
            "bfloat16: its constants are too large for float16. To train further, train the adapter"
        )
    with replace_folder(path, CONFIG_NAME) as partial, quiet_transformers():
        model.save_pretrained(partial)
        extractor_of(source.model).save_pretrained(partial)
        write_text(partial / "README.md", _card(source, extra))
    return Exported(
        "transformers", path, size_of(path), tuple(sentences), {"largest_difference": difference, "added_layers": extra}
    )


def extractor_of(model: AudioClassifier) -> ASTFeatureExtractor:
    """Transformers' front end with an adapter's settings.

    Args:
        model: the adapter on its backbone.
    """
    front_end = model.front_end
    return ASTFeatureExtractor(  # type: ignore[no-untyped-call]
        num_mel_bins=front_end.num_mel_bins, max_length=front_end.max_length, mean=front_end.mean, std=front_end.std
    )


def stock_config(model: AudioClassifier) -> ASTConfig:
    """Transformers' configuration of a backbone with an adapter's labels and task.

    Args:
        model: the adapter on its backbone.

    Returns:
        The configuration, at the adapter's input length.
    """
    config = ASTConfig.from_dict(model.backbone.model.config.to_dict())
    config.id2label = dict(enumerate(model.labels))
    config.label2id = {label: index for index, label in enumerate(model.labels)}
    several = model.task.name == MULTI_LABEL.name
    config.problem_type = "multi_label_classification" if several else "single_label_classification"
    config.dtype = torch.float32
    return config


def refuse_other_patches(model: AudioClassifier) -> None:
    """Refuse a backbone whose patches transformers' classes cannot make.

    Args:
        model: the adapter on its backbone.

    Raises:
        AdapterError: its patches are not square.
    """
    height, frames = model.backbone.patch_shape
    if height != frames:
        raise AdapterError(
            f"transformers' ASTModel has square patches only, and the backbone's are {height} mel bins x {frames} frames; export to onnx, "
            "which holds any shape"
        )


def stock_model(model: AudioClassifier) -> Any:  # noqa: ANN401 - ASTForAudioClassification, whose layers have no types
    """An adapter as transformers' own class.

    Args:
        model: the adapter on its backbone, on the CPU; it is copied.

    Returns:
        The model, in float32 and evaluation mode.

    Raises:
        AdapterError: the patches are not square, the method cannot be merged, or the class cannot compute the head.
    """
    width, classes = model.sites.width, len(model.labels)
    refuse_other_patches(model)
    if model.pooling == "cls":
        raise AdapterError(
            "transformers' class takes the mean of [CLS] and the distillation token, and pooling='cls' is [CLS] alone, which it cannot "
            "compute; export to onnx, or train with pooling='special' or 'all'"
        )
    if model.pooling == "all" and classes > width - _CARRIED:
        raise AdapterError(
            f"the mean over all tokens is computed in a token's {width} numbers, which hold {width - _CARRIED} classes, and the adapter "
            f"has {classes}; export to onnx, or train with pooling='special'"
        )
    if not model.method.mergeable:
        raise AdapterError(
            f"{model.method.spec} cannot be merged into the backbone's weights, and transformers' class has no place for what it adds; "
            "export to onnx, which holds any method"
        )
    merged = model.merge_and_unload()
    config = stock_config(model)
    config.num_hidden_layers += model.pooling == "all"
    stock: Any = ASTForAudioClassification(config)
    with torch.no_grad():
        stock.audio_spectrogram_transformer.load_state_dict(merged.backbone.model.state_dict(), strict=False)
        for norm in (
            stock.classifier.layernorm,
            *([stock.audio_spectrogram_transformer.layernorm] if model.pooling == "all" else []),
        ):
            norm.reset_parameters()  # 1 and 0
        if model.pooling == "special":
            stock.classifier.dense.load_state_dict(merged.head.state_dict())
        else:
            _average_all_tokens(stock, merged)
    return stock.eval()


def _average_all_tokens(stock: Any, merged: AudioClassifier) -> None:  # noqa: ANN401
    """Give the last layer and the dense layer the weights that the top of this file explains; the LayerNorms are plain already."""
    last, dense, head = stock.audio_spectrogram_transformer.layers[-1], stock.classifier.dense, merged.head
    classes, width = head.weight.shape
    for parameter in last.parameters():
        parameter.zero_()
    last.layernorm_before.load_state_dict(merged.sites.norm.state_dict())
    last.attention.v_proj.weight[:classes] = head.weight
    output = last.attention.o_proj
    output.weight[range(classes), range(classes)] = _LARGE
    output.bias[:classes] = _LARGE * head.bias  # values have no bias where the configuration says so
    output.bias[-2:] = torch.tensor([_LARGER, -_LARGER])
    deviation = _LARGER * (2 / width) ** 0.5
    dense.weight.zero_()
    dense.bias.zero_()
    dense.weight[range(classes), range(classes)] = deviation / _LARGE
    dense.weight[:, classes] = -deviation / _LARGE


def _card(source: Source, extra: int) -> str:
    config: AdapterConfig = source.adapter.config
    base = config.backbone.name_or_path
    # Since 5.23 the pipeline does so by itself; before, its scores of several labels add up to 1.
    independent = ', function_to_apply="sigmoid"' if config.task == MULTI_LABEL.name else ""
    lines = [
        card_front(config, "transformers"),
        f"# {markdown.text(source.name)}\n",
        f"An Audio Spectrogram Transformer for {len(config.labels)} classes: an adapter of astune ({markdown.code(config.spec)}),",
        f"merged into its backbone {markdown.code(base)}. It hears {config.front_end.seconds:.2f} s at 16 kHz.\n",
        "```python",
        "from transformers import pipeline\n",
        'classify = pipeline("audio-classification", "PATH_OF_THIS_FOLDER")',
        f'classify("recording.wav"{independent})',
        "```",
    ]
    if extra:
        lines.append(
            "\nIts last layer is made, not trained: it computes the mean over all tokens. Use the model in float32 or bfloat16, because "
            "the constants of that layer are too large for float16, and do not train it further."
        )
    return "\n".join(lines) + "\n"
