"""Base of ZeroPadding2D and Cropping2D, which add or remove rows and columns around maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from torch import Tensor, nn
from torch.nn import functional as F

from ytf_torch.layers.kind import Kind
from ytf_torch.layers.settings import LARGEST, Config, Settings
from ytf_torch.layers.weight import Shape
from ytf_torch.layers.windows import check_maps


class Bordered(nn.Module):
    """Pads maps with zeros; a negative amount crops."""

    def __init__(self, added: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.added = added

    def forward(self, input: Tensor) -> Tensor:
        """(batch, channels, H, W) → (batch, channels, H', W')."""
        above, below, left, right = self.added
        return F.pad(input, (left, right, above, below))


@dataclass(frozen=True)
class Border(Kind):
    """Rows above and below, columns left and right.

    setting: Keras's name for them. sign: 1 for padding, -1 for cropping. default: Keras's.
    """

    linear = True
    channelwise = True
    keeps_zero = True
    setting: ClassVar[str]
    sign: ClassVar[int]
    default: ClassVar[int]
    above: int
    below: int
    left: int
    right: int

    @classmethod
    def of_keras(cls, settings: Settings, *inputs: Shape) -> Self:
        """See Kind. Keras accepts one number, one for each axis, or two for each axis."""
        settings.channels_last()
        value = settings.get(cls.setting, cls.default)
        sides = value if isinstance(value, list | tuple) else [value, value]
        pairs = [side if isinstance(side, list | tuple) else [side, side] for side in sides]
        numbers = [number for pair in pairs for number in pair]
        whole = all(isinstance(number, int) and not isinstance(number, bool) for number in numbers)
        fitting = len(pairs) == 2 and len(numbers) == 4 and whole
        if not fitting or not all(0 <= number < LARGEST for number in numbers):
            raise settings.wrong(cls.setting, "rows and columns as whole numbers from 0 on", value)
        return cls(*numbers)

    def keras_settings(self) -> Config:
        """See Kind."""
        sides = [[self.above, self.below], [self.left, self.right]]
        return {self.setting: sides, "data_format": "channels_last"}

    @property
    def added(self) -> tuple[int, int, int, int]:
        """(above, below, left, right): positive for padding, negative for cropping."""
        above, below, left, right = self.above, self.below, self.left, self.right
        return self.sign * above, self.sign * below, self.sign * left, self.sign * right

    def output_shape(self, *inputs: Shape) -> Shape:
        """See Kind."""
        check_maps(inputs[0])
        channels, height, width = inputs[0]
        above, below, left, right = self.added
        return (channels, height + above + below, width + left + right)

    def module(self, *inputs: Shape) -> nn.Module:
        """See Kind."""
        return Bordered(self.added)
