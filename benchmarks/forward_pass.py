"""One forward pass over a face set in memory: what a defence's price is quoted in."""

from __future__ import annotations

import torch
from torch import nn

from ytf_torch.images.arrays import ImagesInMemory


def forward_pass(model: nn.Module, faces: ImagesInMemory, size: int) -> None:
    """What a plain evaluation costs at best: channels_last, in batches of `size`."""
    device = next(model.parameters()).device
    with torch.inference_mode():
        answers = [model(batch.to(device).pixels).argmax(1) for batch in faces.batches(size)]
        torch.cat(answers).tolist()  # a GPU is waited for, once
