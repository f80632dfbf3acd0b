"""Neural Cleanse: a class to which a small trigger sends all images."""

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
    """The best triggers so far, for several classes at once: the smallest that succeeds.

    size: (classes,), sum of the mask. mask: (classes, 1, H, W), 0–1. pattern: (classes, C, H, W),
    0–255. reached: (classes,), success rate on the last batch, 0–1.
    """

    size: Tensor
    mask: Tensor
    pattern: Tensor
    reached: Tensor


class NeuralCleanse:
    """Reverse-engineers a trigger for each class c by minimising

        cross-entropy((1 − mask) · x + mask · pattern, c) + weight · Σ mask

    over clean images x. anomaly = −(robust z-score of the mask's size, see `deviations`): a class
    whose trigger is much smaller than the others' is a candidate.

    weight: its initial value. It is multiplied by `change` after `patience` successful steps in a
    row, and divided by change^1.5 after as many failed ones; a step is successful if at least the
    share `reached`, 0–1, of the batch is assigned to c. classes_at_once: number of classes that are
    optimised together, on the same batches.

    Source: Wang, Yao, Shan, Li, Viswanath, Zheng, Zhao, "Neural Cleanse: Identifying and Mitigating
    Backdoor Attacks in Neural Networks" (IEEE S&P 2019), with the defaults of its authors' code
    except `steps` and `batch`, which are chosen to take minutes on two cores. A clean network can
    have a larger anomaly than a backdoored one.
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
        """See `Scan.suspicions`."""
        images = TrainingFaces.of(clean_valid, network.device)
        done = track("looking for triggers (Neural Cleanse)", network.classes, "classes")
        triggers: dict[int, ReversedTrigger] = {}
        sizes: list[float] = []
        for labels in torch.split(torch.arange(network.classes), self.classes_at_once):
            best = self._smallest(network, images, labels.to(network.device))
            for index, label in enumerate(labels.tolist()):
                sizes.append(float(best.size[index]))
                triggers[label] = ReversedTrigger(
                    best.mask[index, 0].cpu(),
                    best.pattern[index].cpu(),
                    100 * float(best.reached[index]),
                )
            done(len(labels))
        return Suspicions(tuple(-size for size in deviations(sizes)), self.threshold, triggers)

    def _smallest(self, network: Network, images: TrainingFaces, labels: Tensor) -> _Best:
        """The smallest successful trigger of each class in `labels`."""
        count, (channels, height, width) = len(labels), network.input_shape
        generator = seeded(self.seed)

        def start(planes: int) -> Tensor:
            values = torch.randn((count, planes, height, width), generator=generator)
            return values.to(network.device, network.dtype).requires_grad_()

        raw_mask, raw_pattern = start(1), start(channels)
        optimizer = torch.optim.Adam([raw_mask, raw_pattern], self.learning_rate, betas=(0.5, 0.9))
        weight = torch.full((count,), self.weight, dtype=network.dtype, device=network.device)
        # Successful and failed steps in a row, by class.
        successes, failures = torch.zeros_like(weight), torch.zeros_like(weight)
        best: _Best | None = None
        epochs = -(-self.steps * self.batch // len(images))
        drawn = images.drawn(epochs, self.batch, generator, lambda _: None)
        for _, (pixels, _) in zip(range(self.steps), drawn, strict=False):
            mask, pattern = raw_mask.sigmoid(), WHITE * raw_pattern.sigmoid()
            # (classes, batch, C, H, W): every class's trigger on every image of the batch.
            triggered = pixels * (1 - mask[:, None]) + (mask * pattern)[:, None]
            logits = network(triggered.flatten(0, 1)).unflatten(0, (count, -1))
            targets = labels[:, None].expand(-1, len(pixels))
            losses = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none").mean(1)
            size = mask.sum((1, 2, 3))
            optimizer.zero_grad()
            torch.autograd.backward((losses + weight * size).sum(), inputs=[raw_mask, raw_pattern])
            optimizer.step()
            with torch.no_grad():
                reached = (classes_of(logits) == targets).to(network.dtype).mean(1)
                current = _Best(size.detach(), mask.detach(), pattern.detach(), reached)
                best = current if best is None else _better(best, current, self.reached)
                succeeded = reached >= self.reached
                successes = torch.where(succeeded, successes + 1, 0)
                failures = torch.where(succeeded, 0, failures + 1)
                raised, lowered = successes >= self.patience, failures >= self.patience
                weight = torch.where(raised, weight * self.change, weight)
                weight = torch.where(lowered, weight / self.change**1.5, weight)
                successes, failures = successes * ~raised, failures * ~lowered
        assert best is not None
        return best


def _better(best: _Best, current: _Best, required: float) -> _Best:
    """The better trigger for each class: the smaller one of those with a success rate of at least
    `required`; if neither has it, the one with the higher success rate."""
    smaller = (current.reached >= required) & (
        (best.reached < required) | (current.size < best.size)
    )
    closer = (best.reached < required) & (current.reached > best.reached)
    take = smaller | closer

    def chosen(new: Tensor, old: Tensor) -> Tensor:
        return torch.where(take.view(-1, *[1] * (new.ndim - 1)), new, old)

    return _Best(
        chosen(current.size, best.size),
        chosen(current.mask, best.mask),
        chosen(current.pattern, best.pattern),
        chosen(current.reached, best.reached),
    )
