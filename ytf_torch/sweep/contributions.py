"""Base of the engines that subtract a masked channel's contribution from the sums it enters.

Where the masked maps only enter layers that are linear up to their activation, the pre-activations
("sums") are a sum of one contribution per channel:

    sums = bias + Σ_channel maps[channel] @ contributions[channel]

Each step subtracts one channel's contribution, and only the small rest of the network runs again,
for images on which the channel is not silent.

Subtracting rounds differently from the plain sweep. Near-ties, where the two best logits are closer
than the rounding error could be, are therefore recomputed exactly as the plain sweep computes them,
so that all predictions are equal to it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from ytf_torch.images.batches import BATCH_SIZE
from ytf_torch.predicted_class import classes_of
from ytf_torch.sweep.pairs import batches_of, changes, latest, probes, slots_in_batches
from ytf_torch.sweep.suffix import SuffixEngine

# Working memory for one group of images. A larger group makes each step cheaper per image, until it
# no longer fits into the core's cache. 1056 images for the lab's network. On a GPU a step costs the
# same whatever the size of the group, so the group is twice as large.
GROUP_BYTES = 24 * 2**20
GPU_GROUP_BYTES = 48 * 2**20
# Columns of one block in `argmax`.
BLOCK = 32
# Error bound of a logit: ROUNDINGS · eps · Σ|terms|. Real networks stay below 0.1 · eps · Σ|terms|.
# Products of equal terms, whose roundings all go in one direction, can reach 80, so the bound is
# verified on every group: at all near-ties, and on PROBES further batches. Where the recomputed
# margin deviates by more than TOLERATED · bound, the whole group is recomputed.
ROUNDINGS = 8.0
TOLERATED = 0.25
PROBES = 4
# Σ|terms| of a logit must stay below the largest float / MARGIN, or the image is recomputed. A
# power of two, because multiplying by it is exact.
MARGIN = 4.0


class ContributionEngine(SuffixEngine, ABC):
    """Subtracts the contribution of each masked channel from the sums that it enters.

    contributions: (positions, channels, units), `∂sums[unit] / ∂maps[channel, position]`.
    """

    contributions: Tensor

    def set_group(self, values: int) -> None:
        """Choose the group size. values: how many values of one image are in memory at once."""
        most = GROUP_BYTES if self.model.device.type == "cpu" else GPU_GROUP_BYTES
        batches = most // (values * self.model.dtype.itemsize * BATCH_SIZE)
        self.group = max(batches, 1) * BATCH_SIZE

    @abstractmethod
    def sums(self, prepared: Tensor) -> Tensor:
        """The sums (images, units) with no channel masked, in memory of their own."""

    @abstractmethod
    def best(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """The predicted class, (images,), and the margin of its logit over the second best,
        (images,). Overwrites `sums`."""

    @abstractmethod
    def magnitude(self, prepared: Tensor) -> Tensor:
        """(images,): an upper bound of Σ|terms| over all logits of an image and all steps."""

    def values(self, maps: Tensor) -> Tensor:
        """(channels, images, positions): the values whose contributions a masked channel loses,
        `maps − silence`."""
        if not self.keeps_zero:
            differences = torch.unflatten(maps, 0, (-1, BATCH_SIZE)) - self.silence
            maps = differences.flatten(0, 1)
        return maps.transpose(0, 1).flatten(2).contiguous()

    def predictions(self, prepared: Tensor, order: Sequence[int]) -> Tensor:
        """See SweepEngine.

        Works on the (step, image) pairs at which masking changes an image, in order of steps. At
        the other steps an image keeps the class of its last pair.
        """
        maps = self.unpacked(prepared)[self.maps]
        steps, images, changes_at_step = changes(self.alive(maps), order)
        counts: list[int] = changes_at_step.tolist()
        values = self.values(maps)
        sums = self.sums(prepared)
        answers = [self.best(sums.clone())]
        start = len(prepared)
        for channel, count in zip(order, counts, strict=True):
            if count:
                changed = images[start : start + count]
                start += count
                answers.append(self.best(self._subtract(sums, changed, values[channel], channel)))
        classes, margins = (torch.cat(parts) for parts in zip(*answers, strict=True))
        bound = self._error_bound(prepared)[images]
        # Written so that NaN and infinity count as doubtful: with a non-finite logit, the margin or
        # the bound is not finite either.
        doubtful = ~((margins > bound) & margins.isfinite())
        doubtful[probes(images, PROBES)] = True
        rerun = doubtful.nonzero()[:, 0]
        most = self.model.classes - 1  # if all logits are NaN, argmax may return a padded column
        true_classes, true_margins = self._recomputed(
            prepared, images[rerun], steps[rerun], classes[rerun].clamp(max=most), order
        )
        deviation = (true_margins - margins[rerun]).abs()
        # `not (… <= …)`, because a NaN has to fail this check too.
        if not (deviation <= bound[rerun] * TOLERATED).all():
            return super().predictions(prepared, order)
        classes[rerun] = true_classes
        return latest(classes, steps, images, len(order) + 1, len(prepared))

    def _error_bound(self, prepared: Tensor) -> Tensor:
        """(images,): bound on the rounding error of any logit of an image, at any step."""
        # Multiplied by MARGIN first: overflows to infinity where a logit could come near overflow,
        # and an infinite bound makes the plain sweep decide.
        eps = torch.finfo(self.model.dtype).eps
        return (self.magnitude(prepared) * MARGIN) * (ROUNDINGS / MARGIN * eps)

    def _subtract(self, sums: Tensor, images: Tensor, values: Tensor, channel: int) -> Tensor:
        """Subtract a channel's contribution from the rows `images` of `sums`, in place.

        values: of the channel, (all images, positions). Returns a copy of the changed rows,
        (images, units), which `best` may overwrite.
        """
        reduced, values = sums.index_select(0, images), values.index_select(0, images)
        reduced.addmm_(values, self.contributions[:, channel], alpha=-1)
        sums.index_copy_(0, images, reduced)
        return reduced

    def _recomputed(
        self, prepared: Tensor, images: Tensor, steps: Tensor, classes: Tensor, order: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Recompute pairs as the plain sweep does: their classes, and the margins of `classes`."""
        slots, slot_count = slots_in_batches(images)
        class_of_slot = classes.new_zeros(slot_count)
        class_of_slot[slots] = classes
        answers, margins = [], []
        pairs = self.pair_logits(prepared, images, steps, order, slots, slot_count)
        for logits, chosen in zip(pairs, batches_of(class_of_slot), strict=True):
            answers.append(classes_of(logits))
            margins.append(margin(logits, chosen))
        return torch.cat(answers)[slots], torch.cat(margins)[slots]


def padded_classes(classes: int) -> int:
    """Number of columns that pad the logits to a multiple of BLOCK, see argmax."""
    return -classes % BLOCK


def argmax(logits: Tensor) -> Tensor:
    """`logits.argmax(1)` for a multiple of BLOCK columns.

    PyTorch's argmax is ten times slower than its amax, so argmax only searches the maxima of all
    blocks, and then the best block.
    """
    blocks = torch.unflatten(logits, 1, (-1, BLOCK))
    best = blocks.amax(2).argmax(1, keepdim=True)
    within = blocks.take_along_dim(best[..., None], 1)[:, 0].argmax(1)
    return best[:, 0] * BLOCK + within


def margin(logits: Tensor, classes: Tensor) -> Tensor:
    """`logits[class] − max of the other logits`, per row. Overwrites `logits`."""
    chosen = classes[:, None]
    best = logits.gather(1, chosen)[:, 0]
    logits.scatter_(1, chosen, -torch.inf)
    return best - logits.amax(1)
