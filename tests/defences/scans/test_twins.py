"""Clean twins: networks of the same graph that learn the clean images, and what they count for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.made.badnet import SIZES, MadeBadNet
from ytf_torch.defences.scans.twins import AmongTwins, CleanTwins, joint_p_value
from ytf_torch.defences.training import TrainingFaces, augmentation
from ytf_torch.errors import InputError
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.network.wrapped_module import wrapped

AUGMENT = augmentation(mirror=False)
QUICK = CleanTwins(epochs=20, fewest_steps=1, batch=32)


def ignored(done: int) -> None: ...


@pytest.fixture
def images(clean_valid: ImageSet) -> TrainingFaces:
    return TrainingFaces.of(clean_valid, torch.device("cpu"))


def test_a_twin_learns_the_images_and_no_backdoor(
    badnet: MadeBadNet, images: TrainingFaces
) -> None:
    twin = QUICK.twin(badnet.network, images, AUGMENT, 0, ignored)
    assert twin.recognised >= 0.98
    assert 100 * twin.recognised == pytest.approx(badnet.clean_accuracy(twin.network))
    assert badnet.attack_success_rate(badnet.network) > 95
    assert badnet.attack_success_rate(twin.network) < 50
    assert twin.network.graph == badnet.network.graph
    assert twin.network.pixel_preprocessing == badnet.network.pixel_preprocessing
    assert not twin.network.training


def test_a_twin_depends_on_its_seed_and_on_no_weight_of_the_network(
    badnet: MadeBadNet, images: TrainingFaces
) -> None:
    def weights(network: Network, seed: int) -> torch.Tensor:
        twin = CleanTwins(epochs=1, fewest_steps=1).twin(network, images, AUGMENT, seed, ignored)
        return torch.cat([weight.flatten() for weight in twin.network.parameters()])

    of_badnet, of_sound = weights(badnet.network, 1), weights(badnet.sound, 1)
    assert torch.equal(of_badnet, of_sound)
    assert not torch.equal(of_badnet, weights(badnet.network, 2))


def test_few_images_are_shown_more_often() -> None:
    training = CleanTwins(epochs=15, fewest_steps=300, batch=64)
    assert training.epochs_for(64) == 300
    assert training.epochs_for(1200) == 16  # 19 steps an epoch
    assert training.epochs_for(11_547) == 15


def test_a_twin_that_does_not_fit_is_trained_three_times_and_says_so(
    badnet: MadeBadNet, images: TrainingFaces
) -> None:
    shown: list[int] = []
    training = CleanTwins(epochs=1, fewest_steps=1, learning_rate=1e-7)
    twin = training.twin(badnet.network, images, AUGMENT, 0, shown.append)
    assert sum(shown) == 3 * len(images)
    assert twin.recognised < 0.98


class Learned(nn.Module):
    """A module with a weight that no `reset_parameters` starts anew."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(5, 3))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.mean((2, 3)) @ self.weight.T


def test_a_module_that_cannot_start_anew_has_no_twins(images: TrainingFaces) -> None:
    network = wrapped(Learned(), SIZES.input_shape, 1.0).model
    with pytest.raises(InputError) as error:
        QUICK.twin(network, images, AUGMENT, 0, ignored)
    assert error.value.line() == (
        "Learned: its Learned has no reset_parameters to start anew with, so it can have no clean "
        'twins. Give `twins="0"`'
    )


@pytest.mark.parametrize(
    ("anomaly", "as_anomalous", "p_value"),
    [(9.0, 0, 0.25), (3.0, 1, 0.5), (2.5, 1, 0.5), (2.0, 2, 0.75), (0.0, 3, 1.0)],
)
def test_a_p_value_counts_the_twins_that_are_at_least_as_anomalous(
    anomaly: float, as_anomalous: int, p_value: float
) -> None:
    among = AmongTwins(anomaly, (1.0, 2.0, 3.0), threshold=2.0)
    assert (among.as_anomalous, among.p_value) == (as_anomalous, p_value)


def test_a_false_alarm_is_a_twin_above_the_threshold() -> None:
    rate = AmongTwins(9.0, (1.0, 2.0, 3.0, 4.0), threshold=2.0).false_alarm_rate
    assert (rate.count, rate.images, rate.rate) == (2, 4, 50.0)
    assert rate.low == pytest.approx(15.0, abs=0.1)  # Wilson's interval of 2 of 4
    assert rate.high == pytest.approx(85.0, abs=0.1)


def test_several_scans_count_for_as_many_chances() -> None:
    assert joint_p_value([0.05, 0.2]) == pytest.approx(0.1)
    assert joint_p_value([0.6, 0.9]) == 1.0
