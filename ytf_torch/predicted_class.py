"""The class that a network predicts, or NO_CLASS if its logits are not finite."""

from __future__ import annotations

import torch
from torch import Tensor

NO_CLASS = -1
"""Stands for the predicted class if the logits are not all finite: they predict none."""


def are_finite(logits: Tensor) -> Tensor:
    """Logits (…, classes) → bool (…), whether all logits of a row are finite."""
    return logits.isfinite().all(dim=-1)


def classes_of(logits: Tensor) -> Tensor:
    """Logits (…, classes) → the argmax of each row (…), int64; NO_CLASS if not all are finite.

    >>> classes_of(torch.tensor([[1.0, 3.0], [1.0, torch.nan], [torch.inf, 0.0]])).tolist()
    [1, -1, -1]
    """
    return torch.where(are_finite(logits), logits.argmax(-1), NO_CLASS)
