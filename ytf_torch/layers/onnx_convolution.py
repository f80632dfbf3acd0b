"""Convolutions as ONNX operators, in float32 and in float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.weight import Shape
from ytf_torch.layers.windows import Window

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class ConvolutionNodes:
    """Adds a convolution, without its activation, to an ONNX graph.

    name: prefix of the names of its constants. maps: the shape of its input.
    """

    nodes: OnnxNodes
    name: str
    window: Window
    groups: int
    maps: Shape

    def add(self, source: str, sums: str, kernel: Array, bias: Array | None) -> str:
        """Add the convolution of `source`; the result is called `sums`. kernel: (out, in / groups,
        height, width). bias: (out,)."""
        if self.nodes.double:
            return self._add_double(source, sums, kernel, bias)
        constants = [self.nodes.constant(f"{self.name}.weight", kernel)]
        if bias is not None:
            constants.append(self.nodes.constant(f"{self.name}.bias", bias))
        attributes: dict[str, Any] = {}
        if self.window.strides != (1, 1):
            attributes["strides"] = list(self.window.strides)
        if self.window.dilation != (1, 1):
            attributes["dilations"] = list(self.window.dilation)
        if self.groups != 1:
            attributes["group"] = self.groups
        if any(self.window.onnx_pads(self.maps)):
            attributes["pads"] = self.window.onnx_pads(self.maps)
        return self.nodes.node("Conv", [source, *constants], sums, **attributes)

    def _add_double(self, source: str, sums: str, kernel: Array, bias: Array | None) -> str:
        """A matrix product with gathered patches (im2col): onnxruntime has no Conv in float64 on
        CPUs."""
        nodes, name = self.nodes, self.name
        channels, height, width = self.maps
        above, left, below, right = pads = self.window.onnx_pads(self.maps)
        if any(pads):
            amounts = nodes.constant(f"{name}_pads", np.array([0, 0, *pads[:2], 0, 0, *pads[2:]]))
            zero = nodes.number(f"{name}_zero", 0)
            source = nodes.node("Pad", [source, amounts, zero], f"{name}_padded")
            height, width = height + above + below, width + left + right
        index = nodes.constant(f"{name}_patches", self._patches((channels, height, width)))
        flat = nodes.node("Flatten", [source], f"{name}_flat", axis=1)
        gathered = nodes.node("Gather", [flat, index], f"{name}_gathered", axis=1)
        weight = nodes.constant(f"{name}.weight", _as_matrix(kernel, self.groups))
        product = nodes.node("MatMul", [weight, gathered], f"{name}_product")
        if bias is not None:
            constant = nodes.constant(f"{name}.bias", bias[:, None])
            product = nodes.node("Add", [product, constant], f"{name}_added")
        places = self.window.places(self.maps)
        shape = nodes.constant(f"{name}_shape", np.array([0, len(kernel), *places]))
        return nodes.node("Reshape", [product, shape], sums)

    def _patches(self, maps: Shape) -> NDArray[np.int64]:
        """(values of one patch, positions): for each output position, the indices of its patch in
        the padded, flattened maps."""
        indices = np.arange(np.prod(maps)).reshape(maps)
        windows = np.lib.stride_tricks.sliding_window_view(indices, self.window.reach, axis=(1, 2))
        (down, across), (rows, columns) = self.window.strides, self.window.dilation
        windows = windows[:, ::down, ::across, ::rows, ::columns]
        # (channels, rows, columns, kernel height, kernel width) → (one patch's values, positions)
        patches = windows.transpose(0, 3, 4, 1, 2)
        return patches.reshape(-1, windows.shape[1] * windows.shape[2]).astype(np.int64)


def _as_matrix(kernel: Array, groups: int) -> Array:
    """A kernel (out, in / groups, height, width) as a matrix (out, in · height · width), which is
    zero where an output channel is not in the group of an input channel."""
    rows: Array = kernel.reshape(len(kernel), -1)
    if groups == 1:
        return rows
    matrix = np.zeros((len(rows), groups * rows.shape[1]), kernel.dtype)
    per_group = len(rows) // groups
    for group in range(groups):
        outputs = slice(group * per_group, (group + 1) * per_group)
        matrix[outputs, group * rows.shape[1] : (group + 1) * rows.shape[1]] = rows[outputs]
    return matrix
