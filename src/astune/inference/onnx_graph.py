"""An exported graph: an ONNX file from samples to scores, whose metadata say what it is. onnxruntime computes it, without torch.

Its inputs are ``samples``, (batch, samples) float32 at 16 kHz, filled up with zeros, and ``lengths``, (batch,) int64, how many of them are
real. Its output is ``scores``, (batch, classes) float32. The property ``astune`` of its metadata is JSON.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from astune.adapter_info import AdapterInfo
from astune.environment import usable_cores
from astune.errors import AdapterError, ConfigError
from astune.extras import install_command
from astune.inference.onnx_wire import WireError, read_properties
from astune.json_text import json_value
from astune.printable import printable
from astune.validated import FileContent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

METADATA, FORMAT = "astune", 1
SAMPLES, LENGTHS, SCORES = "samples", "lengths", "scores"
INT8 = "int8"
_AGAIN = "Copy the file, or export the adapter, again"
_FATAL = 4  # of onnxruntime's log: what it refuses is raised, and need not be printed as well


class _Metadata(FileContent):
    format: int = Field(ge=1, le=FORMAT)
    adapter: dict[str, Any]
    precision: Literal["float32", "int8"]
    adapter_digest: Annotated[str, Field(max_length=64)] | None = None


@dataclass(frozen=True)
class Graph:
    """A graph that is ready to compute, in any number of threads."""

    path: Path
    info: AdapterInfo
    """Description of the adapter that it was exported from."""
    precision: str
    """Precision of its matrix products: ``float32`` or ``int8``."""
    adapter_digest: str | None
    """Digest of the exported adapter folder, see :func:`astune.adapter_digest.adapter_digest`; None if there was no folder."""
    record: dict[str, Any]
    """All of its metadata."""
    session: Any
    """onnxruntime's."""

    def scores(self, samples: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        """Compute a batch.

        Args:
            samples: (batch, ``info.samples``) at 16 kHz, padded with zeros.
            lengths: (batch,), how many are real.

        Returns:
            (batch, classes), from 0 to 1.

        Raises:
            AdapterError: onnxruntime cannot compute it, or it gives something else than its metadata say.
        """
        with _refusing(self.path, "cannot be computed by onnxruntime"):
            (found,) = self.session.run([SCORES], {SAMPLES: samples, LENGTHS: lengths})
        wanted = (len(samples), len(self.info.labels))
        if not isinstance(found, np.ndarray) or found.shape != wanted or found.dtype != np.float32:
            raise AdapterError(
                f"{printable(self.path)} gives scores that are not {wanted} in float32, as its metadata say; export the adapter again"
            )
        scores: NDArray[np.float32] = found
        return scores


def open_graph(path: str | Path, cores: int | None = None) -> Graph:
    """Open an exported graph.

    Args:
        path: the path of the ONNX file.
        cores: cores that compute; all that this process may use where None.

    Returns:
        The graph.

    Raises:
        AdapterError: the file does not exist, is damaged, comes from another program, or has a newer version.
        ConfigError: onnxruntime is not installed.
    """
    path = Path(path)
    name = printable(path)
    if not path.is_file():
        what = "it is a folder" if path.is_dir() else "there is no such file"
        raise AdapterError(f"{name}: {what}; give an ONNX file that `astune export` wrote")
    onnxruntime = _runtime(name)
    try:
        text = read_properties(path).get(METADATA)
    except (OSError, WireError) as fault:
        raise AdapterError(f"{name} cannot be read as an ONNX file: {fault}. {_AGAIN}") from fault
    if text is None:
        raise AdapterError(
            f"{name} is an ONNX file, but astune did not write it: it has no metadata {METADATA!r}; export an adapter with "
            "`astune export ADAPTER --format onnx`"
        )
    about, info, record = _read_metadata(text, name)
    session = _session(onnxruntime, path, cores or usable_cores())
    _refuse_other_shape(session, info, path)
    return Graph(path, info, about.precision, about.adapter_digest, record, session)


def _read_metadata(text: str, name: str) -> tuple[_Metadata, AdapterInfo, dict[str, Any]]:
    """What a graph says of itself: its fields, its adapter, and all of it.

    Raises:
        AdapterError: it is damaged, or of a newer version.
    """
    try:
        record = json_value(text)
        written = record.get("format") if isinstance(record, dict) else None
        if isinstance(written, int) and written > FORMAT:
            raise AdapterError(
                f"{name} has format {written}; astune {version('astune')} reads up to {FORMAT}. Upgrade astune, or export the adapter again"
            )
        about = _Metadata.of(record, f"{name} has metadata that cannot be read; export the adapter again", AdapterError)
        return about, AdapterInfo(**about.adapter), record
    except ValueError as fault:
        raise AdapterError(f"{name} has metadata that cannot be read ({fault}); export the adapter again") from fault


def has_onnxruntime() -> bool:
    """Whether onnxruntime can be imported."""
    try:
        import onnxruntime  # noqa: F401
    except ImportError:
        return False
    return True


def _runtime(name: str) -> Any:  # noqa: ANN401 - onnxruntime has no types
    """Import onnxruntime.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as fault:
        raise ConfigError(
            f"{name} is computed by onnxruntime, which cannot be imported ({fault}); {install_command('onnx')}"
        ) from fault
    return onnxruntime


def _session(onnxruntime: Any, path: Path, cores: int) -> Any:  # noqa: ANN401 - onnxruntime has no types
    """A session of onnxruntime's.

    Raises:
        AdapterError: it cannot read the file.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores
    options.log_severity_level = _FATAL
    with _refusing(path, f"cannot be read by onnxruntime {onnxruntime.__version__}"):
        # Without it, a file that is refused is tried again, which is printed between our lines.
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"], enable_fallback=0)


@contextmanager
def _refusing(path: Path, what: str) -> Iterator[None]:
    """Turn what onnxruntime raises into a sentence.

    Raises:
        AdapterError: it raised something.
    """
    try:
        yield
    except Exception as fault:  # its classes have no base of their own, and std::exceptions come through as Python's
        reason = printable(str(fault).partition("\n")[0]) or type(fault).__name__
        raise AdapterError(f"{printable(path)} {what} ({reason}). {_AGAIN}") from fault


def _refuse_other_shape(session: Any, info: AdapterInfo, path: Path) -> None:  # noqa: ANN401 - onnxruntime has no types
    """Refuse a graph that its metadata does not fit.

    Raises:
        AdapterError: it takes or gives something else.
    """
    with _refusing(path, "has inputs or outputs whose names are not text"):
        taken = {one.name: (one.type, one.shape[1:]) for one in session.get_inputs()}
        given = {one.name: (one.type, one.shape[1:]) for one in session.get_outputs()}
    wanted = {SAMPLES: ("tensor(float)", [info.samples]), LENGTHS: ("tensor(int64)", [])}
    if taken != wanted or given != {SCORES: ("tensor(float)", [len(info.labels)])}:
        raise AdapterError(
            f"{printable(path)} takes {taken} and gives {given}, which is not what its metadata say of {len(info.labels)} labels and "
            f"{info.samples:,} samples; export the adapter again"
        )
