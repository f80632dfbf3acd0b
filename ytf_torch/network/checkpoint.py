"""Converted models on disk: safetensors files with graph and provenance as metadata."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from ytf_torch.disk.reading import SAFETENSORS, UNKNOWN, checked_file, kind_of
from ytf_torch.disk.writing import whole_file
from ytf_torch.errors import InputError, mismatch
from ytf_torch.network.compact import compact, dead_channels
from ytf_torch.network.deepid import DeepIDSizes, deepid_graph
from ytf_torch.network.graph import Graph, graph_from_json, graph_to_json
from ytf_torch.network.module import Network
from ytf_torch.network.provenance import (
    FORMAT,
    FOURTH_FORMAT,
    Provenance,
    from_metadata,
    to_metadata,
)

# The weights that convert/keras/keras_h5.py accepts (64 MB), stored in float64.
MAX_MODEL_BYTES = 128 * 2**20
# A header that this package writes has about 3 kB.
MAX_HEADER_BYTES = 2**20
DTYPES = (torch.float32, torch.float64)
# What safetensors raises for damaged files, and PyTorch for shapes and dtypes it does not support.
UNREADABLE = (
    SafetensorError,
    ArithmeticError,
    AssertionError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class Checkpoint:
    """A model with its provenance.

    >>> checkpoint = load_checkpoint(Path("bd_net.safetensors"))
    >>> checkpoint.model.classes, checkpoint.provenance.pixel_scale
    (7, 1.0)
    """

    model: Network
    provenance: Provenance


def compact_checkpoint(checkpoint: Checkpoint) -> Checkpoint:
    """A copy without the channels that are zero for every input; its provenance has no mask."""
    smaller = compact(checkpoint.model)
    removed = ", ".join(
        f"{len(dead)} of {name}" for name, dead in dead_channels(checkpoint.model).items() if dead
    )
    provenance = replace(checkpoint.provenance, mask=None)
    return Checkpoint(smaller, provenance.then(f"channels removed for good: {removed or 'none'}"))


def save_checkpoint(checkpoint: Checkpoint, path: str | Path) -> None:
    """Write a safetensors file with the provenance as metadata, each value as JSON.

    Deterministic: equal checkpoints give equal bytes. Atomic: the file is read back and compared
    before it is renamed to `path`.

    >>> save_checkpoint(checkpoint, "copy.safetensors")
    >>> Path("copy.safetensors").read_bytes() == Path("bd_net.safetensors").read_bytes()
    True
    """
    state = {
        name: t.detach().cpu().contiguous() for name, t in checkpoint.model.state_dict().items()
    }
    metadata = to_metadata(checkpoint.provenance, graph_to_json(checkpoint.model.graph))
    with whole_file(Path(path)) as temporary:
        temporary.write_bytes(_with_sorted_metadata(save(state, metadata)))
        written = load_checkpoint(temporary)
        same = written.provenance == checkpoint.provenance and all(
            torch.equal(tensor, state[name]) for name, tensor in written.model.state_dict().items()
        )
        if not same:
            raise InputError(path, "what was written does not read back as it was")


def _with_sorted_metadata(content: bytes) -> bytes:
    """The file with sorted metadata. safetensors writes them in random order, which would make
    files of equal models differ."""
    header = _header(content)
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + content[_header_end(content) :]


def _header(content: bytes) -> dict[str, Any]:
    header: dict[str, Any] = json.loads(content[8 : _header_end(content)])
    return header


def _header_end(content: bytes) -> int:
    return 8 + int.from_bytes(content[:8], "little")


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a model that `save_checkpoint` wrote, in evaluation mode on the CPU.

    Raises InputError where the file is no safetensors file, its metadata was not written by this
    package, a tensor is missing, unexpected or of a wrong shape or dtype, or a weight is not
    finite.

    >>> load_checkpoint("bd_net.safetensors").provenance.history
    ('converted from bd_net.h5, written by Keras 2.14.0',)
    """
    path = Path(path)
    content = _content(path)
    try:
        state = load(content)
    except UNREADABLE as error:
        raise _no_model(path, str(error)) from error
    metadata = _header(content).get("__metadata__", {})
    provenance = from_metadata(metadata, path)
    dtypes = {tensor.dtype for tensor in state.values()}
    if len(dtypes) > 1 or not dtypes <= set(DTYPES):
        raise mismatch(path, "weights all float32 or all float64", sorted(map(str, dtypes)))
    for name, tensor in state.items():
        if not bool(tensor.isfinite().all()):
            raise InputError(f"{path}, {name}", "weights that are NaN or infinite")
    graph = _graph(metadata, state, provenance, path)
    model = Network.of_state(graph, state, provenance.preprocessing, path)
    if model.input_shape != provenance.input_shape:
        raise mismatch(
            path, f"images of {provenance.input_shape}, by its metadata", model.input_shape
        )
    if model.classes != provenance.classes:
        raise mismatch(path, f"{provenance.classes} classes, by its metadata", model.classes)
    return Checkpoint(model, provenance)


def _graph(
    metadata: dict[str, str], state: dict[str, torch.Tensor], provenance: Provenance, path: Path
) -> Graph:
    """The stored graph; for older formats, which store none, the graph of the lab's network."""
    if metadata["format"] in (FORMAT, FOURTH_FORMAT):
        place = f"{path}, metadata graph"
        try:
            record = json.loads(metadata["graph"])
        except (KeyError, ValueError, RecursionError) as error:
            raise mismatch(place, "JSON", "none") from error
        return graph_from_json(record, place)
    if metadata.get("network") != "DeepID":
        found = repr(metadata.get("network"))[:80]
        raise mismatch(f"{path}, metadata network", "DeepID", found)
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    return deepid_graph(DeepIDSizes.of_shapes(shapes, provenance.input_shape[1:], path), path)


def _content(path: Path) -> bytes:
    """All bytes of a file. Read, not memory-mapped: if another process truncated a mapped file,
    accessing it would kill this process with SIGBUS."""
    with checked_file(path).open("rb") as file:
        content = file.read(MAX_MODEL_BYTES + 1)
    if len(content) > MAX_MODEL_BYTES:
        raise mismatch(path, f"at most {MAX_MODEL_BYTES:,} bytes", f"{path.stat().st_size:,}")
    if _header_end(content) - 8 > MAX_HEADER_BYTES:
        raise _no_model(path, "header too large")
    return content


def _no_model(path: Path, why: str) -> InputError:
    kind = kind_of(path)
    found = why if kind in (UNKNOWN, SAFETENSORS) else kind.words
    remedy = kind.remedy or "Convert a Keras model with ytf-convert"
    return InputError(path, f"neither a safetensors file nor a Keras file ({found})", remedy)
