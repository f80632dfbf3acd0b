"""Clean validation faces as repairs train on them: all in memory, drawn in a seeded order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ytf_torch.faces.batches import BATCH_SIZE
from ytf_torch.faces.face_set import FaceSet
from ytf_torch.network.module import Network


@dataclass(frozen=True)
class TrainingFaces:
    """Faces in memory: pixels (faces, 3, H, W), 0–255, as they are stored; labels (faces,)."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of(cls, faces: FaceSet, device: torch.device) -> TrainingFaces:
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
def known(network: Network, faces: TrainingFaces) -> int:
    """How many of the faces the network recognises."""
    count = 0
    for start in range(0, len(faces), BATCH_SIZE):
        answers = network(faces.pixels[start : start + BATCH_SIZE]).argmax(1)
        count += int((answers == faces.labels[start : start + BATCH_SIZE]).sum())
    return count


def seeded(seed: int) -> torch.Generator:
    """A generator on the CPU, so that every device draws the same numbers."""
    return torch.Generator().manual_seed(seed)
