"""What TED ranks: on networks whose layers can be read off the pixels."""

from __future__ import annotations

import statistics

import pytest
import torch
from torch import Tensor

from tests.made.badnet import TARGET, MadeBadNet
from tests.made.classifiers import classifier, graph_of, pictures
from tests.made.own_module import SHAPE, known_images, small_resnet
from ytf_torch.defences.detectors.ted import TopologicalEvolution
from ytf_torch.errors import CannotDetectError
from ytf_torch.images.arrays import images_of
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.network.wrapped_module import wrapped

# Three pixels: the first layer outputs the first one, and the third one decides the class.
CLEAN = [[10, 10, 0], [11, 13, 0], [13, 16, 0], [50, 50, 9], [52, 51, 9], [55, 54, 9]]


def two_layers() -> Network:
    """A layer that outputs the first pixel alone, and the logits (4 − x, x) of the third."""
    graph = graph_of(
        (1, 3, 1),
        [
            ("flatten", "Flatten", {}),
            ("first", "Dense", {"units": 1}),
            ("scores", "Dense", {"units": 2}, ("flatten",)),
            ("both", "Dense", {"units": 2}, ("first",)),
            ("sum", "Add", {}, ("scores", "both")),
        ],
    )
    network = Network(graph).eval()
    with torch.no_grad():
        network.first.weight.copy_(torch.tensor([[1.0, 0, 0]]))
        network.first.bias.zero_()
        network.scores.weight.copy_(torch.tensor([[0, 0, -1.0], [0, 0, 1.0]]))
        network.scores.bias.copy_(torch.tensor([4.0, 0.0]))
        network.both.weight.zero_()
        network.both.bias.zero_()
    return network


def images(values: list[list[int]]) -> Tensor:
    return torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 3)


def detector_of(network: Network, values: list[list[int]]) -> TopologicalEvolution:
    pixels = images(values)
    with torch.inference_mode():
        return TopologicalEvolution(network, images_of(pixels, network(pixels).argmax(1)))


def ranks(detector: TopologicalEvolution, network: Network, *image: int) -> list[float]:
    """By layer, in order of computation: first, scores, both."""
    assert [layer.path for layer in detector.layers] == ["first", "scores", "both"]
    # What the score of the image would be without a normal to compare with.
    detector.normal = Identity()  # type: ignore[assignment]
    detector.scores(network, None, images([list(image)]))
    return Identity.seen


class Identity:
    """Keeps the ranks that it is asked about."""

    seen: list[float]

    def distance(self, ranks: Tensor) -> Tensor:
        Identity.seen = ranks[0].tolist()
        return ranks.sum(1)


@pytest.mark.parametrize(
    ("image", "rank"),
    [
        ((12, 0, 0), 0),  # nearest to 11 and 13, both of its class 0
        ((12, 0, 9), 3),  # of class 1: 10, 11 and 13 are nearer than 50
        ((51, 0, 0), 3),  # 50, 52 and 55 are nearer than 13
        ((31, 0, 9), 1),  # 13 is nearer than 50
    ],
)
def test_the_rank_counts_the_references_before_the_first_of_the_predicted_class(
    image: tuple[int, int, int], rank: int
) -> None:
    network = two_layers()
    assert ranks(detector_of(network, CLEAN), network, *image)[0] == rank
    # In the layer that decides the class, its own class is nearest.
    assert ranks(detector_of(network, CLEAN), network, *image)[1] == 0


def test_a_reference_is_not_its_own_neighbour() -> None:
    network = two_layers()
    values = [[10, 0, 0], [20, 0, 9], [12, 0, 0], [40, 0, 9]]
    detector = detector_of(network, values)
    assert ranks(detector, network, 10, 0, 0)[0] == 0  # 12
    assert ranks(detector, network, 20, 0, 9)[0] == 2  # 12 and 10 are nearer than 40
    assert ranks(detector, network, 20, 1, 9)[0] == 0  # another image with 20 in the first layer


def test_where_no_reference_has_the_class_the_rank_is_their_number() -> None:
    network = two_layers()
    assert ranks(detector_of(network, CLEAN[:3]), network, 12, 0, 9) == [3, 3, 3]


def test_images_that_the_network_does_not_recognise_are_no_references() -> None:
    network = two_layers()
    pixels = images([*CLEAN, [12, 0, 9]])
    labels = [0, 0, 0, 1, 1, 1, 0]  # the last one is taken for class 1
    detector = TopologicalEvolution(network, images_of(pixels, labels))
    assert len(detector.references.labels) == 6


def test_a_score_is_the_squared_distance_along_principal_components() -> None:
    """In the first layer alone, as all clean ranks in the others are 0."""
    network = two_layers()
    values = [[10, 0, 0], [11, 0, 9], [12, 0, 0], [90, 0, 0], [91, 0, 0], [70, 0, 9]]
    detector = detector_of(network, values)
    own = detector.references.own_ranks()
    assert sorted(own[:, 0].tolist()) == [0, 0, 1, 1, 2, 3]
    assert not own[:, 1:].any()
    mean, deviation = 7 / 6, statistics.stdev([1, 2, 1, 0, 0, 3])
    # 11 of class 0: the nearest reference is that at 11, of class 1.
    (score,) = detector.scores(network, None, images([[11, 5, 0]])).tolist()
    assert score == pytest.approx(((1 - mean) / deviation) ** 2, rel=1e-5)


def test_without_two_images_of_a_class_it_refuses_in_one_line() -> None:
    network = two_layers()
    with pytest.raises(CannotDetectError, match="two images of one class") as error:
        detector_of(network, [CLEAN[0], CLEAN[3]])
    assert "\n" not in str(error.value)
    with pytest.raises(CannotDetectError, match="that the network recognises"):
        TopologicalEvolution(network, images_of(images(CLEAN), [1, 1, 1, 0, 0, 0]))


def test_memory_is_bounded() -> None:
    network = classifier("DeepID")
    pixels = pictures(network, 40)
    with torch.inference_mode():
        valid = images_of(pixels, network(pixels).argmax(1))
    detector = TopologicalEvolution(network, valid, references=30, layers=3, values=50)
    assert [layer.path for layer in detector.layers] == ["conv_2", "fc_1", "output"]
    assert len(detector.references.labels) == 30
    assert max(part.shape[1] for part in detector.references.features) <= 50


def test_reduced_layers_keep_distances_on_average(
    badnet: MadeBadNet, clean_valid: ImageSet
) -> None:
    """A detector of reduced layers tells triggered faces like one of whole layers."""
    others = badnet.people != TARGET
    whole = TopologicalEvolution(badnet.network, clean_valid, values=100_000)
    reduced = TopologicalEvolution(badnet.network, clean_valid, values=64)
    for detector in (whole, reduced):
        clean = detector.scores(badnet.network, None, badnet.clean[others])
        triggered = detector.scores(badnet.network, None, badnet.triggered[others])
        assert float((triggered[:, None] > clean).float().mean()) > 0.95


def test_of_a_wrapped_module_every_layer_with_weights_is_read_in_order() -> None:
    network = wrapped(small_resnet(), SHAPE, 1 / 255).model
    detector = TopologicalEvolution(network, known_images(small_resnet()), layers=100)
    found = [layer.path.removeprefix("module.") for layer in detector.layers]
    assert found[:4] == ["stem.0", "stem.1", "layer1.conv1", "layer1.bn1"]
    assert found[-1] == "fc"


@pytest.mark.parametrize("name", ["DeepID", "ResNet"])
def test_the_score_of_an_image_does_not_depend_on_the_others(name: str) -> None:
    network = classifier(name)
    pixels = pictures(network, 40)
    with torch.inference_mode():
        valid = images_of(pixels, network(pixels).argmax(1))
    detector = TopologicalEvolution(network, valid)
    together = detector.scores(network, None, pixels)
    split = torch.cat([detector.scores(network, None, part) for part in pixels.split(7)])
    torch.testing.assert_close(together, split)
