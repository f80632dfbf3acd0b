"""Limits on network size: networks that people train pass, larger ones are refused unread."""

from __future__ import annotations

import pytest

from tests.made.keras_files import KERNELS, LAB, SMALL, WIDE
from ytf_torch.errors import InputError
from ytf_torch.network.budget import (
    BATCH,
    MAX_CONTRIBUTIONS,
    MAX_MEMORY,
    MAX_MULTIPLY_ADDS,
    MAX_SWEPT,
    MOVING,
    Cost,
    check_budget,
    check_swept,
    cost_of,
    swept,
)
from ytf_torch.network.deepid import DeepIDSizes, deepid_graph

ONES = ((1, 1),) * 4
PUBLISHED = DeepIDSizes((55, 47), (20, 40, 60, 80), KERNELS, features=160, classes=1283)


def cost(sizes: DeepIDSizes) -> Cost:
    return cost_of(deepid_graph(sizes))


def check(sizes: DeepIDSizes) -> None:
    check_budget("net.h5", deepid_graph(sizes))


def test_multiply_adds_are_those_of_every_layer() -> None:
    convolutions = 20 * 3 * 16 * 52 * 44 + 40 * 20 * 9 * 24 * 20 + 60 * 40 * 9 * 10 * 8
    convolutions += 80 * 60 * 4 * 4 * 3
    dense = 160 * (60 * 5 * 4 + 80 * 4 * 3) + 1283 * 160
    assert cost(PUBLISHED).multiply_adds == convolutions + dense


def test_values_are_the_largest_layers_in_a_batch_and_the_weights_twice() -> None:
    conv_1 = 3 * 55 * 47 + 3 * 16 * 52 * 44 + 20 * 52 * 44
    weights = 20 * 49 + 40 * 181 + 60 * 361 + 80 * 241 + 160 * 1201 + 160 * 961 + 1283 * 161
    assert cost(PUBLISHED).values == BATCH * conv_1 + 2 * weights


def test_a_sweep_costs_what_follows_a_layer_once_for_each_channel() -> None:
    only_last = DeepIDSizes((8, 8), (1, 1, 1, 100), ONES, features=3, classes=5)
    flattened, dense, added, relu, output = 200, 103, 9, 6, 8
    moved = flattened + dense + added + relu + output
    assert swept(deepid_graph(only_last), "conv_4") == 100 * (100 * 3 + 3 * 5 + MOVING * moved)


def test_contributions_are_those_of_the_forks_maps_to_all_that_they_enter() -> None:
    assert cost(PUBLISHED).contributions == 60 * 5 * 4 * (160 + 80 * 4 * 3)


@pytest.mark.parametrize(
    "sizes",
    [
        *(SMALL, WIDE, LAB, PUBLISHED),
        DeepIDSizes((55, 47), (20, 40, 60, 80), KERNELS, features=160, classes=100_000),
        DeepIDSizes((55, 47), (80, 160, 240, 320), KERNELS, features=640, classes=1283),
        DeepIDSizes((112, 96), (20, 40, 60, 80), KERNELS, features=160, classes=1283),
        DeepIDSizes((128, 128), (20, 40, 60, 80), KERNELS, features=160, classes=1283),
        DeepIDSizes((55, 47), (20, 40, 1, 1), KERNELS, features=160, classes=2),
    ],
)
def test_networks_that_people_train_pass(sizes: DeepIDSizes) -> None:
    check(sizes)


def test_the_published_network_passes_easily() -> None:
    found = cost(PUBLISHED)
    assert found.values * 8 * 8 < MAX_MEMORY
    assert found.multiply_adds * 50 < MAX_MULTIPLY_ADDS
    assert swept(deepid_graph(PUBLISHED), "conv_1") * 50 < MAX_SWEPT
    assert found.contributions * 10 < MAX_CONTRIBUTIONS


@pytest.mark.parametrize(
    ("sizes", "line"),
    [
        (
            DeepIDSizes((400, 400), (5, 1, 1, 1), ((100, 100), *ONES[1:]), 1, 2),
            "at most 448 MB of memory for 32 images, found one of 696,056",
        ),
        (
            DeepIDSizes((400, 400), (3, 3, 40, 150), ONES, 1, 2),
            "at most 1,000 million multiply-adds per image in a sweep",
        ),
        (DeepIDSizes((8, 8), (1, 1, 1, 1), ONES, 5_000_000, 2), "448 MB.*found one of 5,600"),
        (DeepIDSizes((8, 8), (1, 1, 1, 1), ONES, 1, 15_000_000), "100,000 classes, found 15,000"),
        (DeepIDSizes((8, 8), (1, 1, 5000, 1), ONES, 1, 2), "conv_3: .*2,048 channels, found 5,000"),
        (
            DeepIDSizes((64, 64), (16, 1000, 1, 1), ((1, 1), (9, 9), (1, 1), (1, 1)), 1, 2),
            "500 million multiply-adds per image, found one of 746",
        ),
    ],
)
def test_a_network_that_asks_for_too_much_is_refused(sizes: DeepIDSizes, line: str) -> None:
    with pytest.raises(InputError, match=rf"net\.h5.*{line}"):
        check(sizes)


def test_a_sweep_that_takes_too_long_is_refused_by_the_layer_that_is_swept() -> None:
    kernels = ((1, 1), (1, 1), (3, 3), (1, 1))
    graph = deepid_graph(DeepIDSizes((16, 16), (1, 1000, 500, 1), kernels, 1, 2))
    check_swept("net.h5", graph, "conv_3")
    with pytest.raises(InputError, match="12,000 million multiply-adds per image in a sweep"):
        check_swept("net.h5", graph, "conv_2")


@pytest.mark.parametrize("side", [5_000, 10**4299, 0, -3])
def test_faces_of_absurd_sizes_are_refused(side: int) -> None:
    with pytest.raises(InputError, match=r"at most 4,096 pixels a side|each side a number"):
        DeepIDSizes.of_shapes(LAB.parameter_shapes(), (side, 47), "net.h5")
