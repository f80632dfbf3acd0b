"""Networks as a command is given them: one alone, or B and B′, checked to belong together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from ytf_torch.convert.model_file import read_model, tells_pixel_scale
from ytf_torch.errors import InputError, argument, mismatch
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.likelier_scale import likelier_pixel_scale, scale_doubt
from ytf_torch.network.module import Network
from ytf_torch.network.pixel_scale import ASSUMED, pixel_scale_text

RELATED = 0.3
"""One network counts as made from another where the mean cosine between their kernels is at least
this. It is 1 for a pruned copy, above 0.9 after fine-tuning, and within 0.15 of 0 for networks
trained apart."""

ScaleFrom = Literal["asked", "file", "assumed"]


@dataclass(frozen=True)
class Opened:
    """A network.

    scale_from: where its pixel scale was found: the caller asked for it, a file tells it, or it was
    assumed. doubts: what speaks against it, one sentence each; empty for a good one.
    """

    badnet: Checkpoint
    scale_from: ScaleFrom
    doubts: tuple[str, ...] = ()

    def doubted(self, doubts: Iterable[object]) -> Self:
        """The same network, and what else speaks against it."""
        return replace(self, doubts=(*self.doubts, *map(str, doubts)))


@dataclass(frozen=True)
class Pair(Opened):
    """B and B′, which take the same faces with the same pixel scale and know the same classes."""

    repaired: Checkpoint = field(kw_only=True)


def open_network(path: Path, pixel_scale: float | None = None) -> Opened:
    """Read a converted model or a Keras file.

    pixel_scale: for a Keras file, which seldom tells it; without it ASSUMED is taken.
    Raises InputError where the file is no model, or the assumed pixel scale does not suit it.
    """
    (checkpoint,), scale_from = _read([path], pixel_scale)
    return Opened(checkpoint, scale_from, _scale_doubts(checkpoint, path, scale_from))


def open_pair(
    badnet: Path, repaired: Path, pixel_scale: float | None = None, *, any_pair: bool = False
) -> Pair:
    """Read B and B′ from converted models or Keras files.

    pixel_scale: for Keras files, which seldom tell it. Where one of both files tells it, that is
    taken for the other; else it is assumed to be ASSUMED.
    any_pair: take B and B′ that do not belong together; what speaks against them is in the doubts.
    Raises InputError where a file is no model, they differ in classes, input or pixel scale, they
    do not belong together, or the assumed pixel scale does not suit the network.
    """
    (first, second), scale_from = _read([badnet, repaired], pixel_scale)
    check_same_input(first, second, badnet, repaired)
    fault = pair_fault(first, second, badnet, repaired)
    if fault and not any_pair:
        raise InputError(repaired, fault, "Give B as it came and a B′ that was made from it")
    doubts = [f"{repaired} {fault}"] if fault else []
    doubts += _scale_doubts(first, badnet, scale_from)
    return Pair(first, scale_from, tuple(doubts), repaired=second)


def _read(paths: Sequence[Path], asked: float | None) -> tuple[list[Checkpoint], ScaleFrom]:
    """All files, read with one pixel scale. Raises InputError where they tell different ones."""
    converted = {path: read_model(path, asked) for path in paths if tells_pixel_scale(path)}
    told = [(path, found.provenance.pixel_scale) for path, found in converted.items()]
    scale, scale_from = _pixel_scale(told, asked)
    return [converted.get(path) or read_model(path, scale) for path in paths], scale_from


def _pixel_scale(
    told: Sequence[tuple[Path, float]], asked: float | None
) -> tuple[float, ScaleFrom]:
    """The scale to read all files with. told: the scales in the files that have one, with their
    path."""
    if asked is not None:
        return asked, "asked"
    if not told:
        return ASSUMED, "assumed"
    (first, ours), (last, theirs) = told[0], told[-1]
    if ours != theirs:
        expected = f"pixel scale {pixel_scale_text(ours)}, as {first} has"
        raise mismatch(last, expected, pixel_scale_text(theirs))
    return ours, "file"


def _scale_doubts(checkpoint: Checkpoint, path: Path, scale_from: ScaleFrom) -> tuple[str, ...]:
    """Raises InputError where the doubtful scale was only assumed."""
    told = scale_from == "file" or tells_pixel_scale(path)
    likelier = None if told else likelier_pixel_scale(checkpoint.model)
    if likelier is None:
        return ()
    doubt = scale_doubt(checkpoint.model, likelier)
    if scale_from == "assumed":
        remedy = f"Say which one is right with {argument('pixel_scale')}"
        raise InputError(path, f"the file tells no pixel scale, and {doubt}", remedy)
    return (f"{path}: {doubt}",)


def check_same_input(first: Checkpoint, second: Checkpoint, badnet: Path, repaired: Path) -> None:
    """Raises InputError naming the first thing that B and B′ have to share and do not."""
    for expected, found in zip(_input(first.model), _input(second.model), strict=True):
        if expected != found:
            raise mismatch(repaired, f"{expected}, as {badnet} has", found)


def _input(network: Network) -> tuple[str, str]:
    _, height, width = network.input_shape
    return f"{network.classes} classes", f"faces of {height}×{width} pixels"


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
