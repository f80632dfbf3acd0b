"""The pruning sweep for about the price of one more forward pass, with the plain sweep's figures.

Up to the pool of the masked layer nothing changes during a sweep, so it is computed once. Masking
a channel of conv_3 zeroes that channel of pool_3, and what follows it, fc_1 and conv_4, is linear
until the next ReLU: the channel's contribution is taken off, and only the small rest runs again.
The same holds for conv_4 and fc_2. A channel that is zero on all images at hand changes nothing.

Taking contributions off rounds differently from the plain sweep. Wherever the two best logits
are closer than that could explain, the image is run again at that step as the plain sweep does,
so every prediction is the plain sweep's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ytf_torch.faces.batches import BATCH_SIZE
from ytf_torch.network.deepid import POOLS, TRUNK, DeepID
from ytf_torch.sweep.engine import SweepEngine

# What the linear engine may have in memory of one group of images; the larger the group, the less
# the steps of a sweep cost each. 2112 images for the lab's network.
GROUP_BYTES = 48 * 2**20
# Classes searched at once, see _argmax.
BLOCK = 32
# In units of one rounding at the sum of absolute terms. Real networks stay below 0.1 of them.
# Products of equal terms, whose roundings all go one way, can reach 80, so what is allowed is
# checked on every group, at all that is doubtful and PROBES batches more: where the plain sweep is
# further from it than this share of what is allowed, the whole group is run again.
ROUNDINGS = 8.0
TOLERATED = 0.25
PROBES = 4


def fast_engine(model: DeepID, layer: str, rank_at: str) -> SweepEngine:
    """The fast engine for masking `layer`, ranked at `rank_at`: see SweepEngine."""
    if layer in ("conv_3", "conv_4"):
        return LinearEngine(model, layer, rank_at)
    return SuffixEngine(model, layer, rank_at)


class SuffixEngine:
    """Runs what follows the masked layer's pool again at every step, for any layer.

    What it prepares is that pool's output; for conv_4, which has none, pool_3's.
    """

    group = BATCH_SIZE

    def __init__(self, model: DeepID, layer: str, rank_at: str) -> None:
        self.model, self.layer, self.rank_at = model, layer, rank_at
        end = TRUNK.index(POOLS.get(layer, "pool_3")) + 1
        self.unchanging, self.suffix = TRUNK[:end], TRUNK[end:]

    def observe(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """See SweepEngine."""
        if self.rank_at not in TRUNK:
            prepared = self.model.through(self.unchanging, self.model.scale(pixels))
            return self.model.through([self.rank_at], prepared), prepared
        end = TRUNK.index(self.rank_at) + 1
        output = self.model.through(TRUNK[:end], self.model.scale(pixels))
        return output, self.model.through(self.unchanging[end:], output)

    def _maps(self, prepared: Tensor) -> Tensor:
        """The maps (batch, channels, H, W) in which a masked channel is zero."""
        return self.model.conv_4(prepared) if self.layer == "conv_4" else prepared

    def logits(self, prepared: Tensor, masked: Tensor) -> Tensor:
        """Logits (batch, classes) where `masked` (batch or 1, channels) is True at what is off."""
        channels = masked[:, :, None, None]
        if self.layer == "conv_4":
            return self.model.merge(prepared, self.model.conv_4(prepared).masked_fill(channels, 0))
        pool_3 = self.model.through(self.suffix, prepared.masked_fill(channels, 0))
        return self.model.merge(pool_3, self.model.conv_4(pool_3))

    def predictions(self, prepared: Tensor, order: Sequence[int]) -> Tensor:
        """See SweepEngine."""
        rank = _rank(order, prepared.device)
        alive = _alive(self._maps(prepared))
        rows = [self.logits(prepared, rank[None] < 0).argmax(1)]
        for step, channel in enumerate(order, start=1):
            changed = alive[channel]
            rows.append(self.logits(prepared, rank[None] < step).argmax(1) if changed else rows[-1])
        return torch.stack(rows)


class LinearEngine(SuffixEngine):
    """Takes each channel's contribution off the sums it enters, for conv_3 and conv_4.

    The sums, (batch, units), are what is linear in the layer's channels: first what `output` reads,
    before the ReLU; for conv_3 this lacks what comes through conv_4, whose own outputs, before the
    ReLU, follow.
    """

    def __init__(self, model: DeepID, layer: str, rank_at: str) -> None:
        super().__init__(model, layer, rank_at)
        with torch.inference_mode():
            self.contributions = self._contributions()
            self.magnitudes = self._magnitudes()
            of_conv_4 = model.fc_2.weight.T if layer == "conv_3" else model.fc_2.weight.T[:0]
            self.fc_2_kernel = of_conv_4.contiguous()
            missing = -model.output.out_features % BLOCK
            self.output_kernel = F.pad(model.output.weight.T, (0, missing)).contiguous()
            self.output_bias = F.pad(model.output.bias, (0, missing), value=-torch.inf)
        channels, positions, units = self.contributions.shape
        values = 2 * (channels * positions + units) + len(self.output_bias)
        batches = GROUP_BYTES // (values * model.output.bias.itemsize * BATCH_SIZE)
        self.group = max(batches, 1) * BATCH_SIZE

    def _contributions(self) -> Tensor:
        """(channels, positions, units): what a channel at a position adds to the sums, per unit."""
        model = self.model
        height, width = model.sizes.map_sizes[POOLS.get(self.layer, self.layer)]
        positions = height * width
        if self.layer == "conv_4":
            return _by_channel(model.fc_2.weight, positions)
        to_output = _by_channel(model.fc_1.weight, positions)
        ones = torch.eye(positions, dtype=model.dtype, device=model.device)
        impulses = ones.view(positions, 1, height, width)
        kernels = model.conv_4.weight.transpose(0, 1).unsqueeze(2)
        to_conv_4 = torch.stack([F.conv2d(impulses, kernel).flatten(1) for kernel in kernels])
        return torch.cat([to_output, to_conv_4], dim=2).contiguous()

    def _magnitudes(self) -> tuple[Tensor, Tensor, Tensor]:
        """What one unit of each of pool_3's outputs adds to a logit at most when all weights count
        as absolute values, by way of fc_1 (values,); the same of the masked maps by way of fc_2;
        and of all biases together."""
        model = self.model
        output = model.output.weight.T.abs()
        fc_1, fc_2 = model.fc_1.weight.T.abs(), model.fc_2.weight.T.abs()
        biases = model.fc_1.bias.abs() + model.fc_2.bias.abs()
        if self.layer == "conv_3":
            assert model.conv_4.bias is not None
            positions = len(fc_2) // len(model.conv_4.bias)
            biases += model.conv_4.bias.abs().repeat_interleave(positions) @ fc_2
            conv_4 = self.contributions[..., model.sizes.features :].flatten(0, 1).abs()
            fc_2 = conv_4 @ fc_2
        of_biases = biases @ output + model.output.bias.abs()
        return (fc_1 @ output).amax(1), (fc_2 @ output).amax(1), of_biases.amax()

    def _sums(self, prepared: Tensor, maps: Tensor) -> Tensor:
        """The sums with every channel on."""
        model = self.model
        fc_1: Tensor = model.fc_1(prepared.flatten(1))
        if self.layer == "conv_4":
            return torch.add(fc_1, model.fc_2(maps.flatten(1)))
        conv_4: Tensor = F.conv2d(prepared, model.conv_4.weight, model.conv_4.bias)
        return torch.cat([fc_1 + model.fc_2.bias, conv_4.flatten(1)], dim=1)

    def _best(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """The best class (batch,) and how far its logit is above the second best. Spoils `sums`."""
        to_output, conv_4 = sums.tensor_split([self.model.sizes.features], dim=1)
        hidden = torch.addmm(to_output, conv_4.relu_(), self.fc_2_kernel).relu_()
        logits = torch.addmm(self.output_bias, hidden, self.output_kernel)
        classes = _argmax(logits)
        return classes, _margin(logits, classes)

    def _rounding(self, prepared: Tensor, maps: Tensor) -> Tensor:
        """(batch,): how far rounding may move a logit of each image, at any step."""
        of_prepared, of_maps, of_biases = self.magnitudes
        logits = prepared.flatten(1) @ of_prepared + maps.flatten(1) @ of_maps + of_biases
        return logits * (ROUNDINGS * torch.finfo(self.model.dtype).eps)

    def predictions(self, prepared: Tensor, order: Sequence[int]) -> Tensor:
        """See SweepEngine.

        Works on the (step, image) pairs at which anything changes, in order of steps; where a
        channel is zero on an image, the image's class stays the one of its last pair.
        """
        maps = self._maps(prepared)
        steps, images, counts = _changes(maps, order)
        channels = maps.flatten(2).transpose(0, 1).contiguous()
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
        doubtful = ~(margins > allowed)
        doubtful[_probes(images)] = True
        again = doubtful.nonzero()[:, 0]
        settled, true_margins = self._again(
            prepared, images[again], steps[again], classes[again], order
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
        kept.addmm_(values, self.contributions[channel], alpha=-1)
        sums.index_copy_(0, images, kept)
        return kept

    def _again(
        self, prepared: Tensor, images: Tensor, steps: Tensor, classes: Tensor, order: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """What the plain sweep answers for pairs of image and step, and the margin of `classes`.

        Each pair is run at the row its image has in the plain sweep's batches, which may count,
        see whole_batch; the rows between are filled with the images they have there.
        """
        rank = _rank(order, prepared.device)
        rows = images % BATCH_SIZE
        pairs_at_row = rows.bincount(minlength=BATCH_SIZE)
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
            answers.append(logits.argmax(1))
            margins.append(_margin(logits, all_classes[chosen]))
        return torch.cat(answers)[places], torch.cat(margins)[places]


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
    pairs_at_row = rows.bincount(minlength=BATCH_SIZE)
    share = torch.arange(PROBES * BATCH_SIZE, device=images.device).view(PROBES, BATCH_SIZE)
    at = pairs_at_row.cumsum(0) - pairs_at_row + pairs_at_row * share // share.numel()
    return rows.argsort(stable=True)[at.flatten()]


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


def _by_channel(kernel: Tensor, positions: int) -> Tensor:
    """A dense kernel (units, channels × positions) → (channels, positions, units)."""
    return kernel.view(len(kernel), -1, positions).permute(1, 2, 0).contiguous()


def _rank(order: Sequence[int], device: torch.device) -> Tensor:
    """(channels,): how many channels go before this one."""
    rank = torch.empty(len(order), dtype=torch.int64)
    rank[list(order)] = torch.arange(len(order))
    return rank.to(device)


def _alive(maps: Tensor) -> list[bool]:
    """For each channel of (batch, channels, H, W) whether it is anything but zero on any image."""
    alive: list[bool] = (maps != 0).any(dim=3).any(dim=2).any(dim=0).tolist()
    return alive
