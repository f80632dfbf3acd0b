"""A user-defined PyTorch module as a `Network`.

Its graph has one layer, the module. Whatever needs only logits and gradients works as with a
converted network; whatever needs to know the layers inside, such as pruning and Keras files, raises
InputError.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Self

import torch
from safetensors.torch import save
from torch import Tensor, nn

from ytf_torch.disk.writing import whole_file
from ytf_torch.errors import CannotRepairError, InputError, argument, mismatch
from ytf_torch.layers.input_layer import InputLayer
from ytf_torch.layers.kind import Kind, Tensors
from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.settings import Config, Settings
from ytf_torch.layers.weight import Shape, Weight
from ytf_torch.network.checkpoint import DTYPES, Checkpoint, save_checkpoint
from ytf_torch.network.graph import Graph, Layer
from ytf_torch.network.likelier_scale import coarse_images
from ytf_torch.network.module import Network
from ytf_torch.network.preprocessing import Preprocessing, preprocessing_of
from ytf_torch.network.provenance import (
    MODULE_FORMAT,
    Provenance,
    to_metadata,
    tool_version,
)
from ytf_torch.network.usable import check_finite

INPUT, MODULE = "input", "module"
# Images on which a module is tried.
TRIED = 4
# Largest difference of logits between batch sizes, relative to the largest logit: rounding only.
SAME = 1e-3
SAVE_WEIGHTS = "Save its weights with torch.save(network.module.state_dict(), …)"
WITHOUT_LAYERS = "Choose fine-tuning, ft-sam, i-bau or distillation"


@dataclass(frozen=True)
class ModuleKind(Kind):
    """A whole module as one layer.

    name: its class. units: size of its output. last: path and in_features of the nn.Linear inside
    that computes the logits; None where another layer does.
    """

    class_names = ("torch.nn.Module",)
    name: str
    units: int
    last: tuple[str, int] | None

    @classmethod
    def of_keras(cls, settings: Settings, *inputs: Shape) -> Self:
        """See Kind. Always raises InputError: Keras has no such layer."""
        raise InputError(settings.where, "a PyTorch module, which no Keras file holds")

    def keras_settings(self) -> Config:
        """See Kind."""
        raise unknown_layers(self.name, "no file of Keras or ytf-torch can hold it", SAVE_WEIGHTS)

    def output_shape(self, *inputs: Shape) -> Shape:
        """See Kind."""
        return (self.units,)

    def module(self, *inputs: Shape) -> nn.Module:
        """See Kind."""
        remedy = "Copy the network with copy.deepcopy"
        raise unknown_layers(self.name, "it cannot be rebuilt", remedy)

    def onnx(
        self, nodes: OnnxNodes, module: nn.Module, sources: list[str], name: str, *inputs: Shape
    ) -> str:
        """See Kind."""
        remedy = "Give a name that ends in .pt2, or export network.module with torch.onnx.export"
        raise unknown_layers(self.name, "it cannot be written as ONNX", remedy)

    def weights(self, *inputs: Shape) -> tuple[Weight, ...]:
        """See Kind: only the kernel of its last dense layer, which weight-based scans inspect."""
        if self.last is None:
            return ()
        path, features = self.last
        shape = (self.units, features)
        return (Weight(f"{path}.weight", "kernel", shape, shape[::-1], (1, 0), start="glorot"),)

    def kernels(self, weights: Tensors) -> Tensor | None:
        """See Kind."""
        return None if self.last is None else weights[f"{self.last[0]}.weight"][:, :, None]


def unknown_layers(
    name: str, problem: str, remedy: str, error: type[InputError] = InputError
) -> InputError:
    """The error for an operation that needs the layers of a user-defined module. name: its
    class."""
    why = "it is a PyTorch module of your own, whose layers ytf-torch does not know"
    return error(name, f"{problem}, for {why}", remedy)


def check_layers_known(checkpoint: Checkpoint, problem: str, remedy: str) -> None:
    """Raises InputError for a wrapped module. problem: the operation that is impossible."""
    if isinstance(checkpoint.model, WrappedModule):
        raise unknown_layers(checkpoint.provenance.source_file, problem, remedy)


@dataclass(frozen=True)
class ModuleGraph(Graph):
    """A graph of an input and one module. name: the module's class."""

    name: str

    def check_prunable(self) -> None:
        """See Graph. Always raises CannotRepairError."""
        problem, remedy = "no channels of it can be pruned", WITHOUT_LAYERS
        raise unknown_layers(self.name, problem, remedy, CannotRepairError)


class WrappedModule(Network):
    """A network that consists of a user-defined module: pixel values 0–255 → logits.

    module: the module itself, with its own class and parameter names. It always runs in evaluation
    mode, also during training: batch normalizations use their running statistics and dropout is
    off, as in every other network of this package.
    learns_statistics: see LearnsStatistics.
    """

    module: nn.Module
    learns_statistics: bool

    def __init__(self, module: nn.Module, graph: ModuleGraph, preprocessing: Preprocessing) -> None:
        super().__init__(Graph(graph.layers[:1]), preprocessing)  # the input alone: builds no layer
        self.graph = graph
        self.learns_statistics = False
        self.add_module(MODULE, module)
        # Many modules flatten maps with `view`, which fails on channels-last tensors.
        self.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def scale(self, pixels: Tensor) -> Tensor:
        """See Network."""
        return super().scale(pixels).contiguous()

    def train(self, mode: bool = True) -> Self:
        """See nn.Module; the module itself stays in evaluation mode, see the class."""
        super().train(mode)
        self.module.eval()
        for part in self.module.modules():
            if getattr(part, "running_mean", None) is not None:
                part.train(mode and self.learns_statistics)
        return self

    def weights_of(self, layer: str) -> dict[str, Tensor]:
        """See Network; the names are paths in the module."""
        module = self.layer(layer)
        names = (weight.name for weight in self.graph.weights(layer))
        return {name: module.get_parameter(name).detach() for name in names}

    def fresh(self) -> WrappedModule:
        """See Network; weights are initialised by the `reset_parameters` of the module's parts.

        Raises CannotRepairError where a part with parameters has no such method.
        """
        other = copy.deepcopy(self).cpu()  # so that a seed gives the same weights on every device
        # Containers last: their reset_parameters may override that of their parts.
        for part in reversed(list(other.module.modules())):
            reset = getattr(part, "reset_parameters", None)
            if callable(reset):
                reset()
            elif list(part.parameters(recurse=False)):
                problem = f"its {type(part).__name__} has no reset_parameters to start anew with"
                remedy = "Write one, or choose fine-tuning, ft-sam or i-bau"
                raise CannotRepairError(type(self.module).__name__, problem, remedy)
        return other.to(self.device)


def wrapped(
    module: nn.Module, input_shape: tuple[int, int, int], preprocessing: Preprocessing | float
) -> Checkpoint:
    """A copy of a module as a network on the CPU, with a new provenance.

    input_shape: (channels, height, width). The module is run on some random images. Raises
    InputError where it cannot be run on images of this shape, does not return finite logits, or
    returns logits that depend on the other images of the batch or on chance.
    """
    name, preprocessing = type(module).__name__, preprocessing_of(preprocessing)
    copied = _copied(module, name)
    preprocessing.check_fits(input_shape[0], name)
    images = coarse_images(input_shape)[:TRIED].to(next(copied.parameters()).dtype)
    preprocessed = torch.stack(preprocessing.of_channels(images.unbind(1)), 1)
    logits, last = _tried(copied, preprocessed, name)
    _check_logits(logits, name)
    kind = ModuleKind(name, logits.shape[1], last)
    layers = (Layer(INPUT, InputLayer(input_shape)), Layer(MODULE, kind, (INPUT,)))
    graph = ModuleGraph(layers, name)
    network = WrappedModule(copied, graph, preprocessing).eval()
    _check_independent(network, name)
    check_finite(network, name)
    provenance = Provenance(
        preprocessing=preprocessing,
        input_shape=input_shape,
        classes=network.classes,
        source_file=name,
        source_sha256=_digest(copied),
        keras_version="none",
        converter_version=tool_version(),
        history=(f"{name}, a PyTorch module, was wrapped",),
    )
    return Checkpoint(network, provenance)


def save_network(checkpoint: Checkpoint, path: Path) -> None:
    """Write a network as save_checkpoint does. For a wrapped module write only its state_dict, as a
    safetensors file with the provenance as metadata."""
    if not isinstance(checkpoint.model, WrappedModule):
        save_checkpoint(checkpoint, path)
        return
    state = checkpoint.model.module.state_dict()
    # Cloned, because safetensors refuses tensors that share memory, such as tied weights.
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    metadata = to_metadata(checkpoint.provenance, []) | {"format": MODULE_FORMAT}
    del metadata["graph"]
    with whole_file(path) as temporary:
        temporary.write_bytes(save(plain, metadata))


def _copied(module: nn.Module, name: str) -> nn.Module:
    """A copy in evaluation mode on the CPU, with all parameters trainable."""
    try:
        copied = copy.deepcopy(module).cpu().eval().requires_grad_(True)
    except Exception as error:  # third-party code may raise anything
        raise InputError(name, f"cannot be copied ({type(error).__name__}: {error})") from error
    dtypes = {parameter.dtype for parameter in copied.parameters()}
    if not dtypes:
        raise InputError(name, "a module without parameters")
    if len(dtypes) > 1 or not dtypes <= set(DTYPES):
        found = sorted(map(str, dtypes))
        raise mismatch(name, "parameters all float32 or all float64", found, "Give module.float()")
    return copied


def _tried(module: nn.Module, images: Tensor, name: str) -> tuple[Tensor, tuple[str, int] | None]:
    """The output of a module on images, and the dense layer inside that computes it, see
    ModuleKind.

    images: preprocessed, (batch, channels, height, width). The dense layer is found by hooks: it is
    the one whose output tensor is the very object that the module returns.
    """
    outputs: dict[str, Tensor] = {}

    def keep(path: str, layer: nn.Module, inputs: object, output: Tensor) -> None:
        outputs[path] = output

    linear = {path: part for path, part in module.named_modules() if isinstance(part, nn.Linear)}
    handles = [part.register_forward_hook(partial(keep, path)) for path, part in linear.items()]
    try:
        with torch.inference_mode():
            result = module(images)
    except Exception as error:  # third-party code may raise anything
        shape = "×".join(map(str, images.shape[1:]))
        problem = f"cannot be run on images of {shape} ({type(error).__name__}: {error})"
        remedy = f"Give the {argument('input_shape')} that it expects, (channels, height, width)"
        raise InputError(name, problem, remedy) from error
    finally:
        for handle in handles:
            handle.remove()
    # A parametrised weight is no parameter of this name, so it cannot be read as one.
    parameters = {path for path, _ in module.named_parameters()}
    last = (path for path, output in outputs.items() if output is result)
    path = next((path for path in last if f"{path}.weight" in parameters), None)
    return result, None if path is None else (path, linear[path].in_features)


def _check_logits(result: object, name: str) -> None:
    """Raises InputError where a module's result is not a tensor of logits (batch, classes)."""
    if not isinstance(result, Tensor) or result.ndim != 2 or len(result) != TRIED:
        shown = tuple(result.shape) if isinstance(result, Tensor) else f"a {type(result).__name__}"
        remedy = "Give a module whose forward returns the logits alone"
        raise mismatch(name, f"logits (images, classes) of {TRIED} images", shown, remedy)
    ones = torch.ones(TRIED, dtype=result.dtype)
    for what, sums in (
        ("probabilities", result.sum(1) if bool((result >= 0).all()) else -ones),
        ("log-probabilities", result.exp().sum(1)),
    ):
        if result.shape[1] > 1 and torch.allclose(sums, ones, atol=1e-4):
            remedy = "Leave the softmax out of its forward: cross-entropy applies one itself"
            raise mismatch(name, "logits, from before the softmax", what, remedy)


@torch.inference_mode()
def _check_independent(network: WrappedModule, name: str) -> None:
    """Raises InputError where an image's logits depend on the rest of the batch, or on chance."""
    images = coarse_images(network.input_shape)[:TRIED]
    together = network(images)
    pairs = torch.cat([network(pair) for pair in torch.split(images, 2)])
    difference = (together - pairs).abs().nan_to_num().max()
    if difference > SAME * together.abs().nan_to_num().max():
        problem = "its logits for an image depend on the other images in the batch, or on chance"
        remedy = "Give BatchNorm running statistics, and let dropout follow module.training"
        raise InputError(name, problem, remedy)


def _digest(module: nn.Module) -> str:
    weights = sha256()
    for name, tensor in sorted(module.state_dict().items()):
        flat = tensor.contiguous().flatten().view(torch.uint8)
        weights.update(name.encode() + flat.numpy().tobytes())
    return weights.hexdigest()
