"""Workers that share an archive: what each of them loads, what it is asked, and which recordings it gets at a time."""

from __future__ import annotations

import io
from contextlib import nullcontext, redirect_stderr
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from astune.data.opening import is_pipe
from astune.environment import usable_cores
from astune.errors import ConfigError
from astune.inference.findings import Findings
from astune.inference.onnx_predictor import OnnxPredictor
from astune.inference.prediction import Prediction
from astune.inference.runtime import is_graph
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from astune.errors import AstuneError
    from astune.inference.labeller import Labeller
    from astune.inference.request import Request
    from astune.inference.timeline import OnWindow
    from astune.names import Precision

Answer: TypeAlias = Prediction | Findings
Unit: TypeAlias = tuple[tuple[int, str], ...]
"""Recordings that are handed out together: their place among all, and their path."""

_ALONE = 2**21  # bytes: a recording that may have many windows


@dataclass(frozen=True)
class Question:
    """What is asked of each recording."""

    request: Request
    labels: bool = False
    """Whether the answer is a :class:`Prediction`, else it is :class:`Findings`."""

    def answers(
        self, predictor: Labeller, paths: Iterable[str | Path], on_window: OnWindow | None = None
    ) -> Iterator[Answer]:
        """Answer the question for recordings.

        Args:
            predictor: the predictor that labels them.
            paths: paths of recordings.
            on_window: see :meth:`Predictor.timelines`.

        Yields:
            The answers, in order; one about a recording that cannot be read says why.
        """
        if self.labels:
            yield from self.request.predictions(predictor, paths, on_window)
        else:
            yield from self.request.findings(predictor, paths, on_window)

    def failed(self, path: str, error: AstuneError) -> Answer:
        """The answer about a recording that could not be processed.

        Args:
            path: path of the recording.
            error: why.
        """
        if self.labels:
            return Prediction(path, pool=self.request.pool, error=error)
        return Findings(path, (), None, 0.0, 0, self.request.window or 0.0, self.request.hop or 0.0, error=error)


@dataclass(frozen=True)
class Workers:
    """How many workers there are, where, and what each of them loads."""

    adapter: str | Path
    """A folder, a hub id, or an exported graph."""
    backbone: str | Path | None = None
    device: str | None = None
    """Device of all workers; by default they share out the GPUs, if there are any."""
    precision: Precision | None = None
    threads: int | None = None
    """Number of decoding threads in each worker; by default its share of the cores."""
    batch_size: int = 16
    count: int | None = None
    """Processes; on a cluster, as many as it has room for where None."""
    ray: str | None = None
    """Address of a Ray cluster; this machine's processes where None."""

    def refuse(self, paths: Sequence[str | Path]) -> None:
        """Refuse what cannot be shared out.

        Args:
            paths: paths of recordings.

        Raises:
            ConfigError: a number of workers below 1, or a pipe.
        """
        if self.count is not None and self.count < 1:
            raise ConfigError(f"count={self.count}: give 1 worker or more")
        for path in map(str, paths):
            if is_pipe(path):
                what = "standard input" if path == "-" else f"{printable(path)}, a pipe,"
                raise ConfigError(f"{what} cannot be divided among workers; leave workers out, or save it to a file")

    def like(self, predictor: Labeller) -> Workers:
        """These workers, each with what was loaded here: the same graph, or the same precision, which is not announced again.

        Args:
            predictor: the predictor loaded in this process, which decides what the workers compute.
        """
        if isinstance(predictor, OnnxPredictor):
            return replace(self, adapter=predictor.path, device=None, batch_size=predictor.batch_size)
        precision: Any = predictor.precision
        return replace(self, precision=precision, batch_size=predictor.batch_size)

    @property
    def preloaded(self) -> str:
        """The module that takes the time of their start."""
        return f"astune.inference.{'onnx_predictor' if is_graph(self.adapter) else 'predictor'}"

    @property
    def cores(self) -> int:
        """Number of cores that the workers share."""
        if is_graph(self.adapter):
            return usable_cores()
        import torch

        return torch.get_num_threads()

    def predictor(self, number: int, cores: int) -> Labeller:
        """Load the predictor of one worker.

        Args:
            number: the number of the worker, from 0.
            cores: threads that compute in this process from now on, and that decode where their number is open.

        Returns:
            The predictor.
        """
        if is_graph(self.adapter):
            return OnnxPredictor(self.adapter, threads=self.threads or cores, batch_size=self.batch_size, cores=cores)
        import torch

        from astune.inference.predictor import Predictor

        torch.set_num_threads(cores)
        device = self.device
        if device is None and torch.accelerator.is_available():
            device = f"{torch.accelerator.current_accelerator()}:{number % torch.accelerator.device_count()}"
        with redirect_stderr(io.StringIO()) if number else nullcontext():  # one of them says what there is to say
            return Predictor(
                self.adapter, self.backbone, device=device, precision=self.precision, threads=self.threads or cores,
                batch_size=self.batch_size,
            )  # fmt: skip


def units_of(paths: Sequence[str | Path], batch_size: int) -> list[Unit]:
    """Recordings as they are handed out.

    Args:
        paths: paths of all.
        batch_size: number of small recordings that go together.

    Returns:
        All of them, in order.
    """
    units: list[Unit] = []
    small: Unit = ()
    for number, path in enumerate(map(str, paths)):
        if _bytes(path) >= _ALONE:
            units += [small, ((number, path),)] if small else [((number, path),)]
            small = ()
            continue
        small = (*small, (number, path))
        if len(small) == batch_size:
            units.append(small)
            small = ()
    return [*units, small] if small else units


def _bytes(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except (OSError, ValueError):  # whoever opens it will say why
        return 0
