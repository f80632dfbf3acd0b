from __future__ import annotations

import pytest

from ytf_torch.sweep.order import Direction, ascending_order, pruning_order

SCORES = [2.0, 0.0, 2.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("direction", "order"), [("ascending", (1, 4, 3, 0, 2)), ("descending", (0, 2, 3, 1, 4))]
)
def test_ties_go_by_channel_index_in_both_directions(
    direction: Direction, order: tuple[int, ...]
) -> None:
    assert pruning_order(SCORES, direction) == order
    assert ascending_order(SCORES) == pruning_order(SCORES, "ascending")
