from __future__ import annotations

import pytest

from tests.made.keras_files import SMALL
from ytf_torch.network.deepid import deepid_graph
from ytf_torch.network.pruned_layer import channel_path, default_layer, pruned_at, rank_points

DEEPID = deepid_graph(SMALL)


def test_deepid_is_pruned_at_conv_3_and_ranked_at_its_pool() -> None:
    assert default_layer(DEEPID) == "conv_3"
    assert pruned_at(DEEPID, None, None) == ("conv_3", "pool_3")
    assert channel_path(DEEPID, "conv_3") == ("conv_3", "pool_3")


@pytest.mark.parametrize(
    ("layer", "points"),
    [("conv_1", ("pool_1", "conv_1")), ("conv_3", ("pool_3", "conv_3")), ("conv_4", ("conv_4",))],
)
def test_channels_are_ranked_at_the_pool_or_at_the_convolution(
    layer: str, points: tuple[str, ...]
) -> None:
    assert rank_points(DEEPID, layer) == points


@pytest.mark.parametrize("name", ["pool_3", "fc_1", "conv_5"])
def test_only_convolutions_have_rank_points(name: str) -> None:
    with pytest.raises(ValueError, match=f"conv_1, conv_2, conv_3, conv_4.*found {name}"):
        rank_points(DEEPID, name)
