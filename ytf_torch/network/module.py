"""`Network`: what the rest of the project may know of a network, of whatever architecture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ytf_torch.network.graph import Graph, Layer
from ytf_torch.network.layers import ConvRelu, pooled_convolution


class Network(nn.Module, ABC):
    """A face-recognition network: pixel values 0–255 → logits.

    graph: its layers as data; those that are modules are submodules under their Keras names.
    pixel_scale: what a pixel value of 0–255 is multiplied by before the first layer. It is part of
    the network, never of the caller.

    >>> network.classes, network.input_shape, network.graph.convolutions
    (7, (3, 55, 47), ('conv_1', 'conv_2', 'conv_3', 'conv_4'))
    >>> network(pixels).shape
    torch.Size([24, 7])
    """

    graph: ClassVar[Graph]

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

    @classmethod
    @abstractmethod
    def of_state(
        cls,
        state: Mapping[str, Tensor],
        input_shape: tuple[int, int, int],
        pixel_scale: float,
        where: object,
    ) -> Network:
        """A network in evaluation mode that holds these parameters in their own precision.

        where: what to name in an error. Raises InputError where they do not fit together.
        """

    @abstractmethod
    def fresh(self) -> Network:
        """An untrained network of the same architecture, pixel scale, precision and place."""

    @abstractmethod
    def output_shape(self, layer: str) -> tuple[int, ...]:
        """Shape of a layer's output for one face: (channels, height, width) or (units,)."""

    def forward(self, pixels: Tensor) -> Tensor:
        """(batch, 3, height, width), pixel values 0–255 of any dtype → logits (batch, classes)."""
        return self.output_of(self.graph.output, {self.graph.input: self.scale(pixels)})

    def output_of(self, layer: str, known: Mapping[str, Tensor]) -> Tensor:
        """The output (batch, …) of a layer, computed from the outputs of layers before it.

        known: layer name → its output (batch, …), enough of them that every way from the input to
        `layer` passes one; the input layer's is what `scale` gives.

        >>> maps = network.output_of("pool_3", {"input": network.scale(pixels)})
        >>> network.output_of("output", {"pool_3": maps}).equal(network(pixels))
        True
        """
        return self._output(layer, dict(known))

    def _output(self, name: str, outputs: dict[str, Tensor]) -> Tensor:
        """See output_of. outputs: what is known, to which is added what more than one layer reads.

        Nothing here may refer to itself, or maps as large as a batch's would wait for Python to
        look for garbage.
        """
        if name in outputs:
            return outputs[name]
        layer = self.graph[name]
        convolution = self._only_pooled(layer)
        if convolution is None or convolution.name in outputs:
            found = self._compute(layer, *(self._output(read, outputs) for read in layer.inputs))
        else:
            found = pooled_convolution(
                self.get_submodule(convolution.name),
                self.get_submodule(name),
                self._output(convolution.inputs[0], outputs),
            )
        # What one layer alone reads is not needed again, and may give its memory back.
        if len(self.graph.readers(name)) > 1:
            outputs[name] = found
        return found

    def _only_pooled(self, layer: Layer) -> Layer | None:
        """The convolution that this layer pools, where nothing else reads it."""
        if layer.kind != "pool":
            return None
        source = self.graph[layer.inputs[0]]
        alone = source.kind == "convolution" and self.graph.readers(source.name) == (layer.name,)
        return source if alone else None

    def _compute(self, layer: Layer, *inputs: Tensor) -> Tensor:
        """The output of one layer. inputs: what it reads, in order."""
        first, *others = inputs
        if layer.kind == "flatten":
            return first.flatten(1)
        if layer.kind == "add":
            return sum(others, start=first)
        if layer.kind == "relu":
            return F.relu(first)
        output: Tensor = self.get_submodule(layer.name)(first)
        return output

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
        """Pixel values 0–255 of any dtype → what the first layer reads, in the model's precision.

        Raises ValueError where the shape is not (batch, 3, height, width) of this model.
        """
        if pixels.ndim != 4 or tuple(pixels.shape[1:]) != self.input_shape:
            raise ValueError(
                f"expected (batch, {', '.join(map(str, self.input_shape))}), "
                f"found {tuple(pixels.shape)}"
            )
        # Channels last, in which convolutions are fastest; three times as fast as by `to`.
        scaled = torch.stack(pixels.unbind(1), dim=-1).to(self.dtype).permute(0, 3, 1, 2)
        return scaled if self.pixel_scale == 1 else scaled / (1 / self.pixel_scale)

    @torch.no_grad()
    def read_pixels_at(self, pixel_scale: float) -> None:
        """Change the pixel scale and keep the answers: the kernels of the layers that read pixels
        take up the difference."""
        for name in self.graph.readers(self.graph.input):
            self.convolution(name).weight.mul_(self.pixel_scale / pixel_scale)
        self.pixel_scale = pixel_scale
