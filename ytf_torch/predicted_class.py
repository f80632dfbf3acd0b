"""The class that a network predicts, and what stands for it where its logits are not finite."""

from __future__ import annotations

import torch
from torch import Tensor

NO_CLASS = -1
"""What stands for a class where a network's logits are not finite: it answers nothing then."""


def are_finite(logits: Tensor) -> Tensor:
    """Logits (…, classes) → (…), False where any is NaN or infinite."""
    return logits.isfinite().all(dim=-1)


def classes_of(logits: Tensor) -> Tensor:
    """Logits (…, classes) → the class of each row (…), NO_CLASS where they are not all finite.

    >>> classes_of(torch.tensor([[1.0, 3.0], [1.0, torch.nan], [torch.inf, 0.0]])).tolist()
    [1, -1, -1]
    """
    return torch.where(are_finite(logits), logits.argmax(-1), NO_CLASS)
