"""What computes an adapter, torch or onnxruntime, and the one call that labels recordings with either. torch is imported where it computes.

A graph that was exported into the adapter's folder is taken where nothing else is asked for, and where it has the adapter's weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard, get_args

from astune.adapter_digest import adapter_digest
from astune.console import notify, shell_word
from astune.errors import AdapterError, ConfigError, unknown_choice
from astune.extras import install_command
from astune.files import local_folder, user_path
from astune.inference.onnx_graph import has_onnxruntime
from astune.inference.onnx_predictor import OnnxPredictor
from astune.names import ADAPTER_GRAPH, Runtime
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from astune.adapter import Adapter
    from astune.classifier import AudioClassifier
    from astune.inference.inputs import Input
    from astune.inference.labeller import Labeller

_OF_PREDICT = ("sampling_rate", "top_k", "errors", "pool", "threshold")
_OF_TORCH = {
    "backbone": "has its backbone inside",
    "device": "is computed on the CPU",
    "precision": "has the precision that it was exported with",
}  # settings that a graph does not take, and why


def is_graph(adapter: object) -> TypeGuard[str | Path]:
    """Whether it is an exported graph, by its name.

    Args:
        adapter: the adapter that the user gave.
    """
    return isinstance(adapter, str | Path) and Path(adapter).suffix == Path(ADAPTER_GRAPH).suffix


def labeller(
    adapter: str | Path | Adapter | AudioClassifier, *, runtime: Runtime | None = None, **settings: Any
) -> Labeller:
    """Load what labels recordings.

    Args:
        adapter: an adapter folder, the hub id of one, an exported graph, an adapter in memory, or a classifier.
        runtime: what computes. Where None, onnxruntime for a graph, and for a folder that has one of the same weights, unless a setting
            needs torch; else torch.
        settings: settings of :class:`astune.Predictor`; a graph takes ``threads`` and ``batch_size`` of them. None means the default.

    Returns:
        An :class:`astune.OnnxPredictor` or an :class:`astune.Predictor`.

    Raises:
        AdapterError: it is neither an adapter nor a graph, or ``runtime`` is ``"onnx"`` and the graph in the folder has other weights.
        BackboneError: the backbone cannot be found.
        ConfigError: an unknown runtime, settings that it does not take, or onnxruntime is asked for and not installed.
    """
    if runtime is not None and runtime not in get_args(Runtime):
        raise ConfigError(unknown_choice("runtime", runtime, get_args(Runtime)))
    given = {name: value for name, value in settings.items() if value is not None}
    found = graph_of(adapter, runtime, given)
    if found is not None:
        return found
    from astune.inference.predictor import Predictor

    return Predictor(adapter, **given)


def predict(adapter: str | Path | Adapter | AudioClassifier, inputs: Input | Iterable[Input], **settings: Any) -> Any:  # noqa: ANN401 - as Predictor.predict's
    """Label recordings; for more than one call, make a :class:`astune.Predictor` or :class:`astune.OnnxPredictor` and keep it.

    Args:
        adapter: see :class:`astune.Predictor`, or an ONNX file that was exported.
        inputs: see :meth:`astune.Predictor.predict`.
        settings: settings of :meth:`astune.Predictor.predict` (``sampling_rate``, ``top_k``, ``errors``, ``pool``, ``threshold``), of
            :class:`astune.Predictor`, and ``runtime``, as for :func:`labeller`.

    Returns:
        The same as :meth:`astune.Predictor.predict`.
    """
    own = {name: settings.pop(name) for name in _OF_PREDICT if name in settings}
    return labeller(adapter, **settings).predict(inputs, **own)


def graph_of(adapter: object, runtime: Runtime | None, given: Mapping[str, Any]) -> OnnxPredictor | None:
    """The graph that computes an adapter, if one does.

    Args:
        adapter: see :func:`labeller`.
        runtime: see :func:`labeller`.
        given: settings that were given.

    Returns:
        The graph; None where torch computes.

    Raises:
        AdapterError: the graph cannot be used, and nothing else was asked for.
        ConfigError: what was asked for contradicts itself.
    """
    for_torch = [name for name in _OF_TORCH if name in given]
    others = {name: value for name, value in given.items() if name not in for_torch}
    if is_graph(adapter):
        if runtime == "torch":
            raise ConfigError(
                f"{printable(adapter)} is computed by onnxruntime; for runtime torch give the adapter folder"
            )
        _refuse_torch(adapter, given)
        return OnnxPredictor(adapter, **others)
    inside = user_path(adapter) / ADAPTER_GRAPH if isinstance(adapter, str | Path) else None
    there = inside is not None and local_folder(str(adapter)) is not None and inside.is_file()
    if runtime == "onnx":
        if inside is None or not there:
            raise ConfigError(
                f"runtime onnx needs an exported graph, and none was found at {printable(inside or ADAPTER_GRAPH)}; write it with "
                f"`astune export {'ADAPTER' if inside is None else shell_word(inside.parent)} -o {shell_word(inside or ADAPTER_GRAPH)}`"
            )
        _refuse_torch(inside, given)
        return _of_same_weights(inside, others)
    if runtime == "torch" or for_torch or inside is None or not there:
        return None
    return _found_inside(inside, others)


def _refuse_torch(graph: object, given: Mapping[str, Any]) -> None:
    """Refuse what a graph cannot do.

    Raises:
        ConfigError: a setting that belongs to torch.
    """
    for name, reason in _OF_TORCH.items():
        if name in given and (name, str(given[name])) != ("device", "cpu"):
            raise ConfigError(
                f"{name}={str(given[name])!r} is for torch, and {printable(graph)} {reason}; leave it out, or give the adapter folder and "
                "runtime torch"
            )


def _of_same_weights(graph: Path, settings: Mapping[str, Any]) -> OnnxPredictor:
    """A graph in an adapter's folder.

    Raises:
        AdapterError: it was exported from another adapter.
    """
    predictor = OnnxPredictor(graph, **settings)
    if predictor.adapter_digest != adapter_digest(graph.parent):
        raise AdapterError(
            f"{printable(graph)} was not exported from the adapter that is in its folder now; export it again, or give the file itself"
        )
    return predictor


def _found_inside(graph: Path, settings: Mapping[str, Any]) -> OnnxPredictor | None:
    """A graph that nobody asked for: it is used where it can be, and what became of it is said."""
    if not has_onnxruntime():
        notify(f"Note: {printable(graph)} is not used, because onnxruntime is not installed; {install_command('onnx')}")
        return None
    try:
        predictor = _of_same_weights(graph, settings)
    except AdapterError as fault:
        notify(f"Note: torch computes: {fault}")
        return None
    notify(
        f"Note: onnxruntime computes with {printable(graph)} ({predictor.precision}), which was exported from this adapter; "
        "to compute with torch, give runtime torch"
    )
    return predictor
