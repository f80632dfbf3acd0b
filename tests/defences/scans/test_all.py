"""What holds of every scan."""

from __future__ import annotations

import pytest
import torch

from tests.made.badnet import SIZES, TARGET, MadeBadNet
from ytf_torch.defences.base import Scan, Suspicions
from ytf_torch.defences.scans.deviation import deviations
from ytf_torch.defences.scans.last_layer import LastLayerOutliers
from ytf_torch.defences.scans.mm_bd import MaximumMargin, margin, p_value
from ytf_torch.defences.scans.neural_cleanse import NeuralCleanse
from ytf_torch.images.image_set import ImageSet
from ytf_torch.progress import untracked

SCANS: dict[str, Scan] = {
    "last-layer": LastLayerOutliers(),
    "mm-bd": MaximumMargin(starts=4, steps=5),
    "neural-cleanse": NeuralCleanse(steps=60, batch=16, classes_at_once=3),
}


@pytest.mark.parametrize("name", SCANS)
def test_every_class_gets_a_finite_score_and_the_network_stays_as_it_is(
    name: str, badnet: MadeBadNet, clean_valid: ImageSet
) -> None:
    before = {key: value.clone() for key, value in badnet.network.state_dict().items()}
    found = SCANS[name].suspicions(badnet.network, clean_valid, untracked)
    assert len(found.anomaly) == SIZES.classes
    assert bool(torch.tensor(found.anomaly).isfinite().all())
    for key, value in badnet.network.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.parametrize("name", SCANS)
def test_equal_seeds_give_equal_scores(
    name: str, badnet: MadeBadNet, clean_valid: ImageSet
) -> None:
    once, again = (
        SCANS[name].suspicions(badnet.network, clean_valid, untracked).anomaly for _ in range(2)
    )
    assert once == again


def test_the_trigger_of_the_target_is_the_smallest(
    badnet: MadeBadNet, clean_valid: ImageSet
) -> None:
    found = NeuralCleanse(steps=150, batch=32).suspicions(badnet.network, clean_valid, untracked)
    assert max(range(SIZES.classes), key=found.anomaly.__getitem__) == TARGET
    trigger = found.triggers[TARGET]
    assert trigger.mask.shape == SIZES.input_size
    assert trigger.pattern.shape == SIZES.input_shape
    assert 0 <= float(trigger.mask.min()) <= float(trigger.mask.max()) <= 1
    worn = badnet.clean * (1 - trigger.mask) + trigger.mask * trigger.pattern
    with torch.inference_mode():
        reached = (badnet.network(worn).argmax(1) == TARGET).float().mean()
    assert float(reached) > 0.9


def test_candidates_are_above_the_threshold_the_most_suspicious_first() -> None:
    assert Suspicions((0.0, 5.0, 1.9, 7.0), threshold=2).candidates == (3, 1)
    assert Suspicions((0.0, 1.0), threshold=2).candidates == ()


def test_deviations_are_in_units_of_a_robust_standard_deviation() -> None:
    assert deviations([1, 2, 3, 4, 100])[2] == 0
    assert deviations([1, 2, 3, 4, 100])[4] == pytest.approx(97 / 1.4826)
    assert deviations([5, 5, 5, 9]) == [0, 0, 0, 0]


def test_a_margin_is_over_the_best_other_class() -> None:
    logits = torch.tensor([[1.0, 4.0, 2.0], [3.0, 0.0, 7.0]])
    assert margin(logits, 1).tolist() == [2.0, -7.0]


def test_a_margin_far_above_the_others_has_a_small_p_value() -> None:
    others = [9.0, 10.0, 11.0, 10.5, 9.5, 10.2, 9.8, 10.1]
    assert p_value(60.0, others, 9) < 1e-4
    assert p_value(10.9, others, 9) > 0.1
    assert p_value(3.0, [3.0, 3.0], 3) == 1.0
    assert p_value(12.0, others, 1000) > p_value(12.0, others, 9)
