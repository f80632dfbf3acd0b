"""Reading while computing: background threads draw items before they are asked for."""

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
    whose turn it is has no more. Each source works out its next one in a thread of its own.

    What a source raises is raised here, at its place in the order. When this generator ends,
    fails or is closed, the threads have ended and the sources are closed, with the files they hold.
    """
    done = object()
    with ExitStack() as stack:
        for source in sources:
            stack.enter_context(closing(source))
        threads = stack.enter_context(ThreadPoolExecutor(len(sources), "read-ahead"))
        waiting = deque(threads.submit(next, source, done) for source in sources)
        turns = cycle(sources)
        try:
            while (item := waiting.popleft().result()) is not done:
                waiting.append(threads.submit(next, next(turns), done))
                yield item  # type: ignore[misc]
        finally:
            for future in waiting:
                future.cancel()
