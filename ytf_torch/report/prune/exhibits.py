"""The report's example images, and feature maps of channels that react to the trigger.

For display only: nothing here influences which channels are pruned.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ytf_torch.defences.outcome import Defence
from ytf_torch.device import exact_float32
from ytf_torch.images.image_set import ImageSet, ImageSets
from ytf_torch.images.pairing import Pairing
from ytf_torch.images.repeated import evenly_spread
from ytf_torch.metrics import disagree
from ytf_torch.network.masking import ChannelMask
from ytf_torch.network.module import Network
from ytf_torch.predicted_class import classes_of
from ytf_torch.report.verdict import shown_drop
from ytf_torch.sweep.plain import PlainEngine

# The number of example images per set, and of channels with feature maps, on a page: enough to see
# the effect of the trigger, few enough to look at.
EXAMPLES = 6
CHANNELS_SHOWN = 5


@dataclass(frozen=True)
class Example:
    """An example image and the networks' predictions.

    pixels: (height, width, channels), uint8. index: in its set. label: in the file, so the target
    for a triggered image. badnet, pruned: the classes predicted by B and B′, NO_CLASS where logits
    are not finite; pruned is None where no drop was reached.
    """

    pixels: NDArray[np.uint8]
    index: int
    label: int
    badnet: int
    pruned: int | None

    @property
    def flagged(self) -> bool:
        """Whether GoodNet flags the image."""
        return self.pruned is not None and disagree(self.badnet, self.pruned)


@dataclass(frozen=True)
class Sheet:
    """Example images of one set.

    same_photos: True if each is the clean sheet's example at the same index plus the trigger, so
    that the clean example's label is its true class.
    """

    faces: ImageSet
    examples: tuple[Example, ...]
    same_photos: bool = False


@dataclass(frozen=True)
class ChannelMaps:
    """Feature maps (height, width) of one channel on a clean and a triggered image."""

    channel: int
    clean: NDArray[np.float32]
    triggered: NDArray[np.float32]


@dataclass(frozen=True)
class Exhibits:
    """Example images and feature maps of a report.

    drop: the drop whose B′ is shown, see shown_drop. triggered: a sheet for each poisoned set.
    triggered_activation: mean activation per channel at the rank point over all triggered images.
    maps: of the channels whose activation differs most between clean and triggered images, on the
    examples with index `pair` of the clean and the first triggered sheet.
    """

    drop: str | None
    clean: Sheet
    triggered: tuple[Sheet, ...] = ()
    triggered_activation: tuple[float, ...] | None = None
    pair: int = 0
    maps: tuple[ChannelMaps, ...] = ()


@exact_float32()
def gather_exhibits(model: Network, sets: ImageSets, defence: Defence) -> Exhibits:
    """Choose example images and run B and B′ on them."""
    drop = shown_drop(defence)
    predict = _Predictor(model, defence, drop)
    clean_images = sets.clean_test or sets.clean_valid
    targets = {int(images.labels[0]) for images in sets.poisoned_tests}
    pairings = sets.pairings or tuple(
        images.paired_with(clean_images) for images in sets.poisoned_tests
    )
    indices = _shown_clean(clean_images, pairings, targets)
    clean = Sheet(clean_images, predict(clean_images, indices))
    triggered = tuple(
        _triggered_sheet(images, clean, pairing, predict)
        for images, pairing in zip(sets.poisoned_tests, pairings, strict=True)
    )
    if not triggered:
        return Exhibits(drop, clean)

    swept = defence.sweep
    activation = _triggered_activation(defence)
    pairs = zip(clean.examples, triggered[0].examples, strict=False)
    attack_is_visible = [
        clean_example.badnet == clean_example.label
        and triggered_example.badnet == triggered_example.label
        for clean_example, triggered_example in pairs
    ]
    pair = attack_is_visible.index(True) if True in attack_is_visible else 0
    images = clean.examples[pair], triggered[0].examples[pair]
    channels = most_separating(swept.mean_activation, activation, CHANNELS_SHOWN)
    return Exhibits(
        drop, clean, triggered, activation, pair, _maps(model, swept.layer, images, channels)
    )


def spread_over_labels(
    labels: NDArray[np.int64], count: int, avoid: Iterable[int] = ()
) -> tuple[int, ...]:
    """Up to `count` indices of images of different classes: the first image of each class.

    labels: (images,). avoid: labels to leave out, if there are others.
    """
    classes, first = np.unique(labels, return_index=True)
    allowed = ~np.isin(classes, list(avoid))
    if allowed.any():
        first = first[allowed]
    return tuple(int(first[index]) for index in evenly_spread(len(first), count))


def most_separating(
    clean: Sequence[float], triggered: Sequence[float], count: int
) -> tuple[int, ...]:
    """The `count` channels with the largest `|mean clean − mean triggered|` activation, in
    descending order; ties by channel index."""
    raw_differences = [abs(c - t) for c, t in zip(clean, triggered, strict=True)]
    differences = [
        difference if math.isfinite(difference) else math.inf for difference in raw_differences
    ]
    return tuple(sorted(range(len(clean)), key=lambda channel: -differences[channel])[:count])


class _Predictor:
    """Runs B, and B′ of one drop, on images."""

    def __init__(self, model: Network, defence: Defence, drop: str | None) -> None:
        self.model = model
        self.layer = model.layer(defence.sweep.layer)
        self.channels = None if drop is None else defence.channels_of(drop)

    def __call__(self, images: ImageSet, indices: Sequence[int]) -> tuple[Example, ...]:
        batch = images.select(indices)
        pixels = batch.pixels.to(self.model.device)
        with torch.inference_mode():
            badnet = classes_of(self.model(pixels)).tolist()
            pruned: list[int | None] = [None] * len(badnet)
            if self.channels is not None:
                with ChannelMask(self.layer, self.channels):
                    pruned = classes_of(self.model(pixels)).tolist()
        arrays = batch.pixels.permute(0, 2, 3, 1).round().to(torch.uint8).numpy()
        rows = zip(arrays, indices, batch.labels.tolist(), badnet, pruned, strict=True)
        return tuple(Example(*row) for row in rows)


def _shown_clean(
    clean: ImageSet, pairings: Sequence[Pairing], targets: Iterable[int]
) -> tuple[int, ...]:
    """Indices of the clean examples: preferably images that the first triggered set contains with
    the trigger."""
    paired_clean = pairings[0].places[pairings[0].paired] if pairings else np.empty(0, np.int64)
    choice = np.unique(paired_clean) if len(paired_clean) else np.arange(len(clean))
    chosen = spread_over_labels(clean.labels[choice], EXAMPLES, avoid=targets)
    return tuple(choice[list(chosen)].tolist())


def _triggered_sheet(
    images: ImageSet, clean: Sheet, pairing: Pairing, predict: _Predictor
) -> Sheet:
    """The clean examples with the trigger, if the set contains them all; else an even selection."""
    triggered_at = {
        int(clean_index): triggered_index
        for triggered_index, clean_index in reversed(list(enumerate(pairing.places)))
    }
    partners = [triggered_at.get(example.index) for example in clean.examples]
    found_partners = [clean_index for clean_index in partners if clean_index is not None]
    if len(found_partners) == len(partners):
        return Sheet(images, predict(images, found_partners), same_photos=True)
    return Sheet(images, predict(images, evenly_spread(len(images), len(clean.examples))))


def _triggered_activation(defence: Defence) -> tuple[float, ...]:
    """The mean activation per channel over the images of all poisoned sets."""
    images = [tally.images for tally in defence.poisoned_tests]
    means = defence.sweep.measured_activation[-len(images) :]
    return tuple(
        sum(mean * count for mean, count in zip(channel, images, strict=True)) / sum(images)
        for channel in zip(*means, strict=True)
    )


def _maps(
    model: Network, layer: str, pair: tuple[Example, Example], channels: Sequence[int]
) -> tuple[ChannelMaps, ...]:
    pixels = torch.stack([torch.from_numpy(example.pixels).permute(2, 0, 1) for example in pair])
    with torch.inference_mode():
        output, _ = PlainEngine(model, layer, layer).observe(pixels.to(model.device))
    clean, triggered = output.float().cpu().numpy()
    return tuple(ChannelMaps(channel, clean[channel], triggered[channel]) for channel in channels)
