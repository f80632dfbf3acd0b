from __future__ import annotations

import numpy as np
import pytest

from ytf_torch.convert import layout

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("there", "back", "shape", "extra"),
    [
        (layout.convolution_from_keras, layout.convolution_to_keras, (4, 3, 2, 5), ()),
        (layout.dense_from_keras, layout.dense_to_keras, (6, 5), ()),
        (
            layout.flattened_dense_from_keras,
            layout.flattened_dense_to_keras,
            (5 * 4 * 3, 7),
            ((5, 4),),
        ),
    ],
)
def test_each_layout_has_its_inverse(there, back, shape, extra) -> None:
    keras = RNG.normal(size=shape).astype(np.float32)
    ours = there(keras, *extra)
    assert ours.flags.c_contiguous
    assert np.array_equal(back(ours, *extra), keras)


def test_convolution_kernels_turn_from_hwio_to_oihw() -> None:
    keras = RNG.normal(size=(4, 3, 2, 5))
    assert layout.convolution_from_keras(keras)[4, 1, 3, 2] == keras[3, 2, 1, 4]


def test_a_flattened_row_keeps_its_position_and_channel() -> None:
    height, width, channels, units = 5, 4, 3, 7
    keras = RNG.normal(size=(height * width * channels, units))
    ours = layout.flattened_dense_from_keras(keras, (height, width))
    y, x, channel, unit = 3, 1, 2, 6
    keras_row = (y * width + x) * channels + channel
    our_column = (channel * height + y) * width + x
    assert ours[unit, our_column] == keras[keras_row, unit]
