"""The interface by which layers add to an ONNX graph, so that they need not import onnx."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import nn


class OnnxNodes(Protocol):
    """An ONNX graph that is being built. Each method returns the name of what it has added.

    double: whether the graph computes in float64.
    """

    double: bool

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:  # noqa: ANN401
        """Add an operator of type `kind`; its result is called `output`."""
        ...

    def constant(self, name: str, array: NDArray[np.generic]) -> str:
        """Add an array as a constant."""
        ...

    def number(self, name: str, value: float) -> str:
        """Add a scalar constant in the graph's precision."""
        ...


def array_of(module: nn.Module, name: str) -> NDArray[np.floating[Any]]:
    """A parameter or buffer of a module as a NumPy array."""
    array: NDArray[np.floating[Any]] = getattr(module, name).detach().cpu().numpy()
    return array
