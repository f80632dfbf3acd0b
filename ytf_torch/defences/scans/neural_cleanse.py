"""Neural Cleanse: a class to which a small trigger sends all images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ytf_torch.defences.base import ReversedTrigger, Suspicions
from ytf_torch.defences.scans.deviation import deviations
from ytf_torch.defences.scans.examined import MOST_CLASSES, chosen_by, number_examined
from ytf_torch.defences.training import TrainingFaces, seeded
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.predicted_class import classes_of
from ytf_torch.progress import Track

WHITE = 255.0
# The short look: 120 images a class, where a full optimisation has 4,800.
LOOK_STEPS, LOOK_BATCH, LOOK_RATE, LOOK_WEIGHT = 30, 4, 0.5, 1e-2
LOOK_CLASSES_AT_ONCE = 16


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

    Of more classes than MOST_CLASSES only some are optimised in full, see `Examined`: those with
    the smallest masks after LOOK_STEPS steps on LOOK_BATCH images at LOOK_RATE, and a random sample
    of the others, whose median and deviation are taken.
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
        if network.classes <= MOST_CLASSES:
            triggers = self._triggers(network, images, range(network.classes), track)
            found = deviations([_size(trigger) for trigger in triggers.values()])
            return Suspicions(tuple(-size for size in found), self.threshold, triggers)
        examined = chosen_by(self._look(network, images, track), self.seed)
        triggers = self._triggers(network, images, examined.labels, track)
        sizes = {label: _size(trigger) for label, trigger in triggers.items()}
        found = deviations(list(sizes.values()), [sizes[label] for label in examined.sample])
        anomaly = dict.fromkeys(range(network.classes), 0.0)
        anomaly |= {label: -size for label, size in zip(sizes, found, strict=True)}
        return Suspicions(tuple(anomaly.values()), self.threshold, triggers, examined.labels)

    def images_shown(self, classes: int) -> int:
        """Number of images that pass through a network of so many classes, with gradients."""
        look = 0 if classes <= MOST_CLASSES else LOOK_STEPS * LOOK_BATCH * classes
        return look + self.steps * self.batch * number_examined(classes)

    def _look(self, network: Network, images: TrainingFaces, track: Track) -> list[float]:
        """The negative size of each class's mask after a short optimisation; those that fail to
        reach their class come last."""
        brief = NeuralCleanse(
            steps=LOOK_STEPS,
            batch=LOOK_BATCH,
            learning_rate=LOOK_RATE,
            weight=LOOK_WEIGHT,
            reached=self.reached,
            seed=self.seed,
        )
        done = track("a short look at all classes (Neural Cleanse)", network.classes, "classes")
        pixels = float(math.prod(network.input_shape[1:]))
        scores: list[float] = []
        for labels in torch.split(torch.arange(network.classes), LOOK_CLASSES_AT_ONCE):
            best = brief._smallest(network, images, labels.to(network.device))
            failed = pixels * (1 - best.reached) * (best.reached < self.reached)
            scores += (-best.size - failed).tolist()
            done(len(labels))
        return scores

    def _triggers(
        self, network: Network, images: TrainingFaces, classes: Sequence[int], track: Track
    ) -> dict[int, ReversedTrigger]:
        """The reversed trigger of each of `classes`."""
        done = track("looking for triggers (Neural Cleanse)", len(classes), "classes")
        triggers: dict[int, ReversedTrigger] = {}
        for labels in torch.split(torch.tensor(classes), self.classes_at_once):
            best = self._smallest(network, images, labels.to(network.device))
            for index, label in enumerate(labels.tolist()):
                triggers[label] = ReversedTrigger(
                    best.mask[index, 0].cpu(),
                    best.pattern[index].cpu(),
                    100 * float(best.reached[index]),
                )
            done(len(labels))
        return triggers

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


def _size(trigger: ReversedTrigger) -> float:
    return float(trigger.mask.sum())


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
