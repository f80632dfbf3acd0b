"""What engines share that take a masked channel's contribution off the sums which it enters.

Where the maps of the masked layer enter only layers that are linear up to the next nonlinearity, a
mask is a sum of contributions: each step takes one channel's off, and only the small rest of the
network runs again, of the images on which the channel is anything but silent.

Taking contributions off rounds differently from the plain sweep. Wherever the two best logits
are closer than that could explain, the image is run again at that step as the plain sweep does,
so every prediction is the plain sweep's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from ytf_torch.images.batches import BATCH_SIZE
from ytf_torch.predicted_class import classes_of
from ytf_torch.sweep.pairs import batches_of, changes, latest, places_in_batches, probes
from ytf_torch.sweep.suffix import SuffixEngine

# What these engines may have in memory of one group of images; the larger the group, the less the
# steps of a sweep cost each, until it no longer fits into a core's cache. 1056 images for the lab's
# network; on a GPU, where every step costs the same, twice as many.
GROUP_BYTES = 24 * 2**20
GPU_GROUP_BYTES = 48 * 2**20
# Classes searched at once, see argmax.
BLOCK = 32
# In units of one rounding at the sum of absolute terms. Real networks stay below 0.1 of them.
# Products of equal terms, whose roundings all go one way, can reach 80, so what is allowed is
# checked on every group, at all that is doubtful and PROBES batches more: where the plain sweep is
# further from it than this share of what is allowed, the whole group is run again.
ROUNDINGS = 8.0
TOLERATED = 0.25
PROBES = 4
# How far below overflow all terms of a logit have to stay; a power of two, which rounds nothing.
MARGIN = 4.0


class ContributionEngine(SuffixEngine, ABC):
    """Takes each channel's contribution off the sums it enters.

    contributions: (positions, channels, units), what a channel at a position adds to the sums, per
    unit. The sums, (images, units), are what is linear in the maps.
    """

    contributions: Tensor

    def set_group(self, values: int) -> None:
        """Choose the size of groups. values: of one image in memory at once."""
        most = GROUP_BYTES if self.model.device.type == "cpu" else GPU_GROUP_BYTES
        batches = most // (values * self.model.dtype.itemsize * BATCH_SIZE)
        self.group = max(batches, 1) * BATCH_SIZE

    @abstractmethod
    def sums(self, prepared: Tensor) -> Tensor:
        """The sums with every channel on."""

    @abstractmethod
    def best(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """The best class (images,) and how far its logit is above the second best. Spoils
        `sums`."""

    @abstractmethod
    def magnitude(self, prepared: Tensor) -> Tensor:
        """(images,): the sum of all absolute terms of any logit of each image, at any step."""

    def values(self, maps: Tensor) -> Tensor:
        """(channels, images, positions): what of the maps is taken off with each channel."""
        if not self.keeps_zero:
            apart = torch.unflatten(maps, 0, (-1, BATCH_SIZE)) - self.silence
            maps = apart.flatten(0, 1)
        return maps.transpose(0, 1).flatten(2).contiguous()

    def predictions(self, prepared: Tensor, order: Sequence[int]) -> Tensor:
        """See SweepEngine.

        Works on the (step, image) pairs at which anything changes, in order of steps; where a
        channel is silent on an image, the image's class stays the one of its last pair.
        """
        maps = self.unpacked(prepared)[self.maps]
        steps, images, per_step = changes(self.alive(maps), order)
        counts: list[int] = per_step.tolist()
        values = self.values(maps)
        sums = self.sums(prepared)
        found = [self.best(sums.clone())]
        start = len(prepared)
        for channel, count in zip(order, counts, strict=True):
            if count:
                changed = images[start : start + count]
                start += count
                found.append(self.best(self._without(sums, changed, values[channel], channel)))
        classes, margins = (torch.cat(parts) for parts in zip(*found, strict=True))
        allowed = self._rounding(prepared)[images]
        # Where a logit is not finite, the margin or what is allowed is not either.
        doubtful = ~((margins > allowed) & margins.isfinite())
        doubtful[probes(images, PROBES)] = True
        again = doubtful.nonzero()[:, 0]
        most = self.model.classes - 1  # of NaN alone, a class of the padding may be the best
        settled, true_margins = self._again(
            prepared, images[again], steps[again], classes[again].clamp(max=most), order
        )
        apart = (true_margins - margins[again]).abs()
        if not (apart <= allowed[again] * TOLERATED).all():
            return super().predictions(prepared, order)
        classes[again] = settled
        return latest(classes, steps, images, len(order) + 1, len(prepared))

    def _rounding(self, prepared: Tensor) -> Tensor:
        """(images,): how far rounding may move a logit of each image, at any step."""
        # Infinite already where a logit could be near overflow, so that the plain sweep decides.
        eps = torch.finfo(self.model.dtype).eps
        return (self.magnitude(prepared) * MARGIN) * (ROUNDINGS / MARGIN * eps)

    def _without(self, sums: Tensor, images: Tensor, values: Tensor, channel: int) -> Tensor:
        """Take a channel, whose values are (images, positions), off the sums of `images` in place;
        a copy of the sums of these images, (images, units)."""
        kept, values = sums.index_select(0, images), values.index_select(0, images)
        kept.addmm_(values, self.contributions[:, channel], alpha=-1)
        sums.index_copy_(0, images, kept)
        return kept

    def _again(
        self, prepared: Tensor, images: Tensor, steps: Tensor, classes: Tensor, order: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """What the plain sweep answers for pairs of image and step, and the margin of `classes`."""
        places, count = places_in_batches(images)
        all_classes = classes.new_zeros(count)
        all_classes[places] = classes
        answers, margins = [], []
        pairs = self.pair_logits(prepared, images, steps, order, places, count)
        for logits, chosen in zip(pairs, batches_of(all_classes), strict=True):
            answers.append(classes_of(logits))
            margins.append(margin(logits, chosen))
        return torch.cat(answers)[places], torch.cat(margins)[places]


def padded_classes(classes: int) -> int:
    """How many columns fill up so many to whole blocks, see argmax."""
    return -classes % BLOCK


def argmax(logits: Tensor) -> Tensor:
    """logits.argmax(1), of whole blocks of columns: PyTorch's argmax is ten times slower than its
    amax, so it searches the maxima of blocks, and then one block."""
    blocks = torch.unflatten(logits, 1, (-1, BLOCK))
    best = blocks.amax(2).argmax(1, keepdim=True)
    within = blocks.take_along_dim(best[..., None], 1)[:, 0].argmax(1)
    return best[:, 0] * BLOCK + within


def margin(logits: Tensor, classes: Tensor) -> Tensor:
    """How far the logit of each row's class is above the largest of the others; overwrites it."""
    chosen = classes[:, None]
    best = logits.gather(1, chosen)[:, 0]
    logits.scatter_(1, chosen, -torch.inf)
    return best - logits.amax(1)
