"""Masking channels, temporarily with a forward hook or permanently in the weights."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from types import TracebackType

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ytf_torch.network.module import Network


def checked_channels(channels: Iterable[int], available: int) -> tuple[int, ...]:
    """`channels` as a tuple. Raises ValueError where one is outside 0…available − 1 or repeated."""
    chosen = tuple(int(channel) for channel in channels)
    outside = [channel for channel in chosen if not 0 <= channel < available]
    if outside:
        raise ValueError(f"expected channels in 0…{available - 1}, found {outside}")
    if len(set(chosen)) != len(chosen):
        raise ValueError(f"expected each channel once, found {chosen}")
    return chosen


class ChannelMask:
    """Zeroes channels of a layer's output, (batch, channels, …), while the `with` block runs.

    Registers one forward hook and removes it however the block ends; other hooks are not touched.
    Works on any device, in any memory format and under torch.inference_mode().
    Raises ValueError for channels that the layer does not have, RuntimeError when entered twice.

    >>> with ChannelMask(network.conv_3, [2, 4]):
    ...     logits = network(pixels)
    >>> logits.equal(bake_mask(network, "conv_3", [2, 4])(pixels))
    True
    """

    def __init__(self, layer: nn.Module, channels: Iterable[int]) -> None:
        self.layer = layer
        self.channels = checked_channels(channels, int(getattr(layer, "out_channels", 0)))
        self._index: Tensor | None = None
        self._handle: RemovableHandle | None = None

    def __enter__(self) -> ChannelMask:
        if self._handle is not None:
            raise RuntimeError("this ChannelMask is already in use")
        self._handle = self.layer.register_forward_hook(self._zero)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def _zero(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        # Created on the device of the output, which is only known here, and reused for later
        # batches.
        if self._index is None or self._index.device != output.device:
            self._index = torch.tensor(self.channels, dtype=torch.int64, device=output.device)
        return output.index_fill(1, self._index, 0)


def bake_mask(model: Network, layer: str, channels: Iterable[int]) -> Network:
    """A copy of `model` whose weights make `channels` of `layer` zero for every image.

    Raises ValueError where the network has no such layer or channel, or where no weights of the
    layer can keep a channel at zero.

    >>> baked = bake_mask(network, "conv_3", [2, 4])
    >>> baked.conv_3.bias[[2, 4]].tolist()
    [0.0, 0.0]
    """
    baked = copy.deepcopy(model)
    available = model.output_shape(layer)[0] if layer in model.graph.convolutions else 0
    chosen = list(checked_channels(channels, available))
    weights = baked.weights_of(layer)
    silenced = model.graph[layer].kind.silenced(weights, chosen)
    if silenced is None:
        raise ValueError(f"no weights of {layer} keep a channel at zero behind its activation")
    with torch.no_grad():
        for name, tensor in silenced.items():
            weights[name].copy_(tensor)
    return baked
