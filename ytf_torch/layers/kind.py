"""The interface between a network and its layers: what each kind of layer implements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from torch import Tensor, nn

from ytf_torch.layers.activations import LINEAR, Activation
from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.settings import NO_EFFECT, Config, Settings
from ytf_torch.layers.weight import Shape, Weight

Tensors = dict[str, Tensor]


class FlatMaps(tuple[int, ...]):
    """The shape (units,) of feature maps flattened in PyTorch's order, C×H×W; Keras flattens H×W×C.

    maps: the shape of the maps, (channels, height, width). A layer that treats all units alike
    passes this shape on; a dense layer permutes the columns of its kernel by it.
    """

    maps: Shape

    @classmethod
    def of(cls, maps: Shape) -> FlatMaps:
        """The flattened shape of maps (channels, height, width)."""
        flat = cls((int(np.prod(maps)),))
        flat.maps = maps
        return flat


@runtime_checkable
class LearnsStatistics(Protocol):
    """A module with statistics of its input, such as a batch normalization.

    learns_statistics: whether training updates them. False at first, so that fine-tuning keeps the
    statistics of the original training.
    """

    learns_statistics: bool


def times(weights: Tensors, kernel: str, kernels: Tensor, biases: Tensor | None) -> Tensors:
    """Weights with the array `kernel` multiplied by `kernels` and "bias" by `biases`, each with one
    factor for each output channel, the first axis."""
    array = weights[kernel]
    changed = weights | {kernel: array * kernels.reshape(-1, *[1] * (array.ndim - 1))}
    if biases is not None and "bias" in weights:
        changed["bias"] = weights["bias"] * biases
    return changed


def zeroed(weights: Tensors, names: Sequence[str], channels: Sequence[int]) -> Tensors:
    """A copy of the weights in which `channels` of the arrays `names` are zero. Names without an
    array are ignored."""
    changed = {name: tensor.clone() for name, tensor in weights.items()}
    for name in changed.keys() & set(names):
        changed[name][list(channels)] = 0
    return changed


@dataclass(frozen=True)
class Kind(ABC):
    """The settings of one layer and everything derived from them. A subclass is one kind of layer.

    Shapes are those of one image without the batch axis, (channels, height, width) or (units,);
    tensors have a batch axis. `inputs` are the shapes of the layer's inputs, in order.

    class_names: the Keras classes that are read as this kind; the first one is written.
    linear: whether its output before its activation is `Σ weight · input + constant`; the fast
    sweep relies on it. channelwise: whether it maps feature maps to feature maps, and each output
    channel depends only on the same input channel. largest: whether each output is the maximum of
    some inputs, so that it commutes with a monotone activation before it. order_free: whether it
    treats the units of a vector alike, whatever their order. maskable: whether it has channels of
    its own that `silenced` can set to zero. keeps_zero: whether a zero channel stays zero,
    whatever the weights.
    """

    class_names: ClassVar[tuple[str, ...]]
    linear: ClassVar[bool] = False
    channelwise: ClassVar[bool] = False
    largest: ClassVar[bool] = False
    order_free: ClassVar[bool] = False
    maskable: ClassVar[bool] = False
    keeps_zero: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def of_keras(cls, settings: Settings, *inputs: Shape) -> Self:
        """The layer of a Keras configuration. Raises InputError for a value that is not supported;
        a missing setting has Keras's default."""

    @abstractmethod
    def keras_settings(self) -> Config:
        """Its configuration for Keras, without the layer's name and dtype."""

    @abstractmethod
    def output_shape(self, *inputs: Shape) -> Shape:
        """The shape of its output. Raises ValueError for inputs that it cannot read. For inputs
        that are too small, height or width may be 0 or less."""

    @abstractmethod
    def module(self, *inputs: Shape) -> nn.Module:
        """The PyTorch module that computes it, from the tensors of its inputs in order."""

    @abstractmethod
    def onnx(
        self, nodes: OnnxNodes, module: nn.Module, sources: list[str], name: str, *inputs: Shape
    ) -> str:
        """Add the equivalent ONNX operators, which read `sources`; the result is called `name`."""

    @property
    def keras_class(self) -> str:
        """The Keras class under which it is written."""
        return self.class_names[0]

    @property
    def activation(self) -> Activation:
        """The activation inside the layer, which is applied last."""
        return LINEAR

    def in_pytorch_order(self) -> Kind | None:
        """The same layer flattening C×H×W (see FlatMaps); None for a layer that does not
        flatten."""
        return None

    def own_settings(self) -> Config:
        """Its configuration in a checkpoint, from which `of_keras` restores the layer exactly."""
        config = {
            name: value for name, value in self.keras_settings().items() if name not in NO_EFFECT
        }
        return config | ({"activation": self.activation.name} if "activation" in config else {})

    def __deepcopy__(self, memo: object) -> Self:
        """Itself: it is immutable."""
        return self

    @property
    def is_identity(self) -> bool:
        """Whether its output is its input."""
        return False

    def without_activation(self) -> Kind:
        """The same layer without its activation."""
        return self

    def weights(self, *inputs: Shape) -> tuple[Weight, ...]:
        """Its weights, in Keras's order."""
        return ()

    def multiply_adds(self, *inputs: Shape) -> int:
        """Multiply-accumulate operations for one image."""
        return 0

    def workspace(self, *inputs: Shape) -> int:
        """Temporary values in memory for one image, in addition to inputs and output."""
        return 0

    def silenced(self, weights: Tensors, channels: Sequence[int]) -> Tensors | None:
        """Its weights with `channels` of the output set to zero for every image; None if no weights
        can do that."""
        return None

    def silent(self, weights: Tensors) -> Tensor | None:
        """Which output channels are zero for every image by the weights alone, (channels,), bool;
        None if weights do not decide that."""
        return None

    def kernels(self, weights: Tensors) -> Tensor | None:
        """The factors by which each channel or unit multiplies its inputs, without the bias,
        (channels, inputs, kernel positions); None if its outputs are not weighted sums."""
        return None

    def multiplied(
        self, weights: Tensors, kernels: Tensor, biases: Tensor | None
    ) -> Tensors | None:
        """Its weights with each channel's kernel multiplied by `kernels`, (channels,), and each
        bias by `biases`, (channels,); None if no weights can do that.

        Differentiable with respect to the factors. biases: None leaves the biases unchanged.
        """
        return None

    def for_smaller_input(self, weights: Tensors, factor: float) -> Tensors | None:
        """Weights with which `input / factor` gives the output that `input` gives now; None if no
        weights can do that."""
        return None

    def kept_outputs(self, *kept: Tensor, inputs: Sequence[Shape]) -> Tensor:
        """Which output channels or units remain when only `kept` of the inputs remain.

        kept: for each input, (channels,) or (units,), bool. Raises ValueError if input channels
        cannot be removed.
        """
        if self.channelwise or self.order_free:
            return kept[0]
        raise ValueError(f"channels cannot be removed before a layer of class {self.keras_class}")

    def narrowed(
        self, weights: Tensors, kept: Sequence[Tensor], own: Tensor
    ) -> tuple[Kind, Tensors]:
        """The same layer, and its weights, with only the input channels `kept` and the output
        channels `own`."""
        return self, weights
