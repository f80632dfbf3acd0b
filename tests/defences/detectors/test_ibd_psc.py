"""What IBD-PSC amplifies: on networks small enough to compute its score by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.made.classifiers import classifier, graph_of, pictures
from tests.made.own_module import SHAPE, known_images, small_resnet
from ytf_torch.defences.detectors.ibd_psc import FACTORS, ParameterScaling
from ytf_torch.errors import CannotDetectError
from ytf_torch.images.arrays import ImagesInMemory, images_of
from ytf_torch.network.module import Network
from ytf_torch.network.wrapped_module import wrapped

IDENTITY = [[1.0, 0.0], [0.0, 1.0]]
# Two pixels, of which the first is the logit of class 0 and the second that of class 1.
CLEAN = [[9, 0], [7, 0], [0, 1], [0, 3]]


def network_of(*inner: tuple[str, str, dict[str, Any]], **weights: list[Any]) -> Network:
    """Flatten, the inner layers, and an identity as the last layer. weights: by layer_weight."""
    said = [("flatten", "Flatten", {}), *inner, ("scores", "Dense", {"units": 2})]
    network = Network(graph_of((1, 2, 1), said)).eval()
    with torch.no_grad():
        network.scores.weight.copy_(torch.eye(2))
        network.scores.bias.zero_()
        for name, values in weights.items():
            layer, weight = name.split("_")
            getattr(network.layer(layer), weight).copy_(torch.tensor(values))
    return network


def images(pairs: list[list[int]]) -> Tensor:
    return torch.tensor(pairs, dtype=torch.uint8).view(-1, 1, 1, 2)


def clean_valid(network: Network, pixels: Tensor) -> ImagesInMemory:
    with torch.inference_mode():
        return images_of(pixels, network(pixels).argmax(1))


def confidence(gap: float) -> float:
    """−log(1 − softmax) of a logit that is `gap` above the other one."""
    return math.log(1 + math.exp(gap))


def test_deviations_from_the_clean_mean_are_amplified() -> None:
    """hidden = the pixels themselves, with a clean mean of (4, 1)."""
    network = network_of(
        ("hidden", "Dense", {"units": 2}), hidden_weight=IDENTITY, hidden_bias=[0, 0]
    )
    detector = ParameterScaling(network, clean_valid(network, images(CLEAN)), error=0.2)
    assert [layer.path for layer in detector.layers] == ["hidden"]
    assert detector.counts == (1,)
    # (0, 3), with deviations (−4, 2), stays class 1, and so does (0, 1) with (−4, 0). The gap of
    # the former was 3, and is now 3 + (factor − 1) · 6.
    factor = detector.factor
    (score,) = detector.scores(network, None, images([[0, 3]])).tolist()
    assert score == pytest.approx(confidence(3 + (factor - 1) * 6), rel=1e-5)
    # The prediction was class 0 by 1; deviations of (0, 2) make it class 1.
    (score,) = detector.scores(network, None, images([[4, 3]])).tolist()
    assert score == pytest.approx(confidence(1 - (factor - 1) * 2), rel=1e-4)


@pytest.mark.parametrize("gamma", [True, False])
@pytest.mark.parametrize("beta", [True, False])
def test_gamma_and_beta_are_amplified(gamma: bool, beta: bool) -> None:
    """Of the batch normalization alone, although the network has a dense layer before it."""
    weights: dict[str, list[Any]] = {"hidden_weight": IDENTITY, "hidden_bias": [0, 0]}
    weights |= {"norm_mean": [0.0, 0.0], "norm_variance": [1.0, 1.0]}
    weights |= {"norm_weight": [1.0, 2.0]} if gamma else {}
    weights |= {"norm_bias": [3.0, 0.0]} if beta else {}
    settings = {"scale": gamma, "center": beta, "epsilon": 0}
    network = network_of(
        ("hidden", "Dense", {"units": 2}), ("norm", "BatchNormalization", settings), **weights
    )
    detector = ParameterScaling(network, clean_valid(network, images(CLEAN)))
    assert [layer.path for layer in detector.layers] == ["norm"]
    (score,) = detector.scores(network, None, images([[1, 7]])).tolist()
    gap = (14 if gamma else 7) - 1 - (3 if beta else 0)
    assert score == pytest.approx(confidence(detector.factor * gap), rel=1e-4)


def turning(count: int) -> Network:
    """Layers of ReLU(z + 1) in a row, so that more and more of them are needed for errors."""
    layers = [(f"h{place}", "Dense", {"units": 2, "activation": "relu"}) for place in range(count)]
    weights: dict[str, list[Any]] = {}
    for name, _, _ in layers:
        weights |= {f"{name}_weight": IDENTITY, f"{name}_bias": [1.0, 1.0]}
    return network_of(*layers, **weights)


def test_networks_count_up_from_the_first_that_errs_enough() -> None:
    network = turning(8)
    pixels = images([[9, 0], [5, 4], [8, 1], [3, 2], [0, 1], [9, 8]])
    detector = ParameterScaling(network, clean_valid(network, pixels), error=0.4, networks=3)
    first = detector.counts[0]
    assert detector.counts == tuple(range(first, min(first + 3, 9)))
    every = ParameterScaling(network, clean_valid(network, pixels), error=0.4, networks=1)
    assert (every.factor, every.counts) == (detector.factor, (first,))


def test_the_score_is_the_published_one_in_another_form() -> None:
    """−log(1 − mean softmax), with k from the search on and amplified copies made by hand."""
    network = classifier("grey digits")
    pixels = pictures(network, 40)
    detector = ParameterScaling(network, clean_valid(network, pixels), error=0.2)
    with torch.inference_mode():
        predicted = network(pixels).argmax(1)
        softmaxes = []
        for count in detector.counts:
            copied = classifier("grey digits")
            for name in ["first", "second"][-count:]:
                layer, centre = copied.layer(name), detector.centres[name]
                for weight in layer.parameters():
                    weight.mul_(detector.factor)
                layer.get_parameter("bias").sub_((detector.factor - 1) * centre)
            softmaxes.append(copied(pixels).double().softmax(1)[range(40), predicted])
        scores = detector.scores(network, None, pixels)
    published = torch.stack(softmaxes).mean(0)
    torch.testing.assert_close(1 - (-scores).exp(), published, rtol=1e-4, atol=1e-6)


def test_confidences_that_round_to_1_are_still_told_apart() -> None:
    network = network_of(
        ("hidden", "Dense", {"units": 2}), hidden_weight=IDENTITY, hidden_bias=[0, 0]
    )
    detector = ParameterScaling(network, clean_valid(network, images(CLEAN)))
    first, second = detector.scores(network, None, images([[200, 0], [255, 0]])).tolist()
    assert 200 < first < second < math.inf


def test_without_errors_the_last_factor_is_tried_and_the_most_errors_are_taken() -> None:
    """Amplified away from a mean in the middle, every image keeps its class."""
    network = network_of(
        ("hidden", "Dense", {"units": 2}), hidden_weight=IDENTITY, hidden_bias=[0, 0]
    )
    valid = clean_valid(network, images([[9, 0], [7, 0], [0, 9], [0, 7]]))
    detector = ParameterScaling(network, valid)
    assert (detector.factor, detector.counts) == (FACTORS[0], (1,))


def test_without_an_inner_layer_it_refuses_in_one_line() -> None:
    network = network_of()
    with pytest.raises(CannotDetectError) as error:
        ParameterScaling(network, clean_valid(network, images(CLEAN)))
    assert str(error.value) == (
        "the network, for the detector ibd-psc: it has no layer with weights before the one that "
        "computes its logits. Choose another with `detector`"
    )


def test_of_a_wrapped_module_the_batch_normalizations_are_amplified_as_they_are_computed() -> None:
    network = wrapped(small_resnet(), SHAPE, 1 / 255).model
    detector = ParameterScaling(network, known_images(small_resnet()))
    assert [layer.path.removeprefix("module.") for layer in detector.layers] == [
        "stem.1",
        *("layer1.bn1", "layer1.bn2"),
        *("layer2.bn1", "layer2.bn2", "layer2.shortcut.1"),
    ]


def test_of_one_without_them_the_layers_before_the_last() -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(560, 4)
    )
    network = wrapped(module, SHAPE, 1 / 255).model
    detector = ParameterScaling(network, known_images(small_resnet()))
    assert [layer.path for layer in detector.layers] == ["module.0"]
    assert module[0].bias is None
    assert network.module[0].bias is None


@pytest.mark.parametrize("name", ["DeepID", "ResNet", "Sequential with batch normalization"])
def test_the_score_of_an_image_does_not_depend_on_the_others(name: str) -> None:
    network = classifier(name)
    pixels = pictures(network, 40)
    detector = ParameterScaling(network, clean_valid(network, pixels))
    together = detector.scores(network, None, pixels)
    split = torch.cat([detector.scores(network, None, part) for part in pixels.split(7)])
    torch.testing.assert_close(together, split, rtol=1e-3, atol=1e-4)
