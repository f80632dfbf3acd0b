from __future__ import annotations

import torch

from ytf_torch.sweep.activation import Activation, ActivationSums, mean_activation


def test_sums_are_exact_where_plain_ones_lose_all() -> None:
    sums = ActivationSums(batches=4)
    for value in (1e30, 1.0, -1e30):
        sums.add(torch.full((2, 1, 1, 1), value, dtype=torch.float64))
    assert sums.total() == Activation((2.0,), 6)


def test_the_mean_is_over_images_and_positions_of_all_parts() -> None:
    sums = ActivationSums(batches=1)
    output = torch.arange(2 * 3 * 2 * 2, dtype=torch.float32).view(2, 3, 2, 2)
    sums.add(output)
    assert sums.total().positions == 2 * 2 * 2
    assert mean_activation([sums.total()]) == tuple(output.mean((0, 2, 3)).tolist())
    assert mean_activation([Activation((4.0,), 3), Activation((5.0,), 6)]) == (1.0,)


def test_a_part_without_images_counts_for_nothing() -> None:
    nothing = ActivationSums(batches=0).total()
    assert mean_activation([nothing, Activation((6.0, 8.0), 2)]) == (3.0, 4.0)
