"""DeepID, the face-recognition network of the lab, under its Keras layer names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ytf_torch.errors import InputError, mismatch
from ytf_torch.network.budget import check_budget
from ytf_torch.network.deepid_graph import DEEPID
from ytf_torch.network.layers import ConvRelu, MaxPool
from ytf_torch.network.module import Network

CONVOLUTIONS = DEEPID.convolutions
DENSE = DEEPID.names("dense")
POOLS = {name: pool for name in CONVOLUTIONS if (pool := DEEPID.maps_of(name)) != name}
INPUT_CHANNELS = 3
YOUTUBE_FACES_SIZE = (55, 47)
# The pixels of a face on a side; more are cut from no photo.
MAX_SIDE = 4_096


@dataclass(frozen=True)
class DeepIDSizes:
    """Every size of a DeepID network.

    input_size: height and width of a face in pixels.
    channels, kernels: output channels and (height, width) of the kernels of conv_1…conv_4.
    features: units of fc_1 and fc_2. classes: units of `output`.

    >>> kernels = ((4, 4), (3, 3), (3, 3), (2, 2))
    >>> lab = DeepIDSizes((55, 47), (20, 40, 60, 80), kernels, features=160, classes=40)
    >>> lab.output_shapes["pool_3"]
    (60, 5, 4)
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
    def output_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name → shape of every layer's output for one face: (channels, height, width) or (units,).

        Heights and widths are 0 or less where the input is too small for the kernels.
        """
        channels = dict(zip(CONVOLUTIONS, self.channels, strict=True))
        kernels = dict(zip(CONVOLUTIONS, self.kernels, strict=True))
        units = dict(zip(DENSE, (self.features, self.features, self.classes), strict=True))
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in DEEPID.layers:
            below = shapes[layer.inputs[0]] if layer.inputs else self.input_shape
            if layer.kind == "convolution":
                height, width = kernels[layer.name]
                below = (channels[layer.name], below[1] - height + 1, below[2] - width + 1)
            elif layer.kind == "pool":
                below = (below[0], below[1] // 2, below[2] // 2)
            elif layer.kind == "flatten":
                below = (math.prod(below),)
            elif layer.kind == "dense":
                below = (units[layer.name],)
            shapes[layer.name] = below
        return shapes

    @property
    def map_sizes(self) -> dict[str, tuple[int, int]]:
        """Height and width of the maps that each convolution hands on: out of pool_1, pool_2,
        pool_3 and conv_4; 0 or less where the input is too small for the kernels."""
        shapes = self.output_shapes
        maps = (DEEPID.maps_of(name) for name in CONVOLUTIONS)
        return {name: (shapes[name][1], shapes[name][2]) for name in maps}

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name → shape of every tensor of the state_dict these sizes imply."""
        outputs = self.output_shapes
        kernels = dict(zip(CONVOLUTIONS, self.kernels, strict=True))
        shapes: dict[str, tuple[int, ...]] = {}
        for name in DEEPID.weighted:
            units, units_in = outputs[name][0], outputs[DEEPID[name].inputs[0]][0]
            shapes[f"{name}.weight"] = (units, units_in, *kernels.get(name, ()))
            shapes[f"{name}.bias"] = (units,)
        return shapes

    @classmethod
    def of_shapes(
        cls, shapes: Mapping[str, tuple[int, ...]], input_size: tuple[int, int], where: object
    ) -> DeepIDSizes:
        """Read the sizes off the shapes of a state_dict, and check that all of them fit together.

        shapes: parameter name → shape. where: what to name in an error.
        Raises InputError on the first missing, unexpected or ill-fitting parameter, and where the
        network would take more than network/budget.py allows.
        """
        wanted = {f"{name}.{part}" for name in DEEPID.weighted for part in ("weight", "bias")}
        if set(shapes) != wanted:
            missing = ", ".join(sorted(wanted - set(shapes))) or "none"
            unexpected = ", ".join(sorted(set(shapes) - wanted)) or "none"
            raise InputError(where, f"not a DeepID: missing {missing}; unexpected {unexpected}")
        for name in sorted(wanted):
            layer, _, part = name.rpartition(".")
            rank = 1 if part == "bias" else 4 if layer in CONVOLUTIONS else 2
            if len(shapes[name]) != rank or 0 in shapes[name]:
                raise mismatch(f"{where}, {name}", f"{rank} dimensions, none empty", shapes[name])
        weights = {name: shapes[f"{name}.weight"] for name in DEEPID.weighted}
        c1, c2, c3, c4 = (weights[name][0] for name in CONVOLUTIONS)
        sizes = cls(
            input_size=input_size,
            channels=(c1, c2, c3, c4),
            kernels=tuple((weights[name][2], weights[name][3]) for name in CONVOLUTIONS),
            features=weights[DENSE[0]][0],
            classes=weights[DENSE[-1]][0],
        )
        if not 0 < max(input_size) <= MAX_SIDE:
            raise InputError(where, f"expected faces of at most {MAX_SIDE:,} pixels a side")
        if min(min(size) for size in sizes.map_sizes.values()) < 1:
            raise InputError(
                where, f"faces of {input_size[0]}×{input_size[1]} are too small for it"
            )
        for name, implied in sizes.parameter_shapes().items():
            if tuple(shapes[name]) != implied:
                raise mismatch(
                    f"{where}, {name}",
                    f"{implied} for faces of {input_size[0]}×{input_size[1]}",
                    tuple(shapes[name]),
                )
        check_budget(where, DEEPID, sizes.output_shapes, sizes.parameter_shapes())
        return sizes


class DeepID(Network):
    """The network of Sun, Wang and Tang (CVPR 2014) as the lab trains it: pixels → logits.

    pixel_scale: what a pixel value of 0–255 is multiplied by before conv_1: 1 for the lab's
    bd_net, 1/255 for the CSAW-2020 networks. It is part of the model, never of the caller.

    >>> kernels = ((4, 4), (3, 3), (3, 3), (2, 2))
    >>> lab = DeepIDSizes((55, 47), (20, 40, 60, 80), kernels, features=160, classes=40)
    >>> DeepID(lab)(torch.zeros(2, 3, 55, 47)).shape
    torch.Size([2, 40])
    """

    graph = DEEPID
    conv_1: ConvRelu
    conv_2: ConvRelu
    conv_3: ConvRelu
    conv_4: ConvRelu
    fc_1: nn.Linear
    fc_2: nn.Linear
    output: nn.Linear

    def __init__(self, sizes: DeepIDSizes, pixel_scale: float = 1.0) -> None:
        super().__init__(pixel_scale)
        self.sizes = sizes
        shapes = sizes.parameter_shapes()
        for layer in DEEPID.layers:
            if layer.kind == "convolution":
                channels, channels_in, height, width = shapes[f"{layer.name}.weight"]
                self.add_module(layer.name, ConvRelu(channels_in, channels, (height, width)))
            elif layer.kind == "pool":
                self.add_module(layer.name, MaxPool())
            elif layer.kind == "dense":
                units, units_in = shapes[f"{layer.name}.weight"]
                self.add_module(layer.name, nn.Linear(units_in, units))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def from_state_dict(
        cls, state_dict: Mapping[str, Tensor], sizes: DeepIDSizes, pixel_scale: float
    ) -> DeepID:
        """A model in evaluation mode holding `state_dict` in its own precision."""
        with torch.device("meta"):
            model = cls(sizes, pixel_scale)
        # Its own copies: to_empty would load half a second's worth of symbolic mathematics.
        own = {name: tensor.clone() for name, tensor in state_dict.items()}
        model.load_state_dict(own, assign=True)
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model.eval()

    @classmethod
    def of_state(
        cls,
        state: Mapping[str, Tensor],
        input_shape: tuple[int, int, int],
        pixel_scale: float,
        where: object,
    ) -> DeepID:
        """See Network."""
        shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
        sizes = DeepIDSizes.of_shapes(shapes, input_shape[1:], where)
        return cls.from_state_dict(state, sizes, pixel_scale)

    @property
    def classes(self) -> int:
        """How many people it knows."""
        return self.sizes.classes

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(3, height, width) of a face."""
        return self.sizes.input_shape

    def output_shape(self, layer: str) -> tuple[int, ...]:
        """See Network."""
        return self.sizes.output_shapes[layer]

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
