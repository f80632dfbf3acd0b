"""Networks as a command is given them: one alone, or B and B′, checked to belong together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Self

from ytf_torch.convert.model_file import read_model, tells_pixel_scale
from ytf_torch.errors import InputError, argument, as_argument, mismatch
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.likelier_scale import likelier_pixel_scale, scale_doubt
from ytf_torch.network.module import Network
from ytf_torch.network.pixel_scale import ASSUMED, pixel_scale_text
from ytf_torch.run.relation import FEWEST_FACES, answers_fault, pair_fault, unproven

ScaleFrom = Literal["asked", "file", "assumed"]
Model = Path | Checkpoint
NOT_A_PAIR = "Give B as it came and a B′ that was made from it"


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
    """B and B′, which take the same faces with the same pixel scale and know the same classes.

    names: what to call both. untold: whether neither provenance nor weights tell that B′ was made
    from B. unproven: that one of the doubts which says so, until clean faces settle it.
    """

    repaired: Checkpoint = field(kw_only=True)
    names: tuple[object, object] = field(kw_only=True)
    untold: bool = field(default=False, kw_only=True)
    unproven: str | None = field(default=None, kw_only=True)

    def settled(self, clean: ImageSet | None, *, any_pair: bool = False) -> Pair:
        """The same pair with its answers to clean faces looked at, where nothing else tells whether
        B′ was made from B.

        Raises InputError where the answers say that it was not; with any_pair that is a doubt.
        """
        if self.unproven is None or clean is None or len(clean) < FEWEST_FACES:
            return self
        badnet, repaired = self.names
        fault = answers_fault(self.badnet.model, self.repaired.model, clean, badnet)
        if fault and not any_pair:
            raise InputError(repaired, fault, NOT_A_PAIR)
        doubts = tuple(doubt for doubt in self.doubts if doubt != self.unproven)
        known = replace(self, doubts=doubts, unproven=None)
        return known.doubted([f"{repaired} {fault}"]) if fault else known


def name_of(model: Model, name: str) -> object:
    """What messages call a network: its file, or the argument that it was given as."""
    return as_argument(name, None) if isinstance(model, Checkpoint) else model


def read_network(model: Model, pixel_scale: float | None = None, name: str = "model") -> Checkpoint:
    """The same as open_network, where whoever asks judges the pixel scale by faces."""
    (checkpoint,), _ = _read([model], [name_of(model, name)], pixel_scale)
    return checkpoint


def open_network(model: Model, pixel_scale: float | None = None, name: str = "model") -> Opened:
    """Read a converted model or a Keras file; a Checkpoint is taken as it is.

    pixel_scale: for a Keras file, which seldom tells it; without it ASSUMED is taken. name: of the
    argument that a Checkpoint was given as.
    Raises InputError where the file is no model, or the assumed pixel scale does not suit it.
    """
    (checkpoint,), scale_from = _read([model], [name_of(model, name)], pixel_scale)
    doubts = scale_doubts(checkpoint, model, name_of(model, name), scale_from)
    return Opened(checkpoint, scale_from, doubts)


def open_pair(
    badnet: Model,
    repaired: Model,
    pixel_scale: float | None = None,
    *,
    any_pair: bool = False,
    names: tuple[str, str] = ("model", "repaired"),
) -> Pair:
    """Read B and B′ from converted models or Keras files; Checkpoints are taken as they are.

    pixel_scale: for Keras files, which seldom tell it. Where one of both files tells it, that is
    taken for the other; else it is assumed to be ASSUMED.
    any_pair: take B and B′ that do not belong together; what speaks against them is in the doubts.
    names: of the arguments that Checkpoints were given as.
    Raises InputError where a file is no model, they differ in classes, input or pixel scale, they
    do not belong together, or the assumed pixel scale does not suit the network.
    """
    called = (name_of(badnet, names[0]), name_of(repaired, names[1]))
    (first, second), scale_from = _read([badnet, repaired], called, pixel_scale)
    check_same_input(first, second, *called)
    fault = pair_fault(first, second, *called)
    if fault and not any_pair:
        raise InputError(called[1], fault, NOT_A_PAIR)
    doubt = None if fault else unproven(first, second, *called)
    doubts = [f"{called[1]} {fault}"] if fault else []
    doubts += [doubt] if doubt else []
    doubts += scale_doubts(first, badnet, called[0], scale_from)
    return Pair(
        first,
        scale_from,
        tuple(doubts),
        repaired=second,
        names=called,
        untold=doubt is not None,
        unproven=doubt,
    )


def _read(
    models: Sequence[Model], names: Sequence[object], asked: float | None
) -> tuple[list[Checkpoint], ScaleFrom]:
    """All models, read with one pixel scale. Raises InputError where they tell different ones."""
    known = [_telling(model, name, asked) for model, name in zip(models, names, strict=True)]
    told = [
        (name, found.provenance.pixel_scale)
        for name, found in zip(names, known, strict=True)
        if isinstance(found, Checkpoint)
    ]
    scale, scale_from = _pixel_scale(told, asked)
    return [
        found if isinstance(found, Checkpoint) else read_model(found, scale) for found in known
    ], scale_from


def _telling(model: Model, name: object, asked: float | None) -> Model:
    """A model, read where it tells its pixel scale; another file is left to be read when the scale
    is known. Raises InputError where it tells another scale than is asked for."""
    if isinstance(model, Path):
        return read_model(model, asked) if tells_pixel_scale(model) else model
    own = model.provenance.pixel_scale
    if asked is not None and asked != own:
        raise mismatch(
            name,
            f"pixel scale {pixel_scale_text(asked)}, as asked for",
            f"{pixel_scale_text(own)} in its provenance",
            f"Leave {argument('pixel_scale')} out, or read the Keras file again with it",
        )
    return model


def _pixel_scale(
    told: Sequence[tuple[object, float]], asked: float | None
) -> tuple[float, ScaleFrom]:
    """The scale to read all files with. told: the scales of the models that have one, with what
    each is called."""
    if asked is not None:
        return asked, "asked"
    if not told:
        return ASSUMED, "assumed"
    (first, ours), (last, theirs) = told[0], told[-1]
    if ours != theirs:
        expected = f"pixel scale {pixel_scale_text(ours)}, as {first} has"
        raise mismatch(last, expected, pixel_scale_text(theirs))
    return ours, "file"


def scale_doubts(
    checkpoint: Checkpoint, model: Model, path: object, scale_from: ScaleFrom
) -> tuple[str, ...]:
    """Raises InputError where the doubtful scale was only assumed. model: what was read; path: what
    to call it."""
    told = scale_from == "file" or isinstance(model, Checkpoint) or tells_pixel_scale(model)
    likelier = None if told else likelier_pixel_scale(checkpoint.model)
    if likelier is None:
        return ()
    doubt = scale_doubt(checkpoint.model, likelier)
    if scale_from == "assumed":
        remedy = f"Say which one is right with {argument('pixel_scale')}"
        raise InputError(path, f"the file tells no pixel scale, and {doubt}", remedy)
    return (f"{path}: {doubt}",)


def check_same_input(
    first: Checkpoint, second: Checkpoint, badnet: object, repaired: object
) -> None:
    """Raises InputError naming the first thing that B and B′ have to share and do not."""
    for expected, found in zip(_input(first.model), _input(second.model), strict=True):
        if expected != found:
            raise mismatch(repaired, f"{expected}, as {badnet} has", found)


def _input(network: Network) -> tuple[str, str]:
    _, height, width = network.input_shape
    return f"{network.classes} classes", f"faces of {height}×{width} pixels"
