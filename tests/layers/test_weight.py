from __future__ import annotations

import numpy as np
import pytest

from ytf_torch.layers.kind import FlatMaps, Kind
from ytf_torch.layers.registry import read_layer
from ytf_torch.layers.weight import Shape, Weight

RNG = np.random.default_rng(0)


def kernel_of(class_name: str, config: dict[str, object], *inputs: Shape) -> Weight:
    kind: Kind = read_layer(class_name, config, "test", *inputs)
    return kind.weights(*inputs)[0]


CONVOLUTION = kernel_of("Conv2D", {"filters": 5, "kernel_size": [4, 3]}, (2, 9, 9))
DENSE = kernel_of("Dense", {"units": 5}, (6,))
FLATTENED = kernel_of("Dense", {"units": 7}, FlatMaps.of((3, 5, 4)))


@pytest.mark.parametrize("weight", [CONVOLUTION, DENSE, FLATTENED])
def test_to_keras_is_the_inverse_of_from_keras(weight: Weight) -> None:
    keras = RNG.normal(size=weight.keras_shape).astype(np.float32)
    ours = weight.from_keras(keras)
    assert ours.flags.c_contiguous
    assert ours.shape == weight.shape
    assert np.array_equal(weight.to_keras(ours), keras)


def test_convolution_kernels_are_permuted_from_hwio_to_oihw() -> None:
    keras = RNG.normal(size=(4, 3, 2, 5))
    assert CONVOLUTION.from_keras(keras)[4, 1, 3, 2] == keras[3, 2, 1, 4]


def test_a_flattened_unit_keeps_its_position_and_channel() -> None:
    height, width, channels, units = 5, 4, 3, 7
    keras = RNG.normal(size=(height * width * channels, units))
    ours = FLATTENED.from_keras(keras)
    y, x, channel, unit = 3, 1, 2, 6
    keras_row = (y * width + x) * channels + channel
    our_column = (channel * height + y) * width + x
    assert ours[unit, our_column] == keras[keras_row, unit]
