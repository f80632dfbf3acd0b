"""Sweep engine for a masked layer whose maps enter one linear layer, then only dense layers.

This is the last convolution of most classifiers: maps → Flatten or global pooling → Dense → ….
The path from the maps to the pre-activations of that layer (`sums`) is linear, so the contribution
of each value of the maps to them is the derivative `∂sums/∂maps`, which is constant. Autograd
computes it, so this module needs to know no kind of layer by name.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ytf_torch.layers.kind import Kind
from ytf_torch.network.module import EndsInActivation, Network
from ytf_torch.sweep.contributions import ContributionEngine, argmax, margin, padded_classes

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class LinearEnd:
    """The layers downstream of some maps, where they are linear up to one layer, `sums`.

    sums: a layer of shape (units,) on every path to the output; before its activation it is linear
    in the maps. first: the layers of shape (units,) that read maps directly, such as a Flatten.
    rows: the other layers of shape (units,) up to the output. Each is an affine function followed
    by an activation with a finite Lipschitz constant (`Activation.steepest`).
    """

    sums: str
    first: tuple[str, ...]
    rows: tuple[str, ...]


def linear_end(model: Network, maps: str) -> LinearEnd | None:
    """The LinearEnd that follows these maps; None where the network has no such end."""
    graph = model.graph
    linear_in_maps, downstream, vectors, candidates = {maps}, {maps}, [], []
    for layer in graph.layers:
        if not downstream & set(layer.inputs):
            continue
        downstream.add(layer.name)
        kind, shape = model.computed_kind(layer.name), graph.shapes[layer.name]
        if not _is_bounded(kind) or (len(shape) > 1 and graph.weights(layer.name)):
            return None
        if len(shape) == 1:
            vectors.append(layer.name)
        linear = kind.without_activation().linear or _is_function(kind)
        if not linear or not set(layer.inputs) & downstream <= linear_in_maps:
            continue
        if kind.activation.name == "linear":
            linear_in_maps.add(layer.name)
        if len(shape) == 1 and graph.is_on_every_way(layer.name):
            candidates.append(layer.name)
    # Maps behind a nonlinearity would have to be recomputed whole: that is the suffix engine's job.
    if not candidates or any(len(graph.shapes[name]) > 1 for name in downstream - linear_in_maps):
        return None
    # The narrowest candidate needs the fewest contributions; of equal ones, the last leaves the
    # least to recompute at each step.
    sums = min(reversed(candidates), key=lambda name: graph.shapes[name][0])
    first = [name for name in vectors if any(len(s) > 1 for s in graph.input_shapes(name))]
    return LinearEnd(sums, tuple(first), tuple(name for name in vectors if name not in first))


def _is_function(kind: Kind) -> bool:
    """Whether the layer only applies an activation function."""
    return kind.without_activation().is_identity


def _is_bounded(kind: Kind) -> bool:
    """Whether the layer is affine up to its activation, whose slope is bounded."""
    linear = kind.without_activation().linear or _is_function(kind)
    return linear and math.isfinite(kind.activation.steepest)


def contributed(model: Network, maps: str, end: LinearEnd) -> int:
    """Number of values in the engine's largest tables: `∂sums/∂maps`, or the kernels of the layers
    that follow, whichever is larger. Compared with MAX_CONTRIBUTIONS."""
    shapes = model.graph.shapes
    kernels = sum(
        math.prod(shapes[name]) * sum(math.prod(s) for s in model.graph.input_shapes(name))
        for name in end.rows
        if not _is_function(model.computed_kind(name))
    )
    return max(math.prod(shapes[maps]) * shapes[end.sums][0], kernels)


class LinearEngine(ContributionEngine):
    """Subtracts each masked channel's contribution from the one layer that the maps enter."""

    def __init__(self, model: Network, layer: str, rank_at: str, end: LinearEnd) -> None:
        super().__init__(model, layer, rank_at)
        self.end = end
        graph = model.graph
        channels, height, width = graph.shapes[self.maps]
        with torch.inference_mode():
            differentiable = _differentiable(model)
            derivative = self._derivative(differentiable)
            # After global average pooling all positions have the same derivative: one column of
            # contributions, multiplied by the sum over positions, is enough.
            self.is_uniform = bool((derivative == derivative[..., :1, :1]).all())
            per_position = derivative[..., :1, :1] if self.is_uniform else derivative
            self.contributions = per_position.permute(2, 3, 1, 0).flatten(0, 1).contiguous()
            self.bounds = {name: _bound(differentiable, name) for name in end.rows}
        units = sum(graph.shapes[name][0] for name in end.rows)
        self.set_group(2 * channels * height * width + 2 * units)

    def _derivative(self, differentiable: Network) -> Tensor:
        """`∂sums/∂maps`, shape (units, channels, H, W). differentiable: the network, with weights
        that autograd accepts."""
        sums = _before_activation(differentiable, self.end.sums)
        inputs = self.model.graph[self.end.sums].inputs
        units = self.model.output_shape(self.end.sums)[0]
        zeros = {
            name: torch.zeros(
                units, *shape, dtype=differentiable.dtype, device=differentiable.device
            )
            for name, shape in zip(self.prepares, self.shapes, strict=True)
        }

        def of_maps(maps: Tensor) -> Tensor:
            outputs = differentiable.outputs_of(inputs, zeros | {self.maps: maps})
            return sums(*(outputs[name] for name in inputs))

        return _derivative_of(of_maps, zeros[self.maps])

    def values(self, maps: Tensor) -> Tensor:
        """See ContributionEngine."""
        values = super().values(maps)
        return values.sum(2, keepdim=True) if self.is_uniform else values

    def sums(self, prepared: Tensor) -> Tensor:
        """See ContributionEngine."""
        inputs = self.model.graph[self.end.sums].inputs
        outputs = self.model.outputs_of(inputs, self.unpacked(prepared))
        sums: Tensor = _before_activation(self.model, self.end.sums)(*map(outputs.get, inputs))
        return sums.clone()  # a Flatten returns a view of `prepared`, and sums are overwritten

    def best(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """See ContributionEngine."""
        name = self.end.sums
        activated = self.model.computed_kind(name).activation.overwrite(sums)
        logits = self.model.output_of(self.model.graph.output, {name: activated})
        logits = F.pad(logits, (0, padded_classes(logits.shape[1])), value=-torch.inf)
        classes = argmax(logits)
        return classes, margin(logits, classes)

    def magnitude(self, prepared: Tensor) -> Tensor:
        """See ContributionEngine. Propagates |maps| through |kernels|, layer by layer.

        The layers in `first` are affine in the maps: running them on |maps| alone and on no maps
        at all separates the terms of the maps from those of biases and of other inputs.
        """
        outputs = self.unpacked(prepared)
        maps = outputs.pop(self.maps)
        masked = self.silence.abs().repeat(len(maps) // len(self.silence), 1, 1, 1)
        zeros = {name: torch.zeros_like(other) for name, other in outputs.items()}
        no_maps = torch.zeros_like(maps)
        from_maps, constants, from_others = (
            self.model.outputs_of(self.end.first, {**inputs, self.maps: maps_input})
            for inputs, maps_input in (
                (zeros, maps.abs() + masked),
                (zeros, no_maps),
                (outputs, no_maps),
            )
        )
        terms = {name: other.abs() for name, other in outputs.items() if other.ndim == 2}
        for name in self.end.first:
            terms[name] = (from_maps[name] - constants[name]).abs() + from_others[name].abs()
        for name in self.end.rows:
            terms[name] = self.bounds[name](terms, self.model.graph[name].inputs)
        return terms[self.model.graph.output].amax(1)


@dataclass(frozen=True)
class _Bound:
    """Bound on the sum of absolute terms of each unit of a layer, from those of its inputs:
    `steepest · (constant + Σ terms[input] @ kernel) + start`.

    kernels: |kernel| for each input, (units_in, units); None for an element-wise activation layer.
    steepest: Lipschitz constant of the activation. start: |activation(0)|. constant: |bias|.
    """

    kernels: tuple[Tensor, ...] | None
    constant: Tensor
    steepest: float
    start: Tensor

    def __call__(self, terms: Mapping[str, Tensor], inputs: tuple[str, ...]) -> Tensor:
        if self.kernels is None:
            sums = terms[inputs[0]]
        else:
            sums = self.constant + sum(
                terms[name] @ kernel for name, kernel in zip(inputs, self.kernels, strict=True)
            )
        return self.steepest * sums + self.start


def _bound(model: Network, name: str) -> _Bound:
    kind, shapes = model.computed_kind(name), model.graph.input_shapes(name)
    zero = torch.zeros(1, 1, dtype=model.dtype, device=model.device)
    start = kind.activation.apply(zero).abs().amax()
    if _is_function(kind):
        return _Bound(None, zero, kind.activation.steepest, start)
    before = _before_activation(model, name)
    zeros = [torch.zeros(1, *shape, dtype=model.dtype, device=model.device) for shape in shapes]
    constant = before(*zeros)
    units = constant.shape[1]
    kernels = []
    for position, zero_input in enumerate(zeros):

        def of_one(values: Tensor, position: int = position) -> Tensor:
            inputs = [other.expand(units, -1) for other in zeros]
            return before(*inputs[:position], values, *inputs[position + 1 :])

        derivative = _derivative_of(of_one, zero_input.expand(units, -1))
        kernels.append(derivative.abs().T.contiguous())
    return _Bound(tuple(kernels), constant.abs(), kind.activation.steepest, start)


def _before_activation(model: Network, name: str) -> Callable[..., Tensor]:
    """The layer's function without its activation."""
    module: nn.Module = model.layer(name)
    return module.before_activation if isinstance(module, EndsInActivation) else module


def _differentiable(model: Network) -> Network:
    """The network itself, or a copy where its weights are inference tensors, which autograd
    rejects."""
    with torch.inference_mode(False):
        inference = any(tensor.is_inference() for tensor in model.state_dict().values())
        return copy.deepcopy(model) if inference else model


def _derivative_of(function: Function, start: Tensor) -> Tensor:
    """The Jacobian (units, …) of a linear function of one image, exactly its coefficients.

    start: gives shape, dtype and device of the input, with one row for each unit. Row i of the
    output depends on row i of the input alone, so one backward pass of the diagonal's sum yields
    the gradient of unit i in row i.
    """
    with torch.inference_mode(False), torch.enable_grad():
        values = torch.zeros(
            start.shape, dtype=start.dtype, device=start.device, requires_grad=True
        )
        outputs = function(values)
        (derivative,) = torch.autograd.grad(outputs.diagonal().sum(), values)
    return derivative
