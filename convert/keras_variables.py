"""Where Keras's own format keeps weights: `layers/conv2d_2/vars/0` in .weights.h5 and .keras.

Layers are not stored under their names but under their class and its ordinal among the model's
layers; see _load_container_state in keras/src/saving/saving_lib.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

STORE = "layers"


def snake_case(class_name: str) -> str:
    """A class as Keras writes it in paths: Conv2D → conv2d, MaxPooling2D → max_pooling2d."""
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", class_name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()


def variable_paths(layers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Layer name → its path below `layers`. layers: name and class of each, in Keras's order.

    >>> variable_paths([("conv_1", "Conv2D"), ("pool_1", "MaxPooling2D"), ("conv_2", "Conv2D")])
    {'conv_1': 'conv2d', 'pool_1': 'max_pooling2d', 'conv_2': 'conv2d_1'}
    """
    seen: dict[str, int] = {}
    paths = {}
    for name, class_name in layers:
        kind = snake_case(class_name)
        ordinal = seen.get(kind, 0)
        seen[kind] = ordinal + 1
        paths[name] = f"{kind}_{ordinal}" if ordinal else kind
    return paths
