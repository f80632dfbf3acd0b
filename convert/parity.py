"""Whether a converted model answers as Keras does: logits compared, a verdict with figures."""

from __future__ import annotations

import copy
import math
import zlib
from dataclasses import dataclass
from io import SEEK_END, BytesIO
from lzma import LZMAError
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch
from numpy.lib.format import read_array_header_1_0, read_array_header_2_0, read_magic
from numpy.typing import NDArray
from torch import Tensor

from ytf_torch.disk.reading import checked_file
from ytf_torch.errors import InputError, mismatch
from ytf_torch.network.module import Network

# 1,500 faces in float64, more than a reference needs.
MAX_ARRAY_BYTES = 96 * 2**20
# The end of a zip with its comment, and room for a hundred members.
MAX_ZIP_TAIL = 2**16 + 22 + 20
MAX_ZIP_DIRECTORY = 2**13
ZIP_DAMAGE = (BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error, LZMAError)
RELATIVE_TOLERANCE = 2e-6
ERROR_RATIO = 2.0


@dataclass(frozen=True)
class Reference:
    """What Keras gave: inputs (images, 3, H, W), pixel values 0–255; logits (images, classes)
    before the softmax; the pixel scale it was fed with."""

    inputs: NDArray[np.generic]
    logits: NDArray[np.floating[Any]]
    pixel_scale: float


@dataclass(frozen=True)
class Parity:
    """Logits of a converted model beside Keras's.

    agreeing: images with the same argmax. largest_logit, largest_difference: absolute values.
    error, keras_error: largest distance from a float64 forward pass, ours and Keras's.
    rounding: what float32 (or the model's precision) cannot express at the largest logit; errors
    below it count as none.
    """

    images: int
    agreeing: int
    largest_logit: float
    largest_difference: float
    error: float
    keras_error: float
    rounding: float

    @property
    def failures(self) -> tuple[str, ...]:
        """What broke parity, one line each; empty where it holds."""
        found = []
        if self.agreeing < self.images:
            found.append(f"argmax differs on {self.images - self.agreeing} of {self.images} images")
        allowed = RELATIVE_TOLERANCE * self.largest_logit
        if not self.largest_difference <= allowed:
            found.append(f"logits differ by {self.largest_difference:.3g}, allowed {allowed:.3g}")
        limit = max(ERROR_RATIO * self.keras_error, self.rounding)
        if not self.error <= limit:
            found.append(
                f"error against float64 is {self.error:.3g}, allowed {limit:.3g} "
                f"({ERROR_RATIO:g} × Keras's own)"
            )
        return tuple(found)

    @property
    def held(self) -> bool:
        """The verdict: same argmax everywhere, and both tolerances kept."""
        return not self.failures


def logits_of(model: Network, inputs: NDArray[np.generic], batch: int = 64) -> Tensor:
    """The model's logits (images, classes) in its own precision."""
    with torch.inference_mode():
        return torch.cat([model(part) for part in torch.split(torch.from_numpy(inputs), batch)])


def compare_logits(model: Network, reference: Reference) -> Parity:
    """Run the model, and a float64 copy of it, on the reference's inputs.

    Raises InputError where the reference was made for another input or other classes.
    """
    shape = model.input_shape
    if reference.inputs.ndim != 4 or tuple(reference.inputs.shape[1:]) != shape:
        raise mismatch("reference, input", f"N×{'×'.join(map(str, shape))}", reference.inputs.shape)
    expected = (len(reference.inputs), model.classes)
    if reference.logits.shape != expected:
        raise mismatch("reference, logits", expected, reference.logits.shape)
    ours = logits_of(model, reference.inputs).double()
    exact = logits_of(copy.deepcopy(model).double(), reference.inputs)
    keras = torch.from_numpy(reference.logits).double()
    largest_logit = float(keras.abs().max())
    return Parity(
        images=len(ours),
        agreeing=int((ours.argmax(1) == keras.argmax(1)).sum()),
        largest_logit=largest_logit,
        largest_difference=float((ours - keras).abs().max()),
        error=float((ours - exact).abs().max()),
        keras_error=float((keras - exact).abs().max()),
        rounding=torch.finfo(torch.float32).eps * largest_logit,
    )


def _read_member(archive: ZipFile, name: str) -> NDArray[np.generic]:
    """One array of an .npz, read only if its header tells the size that it has."""
    member = archive.getinfo(f"{name}.npy")
    if member.file_size > MAX_ARRAY_BYTES:
        raise ValueError(f"{name} of {member.file_size:,} bytes, allowed {MAX_ARRAY_BYTES:,}")
    content = BytesIO(archive.read(member))
    read_header = read_array_header_1_0 if read_magic(content)[0] == 1 else read_array_header_2_0
    shape, _, dtype = read_header(content)
    declared = math.prod(shape) * dtype.itemsize
    if dtype.hasobject or declared != member.file_size - content.tell():
        raise ValueError(f"{name} declares {dtype} {shape}")
    content.seek(0)
    array: NDArray[np.generic] = np.load(content, allow_pickle=False)
    return array


def _check_directory(path: Path) -> None:
    """Raises ValueError where a zip lists so many members that listing them takes long."""
    with path.open("rb") as file:
        size = file.seek(0, SEEK_END)
        file.seek(max(size - MAX_ZIP_TAIL, 0))
        before, found, record = file.read().rpartition(b"PK\x05\x06")
    listing = int.from_bytes(record[8:12], "little")
    if not found or listing > MAX_ZIP_DIRECTORY or before[-20:].startswith(b"PK\x06\x07"):
        raise ValueError("no zip, or one of too many members")


def read_reference(path: Path) -> Reference:
    """Read an .npz with `input`, `logits` and `pixel_scale`; nothing in it is ever unpickled.

    Raises InputError where one is missing, empty or not of numbers.
    """
    checked_file(path)
    found: dict[str, NDArray[np.generic]] = {}
    try:
        _check_directory(path)
        with ZipFile(path) as archive:
            for name in ("input", "logits", "pixel_scale"):
                found[name] = _read_member(archive, name)
    except KeyError as error:
        raise mismatch(path, "`input`, `logits` and `pixel_scale`", str(error)) from error
    except (OSError, ValueError, TypeError, SyntaxError, RecursionError, *ZIP_DAMAGE) as error:
        raise mismatch(path, "an .npz of numbers", f"something else ({error})") from error
    for name, array in found.items():
        if array.dtype.kind not in "iuf" or array.size == 0 or not np.isfinite(array).all():
            raise mismatch(f"{path}, {name}", "finite numbers", f"{array.dtype} {array.shape}")
    if found["pixel_scale"].size != 1:
        raise mismatch(f"{path}, pixel_scale", "one number", f"{found['pixel_scale'].shape}")
    inputs, logits = found["input"], found["logits"]
    if float(inputs.min()) < 0 or float(inputs.max()) > 255:
        raise InputError(f"{path}, input", "pixel values outside 0–255")
    return Reference(
        inputs,
        logits.astype(np.result_type(logits, np.float32)),
        float(found["pixel_scale"].ravel()[0]),
    )
