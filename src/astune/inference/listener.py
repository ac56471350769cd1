"""The model on its device, and how recordings reach it: labelling, embedding and review all run the model through this."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from astune.compute import one_core_each
from astune.data.audio import listen
from astune.data.audio_notices import warn_of
from astune.errors import AudioError
from astune.features import rounded_features
from astune.inference.batches import ahead, outputs, refuse_non_finite, stacked
from astune.inference.inputs import is_single, sources
from astune.inference.pieces import Cutting, Piece, batched
from astune.inference.windows import Hearing, Windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from astune.compute import Arithmetic
    from astune.data.clip import Clip
    from astune.features import FrontEnd
    from astune.inference.inputs import Input


@dataclass(frozen=True)
class Listener:
    """Reads recordings and computes the model's outputs for them."""

    model: nn.Module
    front_end: FrontEnd
    arithmetic: Arithmetic
    threads: int
    """Number of threads that decode recordings while the model computes."""
    batch_size: int

    def outputs(
        self,
        inputs: Input | Iterable[Input],
        compute: Callable[[Tensor], Tensor],
        windows: Windows,
        *,
        sampling_rate: float | None = None,
        beginning: bool = False,
    ) -> Iterator[tuple[list[Piece], Tensor]]:
        """What the model computes of inputs, batch by batch.

        Args:
            inputs: see :meth:`astune.Predictor.predict`.
            compute: gives the output (batch, ...) of features (batch, max_length, num_mel_bins), on the model's device.
            windows: the windows into which recordings are cut.
            sampling_rate: rate in Hz of waveforms without their own.
            beginning: whether only the first window of each recording is used.

        Yields:
            The pieces of a batch, and their output on the CPU, a row for each piece that could be read.
        """
        hearing = Hearing(windows, partial(rounded_features, front_end=self.front_end))
        cutting = Cutting(self.threads, self.batch_size, beginning, one_core_each())
        found = ((source, hearing) for source in sources(inputs, sampling_rate, windows.window if beginning else None))
        batches = cutting.batches(found, single=is_single(inputs))
        return outputs(self.model, compute, stacked(batches), self.arithmetic)

    def clip_outputs(
        self, clips: Sequence[Clip], compute: Callable[[Tensor], Tensor]
    ) -> Iterator[tuple[list[Piece], Tensor]]:
        """Model outputs for the clips of a data set. As in training, each clip gives its beginning, in one window.

        Args:
            clips: files, or parts of files.
            compute: see :meth:`outputs`.

        Yields:
            The same as :meth:`outputs`; a piece starts where its clip starts in the file.
        """
        hearing = Hearing(Windows.of(self.front_end), partial(rounded_features, front_end=self.front_end))

        def hear(clip: Clip) -> Piece:
            path, start, end = clip.region
            try:
                recording = listen(path, start, self.front_end.seconds, end=end, pipes=False)
            except AudioError as fault:
                return Piece(clip.name, hearing, error=fault)
            features = hearing.hear(recording.samples)
            return Piece(
                clip.name, hearing, start, round(start + recording.heard_seconds, 9), features, recording.facts
            )

        with closing(ahead(hear, clips, threads=self.threads, waiting=2 * self.batch_size)) as pieces:
            yield from outputs(self.model, compute, stacked(batched(pieces, self.batch_size)), self.arithmetic)

    def beginnings(
        self,
        inputs: Input | Iterable[Input],
        compute: Callable[[Tensor], Tensor],
        empty: tuple[int, ...],
        sampling_rate: float | None = None,
        stacklevel: int = 2,
    ) -> Tensor:
        """What the model computes of the beginning of each input.

        Args:
            inputs: see :meth:`outputs`.
            compute: see :meth:`outputs`.
            empty: shape of the result for no inputs.
            sampling_rate: see :meth:`outputs`.
            stacklevel: stack level of warnings, counted from this method.

        Returns:
            (inputs, ...), float32, on the CPU; one row for a single input.

        Raises:
            AudioError: a recording cannot be read.
            ConfigError: an input cannot be used.
            NumericalError: some values are NaN or infinite.

        Warns:
            AudioWarning: a recording is suspicious.
        """
        found, doubts, total = [], [], 0
        windows = Windows.of(self.front_end)
        for batch, output in self.outputs(inputs, compute, windows, sampling_rate=sampling_rate, beginning=True):
            for fault in (piece.error for piece in batch if piece.error):
                raise fault
            found.append(output)
            facts = [(piece.name, piece.facts) for piece in batch if piece.facts]
            doubts += [(name, doubt) for name, known in facts for doubt in known.doubts]
            total += len(facts)
        warn_of(doubts, total, stacklevel=stacklevel + 1)
        rows = torch.cat(found) if found else torch.empty(empty)
        refuse_non_finite(rows.flatten(1))
        return rows
