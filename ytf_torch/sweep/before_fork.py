"""The engine for the last maps of a network that ends in a fork, see network/fork.py: in DeepID,
conv_3's channels enter fc_1 and conv_4 by way of pool_3, and conv_4 has a ReLU of its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ytf_torch.network.fork import Fork
from ytf_torch.network.module import Network
from ytf_torch.sweep import contributions
from ytf_torch.sweep.contributions import ContributionEngine, argmax, margin, padded_classes

# Of the units that a product adds up, the share up to which the others are worth leaving out.
WORTH_PICKING = 0.85


class BeforeForkEngine(ContributionEngine):
    """Takes each channel's contribution off what enters the hidden units directly, before their
    ReLU, and off the outputs of the fork's convolution, before theirs, which follow in the sums."""

    def __init__(self, model: Network, layer: str, rank_at: str, fork: Fork) -> None:
        super().__init__(model, layer, rank_at)
        self.fork = fork
        self.direct, self.further = _dense(model, fork.direct), _dense(model, fork.further)
        self.output = _dense(model, fork.output)
        self.convolution = model.convolution(fork.convolution)
        assert self.convolution.bias is not None
        self.convolution_bias = self.convolution.bias
        with torch.inference_mode():
            self.contributions = self._contributions()
            self.further_kernel = self._flat_kernel(fork.further, fork.convolution)
            self.magnitudes = self._magnitudes()
            missing = padded_classes(self.output.out_features)
            self.output_kernel = F.pad(self.output.weight.T, (0, missing)).contiguous()
            self.output_bias = F.pad(self.output.bias, (0, missing), value=-torch.inf)
        positions, channels, units = self.contributions.shape
        self.set_group(2 * (channels * positions + units) + len(self.output_bias))

    def _flat_kernel(self, dense: str, maps: str) -> Tensor:
        """The kernel (values, units) of a dense layer that reads these maps, see `_flat`."""
        places = math.prod(self.model.output_shape(maps)[1:])
        return _by_place(_dense(self.model, dense).weight, places).flatten(0, 1)

    def _contributions(self) -> Tensor:
        """See ContributionEngine."""
        _, height, width = self.model.output_shape(self.maps)
        positions = height * width
        ones = torch.eye(positions, dtype=self.model.dtype, device=self.model.device)
        impulses = ones.view(positions, 1, height, width)
        kernels = self.convolution.weight.transpose(0, 1).unsqueeze(2)
        hidden = self.direct.out_features
        behind = math.prod(self.model.output_shape(self.fork.convolution))
        # Filled piece by piece: it may be large, and three of it would not fit into memory.
        found = ones.new_empty((positions, len(kernels), hidden + behind))
        found[..., :hidden] = _by_place(self.direct.weight, positions)
        for channel, kernel in enumerate(kernels):
            found[:, channel, hidden:] = _flat(F.conv2d(impulses, kernel))
        return found

    def _magnitudes(self) -> tuple[Tensor, Tensor]:
        """What one value of the maps adds to a logit at most when all weights count as absolute
        values (values,), by both ways; and all biases together."""
        output = self.output.weight.T.abs()
        direct = self._flat_kernel(self.fork.direct, self.fork.maps).abs()
        further = self.further_kernel.abs()
        biases = self.direct.bias.abs() + self.further.bias.abs()
        places = len(further) // len(self.convolution_bias)
        biases += self.convolution_bias.abs().repeat(places) @ further
        of_maps = self.contributions[..., self.direct.out_features :]
        by_convolution = torch.cat([place.abs() @ further for place in of_maps])
        of_biases = biases @ output + self.output.bias.abs()
        largest = _largest(direct, output) + _largest(by_convolution, output)
        return largest, of_biases.amax()

    def sums(self, prepared: Tensor) -> Tensor:
        """See ContributionEngine."""
        biases = self.direct.bias + self.further.bias
        kernel = self.contributions[..., : self.direct.out_features].flatten(0, 1)
        direct = torch.addmm(biases, _flat(prepared), kernel)
        outputs = F.conv2d(prepared, self.convolution.weight, self.convolution.bias)
        return torch.cat([direct, _flat(outputs)], dim=1)

    def best(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """See ContributionEngine."""
        to_hidden, convolution = sums.tensor_split([self.direct.out_features], dim=1)
        to_hidden = _add_product(to_hidden, convolution.relu_(), self.further_kernel)
        logits = _add_product(self.output_bias, to_hidden.relu_(), self.output_kernel)
        classes = argmax(logits)
        return classes, margin(logits, classes)

    def magnitude(self, prepared: Tensor) -> Tensor:
        """See ContributionEngine."""
        of_maps, of_biases = self.magnitudes
        found = _flat(prepared).abs() @ of_maps + of_biases
        if self.keeps_zero:
            return found
        silent = _flat(self.silence).abs() @ of_maps
        return found + silent.repeat(len(found) // len(silent))


def _dense(model: Network, name: str) -> nn.Linear:
    layer = model.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    return layer


def _add_product(start: Tensor, values: Tensor, kernel: Tensor) -> Tensor:
    """start + values @ kernel, where `values` (rows, units) come from a ReLU: many units are zero
    on all rows, and nothing is multiplied by them. To know which they are a GPU would be waited
    for."""
    if values.device.type == "cpu":
        alive = values.amax(0).nonzero()[:, 0]
        if len(alive) <= WORTH_PICKING * len(kernel):
            values, kernel = values.index_select(1, alive), kernel.index_select(0, alive)
    return torch.addmm(start, values, kernel)


def _largest(values: Tensor, output: Tensor) -> Tensor:
    """(values @ output).amax(1), of some rows at a time: the product may be large."""
    rows = max(contributions.GROUP_BYTES // (output.shape[1] * output.itemsize), 1)
    parts = torch.split(values, rows)
    return torch.cat([(part @ output).amax(1) for part in parts])


def _flat(maps: Tensor) -> Tensor:
    """Maps (images, channels, H, W) → (images, values), place by place with all channels of each:
    so they lie in memory already, as channels_last."""
    return maps.permute(0, 2, 3, 1).flatten(1)


def _by_place(kernel: Tensor, places: int) -> Tensor:
    """A dense kernel (units, channels × places) → (places, channels, units)."""
    return kernel.view(len(kernel), -1, places).permute(2, 1, 0).contiguous()
