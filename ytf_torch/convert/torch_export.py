"""Networks as .pt2: programs of torch.export, which PyTorch runs without this package."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn


def write_pt2(
    path: Path, module: nn.Module, input_shape: tuple[int, int, int], dtype: torch.dtype
) -> None:
    """Write a module as a program that takes any number of images, (batch, 3, height, width),
    pixel values 0–255 of this dtype; the pixel scale is in it.

    Load it with torch.export.load(path).module().
    """
    # In PyTorch's usual order: torch.export.save takes no other for whole.
    contiguous = copy.deepcopy(module).cpu().eval()
    for parameter in contiguous.parameters():
        parameter.data = parameter.data.contiguous()
    example = torch.zeros(2, *input_shape, dtype=dtype)
    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad():
        program = torch.export.export(contiguous, (example,), dynamic_shapes=({0: batch},))
    content = BytesIO()
    torch.export.save(program, content)  # which takes a full disk for a fault of its own
    path.write_bytes(content.getvalue())


def run_pt2(path: Path, batches: Sequence[NDArray[np.generic]]) -> tuple[str, NDArray[np.generic]]:
    """Run a file on batches of pixels; what ran it, and its outputs, end to end."""
    program = torch.export.load(path).module()
    with torch.inference_mode():
        outputs = [program(torch.from_numpy(batch)).numpy() for batch in batches]
    return f"PyTorch {torch.__version__}", np.concatenate(outputs)
