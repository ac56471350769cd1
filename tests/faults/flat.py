"""Whether what is measured again and again grows: its slope over time, with an interval, after a warm-up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import linregress, t

if TYPE_CHECKING:
    from collections.abc import Sequence

WARM_UP = 0.3  # of the time, in which caches fill
_BLOCKS = 10
_HOUR = 3600.0


@dataclass(frozen=True)
class Trend:
    """How a figure went."""

    first: float
    """Mean of the first tenth after the warm-up."""
    last: float
    low: float
    """Growth in an hour, of which 95 % lie between this one and `high`."""
    high: float
    hours: float
    """That were judged."""

    def grows(self, tolerance: float) -> bool:
        """Whether it grew by more than chance, and by more than is allowed.

        Args:
            tolerance: of the growth in the time that was judged.
        """
        return self.low * self.hours > tolerance


def trend(seconds: Sequence[float], values: Sequence[float]) -> Trend:
    """How a figure went, after the warm-up.

    The line goes through means of ten blocks. Neighbouring samples are alike, so that an interval of a line through all of them
    would be too narrow.

    Args:
        seconds: of each sample, in order.
        values: of the figure.

    Returns:
        The trend.
    """
    at, figure = np.asarray(seconds, float), np.asarray(values, float)
    judged = at >= at[0] + WARM_UP * (at[-1] - at[0])
    at, figure = at[judged] / _HOUR, figure[judged]
    blocks = [
        np.mean(np.stack([at[rows], figure[rows]]), axis=1) for rows in np.array_split(np.arange(len(at)), _BLOCKS)
    ]
    times, means = np.stack(blocks, axis=1)
    line = linregress(times, means)
    half = t.ppf(0.975, _BLOCKS - 2) * line.stderr
    return Trend(means[0], means[-1], line.slope - half, line.slope + half, at[-1] - at[0])
