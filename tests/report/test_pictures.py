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


def test_a_face_is_stored_without_loss() -> None:
    pixels = np.arange(55 * 47 * 3, dtype=np.uint8).reshape(55, 47, 3)
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(face_png(pixels)))), pixels)


@pytest.mark.parametrize("highest", [0.0, 4.0])
def test_a_map_is_dark_where_the_channel_is_silent(highest: float) -> None:
    values = np.array([[0, highest]], dtype=np.float32)
    image = np.array(Image.open(io.BytesIO(map_png(values, highest)))).astype(int).sum(2)
    assert image[0, 0] < 10
    assert (image[0, 1] > 500) == (highest > 0)


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
def test_an_image_of_any_number_of_channels_is_shown(channels: int) -> None:
    pixels = np.arange(28 * 28 * channels, dtype=np.uint8).reshape(28, 28, channels)
    shown = np.array(Image.open(io.BytesIO(face_png(pixels))))
    if channels == 4:
        np.testing.assert_array_equal(shown, pixels)
    else:
        np.testing.assert_array_equal(shown, pixels.mean(2).round())
