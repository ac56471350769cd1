"""What can be labelled: files, pipes, and waveforms in memory, one or many of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np

from astune.data.audio import frames_needed, listen, listen_to_samples
from astune.data.opening import is_pipe
from astune.data.recordings import HIDDEN, find_recordings, other_files, passed_over
from astune.data.streaming import stream, stream_of_samples
from astune.errors import AudioError, ConfigError
from astune.printable import printable

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from astune.data.audio import Recording
    from astune.data.streaming import Stream

Waveform: TypeAlias = "np.ndarray[Any, Any] | Tensor"
Input: TypeAlias = "str | os.PathLike[str] | Waveform | Mapping[str, Any]"
"""A path (``-`` for standard input), a waveform, or a dictionary of ``array`` (or ``raw``) and ``sampling_rate``."""

_CHANNELS = 8  # the most that recordings come with
_ARRAYS = ("array", "raw")  # as datasets and as transformers' pipeline name it
_PCM = ("int8", "int16", "int32", "uint8")  # whose range is that of the recording
_WHAT = "give a path, an array with its sampling_rate, {'array': ..., 'sampling_rate': ...}, or a list of these"


@dataclass(frozen=True)
class Source:
    """One input before it is read."""

    name: str
    path: str | os.PathLike[str] | None = None
    samples: NDArray[Any] | None = None
    """(frames, channels), floats or PCM; all samples, or at least those that are used."""
    frames: int = 0
    """Number of frames of the whole recording."""
    sampling_rate: int = 0
    """Hz, of ``samples``."""

    def beginning(self, seconds: float) -> Recording:
        """Read its beginning.

        Args:
            seconds: length of the beginning.

        Returns:
            The samples, and what is known of the recording.

        Raises:
            AudioError: it cannot be read.
        """
        if self.samples is None:
            return listen(os.fspath(self.path or ""), seconds=seconds)
        return listen_to_samples(self.samples, self.sampling_rate, seconds, self.frames, name=self.name)

    def stream(self) -> Stream:
        """Open all of it as a stream."""
        if self.samples is None:
            return stream(os.fspath(self.path or ""))
        return stream_of_samples(self.samples, self.sampling_rate, name=self.name)

    @property
    def read_once(self) -> bool:
        """Whether it is a pipe: two readers at a time would each get a part."""
        return self.path is not None and is_pipe(os.fspath(self.path))


def is_single(inputs: object) -> bool:
    """Whether this is one input, not a list of them.

    Args:
        inputs: the inputs that the user gave.
    """
    one = isinstance(inputs, str | bytes | os.PathLike | np.ndarray | Mapping)
    return one or _is_tensor(inputs) or not isinstance(inputs, Iterable)


def _is_tensor(value: object) -> TypeGuard[Tensor]:
    """Whether it is torch's: nobody has one who has not imported torch, and a graph is run without."""
    return isinstance(value, getattr(sys.modules.get("torch"), "Tensor", ()))


def sources(
    inputs: Input | Iterable[Input], sampling_rate: float | None = None, seconds: float | None = None
) -> Iterator[Source]:
    """Look at inputs, one by one.

    Args:
        inputs: one input, or an iterable of inputs, such as a list or a generator.
        sampling_rate: rate in Hz of arrays without their own; files state theirs.
        seconds: how much of each input is used, from its beginning; by default all.

    Yields:
        What each of them is.

    Raises:
        ConfigError: one of them is something else, has no rate, or an array is of another shape or type.
    """
    if is_single(inputs):
        yield _source(inputs, sampling_rate, "inputs")
        return
    passing = not isinstance(inputs, list | tuple)
    for number, one in enumerate(inputs):  # type: ignore[arg-type] # an iterable, or it would be single
        source = _source(one, sampling_rate, f"inputs[{number}]")
        if passing and source.samples is not None:
            # A generator may fill the same array again before it is read, and many long ones would fill the memory meanwhile.
            used = source.samples[: frames_needed(source.sampling_rate, seconds)]
            source = replace(source, samples=used.copy())
        yield source


def _source(one: object, sampling_rate: float | None, name: str) -> Source:
    if isinstance(one, str | os.PathLike):
        path = os.fspath(one)
        if not isinstance(path, str) or not path:  # an empty path would be the current folder
            raise ConfigError(f"{name} is {path!r}; give the path of an audio file")
        return Source(path, path=path)
    if isinstance(one, Mapping):
        key = next((key for key in _ARRAYS if one.get(key) is not None), None)
        if key is None:
            held = ", ".join(map(repr, one)) or "nothing"
            raise ConfigError(f"{name} holds {held}, but no 'array' (or 'raw'); {_WHAT}")
        return _of_array(one[key], one.get("sampling_rate", sampling_rate), f"{name}[{key!r}]")
    return _of_array(one, sampling_rate, name)


def _of_array(array: object, sampling_rate: object, name: str) -> Source:
    if _is_tensor(array):
        array = _numpy(array, name)
    if not isinstance(array, np.ndarray):
        raise ConfigError(f"{name} is of type {type(array).__name__}; {_WHAT}")
    if array.dtype.kind != "f" and array.dtype.name not in _PCM:
        raise ConfigError(
            f"{name} is an array of {array.dtype}; give float samples in -1 to 1, or integers as PCM has them (int16, int32, "
            "int8 or uint8)"
        )
    samples = _channels_last(np.asarray(array), name)  # not a subclass, such as np.matrix, whose axes do other things
    return Source(name, samples=samples, frames=len(samples), sampling_rate=_rate(sampling_rate, name))


def _numpy(tensor: Tensor, name: str) -> NDArray[Any]:
    """A tensor for NumPy, which lacks bfloat16.

    Raises:
        ConfigError: the array has no values, or its values are not contiguous in memory.
    """
    try:
        plain = tensor.detach().cpu().resolve_conj().resolve_neg()
        array: NDArray[Any] = (plain.float() if plain.is_floating_point() else plain).numpy()
    except (RuntimeError, TypeError, NotImplementedError) as fault:
        raise ConfigError(
            f"{name} is a {tensor.layout} tensor on {tensor.device} that cannot be read; give a dense one"
        ) from fault
    return array


def _rate(sampling_rate: object, name: str) -> int:
    if sampling_rate is None:
        raise ConfigError(f"{name} is an array, which does not say its rate; give sampling_rate=, in Hz")
    try:
        rate = 0.0 if isinstance(sampling_rate, str | bytes) else float(sampling_rate)  # type: ignore[arg-type] # else refused
        whole = int(rate) if rate > 0 else 0
    except (TypeError, ValueError, OverflowError):
        rate, whole = 0.0, 0
    if isinstance(sampling_rate, bool) or not whole or whole != rate:
        raise ConfigError(f"sampling_rate={sampling_rate!r} of {name}: give a whole number of Hz, such as 16000")
    return whole


def _channels_last(array: NDArray[Any], name: str) -> NDArray[Any]:
    """(frames, channels) of (samples,), (channels, samples) or, where that is clear, (samples, channels).

    Raises:
        ConfigError: another shape, or one that is not clear.
    """
    shape = array.shape
    if array.ndim == 1:
        return array[:, None]
    if array.ndim != 2:
        raise ConfigError(
            f"{name} has the shape {shape}; give (samples,) or (channels, samples), and several recordings as a list of arrays"
        )
    if shape[0] <= _CHANNELS < shape[1]:
        return array.T
    if shape[1] <= _CHANNELS < shape[0]:
        return array
    if max(shape) <= _CHANNELS:
        raise ConfigError(f"{name} has the shape {shape}, too short to tell channels from samples; give (samples,)")
    raise ConfigError(
        f"{name} has the shape {shape}, and recordings have {_CHANNELS} channels at most; give several recordings as a list of arrays"
    )


@dataclass(frozen=True)
class LeftOut:
    """A file in a folder that is not labelled."""

    path: Path
    reason: str
    """A kind, as in ``recordings with a hidden name``, or a sentence that begins with the path."""
    harmless: bool
    """Whether nothing is missing: a Mac leaves a hidden file next to each recording on a USB stick."""

    def record(self) -> dict[str, str]:
        """The error as JSON, in place of a prediction."""
        return {"file": str(self.path), "passed_over" if self.harmless else "error": self.reason}


@dataclass(frozen=True)
class Expanded:
    """Recordings among files and folders."""

    paths: list[Path]
    left_out: list[LeftOut]
    remarks: list[str]
    """Remarks about the folders."""


def expand(files: Iterable[str | Path]) -> Expanded:
    """Find the recordings in the folders among some paths.

    Args:
        files: files, which are taken as they are, folders, and ``-`` for standard input.

    Returns:
        The recordings, in order, and what was passed over.

    Raises:
        AudioError: a single folder that holds no recordings.
        ConfigError: an empty path.
        DataError: a folder cannot be listed.
    """
    given = list(files)
    if any(str(file) == "" for file in given):
        raise ConfigError("a path is empty; give audio files, folders of them, or - for standard input")
    expanded = Expanded([], [], [])
    for file in map(Path, given):
        if not file.is_dir():
            expanded.paths.append(file)
            continue
        found = find_recordings(file)
        if not found.files:
            fault = f"{printable(file)} holds no audio files that can be read: it holds {found.holds()}"
            if len(given) == 1:
                raise AudioError(fault)
            expanded.left_out.append(LeftOut(file, fault, harmless=False))
            continue
        expanded.paths.extend(found.paths)
        hidden = [one for one in found.skipped if one.kind == HIDDEN]
        others = [one for one in found.skipped if one.kind != HIDDEN]
        expanded.left_out.extend(LeftOut(file / one.path, one.kind, harmless=True) for one in hidden)
        expanded.left_out.extend(
            LeftOut(file / one.path, f"{printable(file / one.path)}: {one.reason}", harmless=False) for one in others
        )
        notes = passed_over([*hidden, *other_files(found)])
        expanded.remarks.extend([*found.remarks, *(f"Note: {one.sentence} ({file})" for one in notes)])
    return expanded
