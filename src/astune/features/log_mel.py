"""Kaldi-style log-Mel filterbank energies, equal to transformers' ``ASTFeatureExtractor`` (its numpy path), in torch.

16 kHz mono, 25 ms symmetric Hann window every 10 ms, no dither, DC removed and 0.97 pre-emphasis within each frame, 512-point
spectrum, 128 triangular filters from 20 Hz to 8 kHz. Then padding with zeros or cutting to the input length, and only then
normalisation, so that padding is (0 - mean) / (2 std) = 0.467: louder than digital silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from astune.errors import ConfigError, format_faults
from astune.names import FARTHEST_MEAN, FRAME, HOP, LONGEST_INPUT, MOST_MEL_BINS, STD_BOUNDS, samples_of
from astune.validated import strict_constructor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FFT = 512  # points, which have MOST_MEL_BINS frequencies
_RATE = 16_000  # Hz
_PREEMPHASIS = 0.97
_LOWEST = 20.0  # Hz
FLOOR = 1.192092955078125e-07
"""Least energy: float32's epsilon, as Kaldi has it."""


@strict_constructor
@dataclass(frozen=True)
class FrontEnd:
    """Everything that decides how audio becomes input; travels with an adapter and keys the feature cache.

    Raises:
        ConfigError: lengths below 1 or above an hour, or a mean or deviation that features cannot be normalised with.
    """

    max_length: int
    """Frames of 10 ms after padding or cutting."""
    num_mel_bins: int = 128
    """Mel filters."""
    mean: float = -4.2677393
    """Of the log-Mel energies the backbone was pretrained with."""
    std: float = 4.5689974
    """Their standard deviation; features are divided by twice this."""

    def __post_init__(self) -> None:
        least, most = STD_BOUNDS
        faults = [
            f"{name}={value}, which must be {wanted}"
            for name, value, wanted, valid in (
                ("max_length", self.max_length, f"from 1 to {LONGEST_INPUT}", 1 <= self.max_length <= LONGEST_INPUT),
                (
                    "num_mel_bins",
                    self.num_mel_bins,
                    f"from 1 to {MOST_MEL_BINS}",
                    1 <= self.num_mel_bins <= MOST_MEL_BINS,
                ),
                (
                    "mean",
                    self.mean,
                    f"from {-FARTHEST_MEAN:g} to {FARTHEST_MEAN:g}",
                    -FARTHEST_MEAN <= self.mean <= FARTHEST_MEAN,
                ),
                ("std", self.std, f"from {least:g} to {most:g}", least <= self.std <= most),
            )
            if not valid
        ]
        if faults:
            raise ConfigError(format_faults(faults, "the front end cannot work"))

    @property
    def samples(self) -> int:
        """Samples at 16 kHz that fill ``max_length`` frames; what comes after them is never used."""
        return samples_of(self.max_length)

    @property
    def seconds(self) -> float:
        """Seconds that fill ``max_length`` frames."""
        return self.samples / _RATE

    @cached_property
    def log_mel(self) -> LogMel:
        """The filterbank, built once."""
        return LogMel(self.num_mel_bins)

    def __call__(self, samples: Tensor) -> Tensor:
        """Normalised features of one length.

        Args:
            samples: (..., samples) at 16 kHz, in -1 to 1.

        Returns:
            (..., max_length, num_mel_bins), in the filterbank's precision.

        Raises:
            ConfigError: samples that are no tensor of floats, or whose channels come last.
        """
        _refuse_other_samples(samples)
        energies = self.log_mel(samples[..., : self.samples])
        padded = F.pad(energies, (0, 0, 0, self.max_length - energies.shape[-2]))
        return (padded - self.mean) / (2 * self.std)

    def energies(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Log-Mel energies of samples of any length, neither padded nor cut nor normalised.

        Args:
            samples: (samples,) at 16 kHz, in -1 to 1.

        Returns:
            (frames, num_mel_bins), as :meth:`LogMel.forward` gives them.
        """
        found: NDArray[np.float32] = self.log_mel(torch.from_numpy(samples)).numpy()
        return found


def mel_filters(num_mel_bins: int) -> Tensor:
    """Triangular filters, equally spaced and straight-sided on Kaldi's mel scale, 1127 ln(1 + f / 700).

    Args:
        num_mel_bins: number of filters.

    Returns:
        (257, num_mel_bins), float64.
    """

    def mel(hertz: Tensor) -> Tensor:
        return 1127.0 * torch.log1p(hertz / 700.0)

    bins = mel(torch.arange(_FFT // 2 + 1, dtype=torch.float64) * (_RATE / _FFT))[:, None]
    low, high = mel(torch.tensor([_LOWEST, _RATE / 2], dtype=torch.float64)).tolist()
    edges = torch.linspace(low, high, num_mel_bins + 2, dtype=torch.float64)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    return torch.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)).clamp(min=0)


def frame_spectra() -> Tensor:
    """The spectrum of a frame as a product with its samples: DC removal, pre-emphasis and window are linear, as the transform is.

    Returns:
        (400, 257), complex128: row n is the spectrum of a frame that is 1 at sample n and 0 elsewhere.
    """
    frames = torch.eye(FRAME, dtype=torch.float64)
    frames = frames - frames.mean(dim=-1, keepdim=True)
    window = torch.hann_window(FRAME, periodic=False, dtype=torch.float64)
    emphasised = frames[:, 1:] - _PREEMPHASIS * frames[:, :-1]  # the window is zero at the first sample
    spectra: Tensor = torch.fft.rfft(F.pad(emphasised, (1, 0)) * window, _FFT)
    return spectra


@strict_constructor
class LogMel(nn.Module):
    """Samples to log-Mel energies, not normalised; ``.double()`` gives float64.

    Args:
        num_mel_bins: Mel filters.

    Raises:
        ConfigError: fewer than one, or more than there are frequencies.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, num_mel_bins: int = 128) -> None:
        super().__init__()
        if not 1 <= num_mel_bins <= MOST_MEL_BINS:
            raise ConfigError(
                f"LogMel: num_mel_bins={num_mel_bins}; give a number from 1 to {MOST_MEL_BINS}, such as 128"
            )
        window = torch.hann_window(FRAME, periodic=False, dtype=torch.float64)
        self.register_buffer("window", window.float(), persistent=False)
        self.register_buffer("filters", mel_filters(num_mel_bins).float(), persistent=False)
        self._exact = (window, mel_filters(num_mel_bins))

    @override
    def double(self) -> LogMel:
        """Convert to float64, from constants that never were float32."""
        self.window, self.filters = (constant.to(self.window.device) for constant in self._exact)
        return self

    @torch.no_grad()
    @override
    def forward(self, samples: Tensor) -> Tensor:
        """Compute log-Mel energies.

        Args:
            samples: (..., samples) at 16 kHz; fewer than one frame of 400 are padded with zeros to one.

        Returns:
            (..., frames, num_mel_bins), frames = 1 + (samples - 400) // 160. Computed outside of autocast.

        Raises:
            ConfigError: samples that are no floats.
        """
        if not samples.is_floating_point():
            raise ConfigError(f"samples are floats in -1 to 1, not {samples.dtype}{_scaling(samples.dtype)}")
        with torch.autocast(samples.device.type, enabled=False):
            samples = samples.to(self.window.dtype)
            samples = F.pad(samples, (0, max(0, FRAME - samples.shape[-1])))
            direct = samples.unfold(-1, FRAME, HOP).mean(dim=-1, keepdim=True)
            # Pre-emphasis before framing, once a sample instead of once a frame: (x - m)[n] - 0.97 (x - m)[n-1] is x[n] - 0.97 x[n-1]
            # - 0.03 m. A frame's first sample is left out: the window is zero there, and a shift does not change the power.
            emphasised = torch.sub(samples[..., 1:], samples[..., :-1], alpha=_PREEMPHASIS)
            padded = samples.new_zeros(*direct.shape[:-1], _FFT)
            frames = padded[..., : FRAME - 1].copy_(emphasised.unfold(-1, FRAME - 1, HOP))
            frames.sub_(direct, alpha=1 - _PREEMPHASIS).mul_(self.window[1:])
            real, imaginary = torch.view_as_real(torch.fft.rfft(padded)).unbind(dim=-1)
            power = real.square().addcmul_(imaginary, imaginary)
            return (power @ self.filters).clamp_(min=FLOOR).log_()


_CHANNELS = 8  # the most that recordings come with


def _refuse_other_samples(samples: Tensor) -> None:
    """Refuse what soundfile reads: an array; of a stereo file one that would be taken for thousands of clips of two samples.

    Raises:
        ConfigError: it is such.
    """
    if not isinstance(samples, Tensor):
        raise ConfigError(
            f"samples is a {type(samples).__name__}; give a torch.Tensor, such as torch.from_numpy(samples)"
        )
    shape = tuple(samples.shape)
    if len(shape) > 1 and shape[-1] <= _CHANNELS < FRAME <= shape[-2]:
        raise ConfigError(
            f"samples have the shape {shape}; give (..., samples), one channel: samples.mean(dim=-1) of {shape[-1]} channels"
        )


def _scaling(dtype: torch.dtype) -> str:
    """How integers of a type become samples."""
    if dtype in {torch.int8, torch.int16, torch.int32, torch.int64}:
        return f"; integer samples: divide by {-torch.iinfo(dtype).min} first, as in `samples.float() / {-torch.iinfo(dtype).min}`"
    return "; integer samples: subtract 128 and divide by 128 first" if dtype == torch.uint8 else ""
