"""Networks as ONNX graphs, built layer by layer from a network's own graph; needs the extra `onnx`.

Nothing is traced: each kind of layer becomes the ONNX operators that say the same. PyTorch's own
exporter has written graphs of well-known networks that answer differently, without a warning
(pytorch/pytorch issues 168224 and 169178).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ytf_torch.errors import InputError, how_to_install
from ytf_torch.network.graph import Layer
from ytf_torch.network.module import Network

try:
    import onnx
    from onnx import helper
except ImportError:
    onnx = None  # type: ignore[assignment]

# Of 2021: read by every onnxruntime from 1.10 on.
OPSET, IR_VERSION = 15, 8
INPUT, BATCH = "pixels", "batch"


def check_onnx_is_installed() -> None:
    """Raises InputError where the package onnx is missing."""
    if onnx is None:
        remedy = how_to_install("onnx")
        raise InputError("ONNX", "the package onnx is not installed", remedy)


def write_onnx(path: Path, network: Network, repaired: Network | None = None) -> None:
    """Write a network, or with B′ the GoodNet of both, as one ONNX file.

    Its input `pixels` is (batch, 3, height, width), pixel values 0–255 in the network's precision;
    the pixel scale is in the graph. Its output is `logits` (batch, classes), or with B′ `scores`
    (batch, classes + 1) as GoodNet gives them: the argmax of a row is the answer.
    Raises InputError where the package onnx is missing.
    """
    check_onnx_is_installed()
    parts = _Parts(double=network.dtype == torch.float64)
    if repaired is None:
        output, width = parts.add_network(network, "", "logits"), network.classes
    else:
        output, width = parts.add_goodnet(network, repaired), network.classes + 1
    graph = helper.make_graph(
        parts.nodes,
        "goodnet" if repaired is not None else "network",
        [helper.make_tensor_value_info(INPUT, parts.type, [BATCH, *network.input_shape])],
        [helper.make_tensor_value_info(output, parts.type, [BATCH, width])],
        parts.initializers,
    )
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(
        graph, producer_name="ytf-torch", opset_imports=[opset], ir_version=IR_VERSION
    )
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


class _Parts:
    """The nodes and constants of a graph while it is built."""

    def __init__(self, *, double: bool) -> None:
        self.double = double
        self.type = onnx.TensorProto.DOUBLE if double else onnx.TensorProto.FLOAT
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:  # noqa: ANN401
        """Add an operator; the name of its output."""
        self.nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def constant(self, name: str, array: NDArray[np.generic]) -> str:
        """Add a constant; its name."""
        self.initializers.append(onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def number(self, name: str, value: float) -> str:
        """Add a single number in the graph's precision."""
        return self.constant(name, np.array(value, np.float64 if self.double else np.float32))

    def add_network(self, network: Network, prefix: str, output: str) -> str:
        """Add all layers of a network, each under its own name behind the prefix."""
        names = {network.graph.input: self._scaled(network, prefix)}
        for layer in network.graph.layers:
            if layer.name == network.graph.input:
                continue
            name = output if layer.name == network.graph.output else prefix + layer.name
            inputs = [names[source] for source in layer.inputs]
            names[layer.name] = LAYERS[layer.kind](self, network, layer, inputs, name)
        return output

    def _scaled(self, network: Network, prefix: str) -> str:
        if network.pixel_scale == 1:
            return INPUT
        # Divided as Network.scale does, so that both round alike.
        divisor = self.number(f"{prefix}pixel_divisor", 1 / network.pixel_scale)
        return self.node("Div", [INPUT, divisor], f"{prefix}scaled")

    def add_goodnet(self, badnet: Network, repaired: Network) -> str:
        """Add B, B′ and GoodNet's rule; see ytf_torch/defences/detectors/goodnet.py."""
        logits = self.add_network(badnet, "", "logits")
        others = self.add_network(repaired, "repaired_", "repaired_logits")
        answers = [
            self.node("ArgMax", [scores], f"{scores}_argmax", axis=1, keepdims=1)
            for scores in (logits, others)
        ]
        agree = self.node("Equal", answers, "agree")
        never, certain = self.number("never", -np.inf), self.number("certain", 0.0)
        people = self.node("Where", [agree, logits, never], "people")
        backdoored = self.node("Where", [agree, never, certain], "backdoored")
        return self.node("Concat", [people, backdoored], "scores", axis=1)

    def weights(self, network: Network, layer: Layer, name: str) -> tuple[str, str]:
        """Add a layer's weight and bias under the name of its output."""
        module = network.get_submodule(layer.name)
        weight, bias = (module.get_parameter(part) for part in ("weight", "bias"))
        return (
            self.constant(f"{name}.weight", weight.detach().cpu().numpy()),
            self.constant(f"{name}.bias", bias.detach().cpu().numpy()),
        )


AddLayer = Callable[[_Parts, Network, Layer, list[str], str], str]


def _convolution(
    parts: _Parts, network: Network, layer: Layer, inputs: list[str], name: str
) -> str:
    if parts.double:
        sums = _double_convolution(parts, network, layer, inputs, name)
    else:
        weights = parts.weights(network, layer, name)
        sums = parts.node("Conv", [*inputs, *weights], f"{name}_sums")
    return parts.node("Relu", [sums], name)


def _double_convolution(
    parts: _Parts, network: Network, layer: Layer, inputs: list[str], name: str
) -> str:
    """A convolution as one matrix product over gathered patches: onnxruntime has no Conv in float64
    for a CPU."""
    convolution = network.convolution(layer.name)
    channels, height, width = network.output_shape(layer.inputs[0])
    places = np.arange(channels * height * width).reshape(channels, height, width)
    kernel = convolution.weight.shape[2:]
    windows = np.lib.stride_tricks.sliding_window_view(places, kernel, axis=(1, 2))
    # (channels, rows, columns, kernel height, kernel width) → (one patch's values, places)
    patches = windows.transpose(0, 3, 4, 1, 2).reshape(-1, windows.shape[1] * windows.shape[2])
    index = parts.constant(f"{name}_patches", patches.astype(np.int64))
    flat = parts.node("Flatten", inputs, f"{name}_flat", axis=1)
    gathered = parts.node("Gather", [flat, index], f"{name}_gathered", axis=1)
    matrix = convolution.weight.detach().cpu().numpy().reshape(convolution.out_channels, -1)
    weight = parts.constant(f"{name}.weight", matrix)
    bias = parts.constant(
        f"{name}.bias", network.get_parameter(f"{layer.name}.bias").detach().cpu().numpy()[:, None]
    )
    product = parts.node("MatMul", [weight, gathered], f"{name}_product")
    added = parts.node("Add", [product, bias], f"{name}_added")
    shape = parts.constant(f"{name}_shape", np.array([0, *network.output_shape(layer.name)]))
    return parts.node("Reshape", [added, shape], f"{name}_sums")


def _pool(parts: _Parts, network: Network, layer: Layer, inputs: list[str], name: str) -> str:
    return parts.node("MaxPool", inputs, name, kernel_shape=[2, 2], strides=[2, 2])


def _flatten(parts: _Parts, network: Network, layer: Layer, inputs: list[str], name: str) -> str:
    return parts.node("Flatten", inputs, name, axis=1)


def _dense(parts: _Parts, network: Network, layer: Layer, inputs: list[str], name: str) -> str:
    weights = parts.weights(network, layer, name)
    return parts.node("Gemm", [*inputs, *weights], name, transB=1)


def _add(parts: _Parts, network: Network, layer: Layer, inputs: list[str], name: str) -> str:
    return parts.node("Sum", inputs, name)


def _relu(parts: _Parts, network: Network, layer: Layer, inputs: list[str], name: str) -> str:
    return parts.node("Relu", inputs, name)


LAYERS: dict[str, AddLayer] = {
    "convolution": _convolution,
    "pool": _pool,
    "flatten": _flatten,
    "dense": _dense,
    "add": _add,
    "relu": _relu,
}


def run_onnx(path: Path, batches: Sequence[NDArray[np.generic]]) -> tuple[str, NDArray[np.generic]]:
    """Run a file on batches of pixels; what ran it, and its outputs, end to end.

    onnxruntime does where it is installed, else the slow reference of the package onnx.
    """
    try:
        import onnxruntime
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        session: Any = ReferenceEvaluator(str(path))
        runner = f"onnx {onnx.__version__}'s reference (onnxruntime is not installed)"
    else:
        options = onnxruntime.SessionOptions()
        # What it would keep for later batches is half as much again as a large network takes.
        options.enable_cpu_mem_arena = False
        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        runner = f"onnxruntime {onnxruntime.__version__}"
    outputs = [session.run(None, {INPUT: batch})[0] for batch in batches]
    return runner, np.concatenate(outputs)
