"""Export networks as ONNX, layer by layer from the network's graph; needs the extra `onnx`.

Nothing is traced: each kind of layer becomes the equivalent ONNX operators. PyTorch's exporter has
written graphs of well-known networks with different outputs, without a warning (pytorch/pytorch
issues 168224 and 169178).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ytf_torch.errors import InputError, how_to_install
from ytf_torch.network.module import Network

try:
    import onnx
    from onnx import helper
except ImportError:
    onnx = None  # type: ignore[assignment]

# Versions of 2021, supported by onnxruntime 1.10 and newer.
OPSET, IR_VERSION = 15, 8
INPUT, BATCH = "pixels", "batch"
# Names of the nodes of GoodNet's rule.
RULE = ("agree", "never", "certain", "people", "backdoored")


def check_onnx_is_installed() -> None:
    """Raises InputError where the package onnx is missing."""
    if onnx is None:
        remedy = how_to_install("onnx")
        raise InputError("ONNX", "the package onnx is not installed", remedy)


def write_onnx(path: Path, network: Network, repaired: Network | None = None) -> None:
    """Write a network, or the GoodNet of a network B and its repaired copy B′, as one ONNX file.

    Input `pixels`: (batch, channels, height, width), pixel values 0–255 in the network's dtype;
    preprocessing is part of the graph. Output: `logits` (batch, classes), or for GoodNet `scores`
    (batch, classes + 1), whose argmax per row is the predicted class.
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
    """The nodes and constants of an ONNX graph under construction."""

    def __init__(self, *, double: bool) -> None:
        self.double = double
        self.type = onnx.TensorProto.DOUBLE if double else onnx.TensorProto.FLOAT
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:  # noqa: ANN401
        """Add an operator. Returns the name of its output."""
        self.nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def constant(self, name: str, array: NDArray[np.generic]) -> str:
        """Add a constant. Returns its name."""
        self.initializers.append(onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def number(self, name: str, value: float | tuple[float, ...]) -> str:
        """Add a constant in the graph's dtype: one number, or one per image channel, (channels, 1,
        1)."""
        array = np.array(value, np.float64 if self.double else np.float32)
        return self.constant(name, array.reshape(-1, 1, 1) if array.ndim else array)

    def add_network(self, network: Network, prefix: str, output: str) -> str:
        """Add all layers of a network, with prefixed names. Returns the name of its logits,
        `output`."""
        names = {network.graph.input: self._preprocessed(network, prefix)}
        for layer in network.graph.layers:
            if layer.name == network.graph.input:
                continue
            last = layer.name == network.graph.output
            name = output if last else prefix + _unique_name(layer.name)
            inputs = [names[source] for source in layer.inputs]
            kind = network.computed_kind(layer.name)
            if last and network.graph.shapes[layer.name] == (1,):
                name = f"{output}_of_the_second"
            shapes = network.graph.input_shapes(layer.name)
            names[layer.name] = kind.onnx(self, network.layer(layer.name), inputs, name, *shapes)
        if names[network.graph.output] != output:  # one logit z: append it to 0
            second = names[network.graph.output]
            zero = self.node("Sub", [second, second], f"{output}_of_the_first")
            self.node("Concat", [zero, second], output, axis=1)
        return output

    def _preprocessed(self, network: Network, prefix: str) -> str:
        preprocessing, name = network.pixel_preprocessing, INPUT
        if preprocessing.channel_order == "bgr":
            order = self.constant(f"{prefix}pixel_order", np.array([2, 1, 0]))
            name = self.node("Gather", [name, order], f"{prefix}pixels_in_order", axis=1)
        # Divides as Network.scale does, so that rounding is identical.
        if preprocessing.scale != 1:
            divisor = self.number(f"{prefix}pixel_divisor", _inverse(preprocessing.scale))
            name = self.node("Div", [name, divisor], f"{prefix}scaled")
        if preprocessing.offset != 0:
            offset = self.number(f"{prefix}pixel_offset", preprocessing.offset)
            name = self.node("Sum", [name, offset], f"{prefix}scaled_and_moved")
        return name

    def add_goodnet(self, badnet: Network, repaired: Network) -> str:
        """Add B, B′ and GoodNet's rule: the logits of B where both argmaxes agree, class N where
        they differ. See ytf_torch/defences/detectors/goodnet.py."""
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


def _inverse(scale: float | tuple[float, ...]) -> float | tuple[float, ...]:
    return tuple(1 / factor for factor in scale) if isinstance(scale, tuple) else 1 / scale


def _unique_name(layer: str) -> str:
    """A layer's name in the graph, prefixed if it could collide with other names in it."""
    plain = layer.removeprefix("repaired_")
    taken = plain.startswith(("logits", "pixel", "scaled", "scores")) or plain in RULE
    return f"layer_{layer}" if taken or plain != layer else layer


def run_onnx(path: Path, batches: Sequence[NDArray[np.generic]]) -> tuple[str, NDArray[np.generic]]:
    """Run a file on batches of pixel values. Returns the runner's name and the concatenated
    outputs.

    Uses onnxruntime if installed, else the slow reference implementation of the package onnx.
    """
    try:
        import onnxruntime
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        session: Any = ReferenceEvaluator(str(path))
        runner = f"onnx {onnx.__version__}'s reference (onnxruntime is not installed)"
    else:
        options = onnxruntime.SessionOptions()
        # Its arena keeps memory for later batches: half as much again as a large network needs.
        options.enable_cpu_mem_arena = False
        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        runner = f"onnxruntime {onnxruntime.__version__}"
    outputs = [session.run(None, {INPUT: batch})[0] for batch in batches]
    return runner, np.concatenate(outputs)
