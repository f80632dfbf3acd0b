from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.made.keras_files import SMALL
from ytf_torch.network.deepid import DeepID
from ytf_torch.network.layers import ConvRelu, MaxPool, pooled_convolution


@pytest.mark.parametrize("size", [(8, 8), (9, 7)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_convolution_that_is_only_pooled_gives_the_same_bits(
    size: tuple[int, int], dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    convolution, pool = ConvRelu(3, 5, 3).to(dtype), MaxPool()
    faces = torch.randn(4, 3, *size, dtype=dtype)
    with torch.inference_mode():
        together = pooled_convolution(convolution, pool, faces)
        assert torch.equal(together, pool(convolution(faces)))
        assert together.min() == 0 < together.max()


@pytest.mark.parametrize("layer", ["conv_1", "pool_1", "conv_3", "pool_3"])
def test_a_hook_sees_values_after_the_relu_and_what_it_gives_counts(layer: str) -> None:
    torch.manual_seed(0)
    network = DeepID(SMALL).eval()
    pixels = torch.randint(0, 256, (2, 3, 55, 47), dtype=torch.uint8)
    seen: list[Tensor] = []

    def see_and_change(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        seen.append(output.clone())
        return output + 1

    with torch.inference_mode():
        plain = network(pixels)
        handle = network.get_submodule(layer).register_forward_hook(see_and_change)
        assert not torch.equal(network(pixels), plain)
        handle.remove()
        assert torch.equal(network(pixels), plain)
    assert seen[0].min() == 0
