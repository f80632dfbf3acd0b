"""SCALE-UP: the prediction for a triggered image survives when its pixels are multiplied."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ytf_torch.defences.base import Candidate
from ytf_torch.device import exact_float32
from ytf_torch.images.batches import whole_batch
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.predicted_class import NO_CLASS, are_finite, classes_of
from ytf_torch.progress import Track, untracked


class ScaleUp:
    """Consistency of B's prediction y = argmax B(x) under multiplied pixels, compared with that of
    clean images of the same class:

        consistency = share of the factors n with argmax B(min(n · x, 255)) = y
        score = (consistency − mean[y]) / deviation[y]

    mean, deviation: of the consistency of the clean validation images that B assigns to y. A class
    with fewer than two of them has those of all images, and so has its deviation where it is 0.
    Pixels are multiplied before the network's own preprocessing, whatever that is.

    Source: Guo, Li, Chen, Guo, Sun, Liu, "SCALE-UP: An Efficient Black-box Input-level Backdoor
    Detection via Analyzing Scaled Prediction Consistency" (ICLR 2023), the variant with clean
    images, with the factors of the authors' code in BackdoorBox. Without these statistics the score
    has only six values, and no threshold flags between 0 and 1 % of clean images where one in a
    hundred has the highest. A class to which bright images are drawn is consistent on clean images
    too: a trigger that targets it looks like its own images.
    """

    def __init__(
        self,
        network: Network,
        clean_valid: ImageSet,
        *,
        factors: Sequence[float] = (3, 5, 7, 9, 11),
        track: Track = untracked,
    ) -> None:
        self.factors = tuple(factors)
        done = track("measuring consistency (SCALE-UP)", len(clean_valid))
        classes, consistencies = [], []
        with exact_float32(), torch.inference_mode():
            for batch in clean_valid.batches():
                pixels = whole_batch(batch.pixels.to(network.device))
                logits, consistency = self._consistency(network, pixels)
                classes.append(classes_of(logits)[: len(batch.labels)])
                consistencies.append(consistency[: len(batch.labels)])
                done(len(batch.labels))
            self.mean, self.deviation = _statistics(
                torch.cat(classes), torch.cat(consistencies), network.classes
            )

    @torch.inference_mode()
    def scores(self, network: Network, candidate: Candidate | None, pixels: Tensor) -> Tensor:
        """See `Detector.scores`; `candidate` is ignored."""
        logits, consistency = self._consistency(network, pixels)
        predicted = logits.argmax(1)
        scores = (consistency - self.mean[predicted]) / self.deviation[predicted]
        return scores.where(are_finite(logits), torch.nan)

    def _consistency(self, network: Network, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """B's logits for the images themselves, (batch, classes), and their consistency, (batch,),
        float64. Copies with logits that are not finite count as predicted otherwise."""
        pixels = pixels.to(network.dtype)
        logits = network(pixels)
        predicted = logits.argmax(1)
        same = torch.zeros(len(pixels), dtype=torch.float64, device=network.device)
        for factor in self.factors:
            same += classes_of(network((factor * pixels).clamp(max=255))) == predicted
        return logits, same / len(self.factors)


def _statistics(predicted: Tensor, consistency: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the consistency for each class, (classes,), float64.

    predicted: NO_CLASS where the logits are not finite; such images are left out.
    """
    finite = predicted != NO_CLASS
    predicted, consistency = predicted[finite], consistency[finite]
    overall_mean = consistency.mean().nan_to_num()
    overall = consistency.std().nan_to_num()
    # If all images are equally consistent, a score is the plain difference from their mean.
    overall = overall.where(overall > 0, 1.0)
    mean, deviation = overall_mean.repeat(classes), overall.repeat(classes)
    for label in set(predicted.tolist()):
        own = consistency[predicted == label]
        if len(own) > 1:
            mean[label] = own.mean()
            deviation[label] = own.std().where(own.std() > 0, overall)
    return mean, deviation
