"""FT-SAM: fine-tuning that looks for weights around which the loss is flat."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from ytf_torch.defences.base import Candidate
from ytf_torch.defences.repairs.smaller_rates import first_that_still_knows
from ytf_torch.defences.training import TRAINING_PIXEL_SCALE, TrainingFaces, known, seeded
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.progress import Track

# Epochs after which a copy must not have forgotten the faces. Else training starts again with a
# smaller radius and learning rate, and with inputs of a scale of about 1.
TRIED = 3


class SharpnessAwareFineTuning:
    """Fine-tunes on clean validation faces; each step follows the gradient at the worst weights
    within `radius`, measured in each weight's own size, which moves backdoor channels further.

    Where the first steps end the network, both rates are reduced, see smaller_rates.py.

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
        done = track("fine-tuning (FT-SAM)", self.epochs * len(faces))
        tuned, share = first_that_still_knows(
            lambda share, required: self._tuned(network, faces, share, required, done),
            known(network, faces),
        )
        history = f"fine-tuned by FT-SAM on {len(faces)} clean faces for {self.epochs} epochs"
        if share < 1:
            history += f", at {share:.3g} of its radius and learning rate"
        yield Candidate("ft-sam", tuned.eval(), (history,))

    def _tuned(
        self,
        network: Network,
        faces: TrainingFaces,
        share: float,
        required: float,
        done: Callable[[int], None],
    ) -> Network | None:
        """A fine-tuned copy; None where it recognises fewer than `required` faces after TRIED
        epochs. share: of the radius and of the learning rate; below 1 the copy is trained with
        inputs of a scale of about 1."""
        tuned = copy.deepcopy(network).train()
        rescaled = share < 1 and bool(tuned.pixel_readers())
        if rescaled:
            tuned.read_pixels_at(TRAINING_PIXEL_SCALE)
        optimizer = torch.optim.SGD(
            tuned.parameters(),
            lr=share * self.learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )
        steps = -(-len(faces) // self.batch)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.epochs * steps)
        batches = faces.drawn(self.epochs, self.batch, seeded(self.seed), done)
        with torch.enable_grad():
            for step, (pixels, labels) in enumerate(batches):
                if step == TRIED * steps:
                    if known(tuned.eval(), faces) < required:
                        return None
                    tuned.train()
                moves = self.worst_moves(tuned, pixels, labels, share * self.radius)
                _move(tuned, moves, 1)
                optimizer.zero_grad()
                torch.autograd.backward(F.cross_entropy(tuned(pixels), labels))
                _move(tuned, moves, -1)
                optimizer.step()
                schedule.step()
        if rescaled:
            tuned.read_pixels_at(network.pixel_scale)
        return tuned

    @staticmethod
    def worst_moves(
        network: Network, pixels: Tensor, labels: Tensor, radius: float
    ) -> list[Tensor]:
        """The moves of all weights, within the radius, that raise the loss most to first order."""
        parameters = list(network.parameters())
        loss = F.cross_entropy(network(pixels), labels)
        # 0 for what no logit depends on, as a second head that is used in training alone.
        gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
        scaled = [w.detach().abs() * g for w, g in zip(parameters, gradients, strict=True)]
        length = torch.stack([part.norm() for part in scaled]).norm().clamp_min(1e-12)
        return [
            w.detach().abs() * part * (radius / length)
            for w, part in zip(parameters, scaled, strict=True)
        ]


@torch.no_grad()
def _move(network: Network, moves: list[Tensor], direction: int) -> None:
    for parameter, move in zip(network.parameters(), moves, strict=True):
        parameter.add_(move, alpha=direction)
