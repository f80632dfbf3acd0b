"""Reading while computing: a background thread draws items before they are asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

Item = TypeVar("Item")


def read_ahead(items: Generator[Item, None, None], depth: int = 1) -> Generator[Item, None, None]:
    """Yield `items` in order; one background thread works out up to `depth` of them in advance.

    What `items` raises is raised here, at its place in the order. When this generator ends,
    fails or is closed, the thread has ended and `items` is closed, with the files it holds.
    """
    done = object()
    with closing(items), ThreadPoolExecutor(1, "read-ahead") as thread:
        waiting = deque(thread.submit(next, items, done) for _ in range(depth))
        try:
            while (item := waiting.popleft().result()) is not done:
                waiting.append(thread.submit(next, items, done))
                yield item  # type: ignore[misc]
        finally:
            for future in waiting:
                future.cancel()
