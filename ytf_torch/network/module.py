"""`Network`: the PyTorch module that executes a graph of layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ytf_torch.errors import InputError, mismatch
from ytf_torch.layers.conv2d import Convolution
from ytf_torch.layers.kind import Kind, LearnsStatistics
from ytf_torch.network.budget import check_budget
from ytf_torch.network.graph import Graph, Layer
from ytf_torch.network.preprocessing import Preprocessing, preprocessing_of


@dataclass(frozen=True)
class _Step:
    """One layer to compute.

    pooled: the layer that is computed together with this pooling layer, whose activation is applied
    after pooling. done: layers whose outputs no later step reads; they are freed after this step.
    """

    layer: Layer
    pooled: Layer | None
    done: tuple[str, ...]


class Network(nn.Module):
    """An image classifier: pixel values 0–255 → logits.

    graph: its layers as data; each is a submodule under its Keras name.
    preprocessing: applied to pixel values 0–255 before the first layer; a number is a pixel scale.
    It is part of the network: callers always pass raw pixel values.

    >>> network.classes, network.input_shape, network.graph.convolutions
    (7, (3, 55, 47), ('conv_1', 'conv_2', 'conv_3', 'conv_4'))
    >>> network(pixels).shape
    torch.Size([24, 7])
    """

    if TYPE_CHECKING:  # layers are attributes under their Keras names: network.conv_3

        def __getattr__(self, name: str) -> Any: ...  # noqa: ANN401

    def __init__(self, graph: Graph, preprocessing: Preprocessing | float = 1.0) -> None:
        super().__init__()
        self.graph = graph
        self.pixel_preprocessing = preprocessing_of(preprocessing)
        self.pixel_preprocessing.check_fits(graph.input_shape[0], "network")
        self._steps: dict[tuple[tuple[str, ...], frozenset[str]], tuple[_Step, ...]] = {}
        for layer in graph.layers:
            if layer.name != graph.input:
                module = self.computed_kind(layer.name).module(*graph.input_shapes(layer.name))
                self.add_module(layer.name, module)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def of_state(
        cls,
        graph: Graph,
        state: Mapping[str, Tensor],
        preprocessing: Preprocessing | float,
        where: object,
    ) -> Network:
        """A network in evaluation mode with copies of these parameters, in the dtype they have.

        where: what to name in an error. Raises InputError where parameters are missing or
        unexpected (naming all of them) or of another shape, where the preprocessing is for another
        number of channels, and where the network exceeds a limit of network/budget.py.
        """
        preprocessing_of(preprocessing).check_fits(graph.input_shape[0], where)
        shapes = graph.parameter_shapes
        missing = ", ".join(sorted(shapes.keys() - state.keys())) or "none"
        unexpected = ", ".join(sorted(state.keys() - shapes.keys())) or "none"
        if shapes.keys() != state.keys():
            raise InputError(where, f"weights: missing {missing}; unexpected {unexpected}")
        for name, shape in shapes.items():
            if tuple(state[name].shape) != tuple(shape):
                raise mismatch(f"{where}, {name}", tuple(shape), tuple(state[name].shape))
        widest = max((tensor.element_size() for tensor in state.values()), default=8)
        check_budget(where, graph, widest)
        # On the meta device: allocates no memory for weights that are replaced right away.
        with torch.device("meta"):
            model = cls(graph, preprocessing)
        # Assign clones instead of calling to_empty, which imports sympy: half a second.
        copies = {name: tensor.clone() for name, tensor in state.items()}
        model.load_state_dict(copies, assign=True)
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model.eval()

    # Not called `preprocessing`: an attribute hides the layer of the same name, and some networks
    # have a layer of that name.
    @property
    def pixel_preprocessing(self) -> Preprocessing:
        """The preprocessing that is applied to pixel values 0–255 before the first layer."""
        return self._preprocessing

    @pixel_preprocessing.setter
    def pixel_preprocessing(self, preprocessing: Preprocessing) -> None:
        self._preprocessing = self._unscaled_preprocessing = preprocessing

    @property
    def pixel_scale(self) -> float:
        """Factor on pixel values 0–255; the largest one where channels have different scales.

        Setting it rescales the original preprocessing, so setting the original value again restores
        it exactly, without accumulated rounding.
        """
        return self._preprocessing.pixel_scale

    @pixel_scale.setter
    def pixel_scale(self, pixel_scale: float) -> None:
        self._preprocessing = self._unscaled_preprocessing.at(pixel_scale)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.graph.classes

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of an image."""
        return self.graph.input_shape

    def output_shape(self, layer: str) -> tuple[int, ...]:
        """Shape of a layer's output for one image: (channels, height, width) or (units,)."""
        return self.graph.shapes[layer]

    def fresh(self) -> Network:
        """A network of the same graph, dtype and device with newly initialised weights.

        As Keras initialises by default: Glorot-uniform kernels, zero biases. Seed PyTorch's
        generator to reproduce them. Statistics that Keras's adapt() computes from data, such as
        those of a Normalization layer, are copied: training does not learn them.
        """
        other, copied = Network(self.graph, self.pixel_preprocessing), self.data_statistics
        with torch.no_grad():
            for layer in self.graph.layers:
                for weight in self.graph.weights(layer.name):
                    tensor = getattr(other.layer(layer.name), weight.name)
                    statistic = copied.get(f"{layer.name}.{weight.name}")
                    if statistic is not None:
                        tensor.copy_(statistic)
                    elif weight.start == "glorot":
                        nn.init.xavier_uniform_(tensor)
                    else:
                        tensor.fill_(weight.start == "ones")
        return other.to(self.device, self.dtype)

    @property
    def data_statistics(self) -> dict[str, Tensor]:
        """The weights that `fresh` copies, by name."""
        return {
            f"{layer.name}.{weight.name}": getattr(self.layer(layer.name), weight.name)
            for layer in self.graph.layers
            for weight in self.graph.weights(layer.name)
            if not weight.trained and not isinstance(self.layer(layer.name), LearnsStatistics)
        }

    def forward(self, pixels: Tensor) -> Tensor:
        """(batch, channels, height, width), pixel values 0–255 of any dtype → logits (batch,
        classes)."""
        return self.output_of(self.graph.output, {self.graph.input: self.scale(pixels)})

    def output_of(self, layer: str, known: Mapping[str, Tensor]) -> Tensor:
        """The output (batch, …) of a layer, computed from the outputs of earlier layers.

        known: layer name → its output (batch, …). Every path from the input to `layer` must pass
        through one of them. The input layer's output is what `scale` returns; the last layer's is
        the logits.

        >>> maps = network.output_of("pool_3", {"input": network.scale(pixels)})
        >>> network.output_of("output", {"pool_3": maps}).equal(network(pixels))
        True
        """
        return self.outputs_of((layer,), known)[layer]

    def outputs_of(self, layers: Sequence[str], known: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs (batch, …) of several layers in one pass. known: see `output_of`."""
        outputs = dict(known)
        for step in self._steps_to(tuple(layers), frozenset(known)):
            outputs[step.layer.name] = self._compute(step, outputs)
            for source in step.done:
                outputs.pop(source, None)
        return {name: self._classes(name, outputs[name]) for name in layers}

    def _classes(self, layer: str, output: Tensor) -> Tensor:
        """A layer's output. For a single output unit z with a sigmoid: the two-class logits (0, z),
        whose softmax is (1 − σ(z), σ(z))."""
        if layer != self.graph.output or output.shape[1] > 1:
            return output
        return torch.cat([torch.zeros_like(output), output], dim=1)

    def _compute(self, step: _Step, outputs: dict[str, Tensor]) -> Tensor:
        module = self.layer(step.layer.name)
        if step.pooled is None:
            output: Tensor = module(*(outputs[source] for source in step.layer.inputs))
            return output
        (source,) = step.pooled.inputs
        return self._pooled(step.pooled, module, outputs[source])

    def _pooled(self, layer: Layer, pool: nn.Module, input: Tensor) -> Tensor:
        """pool(activation(z)) computed as activation(pool(z)), with bit-identical results.

        max(f(z)) = f(max(z)) for every non-decreasing f; after a 2×2 pool the activation has a
        quarter of the values to process.

        With gradients enabled only a ReLU is moved, because its gradients are bit-identical too:
        inputs that it makes tie are all clamped to 0, where its gradient is 0 whichever of them
        the pool selects.

        Layers with hooks are computed in the original order: hooks must see the activated output.
        """
        module, activation = self.layer(layer.name), layer.kind.activation
        with_gradients = torch.is_grad_enabled()
        if (with_gradients and not activation.is_relu) or _is_watched(module) or _is_watched(pool):
            output: Tensor = pool(module(input))
            return output
        assert isinstance(module, EndsInActivation)
        pooled = pool(module.before_activation(input))
        # Not in place when gradients are needed: the pool's backward pass may need its output.
        return activation.apply(pooled) if with_gradients else activation.overwrite(pooled)

    def _steps_to(self, layers: tuple[str, ...], known: frozenset[str]) -> tuple[_Step, ...]:
        """The layers to compute, in order; cached per (requested layers, known layers)."""
        steps = self._steps.get((layers, known))
        if steps is None:
            steps = self._steps[layers, known] = self._find_steps(layers, known)
        return steps

    def _find_steps(self, layers: tuple[str, ...], known: frozenset[str]) -> tuple[_Step, ...]:
        # The requested layers and all that they depend on, up to known outputs.
        needed: set[str] = set()
        waiting = list(layers)
        while waiting:
            name = waiting.pop()
            if name not in known and name not in needed:
                needed.add(name)
                waiting += self.graph[name].inputs
        # Reference counts: an output can be freed once its last reader has been computed.
        unread = {
            name: sum(name in self.graph[reader].inputs for reader in needed)
            for name in (*needed, *known)
        }
        pooled: dict[str, Layer] = {}  # pooling layer → the layer computed together with it
        for layer in self.graph.layers:
            source = self._only_pooled(layer) if layer.name in needed else None
            if source is not None and source.name in needed and source.name not in layers:
                pooled[layer.name] = source
        computed_by_pools = {source.name for source in pooled.values()}
        steps: list[_Step] = []
        for layer in self.graph.layers:
            if layer.name not in needed or layer.name in computed_by_pools:
                continue
            source = pooled.get(layer.name)
            computed = [layer] if source is None else [source, layer]
            done = []
            for name in (name for part in computed for name in dict.fromkeys(part.inputs)):
                unread[name] -= 1
                if not unread[name] and name not in layers:
                    done.append(name)
            steps.append(_Step(layer, source, tuple(done)))
        return tuple(steps)

    def _only_pooled(self, layer: Layer) -> Layer | None:
        """The layer that this max-pooling layer reads, where both can be computed together: nothing
        else reads it, and it ends in a non-decreasing activation that can be split off."""
        if not layer.kind.largest:
            return None
        source = self.graph[layer.inputs[0]]
        movable = self.graph.readers(source.name) == (layer.name,) and source.kind.activation.rising
        splittable = len(source.inputs) == 1
        splittable = splittable and isinstance(self.layer(source.name), EndsInActivation)
        return source if movable and splittable else None

    def computed_kind(self, name: str) -> Kind:
        """The kind as it is executed: the last layer without its activation, so it returns
        logits."""
        kind = self.graph[name].kind
        last = name == self.graph.output and kind.activation.keeps_argmax
        return kind.without_activation() if last else kind

    def layer(self, name: str) -> nn.Module:
        """The module of a layer. Raises ValueError where the network has no such layer."""
        if name not in self._modules:
            raise ValueError(f"the network has no layer named {name!r}")
        return self.get_submodule(name)

    def convolution(self, name: str) -> Convolution:
        """The convolution of this name. Raises ValueError where there is none."""
        layer = self._modules.get(name)
        if not isinstance(layer, Convolution):
            raise ValueError(f"the network has no convolution named {name!r}")
        return layer

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the weights, in which the model computes."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.parameters()).device

    def scale(self, pixels: Tensor) -> Tensor:
        """Preprocess pixel values: (batch, channels, height, width), 0–255, of any dtype → input of
        the first layer, of the same shape, in the model's dtype.

        Raises ValueError where the shape does not fit this model.
        """
        if pixels.ndim != 4 or tuple(pixels.shape[1:]) != self.input_shape:
            raise ValueError(
                f"expected (batch, {', '.join(map(str, self.input_shape))}), "
                f"found {tuple(pixels.shape)}"
            )
        # Stack to channels-last memory, in which convolutions are fastest; stacking is three times
        # as fast as `to(memory_format=…)`.
        if not self.pixel_preprocessing.only_scales:
            channels = [channel.to(self.dtype) for channel in pixels.unbind(1)]
            preprocessed = self.pixel_preprocessing.of_channels(channels)
            return torch.stack(preprocessed, dim=-1).permute(0, 3, 1, 2)
        scaled = torch.stack(pixels.unbind(1), dim=-1).to(self.dtype).permute(0, 3, 1, 2)
        return scaled if self.pixel_scale == 1 else scaled / (1 / self.pixel_scale)

    def weights_of(self, layer: str) -> dict[str, Tensor]:
        """The weights of a layer by name (`weight`, `bias`, …), sharing memory with the model."""
        module = self.layer(layer)
        names = (weight.name for weight in self.graph.weights(layer))
        return {name: getattr(module, name).detach() for name in names}

    def pixel_readers(self) -> tuple[str, ...]:
        """The first layers with weights, if all of them can absorb a change of the pixel scale.

        Empty where one of them cannot, or where a layer before them is not homogeneous, for example
        because it adds an offset.
        """
        first_weighted: list[str] = []
        waiting = [self.graph.input]
        while waiting:
            for name in self.graph.readers(waiting.pop()):
                kind, weights = self.graph[name].kind, self.weights_of(name)
                if weights and kind.for_smaller_input(weights, 1.0) is not None:
                    first_weighted.append(name)
                elif not weights and self._keeps_scale(name):
                    waiting.append(name)
                else:
                    return ()
        return tuple(dict.fromkeys(first_weighted))

    def _keeps_scale(self, name: str) -> bool:
        """Whether a layer without weights is homogeneous: f(a · x) = a · f(x)."""
        kind, inputs = self.graph[name].kind, self.graph.input_shapes(name)
        if not kind.linear or kind.activation.name != "linear" or len(inputs) > 1:
            return False
        zeros = torch.zeros(1, *inputs[0], dtype=self.dtype, device=self.device)
        return not bool(self.layer(name)(zeros).any())

    @torch.no_grad()
    def read_pixels_at(self, pixel_scale: float) -> None:
        """Change the pixel scale without changing the logits: the weights of the layers of
        `pixel_readers`, which must not be empty, absorb the factor."""
        factor = self.pixel_scale / pixel_scale
        for name in self.pixel_readers():
            weights = self.weights_of(name)
            changed = self.graph[name].kind.for_smaller_input(weights, factor)
            for part, tensor in (changed or {}).items():
                weights[part].copy_(tensor)
        self.pixel_scale = pixel_scale


@runtime_checkable
class EndsInActivation(Protocol):
    """A module whose last operation is an activation."""

    def before_activation(self, input: Tensor) -> Tensor:
        """The module's output before its activation."""
        ...


def can_be_named(layer: str) -> bool:
    """Whether a layer name can be a submodule name: PyTorch allows no dot and no empty name, and
    the name must not shadow an attribute of Network."""
    reserved = ("graph", "training", "_steps", "_preprocessing", "_unscaled_preprocessing")
    return (
        bool(layer) and "." not in layer and layer not in reserved and not hasattr(Network, layer)
    )


def _is_watched(layer: nn.Module) -> bool:
    return bool(layer._forward_hooks or layer._forward_pre_hooks)
