from __future__ import annotations

import pytest
import torch

from tests.made.keras_files import SMALL
from ytf_torch.defences.duration import (
    duration,
    expected_seconds,
    faces_of_detectors,
    faces_of_relearning,
    faces_of_training,
    seconds_of_a_face,
)
from ytf_torch.defences.methods import REPAIRS
from ytf_torch.network.deepid import deepid


@pytest.mark.parametrize("name", REPAIRS)
def test_every_repair_has_a_length_that_grows_with_its_faces(name: str) -> None:
    few, many = (faces_of_training(REPAIRS[name](0), faces, 40) for faces in (1000, 20_000))
    assert 0 < few < many


def test_the_length_of_what_takes_longest_is_that_of_its_pictures() -> None:
    """The recommended repair looks at 8 lessons of 4,800 pictures, 4 times each."""
    alone = faces_of_training(REPAIRS["fine-tuning"](0), 480, 40)
    found = faces_of_training(REPAIRS["distillation"](0), 480, 40) - alone
    assert 153_600 < found < 3 * 153_600
    assert faces_of_training(REPAIRS["pruning"](0), 480, 40) < 480


def test_what_is_measured_leaves_network_and_random_numbers_as_they_are() -> None:
    network = deepid(SMALL).fresh().eval()
    before = [tensor.clone() for tensor in network.state_dict().values()]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    assert 0 < seconds_of_a_face(network) < 1
    assert torch.equal(torch.rand(3), expected)
    assert all(map(torch.equal, before, network.state_dict().values()))
    assert not network.training


def test_several_repairs_take_as_long_as_all_of_them() -> None:
    network = deepid(SMALL).fresh().eval()
    one = expected_seconds(network, ["ft-sam"], 1000)
    assert expected_seconds(network, ["ft-sam"] * 50, 1000) > 5 * one


def test_at_the_same_time_they_take_as_long_as_their_share_or_the_longest() -> None:
    network = deepid(SMALL).fresh().eval()
    methods = ["ft-sam"] * 50
    together = expected_seconds(network, methods, 1000)
    assert expected_seconds(network, methods, 1000, at_once=25) < together / 5
    one = expected_seconds(network, ["ft-sam"], 1000)
    assert expected_seconds(network, ["ft-sam", "clp"], 1000, at_once=2) > one / 3


def test_detectors_take_as_long_as_the_images_they_score_and_are_measured_once() -> None:
    strip, expert, other = (
        faces_of_detectors([name], 1000, 2000) for name in ("strip", "badexpert", "goodnet")
    )
    assert strip > 5 * expert > 10 * other > 10 * 3000
    assert faces_of_detectors(["strip", "goodnet"], 1000, 2000) == strip + other
    assert faces_of_detectors([], 1000, 2000) == 0
    network = deepid(SMALL).fresh().eval()
    alone = expected_seconds(network, ["clp"], 100)
    assert expected_seconds(network, ["clp"] * 4, 100, detecting=strip) > 50 * alone
    assert expected_seconds(network, [], 100, detecting=strip) == 0


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "a few seconds"),
        (34, "about 30 seconds"),
        (89, "about 90 seconds"),
        (91, "about 2 minutes"),
        (1380, "about 23 minutes"),
        (7300, "about 2 hours"),
    ],
)
def test_a_time_is_said_as_roughly_as_it_is_known(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_relearning_takes_its_twin_once_and_curves_for_each_repair() -> None:
    none, one, two = (faces_of_relearning(repairs, 1200) for repairs in (0, 1, 2))
    assert none == 0
    curves = two - one
    assert one - curves == pytest.approx(1.7 * 24 * 1200)
    # Two networks, three numbers of triggered images, 80 steps of 64 images, and the measuring.
    assert 2 * 3 * 80 * 64 < curves < 3 * 2 * 3 * 80 * 64
    network = deepid(SMALL).fresh().eval()
    shortest = expected_seconds(network, ["clp"], 100)
    assert expected_seconds(network, ["clp"], 100, relearned=1) > 2 * shortest
