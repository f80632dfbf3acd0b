"""Windows that slide over maps, for convolutions and poolings: how many there are, and the padding.

`padding="same"` gives ceil(side / stride) places; where an odd number of rows or columns is added,
Keras adds the odd one at the bottom and at the right, unlike PyTorch's symmetric padding.
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
    """A window over maps. size, strides, dilation: height and width.

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
        """Height and width that it covers, with the gaps of its dilation."""
        (height, width), (down, across) = self.size, self.dilation
        return (height - 1) * down + 1, (width - 1) * across + 1

    def places(self, maps: Shape) -> tuple[int, int]:
        """Height and width of its output over maps (channels, height, width); 0 or less where they
        are too small."""
        found = []
        for side, reach, stride in zip(maps[1:], self.reach, self.strides, strict=True):
            rest = side if self.padding == "same" else side - reach + 1
            found.append(-(-rest // stride))
        return found[0], found[1]

    def padding_for(self, maps: Shape) -> tuple[int, int, int, int]:
        """Columns left and right, rows above and below, as torch.nn.functional.pad takes them."""
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
        """Maps (batch, channels, height, width) with the rows and columns that it needs around."""
        amounts = self.padding_for(tuple(maps.shape[1:]))
        return F.pad(maps, amounts, value=value) if any(amounts) else maps

    def onnx_pads(self, maps: Shape) -> list[int]:
        """The padding as ONNX lists it: top, left, bottom, right."""
        left, right, above, below = self.padding_for(maps)
        return [above, left, below, right]


def check_row_or_maps(shape: Shape) -> None:
    """Raises ValueError where a shape is neither (units,) nor (channels, height, width)."""
    if len(shape) == 2:
        raise ValueError("reads a row of units or maps, found two axes")


def check_maps(shape: Shape) -> None:
    """Raises ValueError where a shape is not (channels, height, width)."""
    if len(shape) != 3:
        raise ValueError(f"reads maps (height, width, channels), found {len(shape)} axis")
