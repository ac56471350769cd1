"""An exported graph: an ONNX file from samples to scores, whose metadata say what it is. onnxruntime computes it, without torch.

Its inputs are ``samples``, (batch, samples) float32 at 16 kHz, filled up with zeros, and ``lengths``, (batch,) int64, how many of them are
real. Its output is ``scores``, (batch, classes) float32. The property ``astune`` of its metadata is JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astune.adapter_info import AdapterInfo
from astune.environment import usable_cores
from astune.errors import AdapterError, ConfigError
from astune.json_text import json_value
from astune.printable import printable

if TYPE_CHECKING:
    from numpy.typing import NDArray

METADATA, FORMAT = "astune", 1
SAMPLES, LENGTHS, SCORES = "samples", "lengths", "scores"
INT8 = "int8"
_FATAL = 4  # of onnxruntime's log: what it refuses is raised, and need not be printed as well


@dataclass(frozen=True)
class Graph:
    """A graph that is ready to compute, in any number of threads."""

    path: Path
    info: AdapterInfo
    """What it was exported from."""
    precision: str
    """Of its matrix products: ``float32`` or ``int8``."""
    adapter_digest: str | None
    """Of the adapter folder it was exported from, as :func:`astune.adapter_digest.adapter_digest`; None where there was none."""
    record: dict[str, Any]
    """All of its metadata."""
    session: Any
    """onnxruntime's."""

    def scores(self, samples: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        """Compute a batch.

        Args:
            samples: (batch, ``info.samples``) at 16 kHz, zeros behind what is real.
            lengths: (batch,), how many are real.

        Returns:
            (batch, classes), from 0 to 1.
        """
        (found,) = self.session.run([SCORES], {SAMPLES: samples, LENGTHS: lengths})
        scores: NDArray[np.float32] = found
        return scores


def open_graph(path: str | Path, cores: int | None = None) -> Graph:
    """Open an exported graph.

    Args:
        path: of the ONNX file.
        cores: that compute; all that this process may use where None.

    Returns:
        The graph.

    Raises:
        AdapterError: there is no such file, it is damaged, another program's, or of a newer version.
        ConfigError: onnxruntime is not installed.
    """
    path = Path(path)
    name = printable(path)
    if not path.is_file():
        what = "it is a folder" if path.is_dir() else "there is no such file"
        raise AdapterError(f"{name}: {what}; give an ONNX file that `astune export` wrote")
    session = _session(path, cores or usable_cores())
    text = session.get_modelmeta().custom_metadata_map.get(METADATA)
    if text is None:
        raise AdapterError(
            f"{name} is an ONNX file, and not of astune's: it has no metadata {METADATA!r}; export an adapter with "
            "`astune export ADAPTER --format onnx`"
        )
    try:
        record = json_value(text)
        written = int(record["format"])
        if written > FORMAT:
            raise AdapterError(
                f"{name} has format {written}; astune {version('astune')} reads up to {FORMAT}. Upgrade astune, or export the adapter again"
            )
        info = AdapterInfo(**record["adapter"])
        precision = str(record["precision"])
    except (OverflowError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise AdapterError(f"{name} has metadata that cannot be read ({fault}); export the adapter again") from fault
    _refuse_other_shape(session, info, name)
    digest = record.get("adapter_digest")
    return Graph(path, info, precision, None if digest is None else str(digest), record, session)


def installed() -> bool:
    """Whether onnxruntime can be imported."""
    try:
        import onnxruntime  # noqa: F401
    except ImportError:
        return False
    return True


def _session(path: Path, cores: int) -> Any:  # noqa: ANN401 - onnxruntime has no types
    """A session of onnxruntime's.

    Raises:
        AdapterError: it cannot read the file.
        ConfigError: it is not installed.
    """
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as faults
    except ImportError as fault:
        raise ConfigError(
            f"{printable(path)} is computed by onnxruntime, which cannot be imported ({fault}); pip install 'astune[onnx]'"
        ) from fault
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores
    options.log_severity_level = _FATAL
    refused = tuple(getattr(faults, name) for name in _REFUSALS)
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except refused as fault:
        reason = printable(str(fault).partition("\n")[0])
        raise AdapterError(
            f"{printable(path)} is no ONNX file that onnxruntime {onnxruntime.__version__} can read ({reason}); is it whole? Copy it, or "
            "export the adapter, again"
        ) from fault


_REFUSALS = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoSuchFile", "NotImplemented", "RuntimeException")  # fmt: skip


def _refuse_other_shape(session: Any, info: AdapterInfo, name: str) -> None:  # noqa: ANN401 - likewise
    """Refuse a graph that its metadata does not fit.

    Raises:
        AdapterError: it takes or gives something else.
    """
    taken = {one.name: (one.type, one.shape[1:]) for one in session.get_inputs()}
    given = {one.name: (one.type, one.shape[1:]) for one in session.get_outputs()}
    wanted = {SAMPLES: ("tensor(float)", [info.samples]), LENGTHS: ("tensor(int64)", [])}
    if taken != wanted or given != {SCORES: ("tensor(float)", [len(info.labels)])}:
        raise AdapterError(
            f"{name} takes {taken} and gives {given}, which is not what its metadata say of {len(info.labels)} labels and "
            f"{info.samples:,} samples; export the adapter again"
        )
