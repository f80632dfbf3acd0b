"""A thread pool over batches: each batch is computed by one thread.

PyTorch's own (intra-op) threads split every operation and synchronise after each one. Threads that
compute whole batches do not wait for each other: a fifth less time for the lab's network on two
cores. Results also become independent of the number of cores, because no sum is split differently.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TypeVar

import torch

from ytf_torch.sweep.engine import SweepEngine

Item = TypeVar("Item")
Result = TypeVar("Result")

# With more threads than this they would mostly wait for Python's global interpreter lock (GIL).
MOST_THREADS = 8


class Workers:
    """A pool of engines, one per thread. A single engine runs in the caller's thread.

    A single engine computes nothing ahead of its consumer: on a GPU, CUDA's own queue does that.
    """

    def __init__(self, engines: list[SweepEngine]) -> None:
        self.engine = engines[0]
        self.free: SimpleQueue[SweepEngine] = SimpleQueue()
        for engine in engines:
            self.free.put(engine)
        self.at_once = len(engines)
        self.threads = ThreadPoolExecutor(len(engines), "sweep") if len(engines) > 1 else None

    def map(
        self, work: Callable[[SweepEngine, Item], Result], items: Iterable[Item]
    ) -> Iterator[Result]:
        """Yield `work(engine, item)` for each item, in order. An exception of `work` is raised when
        its result is due."""
        if self.threads is None:
            yield from (work(self.engine, item) for item in items)
            return
        pending: deque[Future[Result]] = deque()
        try:
            for item in items:
                pending.append(self.threads.submit(self._run, work, item))
                # Bounded look-ahead: items hold batches, which must not pile up in memory.
                if len(pending) > self.at_once + 1:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            # Reached too when the consumer stops early or `work` failed.
            for future in pending:
                future.cancel()

    def _run(self, work: Callable[[SweepEngine, Item], Result], item: Item) -> Result:
        engine = self.free.get()
        try:
            with torch.inference_mode():  # a thread-local setting
                return work(engine, item)
        finally:
            self.free.put(engine)


@contextmanager
def workers(engine: SweepEngine, device: torch.device) -> Iterator[Workers]:
    """A pool with one clone of the engine per PyTorch thread, at most MOST_THREADS; one on a GPU.

    Within this context PyTorch's intra-op threads are divided among the workers; afterwards the
    previous setting is restored.
    """
    threads = torch.get_num_threads()
    count = min(threads, MOST_THREADS) if device.type == "cpu" else 1
    pool = Workers([engine, *(engine.clone() for _ in range(count - 1))])
    # Divided among the workers: with all of them for each, they would compete for the cores.
    torch.set_num_threads(max(threads // count, 1))
    try:
        yield pool
    finally:
        if pool.threads is not None:
            pool.threads.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
