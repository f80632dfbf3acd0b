"""Training on clean validation faces: faces in memory, seeded batches, augmentation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ytf_torch.defences.variations import relight, warp
from ytf_torch.images.batches import BATCH_SIZE
from ytf_torch.images.image_set import ImageSet
from ytf_torch.layers.kind import LearnsStatistics
from ytf_torch.network.module import Network

# Images are mirrored in training if a network recognises mirrored ones at least this often,
# relative to the images themselves. Measured: 1.00 for faces (ORL), 0.43 for road signs (GTSRB),
# 0.38 for digits (MNIST).
KNOWN_MIRRORED = 0.75

# Pixel scale of networks that are trained from fresh weights: one learning rate fits all networks
# only if their inputs have one scale, about 1.
TRAINING_PIXEL_SCALE = 1 / 64

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


def fresh_network(network: Network, seed: int) -> Network:
    """See `Network.fresh`; equal seeds give equal weights, and PyTorch's generator is left as it
    is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return network.fresh()


def train(
    network: Network,
    faces: TrainingFaces,
    augment: Augment,
    *,
    learning_rate: float,
    epochs: int,
    batch: int,
    generator: torch.Generator,
    done: Callable[[int], None],
) -> None:
    """Train in place on augmented faces with their labels: Adam, with a one-cycle learning-rate
    schedule whose maximum is learning_rate. The network is in evaluation mode afterwards.

    generator, done: see TrainingFaces.drawn.
    """
    network.train()
    steps = epochs * -(-len(faces) // batch)
    optimizer = torch.optim.Adam(network.parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, steps)
    with torch.enable_grad():
        for pixels, labels in faces.drawn(epochs, batch, generator, done):
            augmented = augment(pixels.to(network.dtype), generator)
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(network(augmented), labels))
            optimizer.step()
            schedule.step()
    network.eval()


def seeded(seed: int) -> torch.Generator:
    """A CPU generator: the same random numbers whatever device trains."""
    return torch.Generator().manual_seed(seed)
