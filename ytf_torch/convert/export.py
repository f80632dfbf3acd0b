"""Export networks in the format of the file name extension, and verify the result.

An export succeeds only after the file has been read back and run: exporters have silently written
well-known networks with different outputs.
"""

from __future__ import annotations

import copy
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ytf_torch.convert.endings import as_keras_reads, ending_of
from ytf_torch.convert.keras.keras_architecture import architecture_of
from ytf_torch.convert.keras.keras_goodnet import (
    goodnet_reads_back,
    read_keras_goodnet,
    run_keras_goodnet,
    write_keras_goodnet,
)
from ytf_torch.convert.keras.keras_oracle import of_two_classes, run_keras
from ytf_torch.convert.keras.keras_writer import (
    write_keras_archive,
    write_keras_h5,
    write_keras_weights,
)
from ytf_torch.convert.model_file import read_model
from ytf_torch.convert.onnx_writer import run_onnx, write_onnx
from ytf_torch.convert.parity import Parity, tolerance_of
from ytf_torch.convert.torch_export import run_pt2, write_pt2
from ytf_torch.disk.writing import whole_file
from ytf_torch.errors import InputError, argument, unwritable
from ytf_torch.network.checkpoint import Checkpoint, compact_checkpoint, save_checkpoint
from ytf_torch.network.compact import Cost, cost_of
from ytf_torch.network.module import Network
from ytf_torch.network.provenance import origin_text, tool_version

Batches = list[NDArray[np.floating[Any]]]
KERAS = {
    ".h5": write_keras_h5,
    ".weights.h5": write_keras_weights,
    ".keras": write_keras_archive,
}
# Number of compared images, and where their batches end. Batch sizes differ, because exported files
# have been right for one size only, and are small, because networks may need a lot of memory.
IMAGES, BATCH_ENDS = 64, (1, 8, 24, 40, 56)


@dataclass(frozen=True)
class Check:
    """Comparison of an exported file's outputs with those of the network.

    by: the program that ran the file. agreeing: number of images with the same argmax. parity: of
    logits; None for GoodNet in Keras, whose output is a softmax.
    """

    by: str
    images: int
    agreeing: int
    parity: Parity | None

    @property
    def failures(self) -> tuple[str, ...]:
        """Reasons why the check failed, one line each; empty where it holds."""
        if self.parity is not None:
            return self.parity.failures
        differing = self.images - self.agreeing
        return (f"argmax differs on {differing} of {self.images} images",) if differing else ()


@dataclass(frozen=True, repr=False)
class Export:
    """The result of an export: the file and its checks.

    weights_equal: whether all weights read back bit for bit; None for formats that do not store
    weights by name. warnings: about the networks themselves, one sentence each.

    >>> ytf_torch.export("bd_net.h5", "copy.keras").weights_equal
    True
    """

    path: Path
    weights_equal: bool | None
    checks: tuple[Check, ...]
    warnings: tuple[str, ...] = ()

    @property
    def failures(self) -> tuple[str, ...]:
        """Reasons why the export failed, one line each; then no file was written."""
        lost = () if self.weights_equal is not False else ("weights do not read back as they were",)
        return (*lost, *(f"{check.by}: {line}" for check in self.checks for line in check.failures))

    @property
    def held(self) -> bool:
        """Whether every check held, so that the file was written."""
        return not self.failures

    def __repr__(self) -> str:
        if not self.held:
            return f"{self.path} was not written: {'; '.join(self.failures)}"
        equal = ["all weights read back bit for bit"] if self.weights_equal else []
        ran = [f"{c.agreeing} of {c.images} images answered alike by {c.by}" for c in self.checks]
        summary = f"{self.path}: {', '.join([*equal, *ran])}"
        return "\n".join([summary, *(f"Warning: {warning}" for warning in self.warnings)])


@dataclass(frozen=True)
class Subject:
    """What is exported: a network, or the GoodNet of a network and its repaired copy.

    module: computes (batch, channels, height, width) → logits (batch, classes), or for GoodNet
    scores (batch, classes + 1); the argmax is the predicted class.
    """

    module: nn.Module
    checkpoint: Checkpoint
    repaired: Checkpoint | None = None

    @property
    def network(self) -> Network:
        """The network; for a GoodNet, B."""
        return self.checkpoint.model

    @property
    def networks(self) -> tuple[Network, ...]:
        """The network, or B and B′."""
        return (self.network, *(() if self.repaired is None else (self.repaired.model,)))


def export(subject: Subject, path: Path, *, against_keras: bool = False) -> Export:
    """Write a network to `path`, in the format of its extension, and verify the file.

    Atomic: the file is written to a temporary folder and replaces `path` only if every check holds.
    The extension is converted to lower case, because Keras recognises no other.
    against_keras: also run Keras files in every installed Keras library.
    Raises InputError for an unknown extension or a missing package that the format needs;
    OutputError where the file, or a temporary file, cannot be written.

    >>> export(Subject(network, checkpoint), Path("repaired.h5"))
    repaired.h5: all weights read back bit for bit, 64 of 64 images answered alike by ytf-torch ...
    """
    path = as_keras_reads(path)
    ending = ending_of(path, goodnet=subject.repaired is not None)
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / f"network{ending}"
        try:
            _write(subject, ending, written)
        except OSError as error:
            raise unwritable(f"{folder}, for temporary files", error) from error
        result = _checked(subject, ending, written, path, against_keras=against_keras)
        if result.held:
            with whole_file(path) as temporary:
                shutil.copyfile(written, temporary)
    return result


def _write(subject: Subject, ending: str, path: Path) -> None:
    if ending == ".onnx":
        write_onnx(path, *subject.networks)
    elif ending == ".pt2":
        network = subject.network
        write_pt2(path, subject.module, network.input_shape, network.dtype)
    elif ending == ".safetensors":
        save_checkpoint(subject.checkpoint, path)
    elif subject.repaired is None:
        KERAS[ending](path, subject.network, origin_text(subject.checkpoint.provenance))
    else:
        write_keras_goodnet(path, *subject.networks)


def _checked(
    subject: Subject, ending: str, written: Path, path: Path, *, against_keras: bool
) -> Export:
    batches = check_batches(subject.network)
    equal: bool | None = None
    checks: list[Check] = []
    if ending in (".onnx", ".pt2"):
        run = run_onnx if ending == ".onnx" else run_pt2
        checks.append(_check(subject.module, *run(written, batches), batches))
    elif subject.repaired is None:
        weights_only = ending == ".weights.h5"
        architecture = architecture_of(subject.network, str(path)) if weights_only else None
        reread = read_model(written, subject.network.pixel_preprocessing, architecture).model
        equal = _same(subject.network.state_dict(), reread.state_dict())
        outputs = np.concatenate([_outputs(reread, batch).numpy() for batch in batches])
        checks.append(_check(subject.module, f"ytf-torch {tool_version()}", outputs, batches))
    else:
        stored = read_keras_goodnet(written)
        equal = goodnet_reads_back(stored, *subject.networks)
        by, outputs = run_keras_goodnet(stored, subject.network.pixel_preprocessing, batches)
        checks.append(_check(subject.module, by, outputs, batches, logits=False))
    if against_keras and ending in KERAS:
        single = subject.repaired is None
        for keras in run_keras(written, subject.network, batches, whole_answer=not single):
            outputs = of_two_classes(keras.logits) if single else keras.outputs
            checks.append(_check(subject.module, keras.by, outputs, batches, logits=single))
    elif against_keras:
        raise InputError(argument("against_keras"), f"Keras reads no {ending} file")
    return Export(path, equal, tuple(checks))


def check_batches(network: Network) -> Batches:
    """Test images (batch, channels, H, W), pixel values 0–255 in the network's dtype, in batches of
    different sizes. Half are random pixels, half are blocks of 9×9 pixels of one colour, for which
    predictions vary more."""
    random = np.random.default_rng(0)
    half = (IMAGES // 2, *network.input_shape)
    blocks = random.integers(0, 256, (*half[:2], half[2] // 9 + 1, half[3] // 9 + 1))
    blocks = blocks.astype(np.uint8)
    large = blocks.repeat(9, axis=2).repeat(9, axis=3)[:, :, : half[2], : half[3]]
    images = np.concatenate([random.integers(0, 256, half).astype(np.uint8), large])
    dtype = np.float64 if network.dtype == torch.float64 else np.float32
    return np.split(images.astype(dtype), BATCH_ENDS)


def compare(by: str, network: Network, other: Network) -> Check:
    """Compare a network with another one that must have the same logits. by: name of the other."""
    batches = check_batches(network)
    outputs = np.concatenate([_outputs(other, batch).numpy() for batch in batches])
    return _check(network, by, outputs, batches)


@dataclass(frozen=True)
class Compacted:
    """A network without its masked channels, the cost before and after, and a comparison of
    logits."""

    checkpoint: Checkpoint
    before: Cost
    after: Cost
    check: Check


def compacted(checkpoint: Checkpoint) -> Compacted:
    """The network without the channels that are zero for every image."""
    smaller = compact_checkpoint(checkpoint)
    costs = cost_of(checkpoint.model), cost_of(smaller.model)
    return Compacted(smaller, *costs, compare("compact network", checkpoint.model, smaller.model))


def _check(
    module: nn.Module,
    by: str,
    outputs: NDArray[np.generic],
    batches: Batches,
    *,
    logits: bool = True,
) -> Check:
    """Compare a file's outputs on the batches with those of the module.

    logits: whether the outputs are logits, whose numerical parity can be checked.
    """
    expected = torch.cat([_outputs(module, batch) for batch in batches])
    actual = torch.from_numpy(outputs)
    agreeing = int((actual.argmax(1) == expected.argmax(1)).sum())
    parity = None
    if logits:
        double = copy.deepcopy(module).double()
        exact = torch.cat([_outputs(double, batch) for batch in batches])
        ours, theirs, exact = _where_finite(actual.double(), expected.double(), exact)
        parity = Parity.of(ours, theirs, exact, "the network", tolerance_of(module))
        parity = replace(parity, agreeing=agreeing)
    return Check(by, len(actual), agreeing, parity)


def _where_finite(*scores: Tensor) -> tuple[Tensor, ...]:
    """Set scores to 0 in all tensors where one of them is infinite, so that differences are
    defined.

    GoodNet's scores contain −∞. A difference in their positions changes the argmax, which is
    compared separately.
    """
    finite = torch.stack([part.isfinite() for part in scores]).all(0)
    return tuple(part.where(finite, torch.zeros_like(part)) for part in scores)


def _outputs(module: nn.Module, batch: NDArray[np.generic]) -> Tensor:
    with torch.inference_mode():
        outputs: Tensor = module(torch.from_numpy(batch))
    return outputs


def _same(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(
        tensor.dtype == theirs[name].dtype and torch.equal(tensor.cpu(), theirs[name])
        for name, tensor in ours.items()
    )
