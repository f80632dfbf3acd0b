"""How clean pictures are augmented: as the network takes them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.made.classifiers import classifier, pictures
from ytf_torch.defences.training import TrainingFaces, augmentation_for, known, may_be_mirrored
from ytf_torch.defences.variations import warp
from ytf_torch.network.module import Network


def symmetric(network: Network) -> Network:
    """The network with kernels that are their own mirror images: mirrored pictures answer alike
    behind a global pooling."""
    with torch.no_grad():
        for name in ("first", "second"):
            weight = network.layer(name).weight
            assert isinstance(weight, Tensor)
            weight.copy_((weight + weight.flip(3)) / 2)
        network.yes.bias -= network(pictures(network))[:, 1].median()
    return network


def set_of(network: Network) -> TrainingFaces:
    pixels = pictures(network)
    with torch.inference_mode():
        return TrainingFaces(pixels, network(pixels).argmax(1))


def test_what_a_network_takes_for_the_same_when_mirrored_is_mirrored_in_training() -> None:
    network = symmetric(classifier("one unit"))
    faces = set_of(network)
    assert known(network, faces) == len(faces)
    assert known(network, faces, mirrored=True) >= len(faces) - 2
    assert may_be_mirrored(network, faces)


def test_digits_are_not_mirrored() -> None:
    network = classifier("grey digits")
    faces = set_of(network)
    assert known(network, faces, mirrored=True) < 0.75 * len(faces)
    assert not may_be_mirrored(network, faces)


@pytest.mark.parametrize("kind", ["one unit", "grey digits"])
def test_an_augmented_picture_differs_by_its_mirroring_alone(kind: str) -> None:
    """The other numbers that are drawn are the same ones."""
    network = classifier(kind)
    pixels = pictures(network).float()
    both = [
        warp(pixels, torch.Generator().manual_seed(0), mirror=mirror) for mirror in (True, False)
    ]
    same = [bool(torch.equal(one, other)) for one, other in zip(*both, strict=True)]
    assert 0 < sum(same) < len(same)


def test_augmented_pictures_are_pixels_of_the_same_shape() -> None:
    network = classifier("grey digits")
    faces = set_of(network)
    found = augmentation_for(network, faces)(faces.pixels.float(), torch.Generator().manual_seed(0))
    assert found.shape == faces.pixels.shape
    assert 0 <= float(found.min()) <= float(found.max()) <= 255
