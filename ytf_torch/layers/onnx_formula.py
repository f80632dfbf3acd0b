"""Formulas as ONNX operators, using only those that onnxruntime has in float32 and in float64."""

from __future__ import annotations

from typing import Any

from ytf_torch.layers.onnx_nodes import OnnxNodes

Operand = str | float


class Formula:
    """A sequence of operators. Intermediate results are called `name`_step_1, …; the last operator,
    added by `end`, gives `name`.

    Operands are names of results, or numbers.
    """

    def __init__(self, nodes: OnnxNodes, name: str) -> None:
        self.nodes, self.name, self._count = nodes, name, 0

    def add(self, kind: str, *operands: Operand, **attributes: Any) -> str:  # noqa: ANN401
        """Add an operator and return the name of its result."""
        return self._add(kind, operands, self._next(), attributes)

    def end(self, kind: str, *operands: Operand, **attributes: Any) -> str:  # noqa: ANN401
        """Add the last operator, whose result is that of the formula."""
        return self._add(kind, operands, self.name, attributes)

    def _add(
        self,
        kind: str,
        operands: tuple[str | float, ...],
        output: str,
        attributes: dict[str, object],
    ) -> str:
        inputs = [
            operand if isinstance(operand, str) else self.nodes.number(self._next(), operand)
            for operand in operands
        ]
        return self.nodes.node(kind, inputs, output, **attributes)

    def _next(self) -> str:
        self._count += 1
        return f"{self.name}_step_{self._count}"
