"""The pruning sweep for about the price of one more forward pass, with the plain sweep's figures.

Up to the pool of the masked layer nothing changes during a sweep, so it is computed once. Where the
network ends in a fork (see network/graph.py), masking a channel of the last convolutions zeroes
maps that enter only layers which are linear up to the next ReLU: in DeepID, conv_3's channels enter
fc_1 and conv_4 by way of pool_3, and conv_4's enter fc_2. The channel's contribution is taken off
their sums, and only the small rest runs again. A channel that is zero on all images at hand changes
nothing.

Taking contributions off rounds differently from the plain sweep. Wherever the two best logits
are closer than that could explain, the image is run again at that step as the plain sweep does,
so every prediction is the plain sweep's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ytf_torch.faces.batches import BATCH_SIZE
from ytf_torch.metrics import classes_of
from ytf_torch.network.budget import MAX_CONTRIBUTIONS, contributions
from ytf_torch.network.fork import fork_of
from ytf_torch.network.module import Network
from ytf_torch.sweep.engine import SweepEngine
from ytf_torch.sweep.suffix import SuffixEngine, pruning_steps

# What the linear engine may have in memory of one group of images; the larger the group, the less
# the steps of a sweep cost each, until it leaves a core's own memory. 1056 images for the lab's
# network; on a GPU, where every step costs the same, twice as many.
GROUP_BYTES = 24 * 2**20
GPU_GROUP_BYTES = 48 * 2**20
# Classes searched at once, see _argmax.
BLOCK = 32
# Of the units that a product adds up, the share up to which the others are worth leaving out.
WORTH_PICKING = 0.85
# In units of one rounding at the sum of absolute terms. Real networks stay below 0.1 of them.
# Products of equal terms, whose roundings all go one way, can reach 80, so what is allowed is
# checked on every group, at all that is doubtful and PROBES batches more: where the plain sweep is
# further from it than this share of what is allowed, the whole group is run again.
ROUNDINGS = 8.0
TOLERATED = 0.25
PROBES = 4
# How far below overflow all terms of a logit have to stay; a power of two, which rounds nothing.
MARGIN = 4.0


def fast_engine(model: Network, layer: str, rank_at: str) -> SweepEngine:
    """The fast engine for masking `layer`, ranked at `rank_at`: see SweepEngine."""
    fork = fork_of(model.graph)
    if fork is None or model.graph.maps_of(layer) not in (fork.maps, fork.convolution):
        return SuffixEngine(model, layer, rank_at)
    fits = contributions(fork, model.graph.shapes) <= MAX_CONTRIBUTIONS
    suffix = SuffixEngine(model, layer, rank_at)
    return LinearEngine(model, layer, rank_at) if fits and suffix.silence is None else suffix


class LinearEngine(SuffixEngine):
    """Takes each channel's contribution off the sums it enters, for a network that ends in a fork
    and the layers whose maps are the fork's or those of its convolution.

    The sums, (batch, units), are what is linear in the layer's channels: first what enters the
    hidden units, before their ReLU. Where the fork's own maps are masked, this lacks what comes
    through the fork's convolution, whose own outputs, before the ReLU, follow.
    """

    def __init__(self, model: Network, layer: str, rank_at: str) -> None:
        super().__init__(model, layer, rank_at)
        fork = fork_of(model.graph)
        if fork is None:
            raise ValueError("the network does not end in a fork")
        self.fork, self.before_fork = fork, self.maps == fork.maps
        self.direct, self.further = _dense(model, fork.direct), _dense(model, fork.further)
        self.output = _dense(model, fork.output)
        self.convolution = model.convolution(fork.convolution)
        assert self.convolution.bias is not None
        self.convolution_bias = self.convolution.bias
        with torch.inference_mode():
            self.contributions = self._contributions()
            self.further_kernel = (
                self._flat_kernel(fork.further, fork.convolution)
                if self.before_fork
                else self.contributions.flatten(0, 1)
            )
            self.magnitudes = self._magnitudes()
            missing = -self.output.out_features % BLOCK
            self.output_kernel = F.pad(self.output.weight.T, (0, missing)).contiguous()
            self.output_bias = F.pad(self.output.bias, (0, missing), value=-torch.inf)
        positions, channels, units = self.contributions.shape
        values = 2 * (channels * positions + units) + len(self.output_bias)
        most = GROUP_BYTES if model.device.type == "cpu" else GPU_GROUP_BYTES
        batches = most // (values * self.output.bias.itemsize * BATCH_SIZE)
        self.group = max(batches, 1) * BATCH_SIZE

    def _flat_kernel(self, dense: str, maps: str) -> Tensor:
        """The kernel (values, units) of a dense layer that reads these maps, see `_flat`."""
        places = math.prod(self.model.output_shape(maps)[1:])
        return _by_place(_dense(self.model, dense).weight, places).flatten(0, 1)

    def _contributions(self) -> Tensor:
        """(positions, channels, units): what a channel at a position adds to the sums, per unit."""
        _, height, width = self.model.output_shape(self.maps)
        positions = height * width
        if not self.before_fork:
            return _by_place(self.further.weight, positions)
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

    def _magnitudes(self) -> tuple[Tensor, Tensor, Tensor]:
        """What one value of the fork's maps adds to a logit at most when all weights count as
        absolute values, by way of the direct layer (values,); the same of the masked maps by way of
        the further one; and of all biases together."""
        output = self.output.weight.T.abs()
        direct = self._flat_kernel(self.fork.direct, self.fork.maps).abs()
        further = self.further_kernel.abs()
        biases = self.direct.bias.abs() + self.further.bias.abs()
        if self.before_fork:
            places = len(further) // len(self.convolution_bias)
            biases += self.convolution_bias.abs().repeat(places) @ further
            of_maps = self.contributions[..., self.direct.out_features :]
            further = torch.cat([place.abs() @ further for place in of_maps])
        of_biases = biases @ output + self.output.bias.abs()
        return _largest(direct, output), _largest(further, output), of_biases.amax()

    def _sums(self, prepared: Tensor, maps: Tensor) -> Tensor:
        """The sums with every channel on."""
        if not self.before_fork:
            direct: Tensor = self.direct(prepared.flatten(1))
            return torch.add(direct, self.further(maps.flatten(1)))
        biases = self.direct.bias + self.further.bias
        kernel = self.contributions[..., : self.direct.out_features].flatten(0, 1)
        direct = torch.addmm(biases, _flat(prepared), kernel)
        outputs = F.conv2d(prepared, self.convolution.weight, self.convolution.bias)
        return torch.cat([direct, _flat(outputs)], dim=1)

    def _best(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """The best class (batch,) and how far its logit is above the second best. Spoils `sums`."""
        to_hidden, convolution = sums.tensor_split([self.direct.out_features], dim=1)
        if self.before_fork:
            to_hidden = _add_product(to_hidden, convolution.relu_(), self.further_kernel)
        logits = _add_product(self.output_bias, to_hidden.relu_(), self.output_kernel)
        classes = _argmax(logits)
        return classes, _margin(logits, classes)

    def _rounding(self, prepared: Tensor, maps: Tensor) -> Tensor:
        """(batch,): how far rounding may move a logit of each image, at any step."""
        of_prepared, of_maps, of_biases = self.magnitudes
        logits = _flat(prepared) @ of_prepared + _flat(maps) @ of_maps + of_biases
        # Infinite already where a logit could be near overflow, so that the plain sweep decides.
        return (logits * MARGIN) * (ROUNDINGS / MARGIN * torch.finfo(self.model.dtype).eps)

    def predictions(self, prepared: Tensor, order: Sequence[int]) -> Tensor:
        """See SweepEngine.

        Works on the (step, image) pairs at which anything changes, in order of steps; where a
        channel is zero on an image, the image's class stays the one of its last pair.
        """
        maps = self.masked_maps(prepared)
        steps, images, counts = _changes(maps, order)
        channels = maps.transpose(0, 1).flatten(2).contiguous()
        sums = self._sums(prepared, maps)
        found = [self._best(sums.clone())]
        start = len(prepared)
        for channel, count in zip(order, counts, strict=True):
            if count:
                changed = images[start : start + count]
                start += count
                found.append(self._best(self._without(sums, changed, channels[channel], channel)))
        classes, margins = (torch.cat(parts) for parts in zip(*found, strict=True))
        allowed = self._rounding(prepared, maps)[images]
        # Where a logit is not finite, the margin or what is allowed is not either.
        doubtful = ~((margins > allowed) & margins.isfinite())
        doubtful[_probes(images)] = True
        again = doubtful.nonzero()[:, 0]
        most = self.output.out_features - 1  # of NaN alone, a class of the padding may be the best
        settled, true_margins = self._again(
            prepared, images[again], steps[again], classes[again].clamp(max=most), order
        )
        apart = (true_margins - margins[again]).abs()
        if not (apart <= allowed[again] * TOLERATED).all():
            return torch.cat(
                [super(LinearEngine, self).predictions(b, order) for b in _batches(prepared)], 1
            )
        classes[again] = settled
        latest = images.new_zeros((len(order) + 1, len(prepared)))
        latest[steps, images] = torch.arange(len(images), device=images.device)
        return classes[latest.cummax(0).values]

    def _without(self, sums: Tensor, images: Tensor, values: Tensor, channel: int) -> Tensor:
        """Take a channel, whose maps are `values` (batch, positions), off the sums of `images` in
        place; a copy of the sums of these images, (images, units)."""
        kept, values = sums.index_select(0, images), values.index_select(0, images)
        kept.addmm_(values, self.contributions[:, channel], alpha=-1)
        sums.index_copy_(0, images, kept)
        return kept

    def _again(
        self, prepared: Tensor, images: Tensor, steps: Tensor, classes: Tensor, order: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """What the plain sweep answers for pairs of image and step, and the margin of `classes`.

        Each pair is run at the row its image has in the plain sweep's batches, which may count,
        see whole_batch; the rows between are filled with the images they have there.
        """
        rank = pruning_steps(order, prepared.device)
        rows = images % BATCH_SIZE
        pairs_at_row = _count(rows)
        by_row = rows.argsort(stable=True)
        before = (pairs_at_row.cumsum(0) - pairs_at_row)[rows[by_row]]
        batch = torch.empty_like(rows)
        batch[by_row] = torch.arange(len(rows), device=rows.device) - before
        places = batch * BATCH_SIZE + rows
        all_images = torch.arange(BATCH_SIZE, device=rows.device).repeat(int(pairs_at_row.max()))
        all_steps, all_classes = torch.zeros_like(all_images), torch.zeros_like(all_images)
        all_images[places], all_steps[places], all_classes[places] = images, steps, classes
        answers, margins = [], []
        for chosen in _batches(torch.arange(len(all_images), device=rows.device)):
            again = prepared[all_images[chosen]].contiguous(memory_format=torch.channels_last)
            logits = self.logits(again, rank[None] < all_steps[chosen][:, None])
            answers.append(classes_of(logits))
            margins.append(_margin(logits, all_classes[chosen]))
        return torch.cat(answers)[places], torch.cat(margins)[places]


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
    rows = max(GROUP_BYTES // (output.shape[1] * output.itemsize), 1)
    parts = torch.split(values, rows)
    return torch.cat([(part @ output).amax(1) for part in parts])


def _batches(tensor: Tensor) -> tuple[Tensor, ...]:
    """Pieces of BATCH_SIZE rows."""
    return torch.split(tensor, BATCH_SIZE)


def _argmax(logits: Tensor) -> Tensor:
    """logits.argmax(1), of whole blocks of columns: PyTorch's argmax is ten times slower than its
    amax, so it searches the maxima of blocks, and then one block."""
    blocks = torch.unflatten(logits, 1, (-1, BLOCK))
    best = blocks.amax(2).argmax(1, keepdim=True)
    within = blocks.take_along_dim(best[..., None], 1)[:, 0].argmax(1)
    return best[:, 0] * BLOCK + within


def _probes(images: Tensor) -> Tensor:
    """Of the pairs of these images and some steps, PROBES batches: at every place in a batch the
    same number, spread over all steps."""
    rows = images % BATCH_SIZE
    pairs_at_row = _count(rows)
    share = torch.arange(PROBES * BATCH_SIZE, device=images.device).view(PROBES, BATCH_SIZE)
    at = pairs_at_row.cumsum(0) - pairs_at_row + pairs_at_row * share // share.numel()
    return rows.argsort(stable=True)[at.flatten()]


def _count(rows: Tensor) -> Tensor:
    """How often each of 0…BATCH_SIZE-1 is there. Unlike bincount it makes nobody wait for a GPU."""
    return rows.new_zeros(BATCH_SIZE).scatter_add(0, rows, torch.ones_like(rows))


def _margin(logits: Tensor, classes: Tensor) -> Tensor:
    """How far the logit of each row's class is above the largest of the others; overwrites it."""
    chosen = classes[:, None]
    best = logits.gather(1, chosen)[:, 0]
    logits.scatter_(1, chosen, -torch.inf)
    return best - logits.amax(1)


def _changes(maps: Tensor, order: Sequence[int]) -> tuple[Tensor, Tensor, list[int]]:
    """The (step, image) pairs at which an image changes, by step, and how many there are at each.

    maps: (images, channels, H, W). An image changes at step 0, and when a channel goes that is
    anything but zero on it. Returns steps (pairs,), images (pairs,), and the counts from step 1 on.
    """
    alive = (maps != 0).flatten(2).any(2)[:, list(order)].T
    changed = torch.cat([torch.ones_like(alive[:1]), alive])
    steps, images = changed.nonzero(as_tuple=True)
    counts: list[int] = alive.sum(1).tolist()
    return steps, images, counts


def _flat(maps: Tensor) -> Tensor:
    """Maps (images, channels, H, W) → (images, values), place by place with all channels of each:
    so they lie in memory already, as channels_last."""
    return maps.permute(0, 2, 3, 1).flatten(1)


def _by_place(kernel: Tensor, places: int) -> Tensor:
    """A dense kernel (units, channels × places) → (places, channels, units)."""
    return kernel.view(len(kernel), -1, places).permute(2, 1, 0).contiguous()
