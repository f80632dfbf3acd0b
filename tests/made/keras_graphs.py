"""Random classifiers that real Keras builds, of all kinds of layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import Generator

# Mild ones: of deep graphs of exponentials, float32 leaves nothing to compare.
ACTIVATIONS = ("linear", "relu", "elu", "selu", "tanh", "sigmoid", "swish", "softplus", "gelu")
PADDINGS = ("valid", "same")


class RandomClassifier:
    """Builds one functional model. keras: the library; its layers are named by their number."""

    def __init__(self, keras: Any, random: Generator) -> None:
        self.keras, self.random, self._count = keras, random, 0

    def model(self) -> Any:
        """A model from images to a row of classes, with random weights."""
        pick = self.random.integers
        shape = (int(pick(7, 12)), int(pick(7, 12)), int(pick(1, 4)))
        image = self.keras.layers.Input(shape, name="image")
        maps = self.layer("Rescaling", scale=0.5, offset=-0.25)(image) if pick(3) == 0 else image
        for _ in range(int(pick(2, 6))):
            maps = self.block(maps)
        output = self.head(maps)
        model = self.keras.models.Model(image, output)
        for layer in model.layers:
            layer.set_weights([self.weight(array, layer) for array in layer.get_weights()])
            if hasattr(layer, "finalize_state"):
                layer.finalize_state()
        return model

    def layer(self, class_name: str, **settings: Any) -> Any:
        self._count += 1
        name = f"layer_{self._count}"
        return getattr(self.keras.layers, class_name)(name=name, **settings)

    def any_of(self, *choices: Any) -> Any:
        return choices[self.random.integers(len(choices))]

    def weight(self, array: np.ndarray, layer: Any) -> np.ndarray:
        """Values that keep outputs near one; variances are positive."""
        if "Normalization" in type(layer).__name__:
            return self.random.uniform(0.5, 1.5, array.shape).astype(array.dtype)
        if array.ndim < 2:
            return self.random.normal(0, 0.2, array.shape).astype(array.dtype)
        return (array + self.random.normal(0, 0.1, array.shape)).astype(array.dtype)

    def block(self, maps: Any) -> Any:
        """One or several layers from maps to maps."""
        blocks: tuple[Callable[[Any], Any], ...] = (
            *(self.convolution, self.convolution, self.depthwise, self.separable, self.pooled),
            *(self.scaled, self.function, self.border, self.combined, self.combined),
            *(self.reordered, self.excited, self.transposed),
        )
        return blocks[self.random.integers(len(blocks))](maps)

    def window(self, maps: Any, *, strides: bool = True) -> dict[str, Any]:
        """Kernel, strides or dilation, and a padding that leaves something of the maps."""
        small = min(maps.shape[1:3]) < 4
        dilated = not small and self.random.integers(4) == 0
        stride = self.any_of(1, 1, 2) if strides and not dilated else 1
        size = (2, 2) if dilated else (int(self.any_of(1, 2, 3)), int(self.any_of(1, 2, 3)))
        return {
            "kernel_size": size,
            "strides": stride,
            "dilation_rate": 2 if dilated else 1,
            "padding": "same" if small else self.any_of(*PADDINGS),
            "use_bias": bool(self.random.integers(3)),
        }

    def convolution(self, maps: Any) -> Any:
        filters, activation = int(self.any_of(2, 4, 6)), self.any_of(*ACTIVATIONS)
        window = self.window(maps)
        return self.layer("Conv2D", filters=filters, activation=activation, **window)(maps)

    def depthwise(self, maps: Any) -> Any:
        settings = self.window(maps) | {"depth_multiplier": int(self.any_of(1, 1, 2))}
        return self.layer("DepthwiseConv2D", activation=self.any_of(*ACTIVATIONS), **settings)(maps)

    def separable(self, maps: Any) -> Any:
        settings = self.window(maps) | {"depth_multiplier": int(self.any_of(1, 2))}
        return self.layer("SeparableConv2D", filters=int(self.any_of(2, 5)), **settings)(maps)

    def transposed(self, maps: Any) -> Any:
        settings = {"strides": int(self.any_of(1, 2)), "padding": self.any_of(*PADDINGS)}
        larger = self.layer("Conv2DTranspose", filters=3, kernel_size=(3, 2), **settings)(maps)
        return self.layer("MaxPooling2D", pool_size=2, padding="same")(larger)

    def pooled(self, maps: Any) -> Any:
        kind, size = self.any_of("MaxPooling2D", "AveragePooling2D"), int(self.any_of(2, 3))
        padding = "same" if min(maps.shape[1:3]) < 4 else self.any_of(*PADDINGS)
        strides = self.any_of(None, 1, 2)
        return self.layer(kind, pool_size=size, strides=strides, padding=padding)(maps)

    def scaled(self, maps: Any) -> Any:
        kind = self.any_of("BatchNormalization", "BatchNormalization", "LayerNormalization")
        if kind == "BatchNormalization" and self.random.integers(4) == 0:
            return self.layer("Normalization")(maps)
        settings = {name: bool(self.random.integers(2)) for name in ("center", "scale")}
        return self.layer(kind, epsilon=self.any_of(1e-3, 1e-2), **settings)(maps)

    def function(self, rows: Any) -> Any:
        kind, settings = self.any_of(
            ("Activation", {"activation": self.any_of(*ACTIVATIONS)}),
            ("ReLU", {"max_value": self.any_of(None, 1.0, 6.0), "negative_slope": 0.25}),
            ("LeakyReLU", {}),
            ("ELU", {"alpha": 0.5}),
            ("PReLU", {"shared_axes": [1, 2]} if len(rows.shape) == 4 else {}),
            ("Dropout", {"rate": 0.5}),
        )
        return self.layer(kind, **settings)(rows)

    def border(self, maps: Any) -> Any:
        if min(maps.shape[1:3]) < 4:
            return self.layer("ZeroPadding2D", padding=((1, 0), (2, 1)))(maps)
        kind, settings = self.any_of(
            ("ZeroPadding2D", {"padding": ((1, 0), (0, 2))}),
            ("Cropping2D", {"cropping": ((1, 0), (0, 2))}),
            ("Cropping2D", {"cropping": (1, 1)}),
        )
        return self.layer(kind, **settings)(maps)

    def combined(self, maps: Any) -> Any:
        """Two ways that end in one shape, combined."""
        channels = maps.shape[-1]
        way = {"filters": channels, "kernel_size": 3, "padding": "same"}
        other = self.function(self.layer("Conv2D", **way)(maps))
        kind = self.any_of(
            *("Add", "Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"),
            *("Concatenate", "Concatenate"),
        )
        pair = [maps, other] if self.random.integers(2) else [other, maps]
        return self.layer(kind)(pair)

    def excited(self, maps: Any) -> Any:
        """Each channel times a number that the whole image decides."""
        kind = self.any_of("GlobalAveragePooling2D", "GlobalMaxPooling2D")
        if self.random.integers(2):
            squeezed = self.layer(kind, keepdims=True)(maps)
        else:
            row = self.layer(kind)(maps)
            squeezed = self.layer("Reshape", target_shape=(1, 1, maps.shape[-1]))(row)
        way = {"filters": maps.shape[-1], "kernel_size": 1, "activation": "sigmoid"}
        return self.layer("Multiply")([maps, self.layer("Conv2D", **way)(squeezed)])

    def reordered(self, maps: Any) -> Any:
        height, width, channels = maps.shape[1:]
        if self.random.integers(2):
            return self.layer("Reshape", target_shape=(width, height, channels))(maps)
        return self.layer("Permute", dims=self.any_of((2, 1, 3), (1, 2, 3)))(maps)

    def head(self, maps: Any) -> Any:
        """From maps to a row of classes."""
        end = self.random.integers(4)
        if end == 0:
            rows = self.layer(self.any_of("GlobalAveragePooling2D", "GlobalMaxPooling2D"))(maps)
        elif end == 1:
            steps = self.layer("Reshape", target_shape=(-1, maps.shape[-1]))(maps)
            rows = self.layer(self.any_of("GlobalAveragePooling1D", "GlobalMaxPooling1D"))(steps)
        else:
            rows = self.layer("Flatten")(maps)
            if self.random.integers(2):  # all that treats units alike, or each as itself
                rows = self.any_of(self.function, self.scaled)(rows)
        if self.random.integers(2):
            rows = self.function(self.layer("Dense", units=7)(rows))
        if self.random.integers(4) == 0:
            rows = self.layer("Concatenate")([rows, self.layer("Dense", units=3)(rows)])
        classes = int(self.any_of(3, 5))
        if self.random.integers(3):
            activation = self.any_of("softmax", "linear")
            return self.layer("Dense", units=classes, activation=activation)(rows)
        logits = self.layer("Dense", units=classes)(rows)
        return self.layer("Softmax")(logits)
