"""What a kind of layer asks of an ONNX graph that is being built, without importing onnx."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import nn


class OnnxNodes(Protocol):
    """The operators and constants of an ONNX graph; each method gives the name of what it added.

    double: whether the graph computes in float64.
    """

    double: bool

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:  # noqa: ANN401
        """Add an operator under the name of its output."""
        ...

    def constant(self, name: str, array: NDArray[np.generic]) -> str:
        """Add an array."""
        ...

    def number(self, name: str, value: float) -> str:
        """Add one number in the graph's precision."""
        ...


def array_of(module: nn.Module, name: str) -> NDArray[np.floating[Any]]:
    """A parameter or buffer of a module as an array."""
    found: NDArray[np.floating[Any]] = getattr(module, name).detach().cpu().numpy()
    return found
