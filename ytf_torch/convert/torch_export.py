"""Export networks as .pt2: torch.export programs, which PyTorch runs without this package."""

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
    """Write a module as a program with dynamic batch size. Its input is (batch, channels, height,
    width), pixel values 0–255 of this dtype; preprocessing is part of the program.

    Load it with torch.export.load(path).module().
    """
    # Contiguous: torch.export.save does not take channels-last parameters for complete tensors.
    contiguous = copy.deepcopy(module).cpu().eval()
    for parameter in contiguous.parameters():
        parameter.data = parameter.data.contiguous()
    example = torch.zeros(2, *input_shape, dtype=dtype)
    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad():
        program = torch.export.export(contiguous, (example,), dynamic_shapes=({0: batch},))
    content = BytesIO()
    # To memory first: on a full disk torch.export.save would report an internal error.
    torch.export.save(program, content)
    path.write_bytes(content.getvalue())


def run_pt2(path: Path, batches: Sequence[NDArray[np.generic]]) -> tuple[str, NDArray[np.generic]]:
    """Run a file on batches of pixel values. Returns the runner's name and the concatenated
    outputs."""
    program = torch.export.load(path).module()
    with torch.inference_mode():
        outputs = [program(torch.from_numpy(batch)).numpy() for batch in batches]
    return f"PyTorch {torch.__version__}", np.concatenate(outputs)
