"""Activation functions, which Keras names inside of other layers: Conv2D(activation="relu").

Keras 2 and Keras 3 define hard_sigmoid differently; the file's own version decides which is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.settings import Settings

WriteOnnx = Callable[[OnnxNodes, str, str], str]


@dataclass(frozen=True)
class Activation:
    """One function of an activation.

    name: Keras's. apply: tensor → tensor of the same shape. rising: whether it never falls, so that
    the largest of some values can be taken before it as well as after. silent_at_zero: whether
    f(0) = 0, so that a channel without kernel and bias stays zero. keeps_argmax: whether the
    largest value of a row stays the largest, so that a network's last activation may be left out
    for its logits. onnx: adds it to a graph, from the names of its input and output.
    """

    name: str
    apply: Callable[[Tensor], Tensor]
    onnx: WriteOnnx
    rising: bool = False
    silent_at_zero: bool = True
    keeps_argmax: bool = False

    def __deepcopy__(self, memo: object) -> Activation:
        """Itself: nothing in it can change."""
        return self

    @property
    def keras_name(self) -> str:
        """As Keras files name it."""
        return self.name.removesuffix("_3")

    def overwrite(self, tensor: Tensor) -> Tensor:
        """The same of a tensor that nobody else reads, whose memory may be used again."""
        return F.relu(tensor, inplace=True) if self.apply is F.relu else self.apply(tensor)


def _operator(kind: str, **attributes: Any) -> WriteOnnx:  # noqa: ANN401
    def write(nodes: OnnxNodes, source: str, name: str) -> str:
        return nodes.node(kind, [source], name, **attributes)

    return write


def _swish(nodes: OnnxNodes, source: str, name: str) -> str:
    gate = nodes.node("Sigmoid", [source], f"{name}_gate")
    return nodes.node("Mul", [source, gate], name)


def _gelu(nodes: OnnxNodes, source: str, name: str) -> str:
    scaled = nodes.node("Div", [source, nodes.number(f"{name}_root", 2**0.5)], f"{name}_scaled")
    erf = nodes.node("Erf", [scaled], f"{name}_erf")
    shifted = nodes.node("Add", [erf, nodes.number(f"{name}_one", 1)], f"{name}_shifted")
    half = nodes.node("Mul", [source, nodes.number(f"{name}_half", 0.5)], f"{name}_halved")
    return nodes.node("Mul", [half, shifted], name)


def _relu6(nodes: OnnxNodes, source: str, name: str) -> str:
    low, high = nodes.number(f"{name}_low", 0), nodes.number(f"{name}_high", 6)
    return nodes.node("Clip", [source, low, high], name)


def _keep(tensor: Tensor) -> Tensor:
    return tensor


def _softmax(tensor: Tensor) -> Tensor:
    """Over the channels of maps or the units of a vector, which are Keras's last axis."""
    return tensor.softmax(1)


LINEAR = Activation("linear", _keep, _operator("Identity"), rising=True, keeps_argmax=True)
_SELU = {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}
KNOWN = {
    function.name: function
    for function in (
        LINEAR,
        Activation("relu", F.relu, _operator("Relu"), rising=True),
        Activation("relu6", F.relu6, _relu6, rising=True),
        Activation("elu", F.elu, _operator("Elu"), rising=True),
        Activation("selu", F.selu, _operator("Selu", **_SELU), rising=True),
        Activation("softplus", F.softplus, _operator("Softplus"), True, False),
        Activation("softsign", F.softsign, _operator("Softsign"), rising=True),
        Activation("tanh", torch.tanh, _operator("Tanh"), rising=True, keeps_argmax=True),
        Activation("sigmoid", torch.sigmoid, _operator("Sigmoid"), True, False, True),
        Activation("swish", F.silu, _swish),
        Activation("gelu", F.gelu, _gelu),
        Activation("exponential", torch.exp, _operator("Exp"), True, False, True),
        Activation(
            "hard_sigmoid",
            lambda tensor: (tensor * 0.2 + 0.5).clamp(0, 1),
            _operator("HardSigmoid", alpha=0.2, beta=0.5),
            True,
            False,
        ),
        # Keras 3's: relu6(x + 3) / 6.
        Activation(
            "hard_sigmoid_3",
            F.hardsigmoid,
            _operator("HardSigmoid", alpha=1 / 6, beta=0.5),
            True,
            False,
        ),
        Activation("softmax", _softmax, _operator("Softmax", axis=1), False, False, True),
    )
}
OTHER_NAMES = {"silu": "swish", "hard_silu": "hard_swish"}


def read_activation(settings: Settings, default: str = "linear") -> Activation:
    """A layer's `activation`, by name or as an object of Keras's. Raises InputError for others."""
    value = settings.get("activation", default)
    if isinstance(value, Mapping):  # an object, of which Keras asks the class
        known = {value.get("class_name")}
        told = {value.get(key) for key in ("config", "registered_name")} - {None}
        value = value.get("class_name") if told <= known else str(dict(value))
    value = "linear" if value is None else value
    name = OTHER_NAMES.get(value, value) if isinstance(value, str) else ""
    if name not in KNOWN:
        names = ", ".join(sorted(known for known in KNOWN if known != "hard_sigmoid_3"))
        raise settings.wrong("activation", f"one of {names}", value)
    return KNOWN[name]
