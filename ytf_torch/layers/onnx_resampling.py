"""Separable linear resampling of feature maps in ONNX, as two matrix products."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ytf_torch.layers.onnx_nodes import OnnxNodes


def rows_and_columns(
    nodes: OnnxNodes,
    source: str,
    name: str,
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
) -> str:
    """Add `rows @ maps @ columns.T`: (batch, channels, H, W) → (batch, channels, H', W').

    rows: (H', H), the weight of each row in each new row. columns: (W', W), likewise.
    """
    precision = np.float64 if nodes.double else np.float32
    left = nodes.constant(f"{name}_rows", rows.astype(precision))
    right = nodes.constant(f"{name}_columns", columns.T.astype(precision))
    return nodes.node("MatMul", [nodes.node("MatMul", [left, source], f"{name}_half"), right], name)
