"""A PyTorch module of the user's own as a `Network`.

Its graph has one layer, the module. So whatever asks a network for nothing but its answers and
their gradients works as on a converted one; what has to know the layers inside, as pruning and
Keras files do, raises InputError.
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
from ytf_torch.network.likelier_scale import coarse_pictures
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
# Pictures on which a module is tried.
TRIED = 4
# How far logits may move with the size of the batch, relative to the largest: rounding, no more.
SAME = 1e-3
SAVE_WEIGHTS = "Save its weights with torch.save(network.module.state_dict(), …)"
WITHOUT_LAYERS = "Choose fine-tuning, ft-sam, i-bau or distillation"


@dataclass(frozen=True)
class ModuleKind(Kind):
    """A whole module as one layer.

    name: of its class. units: in its output. last: the dense layer inside that gives the logits, by
    its path, and its features; None where another one gives them.
    """

    class_names = ("torch.nn.Module",)
    name: str
    units: int
    last: tuple[str, int] | None

    @classmethod
    def of_keras(cls, settings: Settings, *inputs: Shape) -> Self:
        """See Kind. There is none in Keras."""
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
        raise unknown_layers(self.name, "it cannot be built anew", remedy)

    def onnx(
        self, nodes: OnnxNodes, module: nn.Module, sources: list[str], name: str, *inputs: Shape
    ) -> str:
        """See Kind."""
        remedy = "Give a name that ends in .pt2, or export network.module with torch.onnx.export"
        raise unknown_layers(self.name, "it cannot be written as ONNX", remedy)

    def weights(self, *inputs: Shape) -> tuple[Weight, ...]:
        """See Kind: the kernel of its last dense layer, which scans look at."""
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
    """The error for what cannot be done with a module of this class."""
    why = "it is a PyTorch module of your own, whose layers ytf-torch does not know"
    return error(name, f"{problem}, for {why}", remedy)


def check_layers_known(checkpoint: Checkpoint, problem: str, remedy: str) -> None:
    """Raises InputError for a wrapped module. problem: what cannot be done with it."""
    if isinstance(checkpoint.model, WrappedModule):
        raise unknown_layers(checkpoint.provenance.source_file, problem, remedy)


@dataclass(frozen=True)
class ModuleGraph(Graph):
    """The input and the module. name: of its class."""

    name: str

    def check_prunable(self) -> None:
        """See Graph. Raises CannotRepairError in any case."""
        problem, remedy = "no channels of it can be pruned", WITHOUT_LAYERS
        raise unknown_layers(self.name, problem, remedy, CannotRepairError)


class WrappedModule(Network):
    """A network that is a module of the user's own: pixel values 0–255 → logits.

    module: the module, of its own class, with its parameters under its own names. It is always
    computed in evaluation mode, also while it is trained: batch normalizations keep their
    statistics and nothing is dropped out, as in every other network here.
    learns_statistics: see LearnsStatistics.
    """

    module: nn.Module
    learns_statistics: bool

    def __init__(self, module: nn.Module, graph: ModuleGraph, preprocessing: Preprocessing) -> None:
        super().__init__(Graph(graph.layers[:1]), preprocessing)  # which has no layer to build
        self.graph = graph
        self.learns_statistics = False
        self.add_module(MODULE, module)
        # `view`, by which many modules flatten maps, takes no channels-last tensors.
        self.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def scale(self, pixels: Tensor) -> Tensor:
        """See Network."""
        return super().scale(pixels).contiguous()

    def train(self, mode: bool = True) -> Self:
        """See nn.Module, and above."""
        super().train(mode)
        self.module.eval()
        for part in self.module.modules():
            if getattr(part, "running_mean", None) is not None:
                part.train(mode and self.learns_statistics)
        return self

    def weights_of(self, layer: str) -> dict[str, Tensor]:
        """See Network; the names are paths in the module."""
        parts = self.layer(layer)
        names = (weight.name for weight in self.graph.weights(layer))
        return {name: parts.get_parameter(name).detach() for name in names}

    def fresh(self) -> WrappedModule:
        """See Network; weights are as the `reset_parameters` of the module's parts draw them.

        Raises CannotRepairError where a part that holds parameters has no such method.
        """
        other = copy.deepcopy(self).cpu()  # where every seed draws the same numbers
        # Those that hold others come last, and may decide for them.
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
    """A copy of a module as a network on the CPU, with a provenance of its own.

    The module is tried on some pictures. Raises InputError where it cannot be run on such images,
    gives no logits, or answers an image otherwise beside other images.
    """
    name, preprocessing = type(module).__name__, preprocessing_of(preprocessing)
    own = _copied(module, name)
    preprocessing.check_fits(input_shape[0], name)
    pictures = coarse_pictures(input_shape)[:TRIED].to(next(own.parameters()).dtype)
    read = torch.stack(preprocessing.of_channels(pictures.unbind(1)), 1)
    logits, last = _tried(own, read, name)
    _check_logits(logits, name)
    kind = ModuleKind(name, logits.shape[1], last)
    layers = (Layer(INPUT, InputLayer(input_shape)), Layer(MODULE, kind, (INPUT,)))
    graph = ModuleGraph(layers, name)
    network = WrappedModule(own, graph, preprocessing).eval()
    _check_alone(network, name)
    check_finite(network, name)
    provenance = Provenance(
        preprocessing=preprocessing,
        input_shape=input_shape,
        classes=network.classes,
        source_file=name,
        source_sha256=_digest(own),
        keras_version="none",
        converter_version=tool_version(),
        history=(f"{name}, a PyTorch module, was wrapped",),
    )
    return Checkpoint(network, provenance)


def save_network(checkpoint: Checkpoint, path: Path) -> None:
    """Write a network as save_checkpoint does; of a wrapped module the weights alone, under the
    module's own names, in a safetensors file whose metadata is the provenance."""
    if not isinstance(checkpoint.model, WrappedModule):
        save_checkpoint(checkpoint, path)
        return
    state = checkpoint.model.module.state_dict()
    # Copies of their own: safetensors takes no tensors that share memory, as tied weights do.
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    metadata = to_metadata(checkpoint.provenance, []) | {"format": MODULE_FORMAT}
    del metadata["graph"]
    with whole_file(path) as temporary:
        temporary.write_bytes(save(plain, metadata))


def _copied(module: nn.Module, name: str) -> nn.Module:
    """A copy in evaluation mode on the CPU, all of whose parameters can be trained."""
    try:
        own = copy.deepcopy(module).cpu().eval().requires_grad_(True)
    except Exception as error:  # of somebody else's code
        raise InputError(name, f"cannot be copied ({type(error).__name__}: {error})") from error
    dtypes = {parameter.dtype for parameter in own.parameters()}
    if not dtypes:
        raise InputError(name, "a module without parameters")
    if len(dtypes) > 1 or not dtypes <= set(DTYPES):
        found = sorted(map(str, dtypes))
        raise mismatch(name, "parameters all float32 or all float64", found, "Give module.float()")
    return own


def _tried(module: nn.Module, pictures: Tensor, name: str) -> tuple[Tensor, tuple[str, int] | None]:
    """What a module answers, and which dense layer inside gives it, see ModuleKind."""
    outputs: dict[str, Tensor] = {}

    def keep(path: str, layer: nn.Module, inputs: object, output: Tensor) -> None:
        outputs[path] = output

    linear = {path: part for path, part in module.named_modules() if isinstance(part, nn.Linear)}
    handles = [part.register_forward_hook(partial(keep, path)) for path, part in linear.items()]
    try:
        with torch.inference_mode():
            found = module(pictures)
    except Exception as error:  # of somebody else's code
        shape = "×".join(map(str, pictures.shape[1:]))
        problem = f"cannot be run on images of {shape} ({type(error).__name__}: {error})"
        remedy = f"Give the {argument('input_shape')} that it takes, (channels, height, width)"
        raise InputError(name, problem, remedy) from error
    finally:
        for handle in handles:
            handle.remove()
    plain = {path for path, _ in module.named_parameters()}
    last = (path for path, output in outputs.items() if output is found)
    path = next((path for path in last if f"{path}.weight" in plain), None)
    return found, None if path is None else (path, linear[path].in_features)


def _check_logits(found: object, name: str) -> None:
    """Raises InputError where an answer is anything but logits (batch, classes)."""
    if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != TRIED:
        shown = tuple(found.shape) if isinstance(found, Tensor) else f"a {type(found).__name__}"
        remedy = "Give a module whose forward returns the logits alone"
        raise mismatch(name, f"logits (images, classes) of {TRIED} images", shown, remedy)
    ones = torch.ones(TRIED, dtype=found.dtype)
    for what, sums in (
        ("probabilities", found.sum(1) if bool((found >= 0).all()) else -ones),
        ("log-probabilities", found.exp().sum(1)),
    ):
        if found.shape[1] > 1 and torch.allclose(sums, ones, atol=1e-4):
            remedy = "Leave the softmax out of its forward: cross-entropy applies one itself"
            raise mismatch(name, "logits, from before the softmax", what, remedy)


@torch.inference_mode()
def _check_alone(network: WrappedModule, name: str) -> None:
    """Raises InputError where an image's logits depend on the other images, or on chance."""
    pictures = coarse_pictures(network.input_shape)[:TRIED]
    together = network(pictures)
    pairs = torch.cat([network(pair) for pair in torch.split(pictures, 2)])
    apart = (together - pairs).abs().nan_to_num().max()
    if apart > SAME * together.abs().nan_to_num().max():
        problem = "answers an image otherwise beside other images, or the next time"
        remedy = "Give BatchNorm running statistics, and let dropout follow module.training"
        raise InputError(name, problem, remedy)


def _digest(module: nn.Module) -> str:
    weights = sha256()
    for name, tensor in sorted(module.state_dict().items()):
        flat = tensor.contiguous().flatten().view(torch.uint8)
        weights.update(name.encode() + flat.numpy().tobytes())
    return weights.hexdigest()
