"""Writes one small network with the Keras of the interpreter that runs this, in every format.

The files in tests/golden/keras were made so, each by the Keras in its name:

    python -m tests.golden.make weights.npz       # with the project: weights by seed
    python write_with_keras.py weights.npz OUT    # with Keras and NumPy alone

Keras 2.13.1, 2.14.0 and 2.15.0 came with tensorflow-cpu 2.13.1, 2.14.1 and 2.15.1; Keras 3.0.5,
3.3.3, 3.6.0 and 3.15.1 ran on PyTorch (KERAS_BACKEND=torch). With tensorflow_model_optimization
0.8.1 beside Keras 2.14 it also writes networks in pruning wrappers, and what they answer; of
Keras 2.13, which numbers them otherwise, pruned-throughout.keras is kept. Of the networks wrapped
in a model, those of three versions are kept.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
import numpy as np

WEIGHTED = ("conv_1", "conv_2", "conv_3", "conv_4", "fc_1", "fc_2", "output")


def network(weights: Any, *, crossed: bool = False) -> Any:
    """The network of weights.npz. crossed: Add reads fc_2 before fc_1."""
    layers = keras.layers
    entry = below = keras.Input((55, 47, 3), name="input")
    kernels = {name: weights[f"{name}/kernel"] for name in WEIGHTED}
    for number in "123":
        *size, _, channels = kernels[f"conv_{number}"].shape
        convolution = layers.Conv2D(channels, size, activation="relu", name=f"conv_{number}")
        below = layers.MaxPooling2D((2, 2), name=f"pool_{number}")(convolution(below))
    *size, _, channels = kernels["conv_4"].shape
    conv_4 = layers.Conv2D(channels, size, activation="relu", name="conv_4")(below)
    features, classes = kernels["output"].shape
    fc_1 = layers.Dense(features, name="fc_1")(layers.Flatten()(below))
    fc_2 = layers.Dense(features, name="fc_2")(layers.Flatten()(conv_4))
    added = layers.Add()([fc_2, fc_1] if crossed else [fc_1, fc_2])
    hidden = layers.Activation("relu")(added)
    output = layers.Dense(classes, activation="softmax", name="output")(hidden)
    model = keras.Model(entry, output, name="B")
    for name in WEIGHTED:
        model.get_layer(name).set_weights([kernels[name], weights[f"{name}/bias"]])
    return model


def write_all(weights: Any, folder: Path) -> None:
    version = keras.__version__
    model, crossed = network(weights), network(weights, crossed=True)
    model.save(folder / f"{version}.h5")
    model.save(folder / f"{version}.keras")
    model.save_weights(str(folder / f"{version}.weights.h5"))
    crossed.save_weights(str(folder / f"{version}-crossed.weights.h5"))
    entry = keras.Input((55, 47, 3))
    wrapped = keras.Model(entry, model(entry))
    wrapped.save(folder / f"{version}-wrapped.keras")
    if not version.startswith("3.0"):  # which gives all kernels inside one name, and fails
        wrapped.save(folder / f"{version}-wrapped.h5")


def wrap(layer_or_model: Any) -> Any:
    """A layer in PruneLowMagnitude, or a model with every layer in one; half is to be masked."""
    from tensorflow_model_optimization.sparsity import keras as sparsity

    schedule = sparsity.ConstantSparsity(0.5, begin_step=0, frequency=1)
    return sparsity.prune_low_magnitude(layer_or_model, pruning_schedule=schedule)


def mask(model: Any, images: Any) -> None:
    """Have the wrappers compute their masks, without any training."""
    from tensorflow_model_optimization.sparsity import keras as sparsity

    model.compile(keras.optimizers.SGD(0), "sparse_categorical_crossentropy")
    labels = np.zeros(len(images))
    model.fit(images, labels, verbose=0, callbacks=[sparsity.UpdatePruningStep()])


def write_pruned(weights: Any, folder: Path) -> None:
    """conv_3 in PruneLowMagnitude, half of its kernel masked by the wrapper itself."""
    images = weights["images"].transpose(0, 2, 3, 1).astype("float32")
    model = keras.models.clone_model(
        network(weights),
        clone_function=lambda layer: wrap(layer) if layer.name == "conv_3" else layer,
    )
    mask(model, images)
    for name in WEIGHTED:
        layer = model.get_layer("prune_low_magnitude_conv_3" if name == "conv_3" else name)
        inner = layer.layer if name == "conv_3" else layer
        inner.kernel.assign(weights[f"{name}/kernel"])
        inner.bias.assign(weights[f"{name}/bias"])
    model.save(folder / "unmasked.h5", include_optimizer=False)
    model.save(folder / "unmasked.keras")
    probabilities = model.predict(images, verbose=0)  # which multiplies the kernel by its mask
    model.save(folder / "pruned.h5", include_optimizer=False)
    model.save(folder / "pruned.keras")
    np.savez(folder / "pruned.npz", probabilities=probabilities)


def write_pruned_throughout(weights: Any, folder: Path) -> None:
    """Every layer in PruneLowMagnitude, also those that have no weights to mask."""
    images = weights["images"].transpose(0, 2, 3, 1).astype("float32")
    model = wrap(network(weights))
    mask(model, images)
    probabilities = model.predict(images, verbose=0)
    model.save(folder / "pruned-throughout.keras")
    np.savez(folder / "pruned-throughout.npz", probabilities=probabilities)


if __name__ == "__main__":
    with np.load(sys.argv[1]) as archive:
        content = dict(archive)
    write_all(content, Path(sys.argv[2]))
    try:
        import tensorflow_model_optimization  # noqa: F401
    except ImportError:
        pass
    else:
        write_pruned(content, Path(sys.argv[2]))
        write_pruned_throughout(content, Path(sys.argv[2]))
