"""Images of the target class that a network no longer recognises, for a clean-label attack.

Source: Turner, Tsipras, Mądry, "Label-Consistent Backdoor Attacks" (2019). Where the trigger is
added to images that are hard to recognise, the network has to learn the trigger, and no label is
changed.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ytf_torch.network.module import Network

STEPS = 8


def perturbed(
    faces: Tensor, labels: Tensor, network: Network, bound: float, generator: torch.Generator
) -> Tensor:
    """Faces moved by at most `bound` pixel values so that the network does not give them `labels`.

    Projected gradient descent in the maximum norm, from a random start, with 8 steps of a quarter
    of the bound. The paper takes an adversarially trained network; here it is one that was trained
    on the same photos without a backdoor.
    """
    start = torch.rand(faces.shape, generator=generator) * 2 - 1
    moved = (faces + bound * start).clamp(0, 255)
    for _ in range(STEPS):
        moved.requires_grad_()
        loss = F.cross_entropy(network(moved), labels)
        (slope,) = torch.autograd.grad(loss, moved)
        moved = moved.detach() + bound / 4 * slope.sign()
        moved = moved.clamp(faces - bound, faces + bound).clamp(0, 255)
    return moved.round()
