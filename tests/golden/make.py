"""Makes the golden logits in this folder with real Keras: python -m tests.golden.make.

Weights and images come from tests/made/keras_files.py by seed; only Keras's logits are kept.
With a path, python -m tests.golden.make weights.npz, it writes those of the small network there
instead, for write_with_keras.py.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras as keras

from tests.made.keras_files import SMALL, WIDE, random_images, random_weights
from ytf_torch.network.deepid import DeepIDSizes

FOLDER = Path(__file__).parent
CASES = {"small": (SMALL, 1.0), "wide": (WIDE, 1 / 255)}
IMAGES = 8


def logits(sizes: DeepIDSizes, pixel_scale: float) -> np.ndarray:
    layers = keras.layers
    entry = below = keras.Input((*sizes.input_size, 3))
    for number in range(3):
        below = layers.Conv2D(
            sizes.channels[number],
            sizes.kernels[number],
            activation="relu",
            name=f"conv_{number + 1}",
        )(below)
        below = layers.MaxPooling2D()(below)
    conv_4 = layers.Conv2D(sizes.channels[3], sizes.kernels[3], activation="relu", name="conv_4")
    fc_1 = layers.Dense(sizes.features, name="fc_1")(layers.Flatten()(below))
    fc_2 = layers.Dense(sizes.features, name="fc_2")(layers.Flatten()(conv_4(below)))
    hidden = layers.Activation("relu")(layers.Add()([fc_1, fc_2]))
    model = keras.Model(entry, layers.Dense(sizes.classes, name="output")(hidden))
    for name, weights in random_weights(sizes).items():
        model.get_layer(name).set_weights(weights)
    images = random_images(sizes, IMAGES).transpose(0, 2, 3, 1)
    return model.predict((images * pixel_scale).astype(np.float32), verbose=0)


def write_weights(path: Path) -> None:
    arrays: dict[str, Any] = {"images": random_images(SMALL, IMAGES)}
    for name, (kernel, bias) in random_weights(SMALL).items():
        arrays |= {f"{name}/kernel": kernel, f"{name}/bias": bias}
    np.savez(path, **arrays)


def write_logits() -> None:
    for name, (sizes, pixel_scale) in CASES.items():
        found = logits(sizes, pixel_scale)
        np.savez(FOLDER / f"{name}.npz", logits=found, keras_version=keras.__version__)
        print(name, found.shape, float(np.abs(found).max()))


if __name__ == "__main__":
    write_weights(Path(sys.argv[1])) if sys.argv[1:] else write_logits()
