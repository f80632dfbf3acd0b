"""Neural Cleanse: a class that a small trigger sends all faces to."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ytf_torch.defences.base import ReversedTrigger, Suspicions
from ytf_torch.defences.scans.deviation import deviations
from ytf_torch.defences.training import TrainingFaces, seeded
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.predicted_class import classes_of
from ytf_torch.progress import Track

WHITE = 255.0


@dataclass(frozen=True)
class _Best:
    """The smallest trigger so far that reaches a class often enough, for many classes at once."""

    size: Tensor
    mask: Tensor
    pattern: Tensor
    reached: Tensor


class NeuralCleanse:
    """For each class, looks for the smallest mask and pattern that send nearly all clean faces to
    it; a class whose trigger is far smaller than the others' is a candidate.

    The weight of the mask's size rises while the trigger works and falls while it does not. Classes
    are optimised together, `classes_at_once` of them, each on the same batch of faces.

    reached: the share, 0–1, of faces a trigger has to send to its class. patience: steps in a row
    after which the weight of the size changes, by the factor `change`.

    Source: Wang, Yao, Shan, Li, Viswanath, Zheng, Zhao, "Neural Cleanse: Identifying and Mitigating
    Backdoor Attacks in Neural Networks" (IEEE S&P 2019), with the defaults of its authors' code but
    for the number of steps and faces a step, which are set for minutes on two cores. A clean
    network can give a stronger alarm than a backdoored one.
    """

    def __init__(
        self,
        *,
        steps: int = 300,
        batch: int = 16,
        learning_rate: float = 0.1,
        weight: float = 1e-3,
        change: float = 1.5,
        patience: int = 5,
        reached: float = 0.99,
        threshold: float = 2.0,
        classes_at_once: int = 8,
        seed: int = 0,
    ) -> None:
        self.steps, self.batch, self.learning_rate = steps, batch, learning_rate
        self.weight, self.change, self.patience = weight, change, patience
        self.reached, self.threshold = reached, threshold
        self.classes_at_once, self.seed = classes_at_once, seed

    def suspicions(self, network: Network, clean_valid: ImageSet, track: Track) -> Suspicions:
        """See Scan."""
        faces = TrainingFaces.of(clean_valid, network.device)
        done = track("looking for triggers (Neural Cleanse)", network.classes, "classes")
        triggers: dict[int, ReversedTrigger] = {}
        sizes: list[float] = []
        for labels in torch.split(torch.arange(network.classes), self.classes_at_once):
            best = self._smallest(network, faces, labels.to(network.device))
            for place, label in enumerate(labels.tolist()):
                sizes.append(float(best.size[place]))
                triggers[label] = ReversedTrigger(
                    best.mask[place, 0].cpu(),
                    best.pattern[place].cpu(),
                    100 * float(best.reached[place]),
                )
            done(len(labels))
        return Suspicions(tuple(-size for size in deviations(sizes)), self.threshold, triggers)

    def _smallest(self, network: Network, faces: TrainingFaces, labels: Tensor) -> _Best:
        """The smallest trigger of each of these classes."""
        count, (channels, height, width) = len(labels), network.input_shape
        generator = seeded(self.seed)

        def start(planes: int) -> Tensor:
            values = torch.randn((count, planes, height, width), generator=generator)
            return values.to(network.device, network.dtype).requires_grad_()

        raw_mask, raw_pattern = start(1), start(channels)
        optimizer = torch.optim.Adam([raw_mask, raw_pattern], self.learning_rate, betas=(0.5, 0.9))
        weight = torch.full((count,), self.weight, dtype=network.dtype, device=network.device)
        works_for, fails_for = torch.zeros_like(weight), torch.zeros_like(weight)
        best: _Best | None = None
        epochs = -(-self.steps * self.batch // len(faces))
        drawn = faces.drawn(epochs, self.batch, generator, lambda _: None)
        for _, (pixels, _) in zip(range(self.steps), drawn, strict=False):
            mask, pattern = raw_mask.sigmoid(), WHITE * raw_pattern.sigmoid()
            worn = pixels * (1 - mask[:, None]) + (mask * pattern)[:, None]
            logits = network(worn.flatten(0, 1)).unflatten(0, (count, -1))
            wanted = labels[:, None].expand(-1, len(pixels))
            losses = F.cross_entropy(logits.transpose(1, 2), wanted, reduction="none").mean(1)
            size = mask.sum((1, 2, 3))
            optimizer.zero_grad()
            torch.autograd.backward((losses + weight * size).sum(), inputs=[raw_mask, raw_pattern])
            optimizer.step()
            with torch.no_grad():
                reached = (classes_of(logits) == wanted).to(network.dtype).mean(1)
                found = _Best(size.detach(), mask.detach(), pattern.detach(), reached)
                best = found if best is None else _better(best, found, self.reached)
                works = reached >= self.reached
                works_for = torch.where(works, works_for + 1, 0)
                fails_for = torch.where(works, 0, fails_for + 1)
                raised, lowered = works_for >= self.patience, fails_for >= self.patience
                weight = torch.where(raised, weight * self.change, weight)
                weight = torch.where(lowered, weight / self.change**1.5, weight)
                works_for, fails_for = works_for * ~raised, fails_for * ~lowered
        assert best is not None
        return best


def _better(best: _Best, found: _Best, enough: float) -> _Best:
    """By class, whichever reaches its class often enough with the smaller mask; where neither does,
    whichever reaches it more often."""
    smaller = (found.reached >= enough) & ((best.reached < enough) | (found.size < best.size))
    closer = (best.reached < enough) & (found.reached > best.reached)
    take = smaller | closer

    def chosen(new: Tensor, old: Tensor) -> Tensor:
        return torch.where(take.view(-1, *[1] * (new.ndim - 1)), new, old)

    return _Best(
        chosen(found.size, best.size),
        chosen(found.mask, best.mask),
        chosen(found.pattern, best.pattern),
        chosen(found.reached, best.reached),
    )
