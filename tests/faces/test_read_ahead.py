"""Reading runs ahead of computing, in order, and ends cleanly whatever happens."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from ytf_torch.faces.read_ahead import read_ahead


class Source:
    """Counts to `stop`, remembers how far it was asked, where it ran and whether it was closed."""

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


@pytest.mark.parametrize("depth", [1, 2, 9])
@pytest.mark.parametrize("stop", [0, 1, 5])
def test_everything_comes_in_order_from_another_thread(stop: int, depth: int) -> None:
    source = Source(stop)
    assert list(read_ahead(source.items(), depth)) == list(range(stop))
    assert source.closed
    assert not readers()
    assert threading.current_thread().name not in source.threads


@pytest.mark.parametrize("depth", [1, 3])
def test_no_more_than_the_depth_is_read_in_advance(depth: int) -> None:
    source = Source(20)
    items = read_ahead(source.items(), depth)
    assert next(items) == 0
    items.close()
    assert source.drawn in (list(range(count)) for count in range(1, depth + 2))
    assert source.closed


def test_an_error_comes_at_its_place_in_the_order() -> None:
    source = Source(fails_at=3)
    items = read_ahead(source.items(), depth=4)
    assert [next(items), next(items), next(items)] == [0, 1, 2]
    with pytest.raises(OSError, match="disk on fire"):
        next(items)
    assert source.closed
    assert not readers()


def test_a_reader_that_stops_early_leaves_no_thread() -> None:
    source = Source()

    def consume() -> None:
        for number in read_ahead(source.items()):
            if number == 1:
                raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        consume()
    assert source.closed
    assert not readers()
