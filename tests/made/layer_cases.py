"""Layers of every kind with every setting that is honoured: the table that tests of kinds share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Shape = tuple[int, ...]
MAPS: Shape = (3, 7, 6)
UNITS: Shape = (5,)


@dataclass(frozen=True)
class LayerCase:
    """A layer of Keras's. inputs: shapes of what it reads, (channels, height, width) or (units,).
    only: the library that knows the setting, where not both do."""

    class_name: str
    config: dict[str, Any] = field(default_factory=dict)
    inputs: tuple[Shape, ...] = (MAPS,)
    only: str | None = None

    def __str__(self) -> str:
        settings = ",".join(f"{name}={value}" for name, value in self.config.items())
        return f"{self.class_name}({settings}) of {self.inputs}"


def case(class_name: str, *inputs: Shape, only: str | None = None, **config: Any) -> LayerCase:
    return LayerCase(class_name, config, inputs or (MAPS,), only)


ACTIVATIONS = [
    *("linear", "relu", "elu", "selu", "softplus", "softsign", "tanh", "sigmoid", "swish"),
    *("gelu", "exponential", "softmax"),
]
KERAS_3_ACTIVATIONS = [
    *("relu6", "leaky_relu", "celu", "hard_tanh", "log_sigmoid", "silu", "hard_silu", "hard_swish"),
    *("log_softmax",),
]

CASES = [
    *(
        case("Activation", shape, activation=name)
        for name in ACTIVATIONS
        for shape in (MAPS, UNITS)
    ),
    *(case("Activation", activation=name, only="keras") for name in KERAS_3_ACTIVATIONS),
    case("Activation", activation="mish"),
    case("Activation", activation="hard_sigmoid", only="tf_keras"),
    case("Activation", activation="hard_sigmoid_3", only="keras"),
    case("Add", MAPS, MAPS),
    case("Add", UNITS, UNITS, UNITS),
    case("Add", MAPS, (3, 1, 1)),
    case("Subtract", UNITS, UNITS),
    case("Subtract", UNITS, (1,)),
    case("Multiply", MAPS, (3, 1, 1)),
    case("Multiply", MAPS, MAPS, MAPS),
    case("Average", MAPS, MAPS, MAPS),
    case("Maximum", MAPS, MAPS, MAPS),
    case("Minimum", UNITS, UNITS),
    case("Concatenate", MAPS, (2, 7, 6), axis=-1),
    case("Concatenate", MAPS, (2, 7, 6), MAPS, axis=3),
    case("Concatenate", UNITS, (2,), axis=1),
    case("Concatenate", (4, 3), (4, 2), axis=-1),
    case("Conv2D", filters=4, kernel_size=[3, 2], activation="relu"),
    case("Conv2D", filters=4, kernel_size=[3, 2], padding="same", strides=[2, 2]),
    case("Conv2D", filters=4, kernel_size=[2, 2], dilation_rate=[2, 2], use_bias=False),
    case("Conv2D", (4, 7, 6), filters=6, kernel_size=[3, 3], groups=2, activation="gelu"),
    case("Dense", UNITS, units=4, activation="tanh"),
    case("Dense", UNITS, units=4, use_bias=False),
    case("Flatten"),
    case("MaxPooling2D", pool_size=[2, 2]),
    case("MaxPooling2D", pool_size=[3, 3], strides=[2, 2], padding="same"),
    case("AveragePooling2D", pool_size=[2, 2]),
    case("AveragePooling2D", pool_size=[3, 2], strides=[1, 2], padding="valid"),
    case("AveragePooling2D", pool_size=[3, 3], strides=[2, 2], padding="same"),
    case("AveragePooling2D", pool_size=[5, 4], strides=[3, 1], padding="same"),
    *(
        case(f"Global{what}Pooling2D", keepdims=keep)
        for what in ("Average", "Max")
        for keep in (False, True)
    ),
    *(
        case(f"Global{what}Pooling1D", (4, 3), keepdims=keep)
        for what in ("Average", "Max")
        for keep in (False, True)
    ),
    *(
        case(
            "BatchNormalization",
            shape,
            axis=axis,
            center=center,
            scale=scale,
            epsilon=epsilon,
            only=None if isinstance(axis, int) else "tf_keras",
        )
        for shape, axis in ((MAPS, -1), (MAPS, [3]), (MAPS, 3), (UNITS, -1), (UNITS, [1]))
        for center, scale, epsilon in ((True, True, 1e-3), (False, True, 1e-5), (True, False, 0.1))
    ),
    case("BatchNormalization", center=False, scale=False),
    case("ReLU"),
    case("ReLU", UNITS, max_value=6.0),
    case("ReLU", max_value=0.5, negative_slope=0.1, threshold=0.25),
    case("ReLU", negative_slope=0.3),
    case("ReLU", threshold=0.5),
    case("LeakyReLU"),
    case("LeakyReLU", UNITS, alpha=0.1, only="tf_keras"),
    case("LeakyReLU", negative_slope=0.2, only="keras"),
    case("ELU", alpha=0.7),
    case("Softmax"),
    case("Softmax", UNITS, axis=-1),
    case("Reshape", target_shape=[6, 7, 3]),
    case("Reshape", target_shape=[-1, 3]),
    case("Reshape", target_shape=[126]),
    case("Reshape", (24,), target_shape=[2, 3, -1]),
    case("Reshape", UNITS, target_shape=[5, 1]),
    case("Reshape", (4, 6), target_shape=[2, 4, 3]),
    case("Permute", dims=[3, 1, 2]),
    case("Permute", dims=[2, 1, 3]),
    case("Permute", (4, 3), dims=[2, 1]),
    case("DepthwiseConv2D", kernel_size=[3, 3], activation="relu"),
    case("DepthwiseConv2D", kernel_size=[3, 2], depth_multiplier=2, padding="same", strides=[2, 2]),
    case("DepthwiseConv2D", kernel_size=[2, 2], dilation_rate=[2, 2], use_bias=False),
    case("SeparableConv2D", filters=4, kernel_size=[3, 3], activation="relu"),
    case(
        "SeparableConv2D",
        filters=5,
        kernel_size=[3, 2],
        depth_multiplier=2,
        padding="same",
        strides=[2, 2],
        use_bias=False,
    ),
    *(
        case("Conv2DTranspose", filters=4, kernel_size=size, strides=strides, padding=padding)
        for padding in ("valid", "same")
        for size, strides in (
            ([3, 2], [1, 1]),
            ([3, 4], [2, 2]),
            ([2, 1], [3, 2]),
            ([5, 3], [2, 3]),
        )
    ),
    case("Conv2DTranspose", filters=4, kernel_size=[5, 3], strides=[2, 3], use_bias=False),
    case("PReLU"),
    case("PReLU", UNITS),
    case("PReLU", shared_axes=[1, 2]),
    case("PReLU", shared_axes=[2]),
    case("PReLU", shared_axes=[1, 2, 3]),
    *(
        case("LayerNormalization", shape, axis=-1, center=center, scale=scale, epsilon=1e-2)
        for shape in (MAPS, UNITS)
        for center, scale in ((True, True), (False, True), (True, False), (False, False))
    ),
    case("ZeroPadding2D", padding=1),
    case("ZeroPadding2D", padding=[2, 1]),
    case("ZeroPadding2D", padding=[[1, 2], [0, 3]]),
    case("Cropping2D", cropping=1),
    case("Cropping2D", cropping=[[1, 2], [0, 3]]),
    case("UpSampling2D"),
    case("UpSampling2D", size=[3, 2], interpolation="nearest"),
    case("UpSampling2D", size=[2, 3], interpolation="bilinear"),
    case("Rescaling", scale=0.25, offset=-1.0),
    case("Rescaling", scale=[0.5, 0.25, 2.0], offset=[0.5, 1.0, 0.0]),
    case("Rescaling", UNITS, scale=2.0),
    case("Normalization", axis=-1),
    case("Normalization", UNITS, axis=-1),
    case("Normalization", axis=-1, mean=[1.0, 0.5, 0.25], variance=[1.0, 2.0, 4.0]),
    case("Normalization", axis=None, mean=0.5, variance=0.0625),
    case("Resizing", height=7, width=6),
]
