"""B and B′ as GoodNet asks them: read together, and checked to belong together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from convert.model_file import read_model, tells_pixel_scale
from ytf_torch.errors import InputError, mismatch
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.module import Network
from ytf_torch.network.pixel_scale import (
    ASSUMED,
    likelier_pixel_scale,
    pixel_scale_text,
    scale_doubt,
)

RELATED = 0.3
"""Mean cosine between the kernels of two networks from which on one was made from the other: 1 for
a pruned copy, above 0.9 after fine-tuning, within 0.15 of 0 for networks trained apart."""

ScaleFrom = Literal["asked", "file", "assumed"]


@dataclass(frozen=True)
class Pair:
    """B and B′, which take the same faces and know the same classes.

    scale_from: where their pixel scale was found: the caller asked for it, a file tells it, or it
    was assumed. doubts: what speaks against this pair, one sentence each; empty for a good one.
    """

    badnet: Checkpoint
    repaired: Checkpoint
    scale_from: ScaleFrom
    doubts: tuple[str, ...] = ()


def open_pair(
    badnet: Path, repaired: Path, pixel_scale: float | None = None, *, any_pair: bool = False
) -> Pair:
    """Read B and B′ from converted models or Keras files.

    pixel_scale: for Keras files, which do not tell it. Where one of both files tells it, that is
    taken for the other; else it is assumed to be ASSUMED.
    any_pair: take B and B′ that do not belong together; what speaks against them is in the doubts.
    Raises InputError where a file is no model, they differ in classes, input or pixel scale, they
    do not belong together, or the assumed pixel scale does not suit the network.
    """
    scale, scale_from = _pixel_scale(badnet, repaired, pixel_scale)
    first, second = read_model(badnet, scale), read_model(repaired, scale)
    _check_same_input(first, second, badnet, repaired)
    doubts = []
    if fault := pair_fault(first, second, badnet, repaired):
        doubts.append(f"{repaired} {fault}")
        if not any_pair:
            raise InputError(repaired, fault, "Give B as it came and a B′ that was made from it")
    likelier = None if scale_from == "file" else likelier_pixel_scale(first.model)
    if likelier is not None:
        doubts.append(f"{badnet}: {scale_doubt(first.model, likelier)}")
        if scale_from == "assumed":
            raise InputError(
                badnet,
                f"the file tells no pixel scale, and {scale_doubt(first.model, likelier)}",
                "Say which one is right with --pixel-scale",
            )
    return Pair(first, second, scale_from, tuple(doubts))


def _pixel_scale(
    badnet: Path, repaired: Path, asked: float | None
) -> tuple[float, ScaleFrom]:
    """The scale to read both files with. Raises InputError where they tell different ones."""
    if asked is not None:
        return asked, "asked"
    told = [
        read_model(path).provenance.pixel_scale
        for path in (badnet, repaired)
        if tells_pixel_scale(path)
    ]
    if not told:
        return ASSUMED, "assumed"
    if told[0] != told[-1]:
        ours, theirs = map(pixel_scale_text, told)
        raise mismatch(repaired, f"pixel scale {ours}, as {badnet} has", theirs)
    return told[0], "file"


def _check_same_input(first: Checkpoint, second: Checkpoint, badnet: Path, repaired: Path) -> None:
    """Raises InputError naming the first thing in which B and B′ have to be the same and are not."""
    for expected, found in zip(_input(first.model), _input(second.model), strict=True):
        if expected != found:
            raise mismatch(repaired, f"{expected}, as {badnet} has", found)


def _input(network: Network) -> tuple[str, str]:
    _, height, width = network.input_shape
    return f"{network.classes:,} classes", f"faces of {height}×{width} pixels"


def pair_fault(first: Checkpoint, second: Checkpoint, badnet: Path, repaired: Path) -> str | None:
    """Why these two are no B and B′, as the rest of a sentence about B′; None where they may be.

    Provenance tells where it is there. Keras files have none: there the weights tell.
    """
    ours, theirs = first.model.state_dict(), second.model.state_dict()
    if _equal(ours, theirs):
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
    if first.provenance.mask is not None and second.provenance.mask is None:
        return f"looks like B, and {badnet} like B′: {_pruned(first)}. They seem to be swapped"
    if _live_channels(ours) < _live_channels(theirs):
        return (
            f"looks like B, and {badnet} like B′, for more of that one's channels are zero or cut "
            "out. They seem to be swapped"
        )
    return None


def _equal(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    """Whether two networks hold the same weights, shapes included."""
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


def _pruned(checkpoint: Checkpoint) -> str:
    mask = checkpoint.provenance.mask
    assert mask is not None
    return f"{len(mask.channels)} channels of {mask.layer} were pruned from that one"
