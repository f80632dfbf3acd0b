from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.made.classifiers import conv, graph_of
from tests.made.keras_files import SMALL
from ytf_torch.network.deepid import deepid
from ytf_torch.network.module import Network


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


@pytest.mark.parametrize("flat", [False, True], ids=["noise", "flat images"])
@pytest.mark.parametrize("activation", ["relu", "elu", "relu6"])
@pytest.mark.parametrize("pool", ["MaxPooling2D", "GlobalMaxPooling2D"])
def test_a_convolution_that_is_only_pooled_learns_from_the_same_gradients(
    pool: str, activation: str, flat: bool
) -> None:
    """In flat images all values of a pooling window tie for the maximum; one is chosen."""
    graph = graph_of(
        (11, 9, 3),
        [
            conv("maps", 5, activation=activation),
            ("pool", pool, {}),
            ("flatten", "Flatten", {}),
            ("scores", "Dense", {"units": 4}),
        ],
    )
    torch.manual_seed(0)
    network = Network(graph, 1.0).fresh()
    shape = (4, 3, 1, 1) if flat else (4, 3, 11, 9)
    pixels = torch.randn(shape, generator=torch.Generator().manual_seed(0)).expand(4, 3, 11, 9)

    def gradients(*, separately: bool) -> list[Tensor]:
        inputs = pixels.clone().requires_grad_()
        layers = [network.layer(name) for name in ("maps", "pool")]
        # A hook must see the activated output, so with hooks the two are computed one by one.
        hooks = [layer.register_forward_hook(lambda *_: None) for layer in layers if separately]
        logits = network(inputs)
        for hook in hooks:
            hook.remove()
        targets = [inputs, *network.parameters()]
        return [logits, *torch.autograd.grad((logits**3).sum(), targets)]

    found, expected = gradients(separately=False), gradients(separately=True)
    assert all(map(torch.equal, found, expected))
    assert all(bool(one.any()) for one in expected)


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
