"""An adapter as one torch module from samples to scores, made of what ONNX has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from astune.features.log_mel import FLOOR, frame_spectra, mel_filters
from astune.names import FRAME, HOP

if TYPE_CHECKING:
    from astune.classifier import AudioClassifier
    from astune.features import FrontEnd


class WaveformFrontEnd(nn.Module):
    """:class:`astune.features.FrontEnd` as a convolution: what a frame passes through up to its spectrum is linear in its samples.

    Args:
        front_end: the front end, with its length and its normalisation.
    """

    kernel: Tensor
    filters: Tensor

    def __init__(self, front_end: FrontEnd) -> None:
        super().__init__()
        self.max_length, self.mean, self.std = front_end.max_length, front_end.mean, front_end.std
        spectra = frame_spectra()
        kernel = torch.cat([spectra.real, spectra.imag], dim=1).T[:, None]
        self.register_buffer("kernel", kernel.float())
        self.register_buffer("filters", mel_filters(front_end.num_mel_bins).float())

    @override
    def forward(self, samples: Tensor, lengths: Tensor) -> Tensor:
        """Features, rounded to float16 as predictors round them.

        Args:
            samples: (batch, samples) at 16 kHz, as many as fill the input; samples from ``lengths`` on are ignored.
            lengths: (batch,), int64, how many samples are real.

        Returns:
            (batch, max_length, num_mel_bins), float32.
        """
        is_real = torch.arange(samples.shape[-1], device=samples.device) < lengths[:, None]
        parts = F.conv1d(torch.where(is_real, samples, 0.0)[:, None], self.kernel, stride=HOP).square()
        power = parts[:, : len(self.filters)] + parts[:, len(self.filters) :]
        energies = (power.transpose(1, 2) @ self.filters).clamp(min=FLOOR).log()
        frames = 1 + (lengths - FRAME).clamp(min=0) // HOP
        real = torch.arange(self.max_length, device=samples.device) < frames[:, None]
        padded = torch.where(real[:, :, None], energies, 0.0)
        return ((padded - self.mean) / (2 * self.std)).half().float()


class WaveformScorer(nn.Module):
    """Samples to scores.

    Args:
        model: the model in evaluation mode.
    """

    def __init__(self, model: AudioClassifier) -> None:
        super().__init__()
        self.front_end = WaveformFrontEnd(model.front_end)
        self.model = model

    @override
    def forward(self, samples: Tensor, lengths: Tensor) -> Tensor:
        """Scores of the classes.

        Args:
            samples: see :meth:`WaveformFrontEnd.forward`.
            lengths: see :meth:`WaveformFrontEnd.forward`.

        Returns:
            (batch, classes), as the task makes them of logits.
        """
        scores: Tensor = self.model.task.activate(self.model(self.front_end(samples, lengths)).logits)
        return scores
