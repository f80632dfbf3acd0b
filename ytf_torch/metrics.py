"""Metrics, computed from counts, because counts add up over batches and processes."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, lgamma, sqrt
from statistics import NormalDist
from typing import overload

import torch
from torch import Tensor

from ytf_torch.predicted_class import NO_CLASS


def percentage(count: int, images: int) -> float:
    """`100 · count / images`, unrounded."""
    return 100 * count / images


def wilson_interval(count: int, images: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of the rate count / images, (low, high) in percent, within 0–100.

    Unlike the normal approximation p ± 1.96 s it is valid for rates near 0 and 100 % and for few
    images. Source: E. B. Wilson, "Probable inference, the law of succession, and statistical
    inference", Journal of the American Statistical Association 22 (1927), 209–212.
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
    """A rate with its 95 % Wilson interval, in percent: `count` of `images`.

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
        """The rate of `count` of `images`.

        >>> Share.of(1, 40)
        2.50 % (0.44–12.88), 1 of 40
        """
        return cls(percentage(count, images), *wilson_interval(count, images), count, images)

    def __repr__(self) -> str:
        return (
            f"{self.rate:.2f} % ({self.low:.2f}–{self.high:.2f}), {self.count:,} of {self.images:,}"
        )


def significantly_above(share: Share, chance: Share, level: float = 0.05) -> bool:
    """Whether `share` is significantly higher than `chance`, by a one-sided Fisher's exact test.

    level: the significance level, the probability of a false positive if the rates are equal.

    >>> significantly_above(Share.of(6, 1000), Share.of(1, 1000))
    False
    >>> significantly_above(Share.of(12, 1000), Share.of(1, 1000))
    True
    """
    images, hits = share.images + chance.images, share.count + chance.count

    def log_binomial(n: int, k: int) -> float:
        return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)

    # P(at least share.count of all hits are in the first sample) under the null hypothesis of equal
    # rates: the upper tail of the hypergeometric distribution.
    p_value = sum(
        exp(
            log_binomial(share.images, k)
            + log_binomial(chance.images, hits - k)
            - log_binomial(images, hits)
        )
        for k in range(share.count, min(share.images, hits) + 1)
    )
    return p_value < level


def rate_of(share: Share | None) -> float | None:
    """The rate of a share in percent; None if it was not measured."""
    return None if share is None else share.rate


@dataclass(frozen=True, repr=False)
class Figures:
    """The metrics of B, B′ or GoodNet, each with its interval; None for what was not measured.

    attack_success_rate: share of all triggered images that are classified as the attacker's target,
    the definition of the lab and of TrojanZoo. attack_success_rate_without_target: the same over
    triggered images whose true class is not the target, the definition of BackdoorBench; only if
    true labels are known.
    robust_accuracy: share of triggered images that are classified as their true class.
    clean_target_rate: share of clean images of other classes that are classified as the target; the
    attack success rate without target that is expected without any attack.
    false_positive_rate, true_positive_rate: share of clean, and of triggered, images that GoodNet
    flags. clean_not_finite, triggered_not_finite, clean_valid_not_finite: share of images on which
    the network's logits are NaN or infinite, so that it predicts no class; None if there are none.

    >>> ytf_torch.evaluate("bd_net.h5", "test.h5", "bd_test.h5").model
    clean accuracy: 100.00 % (86.20–100.00), 24 of 24
    attack success rate: 54.17 % (35.07–72.11), 13 of 24
    attack success rate without target: 41.67 % (19.33–68.05), 5 of 12
    robust accuracy: 58.33 % (38.83–75.53), 14 of 24
    clean target rate: 0.00 % (0.00–24.25), 0 of 12
    """

    clean_accuracy: Share | None
    attack_success_rate: Share | None
    attack_success_rate_without_target: Share | None
    robust_accuracy: Share | None
    false_positive_rate: Share | None = None
    true_positive_rate: Share | None = None
    clean_valid_accuracy: Share | None = None
    clean_valid_flagged: Share | None = None
    clean_not_finite: Share | None = None
    triggered_not_finite: Share | None = None
    clean_valid_not_finite: Share | None = None
    clean_target_rate: Share | None = None

    def __repr__(self) -> str:
        measured = {name: share for name, share in vars(self).items() if share is not None}
        return "\n".join(f"{name.replace('_', ' ')}: {share}" for name, share in measured.items())


@overload
def disagree(badnet: int, repaired: int) -> bool: ...
@overload
def disagree(badnet: Tensor, repaired: Tensor) -> Tensor: ...
def disagree(badnet: int | Tensor, repaired: int | Tensor) -> bool | Tensor:
    """GoodNet's rule: flag an image if B and B′ predict different classes, or if one of them
    predicts none.

    badnet, repaired: predicted classes of one image, or as tensors of broadcastable shapes.
    """
    return (badnet != repaired) | (badnet == NO_CLASS)


def count_answers(predictions: Tensor, labels: Tensor) -> Tensor:
    """The counts of a batch at every step of a sweep.

    predictions: (steps + 1, batch), predicted classes after pruning 0, 1, 2, … channels.
    labels: (batch,). Returns (4, steps + 1), int64: images predicted as their label; images on
    which GoodNet (B is row 0, B′ this row) answers the label; images that GoodNet flags; images
    without a predicted class.
    """
    correct = predictions == labels
    flagged = disagree(predictions, predictions[0])
    without = predictions == NO_CLASS
    return torch.stack(
        [correct.sum(1), (correct & ~flagged).sum(1), flagged.sum(1), without.sum(1)]
    )


@dataclass(frozen=True)
class Step:
    """The metrics of one image set at one step of a sweep.

    correct: images predicted as their label: on a clean set the clean accuracy; on a triggered set,
    which is labelled with the attacker's target, the attack success rate. goodnet_correct: the same
    for GoodNet. flagged: images that GoodNet flags: its false positive rate on a clean set, its
    true positive rate on a triggered one.
    """

    correct: Share
    goodnet_correct: Share
    flagged: Share


@dataclass(frozen=True)
class Tally:
    """The counts of one image set at every step of a sweep; index 0 is the unpruned network.

    Counts of disjoint sets are added by `+`. not_finite: images on which the network's logits are
    not finite, by default none.
    """

    images: int
    correct: tuple[int, ...]
    goodnet_correct: tuple[int, ...]
    flagged: tuple[int, ...]
    not_finite: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.not_finite:
            object.__setattr__(self, "not_finite", (0,) * len(self.correct))

    @classmethod
    def of_counts(cls, images: int, counts: Tensor) -> Tally:
        """From the sum of `count_answers` over all batches, (4, steps + 1)."""
        return cls(images, *(tuple(row) for row in counts.tolist()))

    @classmethod
    def empty(cls, steps: int) -> Tally:
        """The counts of no images, over a sweep of `steps` channels."""
        return cls.of_counts(0, torch.zeros(4, steps + 1, dtype=torch.int64))

    @property
    def _counts(self) -> tuple[tuple[int, ...], ...]:
        return (self.correct, self.goodnet_correct, self.flagged, self.not_finite)

    def __add__(self, other: Tally) -> Tally:
        pairs = zip(self._counts, other._counts, strict=True)
        totals = (tuple(a + b for a, b in zip(*pair, strict=True)) for pair in pairs)
        return Tally(self.images + other.images, *totals)

    def at(self, step: int) -> Step:
        """The metrics after pruning `step` channels."""
        counts = (self.correct, self.goodnet_correct, self.flagged)
        return Step(*(Share.of(count[step], self.images) for count in counts))

    def select(self, *steps: int) -> Tally:
        """The counts at `steps` only, in the given order."""
        selected = (tuple(counts[step] for step in steps) for counts in self._counts)
        return Tally(self.images, *selected)
