"""Activation functions, as in Conv2D(activation="relu").

Keras 2 and Keras 3 define hard_sigmoid differently; the version that wrote the file decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ytf_torch.errors import InputError
from ytf_torch.layers.onnx_formula import Formula
from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.settings import Settings

WriteOnnx = Callable[[OnnxNodes, str, str], str]


@dataclass(frozen=True)
class Activation:
    """An activation function.

    name: Keras's name. apply: tensor → tensor of the same shape. rising: whether it is monotone,
    so that it commutes with max. silent_at_zero: whether f(0) = 0, so that a channel with zero
    kernel and bias stays zero. keeps_argmax: whether it preserves the argmax of a row, so that a
    network's last activation can be left out to get logits. across_channels: whether an output
    depends on other channels. onnx: adds it to a graph, given the names of its input and output.
    steepest: a Lipschitz constant, `|f(a) - f(b)| <= steepest · |a - b|`; infinite if unknown.
    """

    name: str
    apply: Callable[[Tensor], Tensor]
    onnx: WriteOnnx
    rising: bool = False
    silent_at_zero: bool = True
    keeps_argmax: bool = False
    across_channels: bool = False
    steepest: float = math.inf

    def __deepcopy__(self, memo: object) -> Activation:
        """Itself: it is immutable."""
        return self

    @property
    def keras_name(self) -> str:
        """Its name in Keras files."""
        return self.name.removesuffix("_3")

    @property
    def is_relu(self) -> bool:
        """Whether it is a plain ReLU."""
        return self.apply is F.relu

    def overwrite(self, tensor: Tensor) -> Tensor:
        """Apply it to a tensor that is not used elsewhere, whose memory may be overwritten."""
        return F.relu(tensor, inplace=True) if self.is_relu else self.apply(tensor)


def _operator(kind: str, **attributes: Any) -> WriteOnnx:  # noqa: ANN401
    def write(nodes: OnnxNodes, source: str, name: str) -> str:
        return nodes.node(kind, [source], name, **attributes)

    return write


def _swish(nodes: OnnxNodes, source: str, name: str) -> str:
    gate = nodes.node("Sigmoid", [source], f"{name}_gate")
    if not nodes.double:
        return nodes.node("Mul", [source, gate], name)
    # onnxruntime before 1.32 fuses Sigmoid and Mul into an operator that it lacks for float64.
    # Negating both factors leaves the product unchanged and prevents the fusion.
    negated = [nodes.node("Neg", [part], f"{name}_{i}") for i, part in enumerate((source, gate))]
    return nodes.node("Mul", negated, name)


def _gelu(nodes: OnnxNodes, source: str, name: str) -> str:
    if nodes.double:
        raise InputError("ONNX", "gelu in float64: onnxruntime has no operator Erf for it")
    formula = Formula(nodes, name)
    erf = formula.add("Erf", formula.add("Div", source, 2**0.5))
    return formula.end("Mul", formula.add("Mul", source, 0.5), formula.add("Add", erf, 1))


def clip_onnx(low: float, high: float) -> WriteOnnx:
    """`min(max(x, low), high)`."""

    def write(nodes: OnnxNodes, source: str, name: str) -> str:
        return Formula(nodes, name).end("Clip", source, low, high)

    return write


def elu_onnx(alpha: float, scale: float = 1.0) -> WriteOnnx:
    """`scale · x` for x > 0, else `scale · alpha · (exp(x) − 1)`."""

    def write(nodes: OnnxNodes, source: str, name: str) -> str:
        formula = Formula(nodes, name)
        below = formula.add("Sub", formula.add("Exp", formula.add("Min", source, 0)), 1)
        above = formula.add("Mul", formula.add("Relu", source), scale)
        return formula.end("Add", above, formula.add("Mul", below, scale * alpha))

    return write


def leaky_onnx(slope: float) -> WriteOnnx:
    """`x` for x > 0, else `slope · x`."""

    def write(nodes: OnnxNodes, source: str, name: str) -> str:
        formula = Formula(nodes, name)
        below = formula.add("Mul", formula.add("Min", source, 0), slope)
        return formula.end("Add", formula.add("Relu", source), below)

    return write


def _softplus(formula: Formula, source: str) -> tuple[str, str]:
    """Two terms whose sum is the softplus, `max(x, 0)` and `log(1 + exp(−|x|))`: exp never
    overflows."""
    small = formula.add("Exp", formula.add("Neg", formula.add("Abs", source)))
    return formula.add("Relu", source), formula.add("Log", formula.add("Add", small, 1))


def _softplus_onnx(nodes: OnnxNodes, source: str, name: str) -> str:
    formula = Formula(nodes, name)
    return formula.end("Add", *_softplus(formula, source))


def _log_sigmoid_onnx(nodes: OnnxNodes, source: str, name: str) -> str:
    formula = Formula(nodes, name)
    terms = _softplus(formula, formula.add("Neg", source))
    return formula.end("Neg", formula.add("Add", *terms))


def _mish_onnx(nodes: OnnxNodes, source: str, name: str) -> str:
    formula = Formula(nodes, name)
    gate = formula.add("Tanh", formula.add("Add", *_softplus(formula, source)))
    return formula.end("Mul", source, gate)


def _softsign_onnx(nodes: OnnxNodes, source: str, name: str) -> str:
    formula = Formula(nodes, name)
    return formula.end("Div", source, formula.add("Add", formula.add("Abs", source), 1))


def _hard_sigmoid_onnx(slope: float) -> WriteOnnx:
    def write(nodes: OnnxNodes, source: str, name: str) -> str:
        formula = Formula(nodes, name)
        line = formula.add("Add", formula.add("Mul", source, slope), 0.5)
        return formula.end("Clip", line, 0, 1)

    return write


def _hard_swish_onnx(nodes: OnnxNodes, source: str, name: str) -> str:
    formula = Formula(nodes, name)
    gate = formula.add("Clip", formula.add("Add", source, 3), 0, 6)
    return formula.end("Div", formula.add("Mul", source, gate), 6)


def _exact_softplus(tensor: Tensor) -> Tensor:
    """Softplus with a threshold that is exact in float64. Above its default threshold of 20,
    PyTorch's returns x, an error of up to 2 · 10⁻⁹."""
    return F.softplus(tensor, threshold=40)


def _keep(tensor: Tensor) -> Tensor:
    return tensor


def _softmax(tensor: Tensor) -> Tensor:
    """Softmax over channels or units, Keras's last axis."""
    return tensor.softmax(1)


LINEAR = Activation(
    "linear", _keep, _operator("Identity"), rising=True, keeps_argmax=True, steepest=1
)
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805
# Keras's default slope of the function; its layer LeakyReLU has another.
_LEAKY = 0.2
KNOWN = {
    function.name: function
    for function in (
        LINEAR,
        Activation("relu", F.relu, _operator("Relu"), rising=True, steepest=1),
        Activation("relu6", F.relu6, clip_onnx(0, 6), rising=True, steepest=1),
        Activation(
            "leaky_relu",
            lambda tensor: F.leaky_relu(tensor, _LEAKY),
            leaky_onnx(_LEAKY),
            rising=True,
            keeps_argmax=True,
            steepest=1,
        ),
        Activation("elu", F.elu, elu_onnx(1), rising=True, steepest=1),
        Activation("celu", F.celu, elu_onnx(1), rising=True, steepest=1),
        Activation(
            "selu",
            F.selu,
            elu_onnx(_SELU_ALPHA, _SELU_SCALE),
            rising=True,
            steepest=_SELU_ALPHA * _SELU_SCALE,
        ),
        Activation("softplus", _exact_softplus, _softplus_onnx, True, False, steepest=1),
        Activation("softsign", F.softsign, _softsign_onnx, rising=True, steepest=1),
        Activation(
            "tanh", torch.tanh, _operator("Tanh"), rising=True, keeps_argmax=True, steepest=1
        ),
        Activation("hard_tanh", F.hardtanh, clip_onnx(-1, 1), rising=True, steepest=1),
        Activation(
            "sigmoid", torch.sigmoid, _operator("Sigmoid"), True, False, True, steepest=0.25
        ),
        Activation(
            "log_sigmoid",
            lambda tensor: -_exact_softplus(-tensor),
            _log_sigmoid_onnx,
            True,
            False,
            steepest=1,
        ),
        Activation("swish", F.silu, _swish, steepest=1.1),
        Activation("hard_swish", F.hardswish, _hard_swish_onnx, steepest=1.5),
        Activation("gelu", F.gelu, _gelu, steepest=1.13),
        Activation(
            "mish",
            lambda tensor: tensor * _exact_softplus(tensor).tanh(),
            _mish_onnx,
            steepest=1.09,
        ),
        Activation("exponential", torch.exp, _operator("Exp"), True, False, True),
        Activation(
            "hard_sigmoid",
            lambda tensor: (tensor * 0.2 + 0.5).clamp(0, 1),
            _hard_sigmoid_onnx(0.2),
            True,
            False,
            steepest=0.2,
        ),
        # Keras 3's: relu6(x + 3) / 6.
        Activation(
            "hard_sigmoid_3",
            F.hardsigmoid,
            _hard_sigmoid_onnx(1 / 6),
            True,
            False,
            steepest=1 / 6,
        ),
        Activation("softmax", _softmax, _operator("Softmax", axis=1), False, False, True, True),
        Activation(
            "log_softmax",
            lambda tensor: tensor.log_softmax(1),
            _operator("LogSoftmax", axis=1),
            *(False, False, True, True),
        ),
    )
}
OTHER_NAMES = {"silu": "swish", "hard_silu": "hard_swish"}


def read_activation(settings: Settings, default: str = "linear") -> Activation:
    """The activation of a layer, given by name or as a Keras object. Raises InputError for an
    unknown one."""
    value = settings.get("activation", default)
    if isinstance(value, Mapping):  # a serialised object; Keras reads its class name
        name = value.get("class_name")
        others = (value.get(key) for key in ("config", "registered_name"))
        # With a configuration of its own it is another function than its name says.
        value = name if all(other in (None, name) for other in others) else str(dict(value))
    value = "linear" if value is None else value
    name = OTHER_NAMES.get(value, value) if isinstance(value, str) else ""
    if name not in KNOWN:
        names = ", ".join(sorted(known for known in KNOWN if known != "hard_sigmoid_3"))
        raise settings.wrong("activation", f"one of {names}", value)
    return KNOWN[name]
