"""The detector threshold for a nominal false positive rate."""

from __future__ import annotations

import math

from torch import Tensor

from ytf_torch.metrics import Share


def threshold_for(clean_scores: Tensor, nominal: float) -> float:
    """The smallest score that at most `nominal` percent of the scores exceed; −inf at 100 percent.

    It is never +inf: scores of +inf (images with logits that are not finite) are flagged even if
    more than `nominal` percent of the images have them. It is −inf if no score is finite.

    >>> threshold_for(torch.arange(1, 101), 5.0)
    95.0
    """
    allowed = math.floor(len(clean_scores) * nominal / 100)
    if allowed >= len(clean_scores):
        return -math.inf
    finite = clean_scores[clean_scores < math.inf]
    ordered = finite.sort(descending=True).values
    if not len(ordered):
        return -math.inf
    return float(ordered[max(allowed - len(clean_scores) + len(finite), 0)])


def share_above(scores: Tensor, threshold: float) -> Share:
    """The share of scores above a threshold.

    >>> share_above(torch.arange(1, 101), 95.0)
    5.00 % (2.15–11.18), 5 of 100
    """
    return Share.of(int((scores > threshold).sum()), len(scores))
