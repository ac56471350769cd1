"""Augmentation of waveforms by any function of samples and their rate, such as audiomentations' ``Compose``.

Its random numbers are those of Python's, NumPy's and torch's global generators, which are seeded for each clip and put back afterwards. A
function that has a generator of its own draws what it likes. Training clips are decoded in every epoch, because each sounds different.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import CodeType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from astune.data.audio import SAMPLING_RATE, listen
from astune.data.clip import Clip
from astune.data.threads import in_threads
from astune.errors import ConfigError
from astune.features.cache import rounded_features
from astune.features.log_mel import FrontEnd
from astune.keyed import keyed_generator
from astune.names import HOP
from astune.printable import printable
from astune.validated import strict_constructor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from astune.features.augmentation import ActsOn, TrainingBatch

_DEPTH = 8  # of objects inside of each other
_TOLD = 100  # objects of a list

WaveformFunction = Callable[[Any, int], Any]
"""Takes samples, (samples,) float32 in -1 to 1, and their rate, 16000 Hz; gives samples of any length at the same rate."""


@strict_constructor
@dataclass(frozen=True)
class WaveformAugmentation:
    """Changes the samples of training clips."""

    function: WaveformFunction
    clips: Sequence[Clip]
    """All of the data set."""
    front_end: FrontEnd
    """Makes features of the samples."""
    seed: int
    """Of the run."""
    acts_on: ClassVar[ActsOn] = "waveform"
    forbids_frozen: ClassVar[str | None] = (
        "waveform_augmentation changes their input each time (leave it out to avoid it)"
    )

    @property
    def active(self) -> bool:
        """Always true, because nothing is known of what the function does."""
        return True

    def augment(self, batch: TrainingBatch) -> TrainingBatch:
        """Read the clips of a batch and change their samples.

        Args:
            batch: of training.

        Returns:
            The batch with their features.

        Raises:
            AudioError: a file can no longer be read.
            ConfigError: the function gives something else than samples.
        """
        firsts = batch.first_frames or (0,) * len(batch.clips)
        # Read in threads, changed in this one: the global generators belong to all threads.
        samples = in_threads(self._samples, list(zip(batch.clips, firsts, strict=True)))
        rows = [
            torch.from_numpy(rounded_features(self._changed(some, name, batch.epoch), self.front_end)).float()
            for some, name in zip(samples, batch.names, strict=True)
        ]
        return replace(batch, inputs=torch.stack(rows))

    def _samples(self, part: tuple[int, int]) -> NDArray[np.float32]:
        clip, first = part
        path, start, end = self.clips[clip].region
        return listen(path, start + first * HOP / SAMPLING_RATE, self.front_end.seconds, end=end, pipes=False).samples

    def _changed(self, samples: NDArray[np.float32], name: str, epoch: int) -> NDArray[np.float32]:
        key = int(keyed_generator(self.seed, "waveform", epoch, name).integers(2**32))
        try:
            with seed_globally(key):
                changed = self.function(samples, SAMPLING_RATE)
        except Exception as fault:
            fault.add_note(f"It was raised by waveform_augmentation, for clip {printable(name)}.")
            raise
        wrong = _fault(changed)
        if wrong:
            raise ConfigError(
                f"waveform_augmentation gave {wrong} for clip {printable(name)}; it must return samples, (samples,) of floats"
            )
        return np.ascontiguousarray(changed, dtype=np.float32)


def _fault(changed: object) -> str | None:
    """Why something is no samples."""
    if not isinstance(changed, np.ndarray):
        return f"a {type(changed).__name__}"
    if changed.ndim != 1 or not changed.size:
        return f"an array of the shape {changed.shape}"
    if not np.issubdtype(changed.dtype, np.floating):
        return f"an array of {changed.dtype}"
    with np.errstate(over="ignore"):
        finite = np.isfinite(changed.astype(np.float32)).all()
    return None if finite else "NaN or infinity"


@contextmanager
def seed_globally(seed: int) -> Iterator[None]:
    """Seed the global generators of Python, NumPy and torch (the CPU's), and put them back afterwards.

    Args:
        seed: from 0 to below 2^32.
    """
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - it is theirs that functions use
    with torch.random.fork_rng(devices=[]):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.default_generator.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


def refuse_other_functions(function: object) -> None:
    """Refuse what cannot be called with samples and their rate, before anything is computed.

    Args:
        function: as the user gave it; None for none.

    Raises:
        ConfigError: it cannot.
    """
    if function is None:
        return
    wanted = "give a function of samples and their rate, or an object such as audiomentations.Compose"
    if not callable(function) or isinstance(function, type):
        name = f"the class {function.__name__}" if isinstance(function, type) else f"of type {type(function).__name__}"
        raise ConfigError(f"waveform_augmentation is {name}; {wanted}")
    try:
        inspect.signature(function).bind(np.zeros(1, np.float32), SAMPLING_RATE)
    except TypeError as fault:
        raise ConfigError(f"waveform_augmentation cannot be called with two values ({fault}); {wanted}") from fault
    except ValueError:  # of some compiled functions nobody knows the arguments
        return


def describe_function(function: object, depth: int = 0) -> str:
    """A function in words: the same ones in every process, and others where it was written or made otherwise.

    Args:
        function: a function, or an object that can be called.
        depth: of it inside of another; what is deep inside is not looked at, for objects may hold each other.

    Returns:
        Module and name with a digest of its code; of an object its class with the attributes that are numbers, text, or objects like it.
    """
    if function is None or isinstance(function, bool | int | float | str):
        return repr(function)
    inner = functools.partial(describe_function, depth=depth + 1)
    if inspect.isfunction(function):
        code = hashlib.sha256(repr(_code(function.__code__)).encode()).hexdigest()[:8]
        return f"{function.__module__}.{function.__qualname__} ({code})"
    if inspect.ismethod(function):
        return f"{inner(function.__self__)}.{inner(function.__func__)}"
    if isinstance(function, list | tuple):
        return f"[{', '.join(map(inner, function[:_TOLD]))}]" if depth < _DEPTH else "[...]"
    held = {name: value for name, value in sorted(getattr(function, "__dict__", {}).items()) if _is_told(name, value)}
    if isinstance(function, functools.partial):
        held = {"func": function.func, "args": function.args, **function.keywords}
    kind = type(function)
    words = [f"{name}={inner(value)}" for name, value in held.items()] if depth < _DEPTH else ["..."]
    return f"{kind.__module__}.{kind.__qualname__}({', '.join(words)})"


def _is_told(name: str, value: object) -> bool:
    """Whether an attribute says what an object does; dictionaries, arrays and private ones are often what it remembers."""
    return not name.startswith("_") and (
        value is None or isinstance(value, bool | int | float | str | list | tuple) or inspect.isfunction(value)
    )


def _code(code: CodeType) -> list[object]:
    return [code.co_code.hex(), code.co_names, [_constant(one) for one in code.co_consts]]


def _constant(constant: object) -> object:
    if isinstance(constant, frozenset):  # its order changes from process to process
        return sorted(map(repr, constant))
    return _code(constant) if isinstance(constant, CodeType) else constant
