"""A network handed on, in the format that a file's ending names.

Nothing counts as exported before it was read back and run: exporters of well-known networks have
been silently wrong.
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
# Images that are compared, and where their batches end. Batches have several sizes, for exporters
# have been right for one only, and no large one, for a network may take a lot of memory.
IMAGES, BATCH_ENDS = 64, (1, 8, 24, 40, 56)


@dataclass(frozen=True)
class Check:
    """A file run on images, beside the network that was exported.

    by: what ran it. agreeing: images with the same argmax. parity: of logits; None for GoodNet in
    Keras, which gives a softmax.
    """

    by: str
    images: int
    agreeing: int
    parity: Parity | None

    @property
    def failures(self) -> tuple[str, ...]:
        """What is not as it should be, one line each."""
        if self.parity is not None:
            return self.parity.failures
        apart = self.images - self.agreeing
        return (f"argmax differs on {apart} of {self.images} images",) if apart else ()


@dataclass(frozen=True, repr=False)
class Export:
    """What was written, and whether it answers as the network does.

    weights_equal: every weight read back bit for bit; None where the format keeps none by name.
    warnings: what speaks against the networks themselves, one sentence each.

    >>> ytf_torch.export("bd_net.h5", "copy.keras").weights_equal
    True
    """

    path: Path
    weights_equal: bool | None
    checks: tuple[Check, ...]
    warnings: tuple[str, ...] = ()

    @property
    def failures(self) -> tuple[str, ...]:
        """What is not as it should be, one line each; the file was then not left there."""
        lost = () if self.weights_equal is not False else ("weights do not read back as they were",)
        return (*lost, *(f"{check.by}: {line}" for check in self.checks for line in check.failures))

    @property
    def held(self) -> bool:
        """Whether the file is there and every check held."""
        return not self.failures

    def __repr__(self) -> str:
        if not self.held:
            return f"{self.path} was not written: {'; '.join(self.failures)}"
        equal = ["all weights read back bit for bit"] if self.weights_equal else []
        ran = [f"{c.agreeing} of {c.images} images answered alike by {c.by}" for c in self.checks]
        said = f"{self.path}: {', '.join([*equal, *ran])}"
        return "\n".join([said, *(f"Warning: {warning}" for warning in self.warnings)])


@dataclass(frozen=True)
class Subject:
    """What is exported: a network, or with a repaired copy the GoodNet of both.

    module: what it computes, (batch, 3, height, width) → logits or scores, whose argmax is its
    answer.
    """

    module: nn.Module
    checkpoint: Checkpoint
    repaired: Checkpoint | None = None

    @property
    def network(self) -> Network:
        """The network, B of a GoodNet."""
        return self.checkpoint.model

    @property
    def networks(self) -> tuple[Network, ...]:
        """The network, or B and B′."""
        return (self.network, *(() if self.repaired is None else (self.repaired.model,)))


def export(subject: Subject, path: Path, *, against_keras: bool = False) -> Export:
    """Write a network to `path`, in the format of its ending, and check what was written.

    It is written elsewhere and becomes `path` in one step when every check holds; where one fails,
    `path` is as it was. An ending in capitals becomes small letters, as Keras reads no others.
    against_keras: run Keras files in every real Keras that is installed.
    Raises InputError where the ending names no format, or what the format needs is missing;
    OutputError where the file, or one in the folder for temporary files, cannot be written.

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
        found = _checked(subject, ending, written, path, against_keras=against_keras)
        if found.held:
            with whole_file(path) as temporary:
                shutil.copyfile(written, temporary)
    return found


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
        told = architecture_of(subject.network, str(path)) if ending == ".weights.h5" else None
        again = read_model(written, subject.network.pixel_preprocessing, told).model
        equal = _same(subject.network.state_dict(), again.state_dict())
        outputs = np.concatenate([_outputs(again, batch).numpy() for batch in batches])
        checks.append(_check(subject.module, f"ytf-torch {tool_version()}", outputs, batches))
    else:
        stored = read_keras_goodnet(written)
        equal = goodnet_reads_back(stored, *subject.networks)
        by, outputs = run_keras_goodnet(stored, subject.network.pixel_preprocessing, batches)
        checks.append(_check(subject.module, by, outputs, batches, logits=False))
    if against_keras and ending in KERAS:
        alone = subject.repaired is None
        for keras in run_keras(written, subject.network, batches, whole_answer=not alone):
            outputs = of_two_classes(keras.logits) if alone else keras.outputs
            checks.append(_check(subject.module, keras.by, outputs, batches, logits=alone))
    elif against_keras:
        raise InputError(argument("against_keras"), f"Keras reads no {ending} file")
    return Export(path, equal, tuple(checks))


def check_batches(network: Network) -> Batches:
    """Images of pixel values 0–255 in a network's precision, in batches of different sizes: half
    of random pixels, half of large blocks of one colour, which networks answer more variously."""
    random = np.random.default_rng(0)
    half = (IMAGES // 2, *network.input_shape)
    blocks = random.integers(0, 256, (*half[:2], half[2] // 9 + 1, half[3] // 9 + 1))
    blocks = blocks.astype(np.uint8)
    large = blocks.repeat(9, axis=2).repeat(9, axis=3)[:, :, : half[2], : half[3]]
    images = np.concatenate([random.integers(0, 256, half).astype(np.uint8), large])
    dtype = np.float64 if network.dtype == torch.float64 else np.float32
    return np.split(images.astype(dtype), BATCH_ENDS)


def compare(by: str, network: Network, other: Network) -> Check:
    """Compare a network with another one that has to answer alike."""
    batches = check_batches(network)
    outputs = np.concatenate([_outputs(other, batch).numpy() for batch in batches])
    return _check(network, by, outputs, batches)


@dataclass(frozen=True)
class Compacted:
    """A network without its masked channels, what that spares, and that it answers alike."""

    checkpoint: Checkpoint
    before: Cost
    after: Cost
    check: Check


def compacted(checkpoint: Checkpoint) -> Compacted:
    """The network without the channels that never fire."""
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
    """Compare what a file gave on the batches with what the module gives."""
    expected = torch.cat([_outputs(module, batch) for batch in batches])
    found = torch.from_numpy(outputs)
    agreeing = int((found.argmax(1) == expected.argmax(1)).sum())
    parity = None
    if logits:
        double = copy.deepcopy(module).double()
        exact = torch.cat([_outputs(double, batch) for batch in batches])
        ours, theirs, exact = _where_finite(found.double(), expected.double(), exact)
        parity = Parity.of(ours, theirs, exact, "the network", tolerance_of(module))
        parity = replace(parity, agreeing=agreeing)
    return Check(by, len(found), agreeing, parity)


def _where_finite(*scores: Tensor) -> tuple[Tensor, ...]:
    """Scores that can be subtracted: GoodNet's −∞ is 0 in all where it is in one. That they
    stand at the same places shows in the argmax."""
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
