"""Networks as a command is given them: one alone, or B and B′, checked to belong together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Self

from ytf_torch.convert.model_file import check_asked, read_model, tells_pixel_scale
from ytf_torch.errors import InputError, argument, as_argument, mismatch
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.likelier_scale import likelier_pixel_scale, scale_doubt
from ytf_torch.network.module import Network
from ytf_torch.network.preprocessing import RAW, Preprocessing, preprocessing_of
from ytf_torch.run.relation import FEWEST_FACES, answers_fault, pair_fault, unproven

ScaleFrom = Literal["asked", "file", "assumed"]
Model = Path | Checkpoint
Asked = Preprocessing | float | None
"""What a caller says of what the networks read; a number is a pixel scale."""
NOT_A_PAIR = "Give B as it came and a B′ that was made from it"


@dataclass(frozen=True)
class Opened:
    """A network.

    scale_from: where its preprocessing was found: the caller asked for it, a file tells it, or it
    was assumed. doubts: what speaks against it, one sentence each; empty for a good one.
    """

    badnet: Checkpoint
    scale_from: ScaleFrom
    doubts: tuple[str, ...] = ()

    def doubted(self, doubts: Iterable[object]) -> Self:
        """The same network, and what else speaks against it."""
        return replace(self, doubts=(*self.doubts, *map(str, doubts)))


@dataclass(frozen=True)
class Pair(Opened):
    """B and B′, which take the same faces with the same preprocessing and know the same classes.

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


def read_network(model: Model, asked: Asked = None, name: str = "model") -> Checkpoint:
    """The same as open_network, where whoever asks judges the pixel scale by faces."""
    (checkpoint,), _ = _read([model], [name_of(model, name)], asked)
    return checkpoint


def open_network(model: Model, asked: Asked = None, name: str = "model") -> Opened:
    """Read a converted model or a Keras file; a Checkpoint is taken as it is.

    asked: the preprocessing of a Keras file, which seldom tells it; without it RAW is taken. name:
    of the argument that a Checkpoint was given as.
    Raises InputError where the file is no model, or the assumed pixel scale does not suit it.
    """
    (checkpoint,), scale_from = _read([model], [name_of(model, name)], asked)
    doubts = scale_doubts(checkpoint, model, name_of(model, name), scale_from)
    return Opened(checkpoint, scale_from, doubts)


def open_pair(
    badnet: Model,
    repaired: Model,
    asked: Asked = None,
    *,
    any_pair: bool = False,
    names: tuple[str, str] = ("model", "repaired"),
) -> Pair:
    """Read B and B′ from converted models or Keras files; Checkpoints are taken as they are.

    asked: the preprocessing of Keras files, which seldom tell it. Where one of both files tells it,
    that is taken for the other; else it is assumed to be RAW.
    any_pair: take B and B′ that do not belong together; what speaks against them is in the doubts.
    names: of the arguments that Checkpoints were given as.
    Raises InputError where a file is no model, they differ in classes, input or preprocessing,
    they do not belong together, or the assumed pixel scale does not suit the network.
    """
    called = (name_of(badnet, names[0]), name_of(repaired, names[1]))
    (first, second), scale_from = _read([badnet, repaired], called, asked)
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
    models: Sequence[Model], names: Sequence[object], asked: Asked
) -> tuple[list[Checkpoint], ScaleFrom]:
    """All models, read with one preprocessing. Raises InputError where they tell different ones."""
    known = [_telling(model, name, asked) for model, name in zip(models, names, strict=True)]
    told = [
        (name, found.provenance.preprocessing)
        for name, found in zip(names, known, strict=True)
        if isinstance(found, Checkpoint)
    ]
    wanted, scale_from = _preprocessing(told, asked)
    return [
        found if isinstance(found, Checkpoint) else read_model(found, wanted) for found in known
    ], scale_from


def _telling(model: Model, name: object, asked: Asked) -> Model:
    """A model, read where it tells its preprocessing; another file is left to be read when that is
    known. Raises InputError where it tells another than is asked for."""
    if isinstance(model, Path):
        return read_model(model, asked) if tells_pixel_scale(model) else model
    check_asked(asked, model, name, "provenance", "read")
    return model


def _preprocessing(
    told: Sequence[tuple[object, Preprocessing]], asked: Asked
) -> tuple[Preprocessing, ScaleFrom]:
    """What to read all files with. told: the preprocessing of the models that have one, with what
    each is called."""
    if asked is not None:
        return preprocessing_of(asked), "asked"
    if not told:
        return RAW, "assumed"
    (first, ours), (last, theirs) = told[0], told[-1]
    if ours != theirs:
        raise mismatch(last, f"{ours.words}, as {first} has", theirs.text)
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
