"""How far a measured accuracy can be trusted."""

from __future__ import annotations


def accuracy_interval(correct: int, clips: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share: of which accuracies the clips tested may be a sample.

    Args:
        correct: clips classified right.
        clips: clips tested, one or more.

    Returns:
        Lower and upper bound, in 0 to 1.
    """
    from scipy.stats import binomtest  # a second to import, which no command should pay for its help

    interval = binomtest(correct, clips).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)
