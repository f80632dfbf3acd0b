from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.made.keras_files import SMALL
from ytf_torch.network.deepid import deepid


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("pool", ["pool_1", "pool_2", "pool_3"])
def test_a_convolution_that_is_only_pooled_gives_the_same_bits(
    pool: str, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    network = deepid(SMALL).to(dtype).eval()
    pixels = torch.randint(0, 256, (4, *SMALL.input_shape), dtype=torch.uint8)
    with torch.inference_mode():
        known = {"input": network.scale(pixels)}
        (convolution,) = network.graph[pool].inputs
        (before,) = network.graph[convolution].inputs
        maps = network.output_of(before, known)
        separately = network.layer(pool)(network.layer(convolution)(maps))
        together = network.output_of(pool, known)
        assert torch.equal(together, separately)
        assert together.min() == 0 < together.max()


@pytest.mark.parametrize("layer", ["conv_1", "pool_1", "conv_3", "pool_3", "add_1", "output"])
def test_what_a_hook_gives_counts(layer: str) -> None:
    torch.manual_seed(0)
    network = deepid(SMALL).eval()
    pixels = torch.randint(0, 256, (2, 3, 55, 47), dtype=torch.uint8)
    seen: list[Tensor] = []

    def see_and_change(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        seen.append(output.clone())
        return output + 1

    with torch.inference_mode():
        plain = network(pixels)
        handle = network.layer(layer).register_forward_hook(see_and_change)
        assert not torch.equal(network(pixels), plain)
        handle.remove()
        assert torch.equal(network(pixels), plain)
    if layer.startswith(("conv", "pool")):  # their output is what stands behind the ReLU
        assert seen[0].min() == 0
