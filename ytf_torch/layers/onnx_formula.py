"""Formulas as ONNX operators, of those alone that onnxruntime has in float32 and in float64."""

from __future__ import annotations

from typing import Any

from ytf_torch.layers.onnx_nodes import OnnxNodes

Operand = str | float


class Formula:
    """Operators one after another; their results are named after the formula's own, `name`.

    Operands are names of results, or numbers. The last operator is added by `end`.
    """

    def __init__(self, nodes: OnnxNodes, name: str) -> None:
        self.nodes, self.name, self._count = nodes, name, 0

    def add(self, kind: str, *operands: Operand, **attributes: Any) -> str:  # noqa: ANN401
        """Add an operator; the name of its result."""
        return self._add(kind, operands, self._next(), attributes)

    def end(self, kind: str, *operands: Operand, **attributes: Any) -> str:  # noqa: ANN401
        """Add the operator whose result is the formula's."""
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
