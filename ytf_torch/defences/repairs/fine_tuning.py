"""Fine-tuning at a high learning rate on varied clean faces, which unlearns much of a backdoor."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Generator
from torch.nn import functional as F

from ytf_torch.defences.base import Candidate
from ytf_torch.defences.training import TrainingFaces, seeded
from ytf_torch.defences.variations import lit, moved
from ytf_torch.faces.face_set import FaceSet
from ytf_torch.network.module import Network
from ytf_torch.progress import Track


class FineTuning:
    """Trains B on for some epochs; the learning rate rises to its height and falls to nothing.

    Source: the baseline of the field (Liu, Dolan-Gavitt, Garg, "Fine-Pruning", RAID 2018); the
    high rate follows "Revisiting Neural Networks for Fine-tuning Based Backdoor Defenses" in
    spirit, not in its figures: these were chosen on BadNets of this network.
    """

    def __init__(
        self,
        *,
        learning_rate: float = 2e-3,
        epochs: int = 12,
        batch: int = 64,
        seed: int = 0,
    ) -> None:
        self.learning_rate, self.epochs = learning_rate, epochs
        self.batch, self.seed = batch, seed

    def candidates(
        self, network: Network, clean_valid: FaceSet, track: Track
    ) -> Iterator[Candidate]:
        """See Repair."""
        faces = TrainingFaces.of(clean_valid, network.device)
        done = track("fine-tuning", self.epochs * len(faces))
        tuned = self.tuned(network, faces, seeded(self.seed), done)
        yield Candidate("fine-tuned", tuned, (self.step(len(faces)),))

    def step(self, faces: int) -> str:
        """What it does to a network, for its history."""
        return f"fine-tuned on {faces} clean faces, varied, for {self.epochs} epochs"

    def tuned(
        self,
        network: Network,
        faces: TrainingFaces,
        generator: Generator,
        done: Callable[[int], None],
    ) -> Network:
        """A fine-tuned copy in evaluation mode. done: is told of the faces of each batch."""
        tuned = copy.deepcopy(network).train()
        steps = self.epochs * -(-len(faces) // self.batch)
        optimizer = torch.optim.Adam(tuned.parameters(), self.learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.learning_rate, steps)
        with torch.enable_grad():
            for pixels, labels in faces.drawn(self.epochs, self.batch, generator, done):
                varied = lit(moved(pixels.to(network.dtype), generator), generator)
                optimizer.zero_grad()
                torch.autograd.backward(F.cross_entropy(tuned(varied), labels))
                optimizer.step()
                schedule.step()
        return tuned.eval()
