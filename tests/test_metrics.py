from __future__ import annotations

import pytest
import torch

from ytf_torch.metrics import Share, Tally, count_answers, wilson_interval
from ytf_torch.predicted_class import NO_CLASS

PREDICTIONS = torch.tensor(
    [
        [0, 1, 2, 3],  # unpruned
        [0, 1, 2, 0],
        [1, 1, 0, 3],
    ]
)
LABELS = torch.tensor([0, 1, 1, 3])


def test_counts_of_correct_goodnet_correct_and_flagged() -> None:
    assert count_answers(PREDICTIONS, LABELS).tolist() == [
        [3, 2, 2],
        [3, 2, 2],
        [0, 1, 2],
        [0, 0, 0],
    ]


def test_goodnet_is_right_only_where_both_networks_are() -> None:
    predictions = torch.tensor([[0, 1], [1, 1]])
    assert count_answers(predictions, torch.tensor([1, 1])).tolist() == [
        [1, 2],
        [1, 1],
        [0, 1],
        [0, 0],
    ]


def test_tallies_of_two_halves_add_up_to_the_whole() -> None:
    halves = [
        Tally.of_counts(2, count_answers(PREDICTIONS[:, half], LABELS[half]))
        for half in (slice(0, 2), slice(2, 4))
    ]
    whole = Tally.of_counts(4, count_answers(PREDICTIONS, LABELS))
    assert halves[0] + halves[1] == whole


def test_rates_are_percentages_of_all_images() -> None:
    tally = Tally(8, (7, 4), (7, 3), (0, 2))
    assert [tally.at(step).correct.rate for step in (0, 1)] == [87.5, 50.0]
    assert tally.at(1).goodnet_correct == Share.of(3, 8)
    assert tally.at(1).flagged.rate == 25.0


def test_some_steps_alone() -> None:
    tally = Tally(8, (7, 6, 4), (7, 5, 3), (0, 1, 2))
    assert tally.select(0, 2) == Tally(8, (7, 4), (7, 3), (0, 2))


def test_counting_stays_on_the_device_of_the_predictions() -> None:
    on_meta = count_answers(PREDICTIONS.to("meta"), LABELS.to("meta"))
    assert (on_meta.device.type, tuple(on_meta.shape)) == ("meta", (4, 3))


@pytest.mark.parametrize(
    ("count", "images", "low", "high"),
    # R. G. Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in
    # Medicine 17 (1998), table I, method 3.
    [(81, 263, 25.53, 36.62), (15, 148, 6.24, 16.05), (0, 20, 0.0, 16.11), (1, 29, 0.61, 17.18)],
)
def test_wilson_interval_gives_the_published_values(
    count: int, images: int, low: float, high: float
) -> None:
    assert wilson_interval(count, images) == pytest.approx((low, high), abs=0.005)


@pytest.mark.parametrize("images", [1, 7, 12_830])
def test_wilson_interval_is_mirrored_and_stays_within_0_and_100(images: int) -> None:
    low, high = wilson_interval(0, images)
    assert low == 0
    assert 0 < high < 100
    assert wilson_interval(images, images) == pytest.approx((100 - high, 100))


def test_no_class_is_never_right_and_always_flagged() -> None:
    predictions = torch.tensor([[0, NO_CLASS, 2, NO_CLASS], [0, 1, NO_CLASS, NO_CLASS]])
    tally = Tally.of_counts(4, count_answers(predictions, torch.tensor([0, 1, 2, 3])))
    assert tally == Tally(4, (2, 2), (2, 1), (2, 3), (2, 2))
    assert (tally + tally).not_finite == (4, 4)
    assert tally.select(1).not_finite == (2,)
