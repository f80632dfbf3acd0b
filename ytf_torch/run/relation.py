"""Whether B′ was made from B, told by provenance and weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ytf_torch.network.checkpoint import Checkpoint

RELATED = 0.3
"""One network counts as made from another where the mean cosine between their kernels is at least
this. It is 1 for a pruned copy, above 0.9 after fine-tuning, and within 0.15 of 0 for networks
trained apart."""


def pair_fault(first: Checkpoint, second: Checkpoint, badnet: Path, repaired: Path) -> str | None:
    """Why these two are no B and B′, as the rest of a sentence about B′; None where they may be.

    Provenance tells where it is there. Keras files have none: there the weights tell.
    """
    ours, theirs = first.model.state_dict(), second.model.state_dict()
    if same_weights(first, second):
        return (
            f"holds the same weights as {badnet}; two equal networks never disagree, so nothing "
            "would ever be flagged"
        )
    if first.provenance.source_sha256 != second.provenance.source_sha256 and not _related(
        ours, theirs
    ):
        return (
            f"was made from another network than {badnet} ({_origin(second)}, not "
            f"{_origin(first)}); their disagreement says nothing about a trigger"
        )
    done, done_after = first.provenance.history[1:], second.provenance.history[1:]
    if done and done_after[: len(done)] != done:
        if done[: len(done_after)] == done_after:
            return f"looks like B, and {badnet} like B′ ({done[-1]}). They seem swapped"
        return (
            f"was not made from {badnet}: both were made from one network, that one "
            f"({done[-1]}) and this one ({done_after[-1]})"
        )
    if _live_channels(ours) < _live_channels(theirs):
        return (
            f"looks like B, and {badnet} like B′, for more of that one's channels are zero or cut "
            "out. They seem swapped"
        )
    return None


def same_weights(first: Checkpoint, second: Checkpoint) -> bool:
    """Whether two networks hold the same weights, shapes included."""
    ours, theirs = first.model.state_dict(), second.model.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def _related(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    """Whether one network was made from the other, judged by the kernels that have one shape."""
    cosines = [
        F.cosine_similarity(kernel.flatten().double(), theirs[name].flatten().double(), dim=0)
        for name, kernel in ours.items()
        if kernel.ndim > 1 and kernel.shape == theirs[name].shape
    ]
    return bool(cosines) and float(torch.stack(cosines).mean()) >= RELATED


def _live_channels(state: dict[str, Tensor]) -> int:
    """Channels of convolutions whose kernel or bias is not zero."""
    return sum(
        int(((kernel.flatten(1) != 0).any(1) | (state[name.replace("weight", "bias")] != 0)).sum())
        for name, kernel in state.items()
        if kernel.ndim == 4
    )


def _origin(checkpoint: Checkpoint) -> str:
    provenance = checkpoint.provenance
    return f"{provenance.source_file} of SHA-256 {provenance.source_sha256[:8]}…"
