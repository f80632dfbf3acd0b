"""Figures of the field, computed from counts: counts add up over batches and processes."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import overload

import torch
from torch import Tensor


def percentage(count: int, images: int) -> float:
    """`count` of `images` in percent, 0–100, full precision."""
    return 100 * count / images


def wilson_interval(count: int, images: int, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval of a share, (low, high) in percent, within 0–100.

    Unlike the textbook's p ± 1.96 s it is right for shares near 0 and 100 % and for few images.
    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    Journal of the American Statistical Association 22 (1927), 209–212.
    """
    share = count / images
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    shrink = 1 + z * z / images
    centre = (share + z * z / (2 * images)) / shrink
    half = z / shrink * sqrt(share * (1 - share) / images + z * z / (4 * images * images))
    low = 0.0 if count == 0 else 100 * (centre - half)
    high = 100.0 if count == images else 100 * (centre + half)
    return low, high


@dataclass(frozen=True)
class Share:
    """A rate with its 95 % Wilson interval, all in percent; count of images stand behind it.

    >>> Share.of(3, 4).rate
    75.0
    """

    rate: float
    low: float
    high: float
    count: int
    images: int

    @classmethod
    def of(cls, count: int, images: int) -> Share:
        """`count` of `images`.

        >>> Share.of(1, 40)
        2.50 % (0.44–12.88), 1 of 40
        """
        return cls(percentage(count, images), *wilson_interval(count, images), count, images)

    def __repr__(self) -> str:
        return (
            f"{self.rate:.2f} % ({self.low:.2f}–{self.high:.2f}), {self.count:,} of {self.images:,}"
        )


def rate_of(share: Share | None) -> float | None:
    """A share in percent; None where nothing was measured."""
    return None if share is None else share.rate


@dataclass(frozen=True, repr=False)
class Figures:
    """The figures of B, B′ or GoodNet, each with its interval; None where nothing was measured.

    attack_success_rate: share of all triggered faces that get the attacker's target, as the lab
    and TrojanZoo count. attack_success_rate_without_target: share of those whose true class is
    another, as BackdoorBench counts; known only where the true labels are.
    robust_accuracy: share of triggered faces that get the class of who is really on them.
    false_positive_rate, true_positive_rate: shares of clean and of triggered faces that GoodNet
    flags.

    >>> ytf_torch.evaluate("bd_net.h5", "test.h5", "bd_test.h5").model
    clean accuracy: 100.00 % (86.20–100.00), 24 of 24
    attack success rate: 54.17 % (35.07–72.11), 13 of 24
    attack success rate without target: 41.67 % (19.33–68.05), 5 of 12
    robust accuracy: 58.33 % (38.83–75.53), 14 of 24
    """

    clean_accuracy: Share | None
    attack_success_rate: Share | None
    attack_success_rate_without_target: Share | None
    robust_accuracy: Share | None
    false_positive_rate: Share | None = None
    true_positive_rate: Share | None = None
    clean_valid_accuracy: Share | None = None
    clean_valid_flagged: Share | None = None

    def __repr__(self) -> str:
        measured = {name: share for name, share in vars(self).items() if share is not None}
        return "\n".join(f"{name.replace('_', ' ')}: {share}" for name, share in measured.items())


@overload
def disagree(badnet: int, repaired: int) -> bool: ...
@overload
def disagree(badnet: Tensor, repaired: Tensor) -> Tensor: ...
def disagree(badnet: int | Tensor, repaired: int | Tensor) -> bool | Tensor:
    """GoodNet's rule: it flags a face where B and B′ answer different classes.

    badnet, repaired: classes, of one face or as tensors of shapes that go together.
    """
    return badnet != repaired


def count_answers(predictions: Tensor, labels: Tensor) -> Tensor:
    """What a sweep needs to know of some images, as counts.

    predictions: (steps + 1, batch), classes after 0, 1, 2, … channels pruned. labels: (batch,).
    Returns (3, steps + 1), int64: images whose prediction is the label; images on which GoodNet
    (row 0 and this row) answers the label; images that GoodNet flags.
    """
    correct = predictions == labels
    flagged = disagree(predictions, predictions[0])
    return torch.stack([correct.sum(1), (correct & ~flagged).sum(1), flagged.sum(1)])


@dataclass(frozen=True)
class Step:
    """The figures of one set of images at one step of a sweep.

    correct: images that get their label: on a clean set the clean accuracy, on a triggered set,
    labelled with the attacker's target, the attack success rate. goodnet_correct: the same of
    GoodNet. flagged: images that GoodNet flags: its false or its true positive rate.
    """

    correct: Share
    goodnet_correct: Share
    flagged: Share


@dataclass(frozen=True)
class Tally:
    """How one image set fared through a sweep, as counts; index 0 is the unpruned network."""

    images: int
    correct: tuple[int, ...]
    goodnet_correct: tuple[int, ...]
    flagged: tuple[int, ...]

    @classmethod
    def of_counts(cls, images: int, counts: Tensor) -> Tally:
        """From the sum of `count_answers` over all batches."""
        correct, goodnet_correct, flagged = (tuple(row) for row in counts.tolist())
        return cls(images, correct, goodnet_correct, flagged)

    @classmethod
    def empty(cls, steps: int) -> Tally:
        """Of no image at all, over a sweep of `steps` channels."""
        return cls.of_counts(0, torch.zeros(3, steps + 1, dtype=torch.int64))

    def __add__(self, other: Tally) -> Tally:
        def total(mine: tuple[int, ...], others: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(a + b for a, b in zip(mine, others, strict=True))

        return Tally(
            self.images + other.images,
            total(self.correct, other.correct),
            total(self.goodnet_correct, other.goodnet_correct),
            total(self.flagged, other.flagged),
        )

    def at(self, step: int) -> Step:
        """The figures after `step` channels."""
        counts = (self.correct, self.goodnet_correct, self.flagged)
        return Step(*(Share.of(count[step], self.images) for count in counts))

    def select(self, *steps: int) -> Tally:
        """The counts of some steps alone, in the order given."""

        def chosen(counts: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(counts[step] for step in steps)

        return Tally(
            self.images, chosen(self.correct), chosen(self.goodnet_correct), chosen(self.flagged)
        )
