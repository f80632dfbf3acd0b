"""Numerical parity of a converted model with Keras: comparison of logits."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ytf_torch.disk.archive import open_archive
from ytf_torch.errors import InputError, mismatch
from ytf_torch.images.batches import BATCH_SIZE
from ytf_torch.network.module import Network

SCALE = "pixel_scale"
MEMBERS = ("input", "logits", SCALE)
# Allowed difference relative to the largest logit, for up to 20 layers with weights; it grows in
# proportion to their number beyond that, because rounding errors accumulate.
RELATIVE_TOLERANCE, LAYERS = 2e-6, 20
ERROR_RATIO = 2.0


@dataclass(frozen=True)
class Reference:
    """Reference outputs of Keras.

    inputs: (images, channels, H, W), pixel values 0–255. logits: (images, classes), before the
    softmax. pixel_scale: with which Keras was fed; None where the file does not record it.
    """

    inputs: NDArray[np.generic]
    logits: NDArray[np.floating[Any]]
    pixel_scale: float | None = None


@dataclass(frozen=True)
class Parity:
    """Comparison of a converted model's logits with Keras's.

    agreeing: number of images with the same argmax. largest_logit, largest_difference: absolute
    values. error, keras_error: largest difference from a float64 forward pass, ours and Keras's.
    rounding: `eps(float32) · largest_logit`; smaller errors are ignored. reference: name of the
    program that computed the reference logits. tolerance: allowed difference relative to the
    largest logit.
    """

    images: int
    agreeing: int
    largest_logit: float
    largest_difference: float
    error: float
    keras_error: float
    rounding: float
    reference: str = "Keras"
    tolerance: float = RELATIVE_TOLERANCE

    @classmethod
    def of(
        cls,
        ours: Tensor,
        theirs: Tensor,
        exact: Tensor,
        reference: str = "Keras",
        tolerance: float = RELATIVE_TOLERANCE,
    ) -> Parity:
        """Compare logits (images, classes) with the reference's, and both with a float64 pass."""
        ours, theirs = ours.double(), theirs.double()
        largest_logit = float(theirs.abs().max())
        return cls(
            images=len(ours),
            agreeing=int((ours.argmax(1) == theirs.argmax(1)).sum()),
            largest_logit=largest_logit,
            largest_difference=float((ours - theirs).abs().max()),
            error=float((ours - exact).abs().max()),
            keras_error=float((theirs - exact).abs().max()),
            rounding=torch.finfo(torch.float32).eps * largest_logit,
            reference=reference,
            tolerance=tolerance,
        )

    @property
    def failures(self) -> tuple[str, ...]:
        """Reasons why parity does not hold, one line each; empty where it holds."""
        reasons = []
        if self.agreeing < self.images:
            reasons.append(
                f"argmax differs on {self.images - self.agreeing} of {self.images} images"
            )
        allowed = self.tolerance * self.largest_logit
        if not self.largest_difference <= allowed:
            reasons.append(f"logits differ by {self.largest_difference:.3g}, allowed {allowed:.3g}")
        limit = max(ERROR_RATIO * self.keras_error, self.rounding)
        if not self.error <= limit:
            reasons.append(
                f"error against float64 is {self.error:.3g}, allowed {limit:.3g} "
                f"({ERROR_RATIO:g} × {self.reference}'s own)"
            )
        return tuple(reasons)

    @property
    def held(self) -> bool:
        """Whether every argmax agrees and both errors are within their tolerances."""
        return not self.failures


def tolerance_of(module: nn.Module) -> float:
    """Allowed difference relative to the largest logit:
    `RELATIVE_TOLERANCE · max(1, depth / LAYERS)`, depth being the number of layers with weights of
    the deepest network in the module."""
    networks = (part for part in module.modules() if isinstance(part, Network))
    deepest = max((len(network.graph.weighted) for network in networks), default=1)
    return RELATIVE_TOLERANCE * max(1.0, deepest / LAYERS)


def logits_of(model: Network, inputs: NDArray[np.generic], batch: int = BATCH_SIZE) -> Tensor:
    """The model's logits (images, classes) in its dtype. inputs: pixel values (images, channels, H,
    W)."""
    with torch.inference_mode():
        return torch.cat([model(part) for part in torch.split(torch.from_numpy(inputs), batch)])


def compare_logits(model: Network, reference: Reference) -> Parity:
    """Run the model, and a float64 copy of it, on the reference's inputs.

    Raises InputError where the reference has another image shape or number of classes.
    """
    shape = model.input_shape
    if reference.inputs.ndim != 4 or tuple(reference.inputs.shape[1:]) != shape:
        raise mismatch("reference, input", f"N×{'×'.join(map(str, shape))}", reference.inputs.shape)
    expected = (len(reference.inputs), model.classes)
    if reference.logits.shape != expected:
        raise mismatch("reference, logits", expected, reference.logits.shape)
    ours = logits_of(model, reference.inputs)
    exact = logits_of(copy.deepcopy(model).double(), reference.inputs)
    theirs = torch.from_numpy(reference.logits)
    return Parity.of(ours, theirs, exact, tolerance=tolerance_of(model))


def read_reference(path: Path, *, scaled: bool = True) -> Reference:
    """Read an .npz with `input`, `logits` and `pixel_scale`; nothing in it is ever unpickled.

    scaled: whether Keras was fed with scaled pixel values; the file must then contain the scale.
    Raises InputError where an array is missing, empty or not finite, or pixel values are outside
    0–255.
    """
    with open_archive(path, "an .npz of `input`, `logits` and `pixel_scale`") as archive:
        members = [name.removesuffix(".npy") for name in archive.names()]
        needed = [name for name in MEMBERS if scaled or name != SCALE]
        if not set(needed) <= set(members):
            listed = ", ".join(members[:10]) or "nothing"
            raise mismatch(path, "`input`, `logits` and `pixel_scale`", listed)
        arrays = {name: archive.array(name) for name in MEMBERS if name in members}
    for name, array in arrays.items():
        if array.size == 0 or not np.isfinite(array).all():
            raise mismatch(f"{path}, {name}", "finite numbers", f"{array.dtype} {array.shape}")
    scale = arrays.get(SCALE)
    if scale is not None and scale.size != 1:
        raise mismatch(f"{path}, {SCALE}", "one number", f"{scale.shape}")
    inputs, logits = arrays["input"], arrays["logits"]
    if float(inputs.min()) < 0 or float(inputs.max()) > 255:
        raise InputError(f"{path}, input", "pixel values outside 0–255")
    return Reference(
        inputs,
        logits.astype(np.result_type(logits, np.float32)),
        None if scale is None else float(scale.ravel()[0]),
    )
