"""Training on clean validation faces: faces in memory, seeded batches, augmentation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from ytf_torch.defences.variations import relight, warp
from ytf_torch.images.batches import BATCH_SIZE
from ytf_torch.images.image_set import ImageSet
from ytf_torch.layers.kind import LearnsStatistics
from ytf_torch.network.module import Network

# Images are mirrored in training if a network recognises mirrored ones at least this often,
# relative to the images themselves. Measured: 1.00 for faces (ORL), 0.43 for road signs (GTSRB),
# 0.38 for digits (MNIST).
KNOWN_MIRRORED = 0.75

Augment = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class TrainingFaces:
    """Faces in memory: pixels (faces, 3, H, W), 0–255, in the dtype of the set; labels (faces,)."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of(cls, faces: ImageSet, device: torch.device) -> TrainingFaces:
        """All faces of a set, in its order, copied to `device`."""
        pixels, labels = zip(
            *((batch.pixels, batch.labels) for batch in faces.batches()), strict=True
        )
        return cls(torch.cat(pixels).to(device), torch.cat(labels).to(device))

    def drawn(
        self, epochs: int, batch: int, generator: torch.Generator, done: Callable[[int], None]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of pixels and labels, shuffled anew in each epoch; the last one of an epoch may
        be smaller.

        generator: a CPU generator. done: called with the number of faces of a batch after its use.
        """
        for _ in range(epochs):
            order = torch.randperm(len(self), generator=generator).to(self.labels.device)
            for chosen in torch.split(order, batch):
                yield self.pixels[chosen], self.labels[chosen]
                done(len(chosen))


@torch.inference_mode()
def known(network: Network, faces: TrainingFaces, *, mirrored: bool = False) -> int:
    """Number of faces, or of mirrored faces, that the network predicts the label of."""
    count = 0
    for start in range(0, len(faces), BATCH_SIZE):
        pixels = faces.pixels[start : start + BATCH_SIZE]
        answers = network(pixels.flip(3) if mirrored else pixels).argmax(1)
        count += int((answers == faces.labels[start : start + BATCH_SIZE]).sum())
    return count


def may_be_mirrored(network: Network, faces: TrainingFaces) -> bool:
    """Whether mirroring keeps the class, judged by the network's predictions: mirrored digits and
    road signs often belong to another class or to none."""
    return known(network, faces, mirrored=True) >= KNOWN_MIRRORED * known(network, faces)


def augmentation_for(network: Network, faces: TrainingFaces) -> Augment:
    """Geometric and lighting augmentation, with mirroring where it keeps the class."""
    return augmentation(mirror=may_be_mirrored(network, faces))


def augmentation(*, mirror: bool) -> Augment:
    """Geometric and lighting augmentation; mirroring on request."""
    return lambda pixels, generator: relight(warp(pixels, generator, mirror=mirror), generator)


@contextmanager
def learned_statistics(network: Network) -> Iterator[None]:
    """Context in which batch normalizations update their moving statistics, as training from fresh
    weights requires. Outside it they keep them: a fine-tuned copy uses those of the original."""
    layers = [layer for layer in network.modules() if isinstance(layer, LearnsStatistics)]
    for layer in layers:
        layer.learns_statistics = True
    try:
        yield
    finally:
        for layer in layers:
            layer.learns_statistics = False


def seeded(seed: int) -> torch.Generator:
    """A CPU generator: the same random numbers whatever device trains."""
    return torch.Generator().manual_seed(seed)
