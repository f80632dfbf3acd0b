"""One forward pass over an image set in memory: the unit of a defence's cost."""

from __future__ import annotations

import torch
from torch import nn

from ytf_torch.images.arrays import ImagesInMemory


def forward_pass(model: nn.Module, faces: ImagesInMemory, size: int) -> None:
    """The fastest plain evaluation: channels_last memory, in batches of `size`."""
    device = next(model.parameters()).device
    with torch.inference_mode():
        answers = [model(batch.to(device).pixels).argmax(1) for batch in faces.batches(size)]
        torch.cat(answers).tolist()  # synchronises with a GPU, only once
