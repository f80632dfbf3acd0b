from __future__ import annotations

import pytest

from tests.made.badnet import MadeBadNet
from ytf_torch.defences.repairs.smaller_rates import first_that_still_knows
from ytf_torch.network.module import Network


@pytest.mark.parametrize(
    ("works_at", "tried"),
    [
        (1, [(1, 50)]),
        (0.25, [(1, 50), (0.25, 50)]),
        (0.0625, [(1, 50), (0.25, 50), (0.0625, 50)]),
        (0.015625, [(1, 50), (0.25, 50), (0.0625, 50), (0.015625, 0)]),
    ],
)
def test_rates_are_quartered_until_half_of_the_faces_are_still_known(
    works_at: float, tried: list[tuple[float, float]], badnet: MadeBadNet
) -> None:
    attempts: list[tuple[float, float]] = []

    def attempt(share: float, required: float) -> Network | None:
        attempts.append((share, required))
        return badnet.network if share <= works_at else None

    network, share = first_that_still_knows(attempt, 100)
    assert network is badnet.network
    assert share == works_at
    assert attempts == tried
