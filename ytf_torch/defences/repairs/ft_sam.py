"""FT-SAM: fine-tuning that looks for weights around which the loss is flat."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from ytf_torch.defences.base import Candidate
from ytf_torch.defences.training import TrainingFaces, seeded
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.progress import Track


class SharpnessAwareFineTuning:
    """Fine-tunes on clean validation faces; each step follows the gradient at the worst weights
    within `radius`, measured in each weight's own size, which moves backdoor channels further.

    Source: Zhu, Wei, Shen, Fan, Wu, "Enhancing Fine-Tuning Based Backdoor Defense with
    Sharpness-Aware Minimization" (ICCV 2023), with the defaults of BackdoorBench.
    """

    def __init__(
        self,
        *,
        radius: float = 2.0,
        learning_rate: float = 0.01,
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
        epochs: int = 100,
        batch: int = 128,
        seed: int = 0,
    ) -> None:
        self.radius, self.learning_rate = radius, learning_rate
        self.momentum, self.weight_decay = momentum, weight_decay
        self.epochs, self.batch, self.seed = epochs, batch, seed

    def candidates(
        self, network: Network, clean_valid: ImageSet, track: Track
    ) -> Iterator[Candidate]:
        """See Repair."""
        faces = TrainingFaces.of(clean_valid, network.device)
        tuned = copy.deepcopy(network).train()
        optimizer = torch.optim.SGD(
            tuned.parameters(),
            lr=self.learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            optimizer, self.epochs * -(-len(faces) // self.batch)
        )
        done = track("fine-tuning (FT-SAM)", self.epochs * len(faces))
        with torch.enable_grad():
            for pixels, labels in faces.drawn(self.epochs, self.batch, seeded(self.seed), done):
                moves = self.worst_moves(tuned, pixels, labels)
                _move(tuned, moves, 1)
                optimizer.zero_grad()
                torch.autograd.backward(F.cross_entropy(tuned(pixels), labels))
                _move(tuned, moves, -1)
                optimizer.step()
                schedule.step()
        history = f"fine-tuned by FT-SAM on {len(faces)} clean faces for {self.epochs} epochs"
        yield Candidate("ft-sam", tuned.eval(), (history,))

    def worst_moves(self, network: Network, pixels: Tensor, labels: Tensor) -> list[Tensor]:
        """The moves of all weights, within the radius, that raise the loss most to first order."""
        parameters = list(network.parameters())
        loss = F.cross_entropy(network(pixels), labels)
        # 0 for what no logit depends on, as a second head that is used in training alone.
        gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
        scaled = [w.detach().abs() * g for w, g in zip(parameters, gradients, strict=True)]
        length = torch.stack([part.norm() for part in scaled]).norm().clamp_min(1e-12)
        return [
            w.detach().abs() * part * (self.radius / length)
            for w, part in zip(parameters, scaled, strict=True)
        ]


@torch.no_grad()
def _move(network: Network, moves: list[Tensor], direction: int) -> None:
    for parameter, move in zip(network.parameters(), moves, strict=True):
        parameter.add_(move, alpha=direction)
