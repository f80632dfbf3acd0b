"""Training settings of Keras configurations, which have no effect at inference."""

from __future__ import annotations

from ytf_torch.layers.settings import Config


def initializer(name: str, **settings: object) -> Config:
    """An initializer in the form of Keras configurations."""
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
