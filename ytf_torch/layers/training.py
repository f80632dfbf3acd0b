"""What Keras's configurations say of training, which a network's answers do not depend on."""

from __future__ import annotations

from ytf_torch.layers.settings import Config


def initializer(name: str, **settings: object) -> Config:
    """An initializer as Keras's configurations name it."""
    kind = {"module": "keras.initializers", "class_name": name}
    return kind | {"config": settings, "registered_name": None}


FOR_TRAINING: Config = {
    "kernel_initializer": initializer("GlorotUniform", seed=None),
    "bias_initializer": initializer("Zeros"),
    "kernel_regularizer": None,
    "bias_regularizer": None,
    "activity_regularizer": None,
    "kernel_constraint": None,
    "bias_constraint": None,
}
