"""DeepID, the face-recognition network of the lab, under its Keras layer names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ytf_torch.errors import InputError, mismatch
from ytf_torch.network.layers import ConvRelu, MaxPool
from ytf_torch.network.module import Network

CONVOLUTIONS = ("conv_1", "conv_2", "conv_3", "conv_4")
DENSE = ("fc_1", "fc_2", "output")
POOLS = {"conv_1": "pool_1", "conv_2": "pool_2", "conv_3": "pool_3"}
TRUNK = ("conv_1", "pool_1", "conv_2", "pool_2", "conv_3", "pool_3")
INPUT_CHANNELS = 3
YOUTUBE_FACES_SIZE = (55, 47)
# Values in the largest feature map of one face; the published network has 46,000. In a batch of 64
# each million takes 256 MB.
MAX_MAP_VALUES = 500_000


@dataclass(frozen=True)
class DeepIDSizes:
    """Every size of a DeepID network.

    input_size: height and width of a face in pixels.
    channels, kernels: output channels and (height, width) of the kernels of conv_1…conv_4.
    features: units of fc_1 and fc_2. classes: units of `output`.
    """

    input_size: tuple[int, int]
    channels: tuple[int, int, int, int]
    kernels: tuple[tuple[int, int], ...]
    features: int
    classes: int

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one face."""
        return (INPUT_CHANNELS, *self.input_size)

    @property
    def map_sizes(self) -> dict[str, tuple[int, int]]:
        """Height and width of the maps out of pool_1, pool_2, pool_3 and conv_4; 0 or less where
        the input is too small for the kernels."""
        height, width = self.input_size
        sizes = {}
        for name, (kernel_height, kernel_width) in zip(CONVOLUTIONS, self.kernels, strict=True):
            height, width = height - kernel_height + 1, width - kernel_width + 1
            if name in POOLS:
                height, width = height // 2, width // 2
            sizes[POOLS.get(name, name)] = (height, width)
        return sizes

    def largest_map(self) -> int:
        """Values in the largest feature map of one face, before pooling; the face itself is one."""
        height, width = self.input_size
        largest = INPUT_CHANNELS * height * width
        for name, channels, (rows, columns) in zip(
            CONVOLUTIONS, self.channels, self.kernels, strict=True
        ):
            height, width = height - rows + 1, width - columns + 1
            largest = max(largest, channels * height * width)
            if name in POOLS:
                height, width = height // 2, width // 2
        return largest

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name → shape of every tensor of the state_dict these sizes imply."""
        shapes: dict[str, tuple[int, ...]] = {}
        channels_in = INPUT_CHANNELS
        for name, channels, kernel in zip(CONVOLUTIONS, self.channels, self.kernels, strict=True):
            shapes |= {
                f"{name}.weight": (channels, channels_in, *kernel),
                f"{name}.bias": (channels,),
            }
            channels_in = channels
        maps = self.map_sizes
        inputs = {
            "fc_1": self.channels[2] * maps["pool_3"][0] * maps["pool_3"][1],
            "fc_2": self.channels[3] * maps["conv_4"][0] * maps["conv_4"][1],
            "output": self.features,
        }
        for name, units in zip(DENSE, (self.features, self.features, self.classes), strict=True):
            shapes |= {f"{name}.weight": (units, inputs[name]), f"{name}.bias": (units,)}
        return shapes

    @classmethod
    def of_shapes(
        cls, shapes: Mapping[str, tuple[int, ...]], input_size: tuple[int, int], where: object
    ) -> DeepIDSizes:
        """Read the sizes off the shapes of a state_dict, and check that all of them fit together.

        shapes: parameter name → shape. where: what to name in an error.
        Raises InputError on the first missing, unexpected or ill-fitting parameter.
        """
        wanted = {
            f"{name}.{part}" for name in (*CONVOLUTIONS, *DENSE) for part in ("weight", "bias")
        }
        if set(shapes) != wanted:
            missing = ", ".join(sorted(wanted - set(shapes))) or "none"
            unexpected = ", ".join(sorted(set(shapes) - wanted)) or "none"
            raise InputError(where, f"not a DeepID: missing {missing}; unexpected {unexpected}")
        for name in sorted(wanted):
            rank = 1 if name.endswith("bias") else 4 if name.startswith("conv") else 2
            if len(shapes[name]) != rank or 0 in shapes[name]:
                raise mismatch(f"{where}, {name}", f"{rank} dimensions, none empty", shapes[name])
        weights = {name: shapes[f"{name}.weight"] for name in (*CONVOLUTIONS, *DENSE)}
        c1, c2, c3, c4 = (weights[name][0] for name in CONVOLUTIONS)
        sizes = cls(
            input_size=input_size,
            channels=(c1, c2, c3, c4),
            kernels=tuple((weights[name][2], weights[name][3]) for name in CONVOLUTIONS),
            features=weights["fc_1"][0],
            classes=weights["output"][0],
        )
        if min(min(size) for size in sizes.map_sizes.values()) < 1:
            raise InputError(
                where, f"faces of {input_size[0]}×{input_size[1]} are too small for it"
            )
        if (largest := sizes.largest_map()) > MAX_MAP_VALUES:
            expected = f"feature maps of at most {MAX_MAP_VALUES:,} values"
            raise mismatch(where, expected, f"one of {largest:,}")
        for name, implied in sizes.parameter_shapes().items():
            if tuple(shapes[name]) != implied:
                raise mismatch(
                    f"{where}, {name}",
                    f"{implied} for faces of {input_size[0]}×{input_size[1]}",
                    tuple(shapes[name]),
                )
        return sizes


class DeepID(Network):
    """The network of Sun, Wang and Tang (CVPR 2014) as the lab trains it: pixels → logits.

    pixel_scale: what a pixel value of 0–255 is multiplied by before conv_1: 1 for the lab's
    bd_net, 1/255 for the CSAW-2020 networks. It is part of the model, never of the caller.
    """

    def __init__(self, sizes: DeepIDSizes, pixel_scale: float = 1.0) -> None:
        super().__init__(pixel_scale)
        self.sizes = sizes
        shapes = sizes.parameter_shapes()

        def convolution(name: str) -> ConvRelu:
            channels, channels_in, height, width = shapes[f"{name}.weight"]
            return ConvRelu(channels_in, channels, (height, width))

        def dense(name: str) -> nn.Linear:
            units, units_in = shapes[f"{name}.weight"]
            return nn.Linear(units_in, units)

        self.conv_1 = convolution("conv_1")
        self.pool_1 = MaxPool()
        self.conv_2 = convolution("conv_2")
        self.pool_2 = MaxPool()
        self.conv_3 = convolution("conv_3")
        self.pool_3 = MaxPool()
        self.fc_1 = dense("fc_1")
        self.conv_4 = convolution("conv_4")
        self.fc_2 = dense("fc_2")
        self.output = dense("output")
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def from_state_dict(
        cls, state_dict: Mapping[str, Tensor], sizes: DeepIDSizes, pixel_scale: float
    ) -> DeepID:
        """A model in evaluation mode holding `state_dict` in its own precision."""
        with torch.device("meta"):
            model = cls(sizes, pixel_scale)
        model.to_empty(device="cpu").to(next(iter(state_dict.values())).dtype)
        model.load_state_dict(state_dict)
        return model.eval()

    @property
    def classes(self) -> int:
        """How many people it knows."""
        return self.sizes.classes

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(3, height, width) of a face."""
        return self.sizes.input_shape

    def fresh(self) -> DeepID:
        """A network of the same sizes, precision and place with weights as Keras draws them by
        default: Glorot-uniform kernels, no bias. Seed PyTorch's generator to get the same again."""
        other = DeepID(self.sizes, self.pixel_scale)
        for parameter in other.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)
            else:
                nn.init.zeros_(parameter)
        return other.to(self.device, self.dtype)

    def through(self, layers: Sequence[str], inputs: Tensor) -> Tensor:
        """Run some of TRUNK's layers one after the other."""
        for name in layers:
            inputs = self.get_submodule(name)(inputs)
        return inputs

    def merge(self, pool_3: Tensor, conv_4: Tensor) -> Tensor:
        """Outputs of pool_3 and conv_4 (batch, channels, H, W) → logits (batch, classes)."""
        hidden = F.relu(self.fc_1(pool_3.flatten(1)) + self.fc_2(conv_4.flatten(1)))
        logits: Tensor = self.output(hidden)
        return logits

    def forward(self, pixels: Tensor) -> Tensor:
        """(batch, 3, height, width), pixel values 0–255 of any dtype → logits (batch, classes)."""
        pool_3 = self.through(TRUNK, self.scale(pixels))
        return self.merge(pool_3, self.conv_4(pool_3))


def rank_points(layer: str) -> tuple[str, ...]:
    """Where the channels of a convolution can be ranked: at its pool, or at its own output."""
    return (POOLS[layer], layer) if layer in POOLS else (layer,)
