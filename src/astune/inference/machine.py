"""How much of the machine a predictor takes."""

from __future__ import annotations

from astune.environment import usable_cores
from astune.errors import ConfigError
from astune.validated import fits


def machine(threads: int | None, batch_size: int) -> tuple[int, int]:
    """How many threads decode, and how many windows the model takes at a time.

    Args:
        threads: number of threads; by default one for each usable core.
        batch_size: batch size that the user gave.

    Returns:
        Both.

    Raises:
        ConfigError: one of them is not a whole number of 1 or more.
    """
    refuse_other_number("threads", 1 if threads is None else threads)
    refuse_other_number("batch_size", batch_size)
    return int(threads or usable_cores()), int(batch_size)


def refuse_other_number(name: str, number: object) -> None:
    """Refuse what does not count anything.

    Args:
        name: the name of the argument.
        number: its value.

    Raises:
        ConfigError: it is not a whole number from 1 on.
    """
    if not (fits(number, int) and number >= 1):  # type: ignore[operator] # a number, NumPy's too
        raise ConfigError(f"{name}={number!r}: give a whole number of 1 or more")
