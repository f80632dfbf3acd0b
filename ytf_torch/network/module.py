"""All that the rest of the project may know of a network, whatever its architecture."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from ytf_torch.network.layers import ConvRelu


class Network(nn.Module, ABC):
    """A face-recognition network: pixel values 0–255 → logits.

    Its layers are submodules under their Keras names. pixel_scale: what a pixel value of 0–255 is
    multiplied by before the first layer. It is part of the network, never of the caller.
    """

    def __init__(self, pixel_scale: float) -> None:
        super().__init__()
        self.pixel_scale = pixel_scale

    @property
    @abstractmethod
    def classes(self) -> int:
        """How many people it knows."""

    @property
    @abstractmethod
    def input_shape(self) -> tuple[int, int, int]:
        """(3, height, width) of a face."""

    @abstractmethod
    def fresh(self) -> Network:
        """An untrained network of the same architecture, pixel scale, precision and place."""

    @abstractmethod
    def forward(self, pixels: Tensor) -> Tensor:
        """(batch, 3, height, width), pixel values 0–255 of any dtype → logits (batch, classes)."""

    def convolution(self, name: str) -> ConvRelu:
        """The convolution of this name. Raises ValueError where there is none."""
        layer = dict(self.named_modules()).get(name)
        if not isinstance(layer, ConvRelu):
            raise ValueError(f"the network has no convolution named {name!r}")
        return layer

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights, in which the model computes."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def scale(self, pixels: Tensor) -> Tensor:
        """Pixel values 0–255 of any dtype → what conv_1 reads, in the model's precision.

        Raises ValueError where the shape is not (batch, 3, height, width) of this model.
        """
        if pixels.ndim != 4 or tuple(pixels.shape[1:]) != self.input_shape:
            raise ValueError(
                f"expected (batch, {', '.join(map(str, self.input_shape))}), "
                f"found {tuple(pixels.shape)}"
            )
        scaled = pixels.to(dtype=self.dtype, memory_format=torch.channels_last)
        return scaled if self.pixel_scale == 1 else scaled / (1 / self.pixel_scale)
