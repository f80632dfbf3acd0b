"""What every kind of layer says of itself: the one interface between a network and its layers."""

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
    """The shape (units,) of maps (channels, height, width) that were flattened in PyTorch's order,
    channel by channel; Keras flattens place by place.

    maps: their shape. A layer that treats all units alike hands it on; a dense layer orders the
    columns of its kernel by it.
    """

    maps: Shape

    @classmethod
    def of(cls, maps: Shape) -> FlatMaps:
        """The flattened shape of these maps."""
        flat = cls((int(np.prod(maps)),))
        flat.maps = maps
        return flat


@runtime_checkable
class LearnsStatistics(Protocol):
    """A module with statistics of what it reads, which it can learn while it is trained.

    learns_statistics: whether it does, False at first: a copy that is trained on keeps what the
    network was trained with.
    """

    learns_statistics: bool


def times(weights: Tensors, kernel: str, kernels: Tensor, biases: Tensor | None) -> Tensors:
    """Weights with the arrays `kernel` and `bias` multiplied by a factor for each channel, which
    is their first axis."""
    array = weights[kernel]
    changed = weights | {kernel: array * kernels.reshape(-1, *[1] * (array.ndim - 1))}
    if biases is not None and "bias" in weights:
        changed["bias"] = weights["bias"] * biases
    return changed


def zeroed(weights: Tensors, names: Sequence[str], channels: Sequence[int]) -> Tensors:
    """A copy of the weights in which these channels of the arrays `names`, where there are such,
    are zero."""
    changed = {name: tensor.clone() for name, tensor in weights.items()}
    for name in changed.keys() & set(names):
        changed[name][list(channels)] = 0
    return changed


@dataclass(frozen=True)
class Kind(ABC):
    """One layer's settings, and all that follows from them. A subclass is one kind of layer.

    Shapes are those of one image, (channels, height, width) or (units,); tensors have a batch axis
    before. The methods that take `inputs` take the shapes of what the layer reads, in order.

    class_names: the Keras classes that are read as this kind; the first is the one that is written.
    linear: whether its outputs, before its own activation, are sums of products of weights and what
    it reads, plus constants: what the fast sweep asks. channelwise: whether it turns maps into maps
    and each channel of its output depends on the same channel of its input alone. largest: whether
    each of its outputs is the largest of some of its inputs, so that it may change places with a
    rising activation before it. order_free: whether it treats all units of a vector alike, whatever
    their order. maskable: whether it makes channels of its own that `silenced` can make zero.
    keeps_zero: whether a channel that is zero stays zero in it, whatever its weights.
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
        """The layer that a Keras configuration states. Raises InputError for what is not
        understood; a setting that is left out has Keras's default."""

    @abstractmethod
    def keras_settings(self) -> Config:
        """Its configuration for Keras, without the layer's name and dtype."""

    @abstractmethod
    def output_shape(self, *inputs: Shape) -> Shape:
        """The shape of its output. Raises ValueError where it cannot read such inputs; sides may
        come out as 0 or less, where they are too small for it."""

    @abstractmethod
    def module(self, *inputs: Shape) -> nn.Module:
        """What computes it: a module that takes the tensors of its inputs, in order."""

    @abstractmethod
    def onnx(
        self, nodes: OnnxNodes, module: nn.Module, sources: list[str], name: str, *inputs: Shape
    ) -> str:
        """Add ONNX operators that say the same: they read `sources` and end in `name`."""

    @property
    def keras_class(self) -> str:
        """The Keras class that is written."""
        return self.class_names[0]

    @property
    def activation(self) -> Activation:
        """The activation inside of it, which is where its output ends."""
        return LINEAR

    def in_pytorch_order(self) -> Kind | None:
        """The same layer that flattens maps channel by channel, see FlatMaps; None for a layer that
        flattens nothing."""
        return None

    def own_settings(self) -> Config:
        """Its configuration for a converted model: `of_keras` gives the layer back exactly."""
        config = {
            name: value for name, value in self.keras_settings().items() if name not in NO_EFFECT
        }
        return config | ({"activation": self.activation.name} if "activation" in config else {})

    def __deepcopy__(self, memo: object) -> Self:
        """Itself: nothing in it can change."""
        return self

    @property
    def is_identity(self) -> bool:
        """Whether it hands on what it reads."""
        return False

    def without_activation(self) -> Kind:
        """The same layer that ends before its activation."""
        return self

    def weights(self, *inputs: Shape) -> tuple[Weight, ...]:
        """Its weights in Keras's order."""
        return ()

    def multiply_adds(self, *inputs: Shape) -> int:
        """Products that are summed up for one image."""
        return 0

    def workspace(self, *inputs: Shape) -> int:
        """Values beyond inputs and output that are in memory while one image is computed."""
        return 0

    def silenced(self, weights: Tensors, channels: Sequence[int]) -> Tensors | None:
        """Its weights, changed so that these channels of its output are zero on any image; None
        where no weights do that."""
        return None

    def silent(self, weights: Tensors) -> Tensor | None:
        """Which channels of its output are zero on any image by its weights alone, (channels,) of
        bool; None where it has no weights that could tell."""
        return None

    def kernels(self, weights: Tensors) -> Tensor | None:
        """What each of its channels or units multiplies its inputs by before it sums them up,
        (channels, inputs, places), without its bias; None where it sums up no products."""
        return None

    def multiplied(
        self, weights: Tensors, kernels: Tensor, biases: Tensor | None
    ) -> Tensors | None:
        """Its weights with the kernel of each channel times its factor in `kernels`, (channels,),
        and each bias times its factor in `biases`; None where no weights do that.

        Gradients reach the factors. biases: None leaves them as they are.
        """
        return None

    def for_smaller_input(self, weights: Tensors, factor: float) -> Tensors | None:
        """Its weights so that it answers inputs divided by `factor` as it answers the inputs; None
        where no weights do that."""
        return None

    def kept_outputs(self, *kept: Tensor, inputs: Sequence[Shape]) -> Tensor:
        """Which of its channels or units remain where only `kept` of what it reads do. kept: for
        each input, (channels,) or (units,) of bool.

        Raises ValueError where its inputs cannot be thinned out.
        """
        if self.channelwise or self.order_free:
            return kept[0]
        raise ValueError(f"channels cannot be taken out before a layer of class {self.keras_class}")

    def narrowed(
        self, weights: Tensors, kept: Sequence[Tensor], own: Tensor
    ) -> tuple[Kind, Tensors]:
        """The same layer with only the inputs `kept` and the outputs `own`, and its weights."""
        return self, weights
