"""A few triggered images bring a repaired backdoor back sooner than they teach it to a network that
never had it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from tests.made.badnet import SIZES, TARGET, MadeBadNet, faces, with_trigger
from ytf_torch.defences.base import Candidate
from ytf_torch.defences.methods import last_candidate, repair_by
from ytf_torch.defences.relearning import (
    MEASURED_AFTER,
    NUMBERS,
    STEPS,
    Curve,
    RelearningImages,
    clean_twin,
    relearn,
    relearning,
    twin_epochs,
)
from ytf_torch.defences.relearning_images import relearning_images
from ytf_torch.errors import CannotRepairError
from ytf_torch.images.arrays import images_of
from ytf_torch.images.image_set import ImageSet, ImageSets
from ytf_torch.metrics import Share
from ytf_torch.network.deepid import deepid
from ytf_torch.network.module import Network
from ytf_torch.progress import Track, untracked


@pytest.fixture(scope="module")
def images(badnet: MadeBadNet) -> RelearningImages:
    """Validation images to train on, clean and triggered; the figures are of others."""
    valid, people = faces(120, seed=5)
    target = [TARGET] * len(badnet.people)
    sets = ImageSets(
        images_of(valid, people),
        images_of(badnet.clean, badnet.people),
        (images_of(badnet.triggered, target),),
    )
    triggered = images_of(with_trigger(valid), [TARGET] * len(valid))
    return relearning_images(sets, (triggered,), torch.device("cpu"))


@pytest.fixture(scope="module")
def unlearned(badnet: MadeBadNet) -> Network:
    """The BadNet after a few steps on triggered images with their true labels."""
    network, (clean, people) = copy.deepcopy(badnet.network).train(), faces(200, seed=6)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    with torch.enable_grad():
        for _ in range(20):
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(network(with_trigger(clean)), people))
            optimizer.step()
    return network.eval()


def test_a_backdoor_that_was_unlearned_comes_back_sooner_than_it_is_learned(
    badnet: MadeBadNet, unlearned: Network, images: RelearningImages
) -> None:
    assert badnet.attack_success_rate(unlearned) < 10
    again, never = (relearn(one, images, 20, 0, untracked) for one in (unlearned, badnet.sound))
    assert again.steps_to_back is not None
    assert never.steps_to_back is None or again.steps_to_back < never.steps_to_back / 2


def test_the_first_figures_of_a_curve_are_those_of_the_network_as_it_was(
    badnet: MadeBadNet, images: RelearningImages
) -> None:
    for network in (badnet.network, badnet.sound):
        before = [tensor.clone() for tensor in network.state_dict().values()]
        curve = relearn(network, images, 5, 0, untracked)
        assert curve.steps == MEASURED_AFTER
        assert (curve.steps[0], curve.steps[-1]) == (0, STEPS)
        assert len(curve.attack) == len(curve.clean) == len(curve.steps)
        assert curve.attack[0].rate == badnet.attack_success_rate(network)
        assert curve.clean[0].rate == badnet.clean_accuracy(network)
        assert all(map(torch.equal, before, network.state_dict().values()))
        assert not network.training


def test_equal_seeds_give_equal_curves(badnet: MadeBadNet, images: RelearningImages) -> None:
    once, again, other = (relearn(badnet.sound, images, 50, seed, untracked) for seed in (1, 1, 2))
    assert once == again
    assert once != other


def test_the_pixel_scale_that_a_network_reads_at_does_not_change_what_it_relearns(
    badnet: MadeBadNet, images: RelearningImages
) -> None:
    """Its weights are brought to one size, for the optimiser's steps have one."""
    rescaled = copy.deepcopy(badnet.sound)
    rescaled.read_pixels_at(1.0)
    curves = [relearn(one, images, 50, 0, untracked) for one in (badnet.sound, rescaled)]
    rates = [[share.rate for share in curve.attack] for curve in curves]
    assert rates[0][:8] == pytest.approx(rates[1][:8], abs=5)
    assert max(rates[0]) > 20


@pytest.mark.parametrize(
    ("rates", "expected"),
    [((60, 70, 80), 0), ((0, 49, 50), 2), ((0, 90, 10), 1), ((0, 10, 49), None)],
)
def test_a_backdoor_is_back_where_half_of_the_triggered_images_get_the_target(
    rates: tuple[int, ...], expected: int | None
) -> None:
    shares = tuple(Share.of(rate, 100) for rate in rates)
    assert Curve(5, (0, 1, 2), shares, shares).steps_to_back == expected


@pytest.mark.parametrize(("images", "epochs"), [(100, 288), (1200, 24), (11_547, 24)])
def test_a_twin_is_shown_as_many_images_where_they_are_few(images: int, epochs: int) -> None:
    assert twin_epochs(images) == epochs


@pytest.fixture(scope="module")
def twin(badnet: MadeBadNet, tmp_path_factory: pytest.TempPathFactory) -> Network:
    clean_valid = badnet.clean_valid(tmp_path_factory.mktemp("valid"))
    return clean_twin(badnet.network, clean_valid, 0, untracked)


@pytest.mark.slow
def test_a_clean_twin_recognises_the_images_and_has_no_backdoor(
    badnet: MadeBadNet, twin: Network
) -> None:
    assert badnet.clean_accuracy(twin) > 95
    assert badnet.attack_success_rate(twin) < 20
    assert twin.graph == badnet.network.graph
    assert twin.pixel_preprocessing == badnet.network.pixel_preprocessing
    assert not twin.training


@pytest.mark.slow
def test_both_networks_have_a_curve_for_each_number_and_the_twin_is_repaired_alike(
    badnet: MadeBadNet, unlearned: Network, twin: Network, images: RelearningImages, tmp_path: Path
) -> None:
    clean_valid = badnet.clean_valid(tmp_path)
    found = relearning("i-bau", 3, unlearned, lambda: twin, clean_valid, images, untracked)
    assert [curve.triggered for curve in found.repaired] == list(NUMBERS)
    repaired_twin = last_candidate(repair_by("i-bau", 3), twin, clean_valid, untracked).network
    for network, curves in ((unlearned, found.repaired), (repaired_twin, found.twin)):
        assert curves == tuple(relearn(network, images, n, 3, untracked) for n in NUMBERS)


class RepairsOnlyOne:
    """A repair that can be made of one network."""

    def __init__(self, only: Network) -> None:
        self.only = only

    def candidates(
        self, network: Network, clean_valid: ImageSet, track: Track
    ) -> Iterator[Candidate]:
        if network is not self.only:
            raise CannotRepairError("the network", "it has no weak spot")
        yield Candidate("same", network, ())


def test_where_the_twin_cannot_be_repaired_alike_the_curves_of_the_repair_stay(
    badnet: MadeBadNet, images: RelearningImages, tmp_path: Path
) -> None:
    repair = RepairsOnlyOne(badnet.network)
    found = relearning(
        repair,
        0,
        badnet.network,
        lambda: deepid(SIZES).fresh(),
        badnet.clean_valid(tmp_path),
        images,
        untracked,
    )
    assert [curve.steps_to_back for curve in found.repaired] == [0, 0, 0]
    assert (found.twin, found.no_twin) == ((), "the network: it has no weak spot")
