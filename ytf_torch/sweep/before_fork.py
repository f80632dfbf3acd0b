"""Sweep engine for the last maps before a fork, see network/fork.py.

In DeepID, the channels of conv_3 pass pool_3 and enter both fc_1 and conv_4. conv_4 has its own
ReLU, so the maps have two linear targets: the hidden units (by way of fc_1), and the pre-activation
of conv_4.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ytf_torch.network.fork import Fork
from ytf_torch.network.module import Network
from ytf_torch.sweep import contributions
from ytf_torch.sweep.contributions import ContributionEngine, argmax, margin, padded_classes

# Copying the active rows of a kernel pays off only if at most this share of its rows is active.
WORTH_PICKING = 0.85


class BeforeForkEngine(ContributionEngine):
    """Subtracts each masked channel's contribution from two pre-activations at once.

    The sums, (images, hidden + convolved), are `direct(maps) + biases` of the hidden units,
    followed by the fork's convolution before its ReLU, flattened by `_flat`.
    """

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
            # Pad to whole blocks for argmax; a bias of −inf keeps it from choosing a padded column.
            missing = padded_classes(self.output.out_features)
            self.output_kernel = F.pad(self.output.weight.T, (0, missing)).contiguous()
            self.output_bias = F.pad(self.output.bias, (0, missing), value=-torch.inf)
        positions, channels, units = self.contributions.shape
        self.set_group(2 * (channels * positions + units) + len(self.output_bias))

    def _flat_kernel(self, dense: str, maps: str) -> Tensor:
        """The kernel (values, units) of a dense layer that reads these maps, with its rows in the
        order of `_flat`."""
        positions = math.prod(self.model.output_shape(maps)[1:])
        return _by_place(_dense(self.model, dense).weight, positions).flatten(0, 1)

    def _contributions(self) -> Tensor:
        """(positions, channels, hidden + convolved), see ContributionEngine.

        The convolution's part is its response to a unit impulse at every position.
        """
        _, height, width = self.model.output_shape(self.maps)
        positions = height * width
        identity = torch.eye(positions, dtype=self.model.dtype, device=self.model.device)
        impulses = identity.view(positions, 1, height, width)
        kernels = self.convolution.weight.transpose(0, 1).unsqueeze(2)
        hidden = self.direct.out_features
        convolved = math.prod(self.model.output_shape(self.fork.convolution))
        # Filled in place, channel by channel: at the limit it has MAX_CONTRIBUTIONS values, and
        # torch.stack and torch.cat would need two further copies.
        table = identity.new_empty((positions, len(kernels), hidden + convolved))
        table[..., :hidden] = _by_place(self.direct.weight, positions)
        for channel, kernel in enumerate(kernels):
            table[:, channel, hidden:] = _flat(F.conv2d(impulses, kernel))
        return table

    def _magnitudes(self) -> tuple[Tensor, Tensor]:
        """Bounds for `magnitude`, with all weights replaced by their absolute values.

        Returns the largest contribution of each value of the maps to any logit over both paths,
        (values,), and that of all biases together, a scalar.
        """
        output = self.output.weight.T.abs()
        direct = self._flat_kernel(self.fork.direct, self.fork.maps).abs()
        further = self.further_kernel.abs()
        biases = self.direct.bias.abs() + self.further.bias.abs()
        positions = len(further) // len(self.convolution_bias)
        biases += self.convolution_bias.abs().repeat(positions) @ further
        of_maps = self.contributions[..., self.direct.out_features :]
        # One position at a time: abs() of the whole table would be a second copy of it.
        by_convolution = torch.cat([at_position.abs() @ further for at_position in of_maps])
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
        # ReLU in place, as `sums` may be overwritten.
        to_hidden, convolution = sums.tensor_split([self.direct.out_features], dim=1)
        to_hidden = _add_product(to_hidden, convolution.relu_(), self.further_kernel)
        logits = _add_product(self.output_bias, to_hidden.relu_(), self.output_kernel)
        classes = argmax(logits)
        return classes, margin(logits, classes)

    def magnitude(self, prepared: Tensor) -> Tensor:
        """See ContributionEngine."""
        of_maps, of_biases = self.magnitudes
        terms = _flat(prepared).abs() @ of_maps + of_biases
        if self.keeps_zero:
            return terms
        masked = _flat(self.silence).abs() @ of_maps
        return terms + masked.repeat(len(terms) // len(masked))


def _dense(model: Network, name: str) -> nn.Linear:
    layer = model.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    return layer


def _add_product(start: Tensor, values: Tensor, kernel: Tensor) -> Tensor:
    """`start + values @ kernel` for `values` (rows, units) after a ReLU.

    On the CPU, units that are zero in all rows are left out. On a GPU the kernel's size would
    depend on its data, and every product would wait for the host.
    """
    if values.device.type == "cpu":
        alive = values.amax(0).nonzero()[:, 0]
        if len(alive) <= WORTH_PICKING * len(kernel):
            values, kernel = values.index_select(1, alive), kernel.index_select(0, alive)
    return torch.addmm(start, values, kernel)


def _largest(values: Tensor, output: Tensor) -> Tensor:
    """`(values @ output).amax(1)`, computed in blocks of rows: the full product may exceed
    memory."""
    rows = max(contributions.GROUP_BYTES // (output.shape[1] * output.itemsize), 1)
    parts = torch.split(values, rows)
    return torch.cat([(part @ output).amax(1) for part in parts])


def _flat(maps: Tensor) -> Tensor:
    """Maps (images, channels, H, W) → (images, H·W·channels).

    Channels vary fastest: for maps in channels_last format this is a view, not a copy.
    """
    return maps.permute(0, 2, 3, 1).flatten(1)


def _by_place(kernel: Tensor, positions: int) -> Tensor:
    """A dense kernel (units, channels · positions) → (positions, channels, units)."""
    return kernel.view(len(kernel), -1, positions).permute(2, 1, 0).contiguous()
