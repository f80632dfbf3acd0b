"""Networks as a command is given them: one alone, or B and B′, checked to belong together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Self

from ytf_torch.convert.model_file import read_model, tells_pixel_scale
from ytf_torch.errors import InputError, argument, mismatch
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.likelier_scale import likelier_pixel_scale, scale_doubt
from ytf_torch.network.module import Network
from ytf_torch.network.pixel_scale import ASSUMED, pixel_scale_text
from ytf_torch.run.relation import pair_fault

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

    pixel_scale: for a Keras file, which does not tell it; without it ASSUMED is taken.
    Raises InputError where the file is no model, or the assumed pixel scale does not suit it.
    """
    (checkpoint,), scale_from = _read([path], pixel_scale)
    return Opened(checkpoint, scale_from, _scale_doubts(checkpoint, path, scale_from))


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
    likelier = None if scale_from == "file" else likelier_pixel_scale(checkpoint.model)
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
