"""The thread pool: results in order, one item per engine at a time, no threads left behind."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import Tensor

from tests.made.keras_files import SMALL
from ytf_torch.network.deepid import deepid
from ytf_torch.sweep.engine import SweepEngine
from ytf_torch.sweep.plain import PlainEngine
from ytf_torch.sweep.workers import Workers, workers

CPU = torch.device("cpu")


class Counting:
    """A fake engine that records its clones, and holds a lock while it is in use."""

    group = 1

    def __init__(self) -> None:
        self.made = [self]
        self.busy = threading.Lock()

    def clone(self) -> SweepEngine:
        other = Counting()
        self.made.append(other)
        return other

    def observe(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def predictions(self, prepared: Tensor, order: Sequence[int]) -> Tensor:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def usual_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def alone(engine: SweepEngine, item: int) -> int:
    """Twice the item. Fails if the engine is already in use, or outside inference mode."""
    assert isinstance(engine, Counting)
    assert engine.busy.acquire(blocking=False)
    try:
        assert torch.is_inference_mode_enabled()
        return 2 * item
    finally:
        engine.busy.release()


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("items", [0, 1, 2, 50])
def test_results_come_in_order_and_no_engine_does_two_at_once(threads: int, items: int) -> None:
    torch.set_num_threads(threads)
    with torch.inference_mode(), workers(Counting(), CPU) as at_work:
        assert list(at_work.map(alone, range(items))) == [2 * item for item in range(items)]


@pytest.mark.parametrize(
    ("threads", "engines", "left_for_each"), [(1, 1, 1), (3, 3, 1), (20, 8, 2)]
)
def test_threads_are_shared_out_among_engines_and_given_back(
    threads: int, engines: int, left_for_each: int
) -> None:
    torch.set_num_threads(threads)
    first = Counting()
    with workers(first, CPU):
        assert len(first.made) == engines
        assert torch.get_num_threads() == left_for_each
    assert torch.get_num_threads() == threads
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sweep")]


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_comes_at_its_place_in_the_order(threads: int) -> None:
    def fails_at_five(engine: SweepEngine, item: int) -> int:
        if item == 5:
            raise OSError("disk on fire")
        return item

    torch.set_num_threads(threads)
    found = []
    with workers(Counting(), CPU) as at_work, pytest.raises(OSError, match="disk on fire"):
        for item in at_work.map(fails_at_five, range(20)):
            found.append(item)
    assert found == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("threads", [1, 2])
def test_little_is_asked_for_ahead(threads: int) -> None:
    torch.set_num_threads(threads)
    items = iter(range(100))
    with torch.inference_mode(), workers(Counting(), CPU) as at_work:
        next(at_work.map(alone, items))
    assert next(items) <= 2 * threads


def test_plain_engines_side_by_side_mask_each_their_own_network() -> None:
    torch.manual_seed(0)
    model = deepid(SMALL).eval()
    first = PlainEngine(model, "conv_3", "pool_3")
    pixels = torch.randint(0, 256, (32, *SMALL.input_shape), dtype=torch.uint8)
    orders = [list(range(model.conv_3.out_channels))[::step] for step in (1, -1)] * 4
    with torch.inference_mode():
        expected = [first.predictions(pixels, order) for order in orders]

    def predictions(engine: SweepEngine, order: list[int]) -> Tensor:
        return engine.predictions(pixels, order)

    engines: list[SweepEngine] = [first, first.clone()]
    found = list(Workers(engines).map(predictions, orders))
    assert all(map(torch.equal, found, expected))


def test_what_a_pass_computes_waits_for_no_search_for_garbage() -> None:
    model = deepid(SMALL).eval()
    pixels = torch.zeros(2, *SMALL.input_shape)
    with torch.inference_mode():
        model(pixels)
        gc.collect()
        gc.disable()
        try:
            model(pixels)
            assert gc.collect() == 0
        finally:
            gc.enable()
