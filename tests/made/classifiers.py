"""Small classifiers of several kinds with random weights, and pictures that each recognises."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from tests.made.keras_files import SMALL, write_faces
from ytf_torch.images.image_set import ImageSet
from ytf_torch.images.opening import open_images
from ytf_torch.layers.registry import read_layer
from ytf_torch.layers.weight import Shape
from ytf_torch.network.deepid import deepid_graph
from ytf_torch.network.graph import Graph, Layer, checked_graph
from ytf_torch.network.module import Network

# A name, a Keras class, its settings, and the layers that it reads: the one before it, if not said.
Said = tuple[str, str, dict[str, Any]] | tuple[str, str, dict[str, Any], tuple[str, ...]]


def graph_of(shape: Shape, said: Iterable[Said]) -> Graph:
    """A graph of Keras's configurations. shape: (height, width, channels) of an image."""
    layers: list[Layer] = []
    shapes: dict[str, Shape] = {}
    for name, class_name, config, *inputs in (
        ("input", "InputLayer", {"batch_input_shape": [None, *shape]}, ()),
        *said,
    ):
        read = inputs[0] if inputs else (layers[-1].name,)
        kind = read_layer(class_name, config, name, *(shapes[source] for source in read))
        shapes[name] = kind.output_shape(*(shapes[source] for source in read))
        layers.append(Layer(name, kind, read))
    return checked_graph(layers, "made")


def conv(name: str, filters: int, **config: Any) -> Said:
    size = {"filters": filters, "kernel_size": 3, "padding": "same"}
    return (name, "Conv2D", size | config)


def sequential_with_batch_normalization() -> Graph:
    return graph_of(
        (16, 14, 3),
        [
            conv("first", 5),
            ("first_relu", "ReLU", {}),
            ("first_norm", "BatchNormalization", {}),
            ("first_pool", "MaxPooling2D", {}),
            conv("second", 6, use_bias=False),
            ("second_norm", "BatchNormalization", {}),
            ("second_relu", "Activation", {"activation": "relu"}),
            ("second_pool", "MaxPooling2D", {}),
            ("flatten", "Flatten", {}),
            ("dense", "Dense", {"units": 12, "activation": "relu"}),
            ("dense_norm", "BatchNormalization", {}),
            ("scores", "Dense", {"units": 4}),
            ("softmax", "Activation", {"activation": "softmax"}),
        ],
    )


def small_resnet() -> Graph:
    """It scales its pixels itself, and ends in a convolution that is pooled."""
    return graph_of(
        (12, 12, 3),
        [
            ("rescaling", "Rescaling", {"scale": 1 / 127.5, "offset": -1.0}),
            conv("stem", 6, strides=2),
            ("stem_norm", "BatchNormalization", {}),
            ("stem_relu", "ReLU", {}),
            ("separable", "SeparableConv2D", {"filters": 6, "kernel_size": 3, "padding": "same"}),
            ("separable_norm", "BatchNormalization", {}),
            ("depthwise", "DepthwiseConv2D", {"kernel_size": 3, "padding": "same"}),
            ("sum", "Add", {}, ("depthwise", "stem_relu")),
            ("sum_relu", "ReLU", {}),
            conv("classes_maps", 4, activation="relu"),
            ("mean", "GlobalAveragePooling2D", {}),
            ("softmax", "Activation", {"activation": "softmax"}),
        ],
    )


def grey_digits() -> Graph:
    """As for MNIST: one channel, 28 × 28, average pooling."""
    return graph_of(
        (28, 28, 1),
        [
            conv("first", 4, activation="relu", strides=2),
            ("first_pool", "AveragePooling2D", {}),
            conv("second", 6, activation="relu"),
            ("second_pool", "AveragePooling2D", {}),
            ("flatten", "Flatten", {}),
            ("scores", "Dense", {"units": 10, "activation": "softmax"}),
        ],
    )


def one_unit() -> Graph:
    return graph_of(
        (13, 15, 3),
        [
            ("pad", "ZeroPadding2D", {}),
            conv("first", 4, activation="relu"),
            ("pool", "MaxPooling2D", {}),
            conv("second", 5, activation="relu"),
            ("mean", "GlobalAveragePooling2D", {}),
            ("yes", "Dense", {"units": 1, "activation": "sigmoid"}),
        ],
    )


GRAPHS = {
    "DeepID": lambda: deepid_graph(SMALL),
    "Sequential with batch normalization": sequential_with_batch_normalization,
    "ResNet": small_resnet,
    "grey digits": grey_digits,
    "one unit": one_unit,
}


def classifier(name: str) -> Network:
    """A network of GRAPHS in evaluation mode, the same every time."""
    graph = GRAPHS[name]()
    scale = 1.0 if "rescaling" in graph.shapes else 1 / 255
    generator = torch.Generator().manual_seed(3)
    network = Network(graph, scale).eval()
    with torch.no_grad():
        for layer in graph.layers:
            for weight in graph.weights(layer.name):
                tensor = getattr(network.layer(layer.name), weight.name)
                drawn = torch.randn(weight.shape, generator=generator)
                fan_in = max(weight.values // weight.shape[0], 1)
                spread = 0.1 * drawn if len(weight.shape) == 1 else drawn * (2 / fan_in) ** 0.5
                tensor.copy_(spread + 1 if weight.start == "ones" else spread)
        if name == "one unit":  # half of the pictures are "yes"
            network.yes.bias -= network(pictures(network))[:, 1].median()
    return network


def pictures(network: Network, images: int = 24) -> torch.Tensor:
    generator = torch.Generator().manual_seed(4)
    channels, height, width = network.input_shape
    coarse = torch.rand(images, channels, 4, 4, generator=generator) * 255
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear").byte()


def recognised(network: Network, folder: Path) -> ImageSet:
    """Pictures of which the network answers each with its label."""
    pixels = pictures(network)
    with torch.inference_mode():
        labels = network(pixels).argmax(1)
    path = write_faces(folder / "valid.h5", pixels.numpy(), labels.numpy())
    return open_images(path, network.input_shape, network.classes)
