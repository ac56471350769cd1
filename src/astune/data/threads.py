"""Work on many files in threads: decoding and hashing, during which Python's lock is free."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_threads(
    work: Callable[[_Item], _Result], items: Sequence[_Item], begin: Callable[[], object] | None = None
) -> Iterator[_Result]:
    """Do the same work on many files, or parts of files, several at a time.

    All items are started at once and all results may wait: this is for results that are small. :func:`astune.inference.batches.ahead` works
    a limited number of items ahead, for those that are not.

    Args:
        work: what is done with an item.
        items: the files or parts.
        begin: is called once in each thread before it works.

    Yields:
        Results in the order of the items. When the caller stops early, so does the work.
    """
    pool = ThreadPoolExecutor(initializer=begin)
    try:
        yield from pool.map(work, items)
    finally:
        pool.shutdown(cancel_futures=True)
