"""The engine for maps that enter one row of sums: Flatten or a global pooling, Dense, and so on.

The way from the maps to the sums is linear, and only rows of units follow: as at the last
convolution of most classifiers. What a channel adds to the sums is their derivative, so that no
kind of layer need be known here.
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
    """The layers that follow some maps, where they are linear up to one row of sums.

    sums: the layer that all of it passes, which is linear in the maps before its activation. first:
    the first rows of units behind the maps. rows: the layers of rows from there on to the output,
    but for the first; each is linear before its activation, which never enlarges a difference by
    more than a known factor.
    """

    sums: str
    first: tuple[str, ...]
    rows: tuple[str, ...]


def linear_end(model: Network, maps: str) -> LinearEnd | None:
    """What follows these maps as a LinearEnd, None where the network has no such end."""
    graph = model.graph
    straight, behind, rows, found = {maps}, {maps}, [], []
    for layer in graph.layers:
        if not behind & set(layer.inputs):
            continue
        behind.add(layer.name)
        kind, units = model.computed_kind(layer.name), graph.shapes[layer.name]
        if not _is_bounded(kind) or (len(units) > 1 and graph.weights(layer.name)):
            return None
        if len(units) == 1:
            rows.append(layer.name)
        linear = kind.without_activation().linear or _is_function(kind)
        if not linear or not set(layer.inputs) & behind <= straight:
            continue
        if kind.activation.name == "linear":
            straight.add(layer.name)
        if len(units) == 1 and graph.is_on_every_way(layer.name):
            found.append(layer.name)
    if not found or any(len(graph.shapes[name]) > 1 for name in behind - straight):
        return None
    sums = min(reversed(found), key=lambda name: graph.shapes[name][0])
    first = [name for name in rows if any(len(s) > 1 for s in graph.input_shapes(name))]
    return LinearEnd(sums, tuple(first), tuple(name for name in rows if name not in first))


def _is_function(kind: Kind) -> bool:
    """Whether it is nothing but its activation."""
    return kind.without_activation().is_identity


def _is_bounded(kind: Kind) -> bool:
    """Whether it is linear before its activation, and that has a steepest slope."""
    linear = kind.without_activation().linear or _is_function(kind)
    return linear and math.isfinite(kind.activation.steepest)


def contributed(model: Network, maps: str, end: LinearEnd) -> int:
    """How many values say what each value of the maps adds to the sums, or, if more, how many there
    are in the kernels of the rows that follow."""
    shapes = model.graph.shapes
    kernels = sum(
        math.prod(shapes[name]) * sum(math.prod(s) for s in model.graph.input_shapes(name))
        for name in end.rows
        if not _is_function(model.computed_kind(name))
    )
    return max(math.prod(shapes[maps]) * shapes[end.sums][0], kernels)


class LinearEngine(ContributionEngine):
    """Takes each channel's contribution off the one row of sums that the maps enter."""

    def __init__(self, model: Network, layer: str, rank_at: str, end: LinearEnd) -> None:
        super().__init__(model, layer, rank_at)
        self.end = end
        graph = model.graph
        channels, height, width = graph.shapes[self.maps]
        with torch.inference_mode():
            twin = _differentiable(model)
            derivative = self._derivative(twin)
            # Behind a mean over all positions each counts as much as the others: their sum will do.
            self.alike = bool((derivative == derivative[..., :1, :1]).all())
            places = derivative[..., :1, :1] if self.alike else derivative
            self.contributions = places.permute(2, 3, 1, 0).flatten(0, 1).contiguous()
            self.bounds = {name: _bound(twin, name) for name in end.rows}
        units = sum(graph.shapes[name][0] for name in end.rows)
        self.set_group(2 * channels * height * width + 2 * units)

    def _derivative(self, twin: Network) -> Tensor:
        """(units, channels, H, W): what each value of the maps adds to each of the sums. twin: the
        network, with weights that know gradients."""
        sums = _before_activation(twin, self.end.sums)
        inputs = self.model.graph[self.end.sums].inputs
        units = self.model.output_shape(self.end.sums)[0]
        others = {
            name: torch.zeros(units, *shape, dtype=twin.dtype, device=twin.device)
            for name, shape in zip(self.prepares, self.shapes, strict=True)
        }

        def of_maps(maps: Tensor) -> Tensor:
            outputs = twin.outputs_of(inputs, others | {self.maps: maps})
            return sums(*(outputs[name] for name in inputs))

        return _derivative_of(of_maps, others[self.maps])

    def values(self, maps: Tensor) -> Tensor:
        """See ContributionEngine."""
        values = super().values(maps)
        return values.sum(2, keepdim=True) if self.alike else values

    def sums(self, prepared: Tensor) -> Tensor:
        """See ContributionEngine."""
        inputs = self.model.graph[self.end.sums].inputs
        outputs = self.model.outputs_of(inputs, self.unpacked(prepared))
        sums: Tensor = _before_activation(self.model, self.end.sums)(*map(outputs.get, inputs))
        return sums.clone()  # a flattening's are the prepared maps themselves

    def best(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """See ContributionEngine."""
        name = self.end.sums
        ended = self.model.computed_kind(name).activation.overwrite(sums)
        logits = self.model.output_of(self.model.graph.output, {name: ended})
        logits = F.pad(logits, (0, padded_classes(logits.shape[1])), value=-torch.inf)
        classes = argmax(logits)
        return classes, margin(logits, classes)

    def magnitude(self, prepared: Tensor) -> Tensor:
        """See ContributionEngine: absolute values of the maps through absolute kernels."""
        known = self.unpacked(prepared)
        maps = known.pop(self.maps)
        silence = self.silence.abs().repeat(len(maps) // len(self.silence), 1, 1, 1)
        zeros = {name: torch.zeros_like(other) for name, other in known.items()}
        nothing = torch.zeros_like(maps)
        alone, empty, others = (
            self.model.outputs_of(self.end.first, {**rest, self.maps: start})
            for rest, start in (
                (zeros, maps.abs() + silence),
                (zeros, nothing),
                (known, nothing),
            )
        )
        found = {name: other.abs() for name, other in known.items() if other.ndim == 2}
        for name in self.end.first:
            found[name] = (alone[name] - empty[name]).abs() + others[name].abs()
        for name in self.end.rows:
            found[name] = self.bounds[name](found, self.model.graph[name].inputs)
        return found[self.model.graph.output].amax(1)


@dataclass(frozen=True)
class _Bound:
    """How large the absolute terms of a row of units can be, from those of what it reads.

    kernels: of each input, absolute, (units_in, units); None for a function of every value.
    steepest: of the activation. start: its value at zero. constant: what is added before it.
    """

    kernels: tuple[Tensor, ...] | None
    constant: Tensor
    steepest: float
    start: Tensor

    def __call__(self, found: Mapping[str, Tensor], inputs: tuple[str, ...]) -> Tensor:
        if self.kernels is None:
            sums = found[inputs[0]]
        else:
            sums = self.constant + sum(
                found[name] @ kernel for name, kernel in zip(inputs, self.kernels, strict=True)
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
    for place, read in enumerate(zeros):

        def of_one(values: Tensor, place: int = place) -> Tensor:
            others = [each.expand(units, -1) for each in zeros]
            return before(*others[:place], values, *others[place + 1 :])

        derivative = _derivative_of(of_one, read.expand(units, -1))
        kernels.append(derivative.abs().T.contiguous())
    return _Bound(tuple(kernels), constant.abs(), kind.activation.steepest, start)


def _before_activation(model: Network, name: str) -> Callable[..., Tensor]:
    """What a layer computes before its activation."""
    module: nn.Module = model.layer(name)
    return module.before_activation if isinstance(module, EndsInActivation) else module


def _differentiable(model: Network) -> Network:
    """The network, or a copy of it where its weights know no gradients."""
    with torch.inference_mode(False):
        inference = any(tensor.is_inference() for tensor in model.state_dict().values())
        return copy.deepcopy(model) if inference else model


def _derivative_of(function: Function, start: Tensor) -> Tensor:
    """(units, …): the derivative of each unit of a linear function by its input, exactly what it is
    multiplied by; `start` has a row for each unit."""
    with torch.inference_mode(False), torch.enable_grad():
        values = torch.zeros(
            start.shape, dtype=start.dtype, device=start.device, requires_grad=True
        )
        found = function(values)
        (derivative,) = torch.autograd.grad(found.diagonal().sum(), values)
    return derivative
