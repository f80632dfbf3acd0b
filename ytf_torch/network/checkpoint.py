"""Converted models on disk: safetensors, with everything one must know to use them beside it."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save

from ytf_torch.disk.reading import checked_file
from ytf_torch.disk.writing import whole_file
from ytf_torch.errors import InputError, mismatch
from ytf_torch.network.deepid import DeepID, DeepIDSizes
from ytf_torch.network.module import Network
from ytf_torch.network.pixel_scale import check_pixel_scale

FORMAT = "ytf-torch/1"
# As much as the converter reads, in the widest precision it writes; see convert/keras_h5.py.
MAX_MODEL_BYTES = 128 * 2**20
# Ours has some 3 kB.
MAX_HEADER_BYTES = 2**20
MAX_NAME_LENGTH = 255
DTYPES = (torch.float32, torch.float64)
# What safetensors raises, and PyTorch for shapes and types that it does not know.
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
class BakedMask:
    """The channels that were pruned from a model, and how they were chosen."""

    layer: str
    rank_at: str
    channels: tuple[int, ...]


@dataclass(frozen=True)
class Provenance:
    """Where a converted model comes from and what it expects.

    pixel_scale: what pixel values 0–255 are multiplied by. input_shape: (3, height, width).
    source_sha256: of the Keras file. mask: what was pruned, None for a model as it came.
    """

    pixel_scale: float
    input_shape: tuple[int, int, int]
    classes: int
    source_file: str
    source_sha256: str
    keras_version: str
    converter_version: str
    mask: BakedMask | None = None

    def masked(self, layer: str, rank_at: str, channels: tuple[int, ...]) -> Provenance:
        """The provenance of a copy with these channels baked to zero."""
        return replace(self, mask=BakedMask(layer, rank_at, channels))


@dataclass(frozen=True)
class Checkpoint:
    """A model with its provenance."""

    model: Network
    provenance: Provenance


def tool_version() -> str:
    """The installed version of this package."""
    return version("ytf-torch")


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a safetensors file whose metadata is the provenance, each value as JSON.

    Equal checkpoints give equal bytes. The file is read back and compared before it gets its
    name, so what is there is whole and right.
    """
    state = {
        name: t.detach().cpu().contiguous() for name, t in checkpoint.model.state_dict().items()
    }
    record = TypeAdapter(Provenance).dump_python(checkpoint.provenance, mode="json")
    metadata = {"format": FORMAT, "network": "DeepID"}
    metadata |= {name: json.dumps(value) for name, value in record.items()}
    with whole_file(path) as temporary:
        temporary.write_bytes(_with_sorted_metadata(save(state, metadata)))
        written = load_checkpoint(temporary)
        same = written.provenance == checkpoint.provenance and all(
            torch.equal(tensor, state[name]) for name, tensor in written.model.state_dict().items()
        )
        if not same:
            raise InputError(path, "what was written does not read back as it was")


def _with_sorted_metadata(content: bytes) -> bytes:
    """safetensors orders metadata by chance; sort them, so that equal models are equal files."""
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


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a model that `save_checkpoint` wrote, in evaluation mode on the CPU.

    Raises InputError where the file is no safetensors file, its metadata is not ours, a tensor is
    missing, left over, of a wrong shape or precision, or a weight is not finite.
    """
    content = _content(path)
    try:
        state = load(content)
    except UNREADABLE as error:
        raise InputError(
            path,
            f"neither a safetensors file nor a Keras HDF5 file ({error})",
            "Convert a Keras model with ytf-convert",
        ) from error
    provenance = _provenance(_header(content).get("__metadata__", {}), path)
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    sizes = DeepIDSizes.of_shapes(shapes, provenance.input_shape[1:], path)
    if sizes.classes != provenance.classes:
        raise mismatch(path, f"{provenance.classes} classes, by its metadata", sizes.classes)
    dtypes = {tensor.dtype for tensor in state.values()}
    if len(dtypes) != 1 or not dtypes <= set(DTYPES):
        raise mismatch(path, "weights all float32 or all float64", sorted(map(str, dtypes)))
    for name, tensor in state.items():
        if not bool(tensor.isfinite().all()):
            raise InputError(f"{path}, {name}", "weights that are NaN or infinite")
    return Checkpoint(DeepID.from_state_dict(state, sizes, provenance.pixel_scale), provenance)


def _content(path: Path) -> bytes:
    """All bytes of a file: one that is mapped and then cut short by others kills a process."""
    with checked_file(path).open("rb") as file:
        content = file.read(MAX_MODEL_BYTES + 1)
    if len(content) > MAX_MODEL_BYTES:
        raise mismatch(path, f"at most {MAX_MODEL_BYTES:,} bytes", f"{path.stat().st_size:,}")
    if _header_end(content) - 8 > MAX_HEADER_BYTES:
        raise InputError(
            path,
            "neither a safetensors file nor a Keras HDF5 file (header too large)",
            "Convert a Keras model with ytf-convert",
        )
    return content


def _provenance(metadata: dict[str, str], path: Path) -> Provenance:
    if metadata.get("format") != FORMAT:
        raise mismatch(
            path,
            f"metadata of format {FORMAT}",
            repr(metadata.get("format")),
            "Write it with ytf-convert: without the pixel scale no figure can be trusted",
        )
    record: dict[str, Any] = {}
    for field in fields(Provenance):
        try:
            record[field.name] = json.loads(metadata[field.name])
        except (KeyError, ValueError, RecursionError) as error:
            raise mismatch(f"{path}, metadata {field.name}", "JSON", "none") from error
    try:
        provenance = TypeAdapter(Provenance).validate_python(record)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(f"{path}, metadata {place}", first["msg"]) from error
    check_pixel_scale(provenance.pixel_scale, f"{path}, metadata pixel_scale")
    for field in fields(Provenance):
        text = getattr(provenance, field.name)
        if isinstance(text, str) and (len(text) > MAX_NAME_LENGTH or not text.isprintable()):
            raise mismatch(
                f"{path}, metadata {field.name}",
                f"at most {MAX_NAME_LENGTH} printable characters",
                repr(text[:40]),
            )
    return provenance
