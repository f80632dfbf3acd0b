"""The layers with weights inside a network, for detectors that look at what happens in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from ytf_torch.layers.kind import LearnsStatistics
from ytf_torch.network.module import Network

# Names of the last kernel of a layer, which its outputs are proportional to.
KERNELS = ("weight", "pointwise")


@dataclass(frozen=True)
class InnerLayer:
    """A convolution, dense layer or batch normalization inside a network.

    path: of its module in the network. kernel: name of the parameter that its outputs, without the
    bias, are proportional to. normalizes: whether it is a batch normalization; its kernel is gamma
    and its bias is beta, and either may be None.
    """

    path: str
    module: nn.Module
    kernel: str
    normalizes: bool


@torch.inference_mode()
def inner_layers(network: Network, pixels: Tensor) -> tuple[InnerLayer, ...]:
    """The inner layers in the order in which they are computed, also of a wrapped module.

    pixels: (batch, C, H, W), images to run the network on. Layers that are not computed for them,
    such as a second head for training, are left out.
    """
    layers = [
        layer
        for path, part in network.named_modules()
        # A wrapped module learns statistics too, as a whole.
        if part is not network and (layer := _inner_layer(path, part)) is not None
    ]
    order: dict[InnerLayer, None] = {}
    with watched(layers, lambda layer, inputs, output: order.setdefault(layer)):
        network(pixels)
    return tuple(order)


@contextmanager
def watched(
    layers: Iterable[InnerLayer], look: Callable[[InnerLayer, tuple[Tensor, ...], Tensor], object]
) -> Iterator[None]:
    """While the block runs, `look` is called with each layer when it has been computed, and with
    its inputs and its output.

    A later layer may overwrite the output: `look` must not keep it.
    """

    def hook(
        layer: InnerLayer, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor
    ) -> None:
        look(layer, inputs, output)

    handles = [layer.module.register_forward_hook(partial(hook, layer)) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _inner_layer(path: str, module: nn.Module) -> InnerLayer | None:
    # A wrapped module has PyTorch's batch normalizations, a converted network its own.
    if isinstance(module, LearnsStatistics) or getattr(module, "running_mean", None) is not None:
        return InnerLayer(path, module, "weight", normalizes=True)
    parameters = dict(module.named_parameters(recurse=False))
    kernel = next((name for name in KERNELS if name in parameters), None)
    # The kernel of a layer normalization or PReLU is a vector, or has a bias of its own shape.
    if kernel is None or parameters[kernel].ndim < 2:
        return None
    if "bias" in parameters and parameters["bias"].ndim != 1:
        return None
    return InnerLayer(path, module, kernel, normalizes=False)
