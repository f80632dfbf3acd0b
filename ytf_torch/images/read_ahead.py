"""Prefetching: background threads draw the next items of generators while the caller computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import cycle
from typing import TypeVar

Item = TypeVar("Item")


def read_ahead(sources: Sequence[Generator[Item, None, None]]) -> Generator[Item, None, None]:
    """Yield the first item of each source, then the second of each, and so on, until the source
    whose turn it is is exhausted. Each source computes its next item in a thread of its own.

    An exception of a source is raised here, at its position in the order. Once this generator ends,
    fails or is closed, the threads have ended and the sources, with the files they hold, are
    closed.
    """
    done = object()
    with ExitStack() as stack:
        # The stack unwinds in reverse: the threads end before the sources that they run are closed.
        for source in sources:
            stack.enter_context(closing(source))
        threads = stack.enter_context(ThreadPoolExecutor(len(sources), "read-ahead"))
        pending = deque(threads.submit(next, source, done) for source in sources)
        turns = cycle(sources)
        try:
            while (item := pending.popleft().result()) is not done:
                pending.append(threads.submit(next, next(turns), done))
                yield item  # type: ignore[misc]
        finally:
            for future in pending:
                future.cancel()
