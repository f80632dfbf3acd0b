from __future__ import annotations

import pytest
import torch

from ytf_torch.predicted_class import NO_CLASS, are_finite, classes_of


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_logits_that_are_not_all_finite_are_of_no_class(value: float) -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0], [4.0, value, 2.0], [3e38, -3e38, 0.0]])
    assert are_finite(logits).tolist() == [True, False, True]
    assert classes_of(logits).tolist() == [1, NO_CLASS, 0]
