"""Work on many things in threads: decoding and hashing, during which Python's lock is free."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_threads(
    work: Callable[[_Item], _Result], items: Sequence[_Item], begin: Callable[[], object] | None = None
) -> Iterator[_Result]:
    """Do the same work on many files, or parts of files, several at a time.

    All items are started at once and all results may wait: this is for results that are small. :func:`ahead` works a limited
    number of items ahead, for those that are not.

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


def ahead(
    work: Callable[[_Item], _Result],
    items: Iterable[_Item],
    *,
    threads: int,
    waiting: int,
    begin: Callable[[], object] | None = None,
) -> Generator[_Result, None, None]:
    """Do something with many things in threads, in their order, a limited number of them ahead of the caller.

    Args:
        work: what is done with each.
        items: the things; they are drawn in the caller's thread.
        threads: number of threads that work at a time; 0 to work in the caller's thread.
        waiting: results that may be ready, or in work, before the caller asks for them.
        begin: is called once in each thread before it works.

    Yields:
        The results. When the caller stops early, so does the work.
    """
    if not threads:
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(threads, initializer=begin)
    pending: deque[Future[_Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > waiting:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
