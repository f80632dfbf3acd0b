"""Prefetching keeps the order of items, and cleans up however it ends."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from ytf_torch.images.read_ahead import read_ahead


class Source:
    """Counts to `stop`; records how far it was drawn, in which threads, and if it was closed."""

    def __init__(self, stop: int = 5, fails_at: int | None = None) -> None:
        self.stop, self.fails_at = stop, fails_at
        self.drawn: list[int] = []
        self.threads: set[str] = set()
        self.closed = False

    def items(self) -> Generator[int, None, None]:
        try:
            for number in range(self.stop):
                self.threads.add(threading.current_thread().name)
                if number == self.fails_at:
                    raise OSError("disk on fire")
                self.drawn.append(number)
                yield number
        finally:
            self.closed = True


def readers() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("read-ahead")]


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("stop", [0, 1, 5])
def test_sources_take_turns_each_in_another_thread(stop: int, count: int) -> None:
    sources = [Source(stop) for _ in range(count)]
    found = list(read_ahead([source.items() for source in sources]))
    assert found == [number for number in range(stop) for _ in range(count)]
    assert all(source.closed for source in sources) or not stop
    assert not readers()
    assert all(threading.current_thread().name not in source.threads for source in sources)


def test_it_ends_when_the_source_whose_turn_it_is_is_exhausted() -> None:
    longer, shorter = Source(3), Source(2)
    assert list(read_ahead([longer.items(), shorter.items()])) == [0, 0, 1, 1, 2]
    assert longer.closed
    assert shorter.closed


def test_one_item_is_prefetched() -> None:
    source = Source(20)
    items = read_ahead([source.items()])
    assert next(items) == 0
    items.close()
    assert source.drawn in ([0], [0, 1])
    assert source.closed


def test_an_exception_is_raised_at_its_position_in_the_order() -> None:
    sound, bad = Source(), Source(fails_at=1)
    items = read_ahead([sound.items(), bad.items()])
    assert [next(items), next(items), next(items)] == [0, 0, 1]
    with pytest.raises(OSError, match="disk on fire"):
        next(items)
    assert sound.closed
    assert bad.closed
    assert not readers()


def test_a_reader_that_stops_early_leaves_no_thread() -> None:
    source = Source()

    def consume() -> None:
        for number in read_ahead([source.items()]):
            if number == 1:
                raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        consume()
    assert source.closed
    assert not readers()
