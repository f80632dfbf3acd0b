"""Conversion between Keras's order of axes and PyTorch's.

The feature maps of one image are (height, width, channels) in Keras and (channels, height, width)
here. Vectors (units,) and shapes of two axes, such as (steps, channels), are the same in both.
"""

from __future__ import annotations

from torch import Tensor

from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.settings import Settings
from ytf_torch.layers.weight import Shape


def keras_shape(shape: Shape) -> Shape:
    """The shape of one image in Keras's order.

    >>> keras_shape((3, 55, 47)), keras_shape((160,))
    ((55, 47, 3), (160,))
    """
    return (*shape[1:], shape[0]) if len(shape) == 3 else tuple(shape)


def from_keras_shape(shape: Shape) -> Shape:
    """The inverse of `keras_shape`."""
    return (shape[2], *shape[:2]) if len(shape) == 3 else tuple(shape)


def last_axis(shape: Shape) -> int:
    """The axis of a batch here that is Keras's last. shape: of one image, without the batch axis.
    For feature maps that is axis 1, the channels."""
    return 2 if len(shape) == 2 else 1


def check_last_axis(settings: Settings, shape: Shape) -> None:
    """Raises InputError if the setting `axis` is not Keras's last axis, -1 or its number."""
    value = settings.get("axis", -1)
    if isinstance(value, list | tuple) and len(value) == 1:
        (value,) = value
    if isinstance(value, bool) or value not in (-1, len(shape)):
        raise settings.wrong("axis", "the last axis, -1", value)


def channels_last(tensor: Tensor) -> Tensor:
    """Permute a batch to Keras's order of axes."""
    return tensor.permute(0, 2, 3, 1) if tensor.ndim == 4 else tensor


def channels_first(tensor: Tensor) -> Tensor:
    """The inverse of `channels_last`."""
    return tensor.permute(0, 3, 1, 2) if tensor.ndim == 4 else tensor


def onnx_channels_last(nodes: OnnxNodes, source: str, name: str, shape: Shape) -> str:
    """Add the permutation of a batch to Keras's order of axes, if it differs. shape: of one
    image."""
    return nodes.node("Transpose", [source], name, perm=[0, 2, 3, 1]) if len(shape) == 3 else source
