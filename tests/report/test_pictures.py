from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from ytf_torch.report.pictures import drawings, face_png, map_png
from ytf_torch.report.plots import NARROW, WIDE


def test_a_plot_is_drawn_for_wide_and_for_narrow_screens_or_not_at_all() -> None:
    assert drawings(lambda size: f"<svg>{size}</svg>".encode()) == [
        f"<svg>{size}</svg>" for size in (WIDE, NARROW)
    ]
    assert drawings(lambda size: None) is None


@pytest.mark.parametrize(("height", "width"), [(55, 47), (1, 1), (8, 200)])
def test_a_face_is_stored_without_loss(height: int, width: int) -> None:
    pixels = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(face_png(pixels)))), pixels)


@pytest.mark.parametrize(("channels", "shown"), [(1, 1), (2, 1), (4, 3), (6, 3)])
def test_an_image_of_any_number_of_channels_is_shown(channels: int, shown: int) -> None:
    """The fourth channel may be alpha, with which a transparent trigger would be invisible."""
    pixels = np.arange(9 * 7 * channels, dtype=np.uint8).reshape(9, 7, channels)
    image = np.array(Image.open(io.BytesIO(face_png(pixels))))
    np.testing.assert_array_equal(image.reshape(9, 7, shown), pixels[..., :shown])


@pytest.mark.parametrize("highest", [0.0, 4.0])
def test_a_map_is_dark_where_the_channel_is_silent(highest: float) -> None:
    values = np.array([[0, highest]], dtype=np.float32)
    image = np.array(Image.open(io.BytesIO(map_png(values, highest)))).astype(int).sum(2)
    assert image[0, 0] < 10
    assert (image[0, 1] > 500) == (highest > 0)
