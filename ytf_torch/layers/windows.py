"""Sliding windows of convolutions and poolings over feature maps: output size and padding.

`padding="same"` gives `ceil(side / stride)` positions. If the total padding is odd, Keras adds the
extra row at the bottom and the extra column at the right; PyTorch pads symmetrically.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from ytf_torch.layers.weight import Shape

Padding = Literal["valid", "same"]
PADDINGS: tuple[Padding, ...] = ("valid", "same")


@dataclass(frozen=True)
class Window:
    """A window over feature maps. size, strides, dilation: (height, width).

    >>> from ytf_torch.layers.windows import Window
    >>> window = Window((3, 3), (2, 2), (1, 1), "same")
    >>> window.places((1, 6, 5)), window.padding_for((1, 6, 5))
    ((3, 3), (1, 1, 0, 1))
    """

    size: tuple[int, int]
    strides: tuple[int, int]
    dilation: tuple[int, int]
    padding: Padding

    @property
    def reach(self) -> tuple[int, int]:
        """Height and width that it covers, including the gaps of its dilation:
        `(size - 1) · dilation + 1`."""
        (height, width), (down, across) = self.size, self.dilation
        return (height - 1) * down + 1, (width - 1) * across + 1

    def places(self, maps: Shape) -> tuple[int, int]:
        """Height and width of the output for maps (channels, height, width); 0 or less if they are
        too small."""
        positions = []
        for side, reach, stride in zip(maps[1:], self.reach, self.strides, strict=True):
            rest = side if self.padding == "same" else side - reach + 1
            positions.append(-(-rest // stride))
        return positions[0], positions[1]

    def padding_for(self, maps: Shape) -> tuple[int, int, int, int]:
        """(left, right, above, below), the order of torch.nn.functional.pad."""
        if self.padding == "valid":
            return (0, 0, 0, 0)
        added = []
        for side, reach, stride in zip(maps[1:], self.reach, self.strides, strict=True):
            places = -(-side // stride)
            total = max((places - 1) * stride + reach - side, 0)
            added.append((total // 2, total - total // 2))
        (above, below), (left, right) = added
        return (left, right, above, below)

    def pad(self, maps: Tensor, value: float = 0.0) -> Tensor:
        """Pad maps (batch, channels, height, width) as `padding` requires."""
        amounts = self.padding_for(tuple(maps.shape[1:]))
        return F.pad(maps, amounts, value=value) if any(amounts) else maps

    def onnx_pads(self, maps: Shape) -> list[int]:
        """The padding in ONNX's order: top, left, bottom, right."""
        left, right, above, below = self.padding_for(maps)
        return [above, left, below, right]


def check_row_or_maps(shape: Shape) -> None:
    """Raises ValueError unless a shape is (units,) or (channels, height, width)."""
    if len(shape) == 2:
        raise ValueError("reads a row of units or maps, found two axes")


def check_maps(shape: Shape) -> None:
    """Raises ValueError unless a shape is (channels, height, width)."""
    if len(shape) != 3:
        raise ValueError(f"reads maps (height, width, channels), found {len(shape)} axis")
