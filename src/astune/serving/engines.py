"""What computes the scores of rows: predictors with many adapters, and exported graphs.

torch is imported where an adapter needs it: a service of graphs alone starts without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from threading import Lock, local
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray

    from astune.adapter import Adapter
    from astune.adapter_info import AdapterInfo
    from astune.inference.onnx_predictor import OnnxPredictor
    from astune.inference.predictor import Predictor
    from astune.names import Runtime
    from astune.serving.settings import ServeSettings

Row = np.ndarray[Any, Any]
"""What an engine takes of a window."""


class Engine(ABC):
    """Computes the scores of rows by adapters that it has loaded.

    A handle identifies an adapter of the engine. It works for as long as somebody holds it, even if the adapter was removed.
    """

    runtime: ClassVar[Runtime]
    """Name of the runtime."""

    @abstractmethod
    def info(self, handle: Any) -> AdapterInfo:  # noqa: ANN401 - the engine's own
        """What an adapter is.

        Args:
            handle: the handle of an adapter.
        """

    @abstractmethod
    def row(self, samples: NDArray[np.float32], handle: Any) -> Row:  # noqa: ANN401 - the engine's own
        """What the engine takes of a window; in any thread.

        Args:
            samples: (samples,) at 16 kHz.
            handle: the handle of an adapter.
        """

    @abstractmethod
    def kind(self, handle: Any) -> Hashable:  # noqa: ANN401 - the engine's own
        """What adapters have in common whose rows of a window are the same.

        Args:
            handle: the handle of an adapter.
        """

    @abstractmethod
    def scores(self, rows: Sequence[Row], handles: Sequence[Any]) -> Sequence[NDArray[np.float32]]:
        """Scores of rows, of any adapters of the engine; in the thread that computes.

        Args:
            rows: the result of :meth:`row`.
            handles: handles of the adapter of each.

        Returns:
            (classes,) of each, from 0 to 1.
        """


class PredictorEngine(Engine):
    """Adapters of one backbone, in torch.

    Args:
        adapter: the first one.
        name: under which the predictor knows it.
        settings: settings of the service.

    Raises:
        AstuneError: the adapter cannot be loaded.
    """

    runtime = "torch"

    def __init__(self, adapter: Adapter, name: str, settings: ServeSettings) -> None:
        from astune.inference.predictor import Predictor

        self._predictor: Predictor = Predictor(
            adapter, settings.backbone, device=settings.device, precision=settings.precision, threads=1,
            batch_size=settings.max_batch, adapter_name=name,
        )  # fmt: skip
        self._prepared = local()
        self._changing = Lock()

    def load(self, adapter: Adapter, name: str) -> None:
        """Load one more adapter.

        Args:
            adapter: the adapter of the same backbone.
            name: under which the predictor knows it.

        Raises:
            AstuneError: the adapter cannot be loaded.
        """
        self._predictor.load_adapter(adapter, name)

    def handle(self, name: str) -> Any:  # noqa: ANN401 - the predictor's own
        """The handle of an adapter.

        Args:
            name: under which the predictor knows it.
        """
        return self._predictor.adapter(name)

    def forget(self, name: str) -> bool:
        """Forget an adapter.

        Args:
            name: under which the predictor knows it.

        Returns:
            Whether there are others. The last one is not forgotten: its predictor is.
        """
        with self._changing:
            others = [other for other in self._predictor.adapters if other != name]
            if others:
                if self._predictor.active_adapter == name:
                    self._predictor.set_adapter(others[0])
                self._predictor.delete_adapter(name)
            return bool(others)

    @override
    def info(self, handle: Any) -> AdapterInfo:
        found: AdapterInfo = handle.info
        return found

    @override
    def row(self, samples: NDArray[np.float32], handle: Any) -> Row:
        """Return the features of the window.

        Returns:
            (max_length, num_mel_bins), float16.
        """
        if not hasattr(self._prepared, "done"):
            import torch

            from astune.compute import one_core

            one_core(torch.get_num_threads())
            self._prepared.done = True
        found: Row = handle.features(samples)
        return found

    @override
    def kind(self, handle: Any) -> Hashable:
        """Return the front end of the adapter."""
        return (handle.info.max_length, handle.info.num_mel_bins, handle.info.mean, handle.info.std)

    @override
    def scores(self, rows: Sequence[Row], handles: Sequence[Any]) -> Sequence[NDArray[np.float32]]:
        """Scores of rows.

        Args:
            rows: features.
            handles: handles of the adapter of each.

        Returns:
            (classes,) of each.
        """
        return self._predictor.scores(rows, handles)


class OnnxEngine(Engine):
    """One exported graph.

    Args:
        predictor: the predictor that runs it.
    """

    runtime = "onnx"

    def __init__(self, predictor: OnnxPredictor) -> None:
        self._predictor = predictor

    @override
    def info(self, handle: Any) -> AdapterInfo:
        """What the adapter is.

        Args:
            handle: any: there is one.
        """
        return self._predictor.info

    @override
    def row(self, samples: NDArray[np.float32], handle: Any) -> Row:
        """The samples that fill the graph's input.

        Args:
            samples: (samples,) at 16 kHz.
            handle: any: there is one.

        Returns:
            A copy, which does not keep the recording's block in memory.
        """
        return self._predictor.row(samples)

    @override
    def kind(self, handle: Any) -> Hashable:
        """Return the input length.

        Args:
            handle: any: there is one.
        """
        return self._predictor.info.samples

    @override
    def scores(self, rows: Sequence[Row], handles: Sequence[Any]) -> Sequence[NDArray[np.float32]]:
        """Scores of rows.

        Args:
            rows: samples.
            handles: one each; there is one graph.

        Returns:
            (classes,) of each.
        """
        return list(self._predictor.scores(rows))
