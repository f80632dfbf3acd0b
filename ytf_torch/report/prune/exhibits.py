"""What the report shows besides figures: example images, and how channels react to the trigger.

Nothing here is ever used to choose channels.
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

# Faces, and channels with their feature maps, that a page shows: enough to see what the trigger
# does, and few enough to look at.
EXAMPLES = 6
CHANNELS_SHOWN = 5


@dataclass(frozen=True)
class Example:
    """A face and what the networks say of it.

    pixels: (height, width, channels), uint8. label: its label in the file, for a triggered face the
    target. badnet, pruned: the classes B and B′ answer, NO_CLASS where logits are not finite;
    pruned is None where no drop was reached.
    """

    pixels: NDArray[np.uint8]
    index: int
    label: int
    badnet: int
    pruned: int | None

    @property
    def flagged(self) -> bool:
        """Whether GoodNet flags it."""
        return self.pruned is not None and disagree(self.badnet, self.pruned)


@dataclass(frozen=True)
class Sheet:
    """Some faces of one set. same_photos: each shows the photo of the clean sheet's face at its
    place on the sheet, so that the clean label is who is really on it."""

    faces: ImageSet
    examples: tuple[Example, ...]
    same_photos: bool = False


@dataclass(frozen=True)
class ChannelMaps:
    """A channel of the pruned layer on a clean and a triggered face: maps (height, width)."""

    channel: int
    clean: NDArray[np.float32]
    triggered: NDArray[np.float32]


@dataclass(frozen=True)
class Exhibits:
    """What the report shows in addition to its figures.

    drop: the one whose B′ answers, see shown_drop. triggered: a sheet for each poisoned set.
    triggered_activation: mean output of each channel at the rank point over all triggered faces.
    maps: of the channels that separate clean and triggered faces the most, on the faces at `pair`
    of the clean and the first triggered sheet.
    """

    drop: str | None
    clean: Sheet
    triggered: tuple[Sheet, ...] = ()
    triggered_activation: tuple[float, ...] | None = None
    pair: int = 0
    maps: tuple[ChannelMaps, ...] = ()


@exact_float32()
def gather_exhibits(model: Network, sets: ImageSets, defence: Defence) -> Exhibits:
    """Pick example faces and ask B and B′ about them."""
    drop = shown_drop(defence)
    ask = _Asker(model, defence, drop)
    clean_faces = sets.clean_test or sets.clean_valid
    targets = {int(faces.labels[0]) for faces in sets.poisoned_tests}
    pairings = sets.pairings or tuple(
        faces.paired_with(clean_faces) for faces in sets.poisoned_tests
    )
    chosen = _shown_clean(clean_faces, pairings, targets)
    clean = Sheet(clean_faces, ask(clean_faces, chosen))
    triggered = tuple(
        _triggered_sheet(faces, clean, pairing, ask)
        for faces, pairing in zip(sets.poisoned_tests, pairings, strict=True)
    )
    if not triggered:
        return Exhibits(drop, clean)

    swept = defence.sweep
    activation = _triggered_activation(defence)
    pairs = zip(clean.examples, triggered[0].examples, strict=False)
    telling = [
        face.badnet == face.label and fooled.badnet == fooled.label for face, fooled in pairs
    ]
    pair = telling.index(True) if True in telling else 0
    faces = clean.examples[pair], triggered[0].examples[pair]
    channels = most_separating(swept.mean_activation, activation, CHANNELS_SHOWN)
    return Exhibits(
        drop, clean, triggered, activation, pair, _maps(model, swept.layer, faces, channels)
    )


def spread_over_labels(
    labels: NDArray[np.int64], count: int, avoid: Iterable[int] = ()
) -> tuple[int, ...]:
    """Up to `count` images of people as different as there are: the first image of each.

    labels: (images,). avoid: labels that are left out where there are others.
    """
    people, first = np.unique(labels, return_index=True)
    others = ~np.isin(people, list(avoid))
    if others.any():
        first = first[others]
    return tuple(int(first[place]) for place in evenly_spread(len(first), count))


def most_separating(
    clean: Sequence[float], triggered: Sequence[float], count: int
) -> tuple[int, ...]:
    """The channels whose mean activation differs most between clean and triggered faces, the
    widest difference first; ties by channel index."""
    apart = [abs(c - t) for c, t in zip(clean, triggered, strict=True)]
    differences = [difference if math.isfinite(difference) else math.inf for difference in apart]
    return tuple(sorted(range(len(clean)), key=lambda channel: -differences[channel])[:count])


class _Asker:
    """Shows faces to B and to B′ of one drop."""

    def __init__(self, model: Network, defence: Defence, drop: str | None) -> None:
        self.model = model
        self.layer = model.layer(defence.sweep.layer)
        self.channels = None if drop is None else defence.channels_of(drop)

    def __call__(self, faces: ImageSet, indices: Sequence[int]) -> tuple[Example, ...]:
        batch = faces.select(indices)
        pixels = batch.pixels.to(self.model.device)
        with torch.inference_mode():
            badnet = classes_of(self.model(pixels)).tolist()
            pruned: list[int | None] = [None] * len(badnet)
            if self.channels is not None:
                with ChannelMask(self.layer, self.channels):
                    pruned = classes_of(self.model(pixels)).tolist()
        pictures = batch.pixels.permute(0, 2, 3, 1).round().to(torch.uint8).numpy()
        answers = zip(pictures, indices, batch.labels.tolist(), badnet, pruned, strict=True)
        return tuple(Example(*answer) for answer in answers)


def _shown_clean(
    clean: ImageSet, pairings: Sequence[Pairing], targets: Iterable[int]
) -> tuple[int, ...]:
    """The clean faces to show: those that the first triggered set shows with the trigger, where
    there are any."""
    shown = pairings[0].places[pairings[0].paired] if pairings else np.empty(0, np.int64)
    choice = np.unique(shown) if len(shown) else np.arange(len(clean))
    chosen = spread_over_labels(clean.labels[choice], EXAMPLES, avoid=targets)
    return tuple(choice[list(chosen)].tolist())


def _triggered_sheet(faces: ImageSet, clean: Sheet, pairing: Pairing, ask: _Asker) -> Sheet:
    """The clean sheet's photos with the trigger, where the set holds them all."""
    triggered_at = {int(place): at for at, place in reversed(list(enumerate(pairing.places)))}
    twins = [triggered_at.get(face.index) for face in clean.examples]
    known = [place for place in twins if place is not None]
    if len(known) == len(twins):
        return Sheet(faces, ask(faces, known), same_photos=True)
    return Sheet(faces, ask(faces, evenly_spread(len(faces), len(clean.examples))))


def _triggered_activation(defence: Defence) -> tuple[float, ...]:
    """Mean over all poisoned sets, from the mean of each."""
    images = [tally.images for tally in defence.poisoned_tests]
    means = defence.sweep.measured_activation[-len(images) :]
    return tuple(
        sum(mean * count for mean, count in zip(channel, images, strict=True)) / sum(images)
        for channel in zip(*means, strict=True)
    )


def _maps(
    model: Network, layer: str, pair: tuple[Example, Example], channels: Sequence[int]
) -> tuple[ChannelMaps, ...]:
    pixels = torch.stack([torch.from_numpy(face.pixels).permute(2, 0, 1) for face in pair])
    with torch.inference_mode():
        output, _ = PlainEngine(model, layer, layer).observe(pixels.to(model.device))
    clean, triggered = output.float().cpu().numpy()
    return tuple(ChannelMaps(channel, clean[channel], triggered[channel]) for channel in channels)
