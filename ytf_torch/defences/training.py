"""Clean validation faces as repairs train on them: all in memory, drawn in a seeded order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from ytf_torch.defences.variations import lit, moved
from ytf_torch.images.batches import BATCH_SIZE
from ytf_torch.images.image_set import ImageSet
from ytf_torch.layers.kind import LearnsStatistics
from ytf_torch.network.module import Network

# Of the pictures that a network recognises, those that it recognises mirrored. Measured: 1.00 for
# faces (ORL), 0.43 for road signs (GTSRB), 0.38 for digits (MNIST).
KNOWN_MIRRORED = 0.75

Augment = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class TrainingFaces:
    """Faces in memory: pixels (faces, 3, H, W), 0–255, as they are stored; labels (faces,)."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of(cls, faces: ImageSet, device: torch.device) -> TrainingFaces:
        """All faces of a set, in its order, on `device`."""
        pixels, labels = zip(
            *((batch.pixels, batch.labels) for batch in faces.batches()), strict=True
        )
        return cls(torch.cat(pixels).to(device), torch.cat(labels).to(device))

    def drawn(
        self, epochs: int, batch: int, generator: torch.Generator, done: Callable[[int], None]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of pixels and labels: every face once an epoch, in an order of its own.

        The last batch of an epoch may have fewer. generator: a CPU generator. done: is told how
        many faces each batch had, after it was used.
        """
        for _ in range(epochs):
            order = torch.randperm(len(self), generator=generator).to(self.labels.device)
            for chosen in torch.split(order, batch):
                yield self.pixels[chosen], self.labels[chosen]
                done(len(chosen))


@torch.inference_mode()
def known(network: Network, faces: TrainingFaces, *, mirrored: bool = False) -> int:
    """How many of the faces, or of their mirrored pictures, the network recognises."""
    count = 0
    for start in range(0, len(faces), BATCH_SIZE):
        pixels = faces.pixels[start : start + BATCH_SIZE]
        answers = network(pixels.flip(3) if mirrored else pixels).argmax(1)
        count += int((answers == faces.labels[start : start + BATCH_SIZE]).sum())
    return count


def may_be_mirrored(network: Network, faces: TrainingFaces) -> bool:
    """Whether mirrored pictures still show what their label says, judged by what the network takes
    them for: of digits or road signs many mean something else."""
    return known(network, faces, mirrored=True) >= KNOWN_MIRRORED * known(network, faces)


def augmentation_for(network: Network, faces: TrainingFaces) -> Augment:
    """Faces moved and lit otherwise, and mirrored where that leaves them what they are."""
    return augmentation(mirror=may_be_mirrored(network, faces))


def augmentation(*, mirror: bool) -> Augment:
    """Faces moved and lit otherwise; mirrored on request."""
    return lambda pixels, generator: lit(moved(pixels, generator, mirror=mirror), generator)


@contextmanager
def learned_statistics(network: Network) -> Iterator[None]:
    """While the block runs, the network's batch normalizations learn their statistics anew, as one
    has to that starts with fresh weights; a copy that is trained on keeps those of the original."""
    layers = [layer for layer in network.modules() if isinstance(layer, LearnsStatistics)]
    for layer in layers:
        layer.learns_statistics = True
    try:
        yield
    finally:
        for layer in layers:
            layer.learns_statistics = False


def seeded(seed: int) -> torch.Generator:
    """A generator on the CPU, so that every device draws the same numbers."""
    return torch.Generator().manual_seed(seed)
