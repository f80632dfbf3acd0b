"""Open the networks of a command: one alone, or B and B′, checked to belong together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Self

from ytf_torch.convert.model_file import check_asked, read_model, tells_pixel_scale
from ytf_torch.defences.doubts import Doubt
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
    """An opened network.

    scale_from: the source of its preprocessing: "asked" (the caller specified it), "file" (a file
    records it) or "assumed". doubts: warnings about the network and its image sets, one sentence
    each. grave: those of them after which figures may not mean what they seem to mean.
    """

    badnet: Checkpoint
    scale_from: ScaleFrom
    doubts: tuple[str, ...] = ()
    grave: tuple[Doubt, ...] = ()

    def doubted(self, doubts: Iterable[object]) -> Self:
        """A copy with further warnings."""
        further = tuple(doubts)
        grave = (doubt for doubt in further if isinstance(doubt, Doubt) and doubt.grave)
        return replace(self, doubts=(*self.doubts, *map(str, further)), grave=(*self.grave, *grave))


@dataclass(frozen=True)
class Pair(Opened):
    """B and B′, with equal input size, preprocessing and number of classes.

    names: of B and B′ in messages. untold: True if neither provenance nor weights show that B′ was
    derived from B. unproven: the warning in `doubts` that says so, until `settled` resolves it.
    """

    repaired: Checkpoint = field(kw_only=True)
    names: tuple[object, object] = field(kw_only=True)
    untold: bool = field(default=False, kw_only=True)
    unproven: str | None = field(default=None, kw_only=True)

    def settled(self, clean: ImageSet | None, *, any_pair: bool = False) -> Pair:
        """Decide by predictions on clean images whether B′ was derived from B, if still open.

        Returns the pair without the `unproven` warning; unchanged where nothing is open, or there
        are too few images. Raises InputError where the predictions show that B′ was not derived
        from B; with any_pair that becomes a warning.
        """
        if self.unproven is None or clean is None or len(clean) < FEWEST_FACES:
            return self
        badnet, repaired = self.names
        fault = answers_fault(self.badnet.model, self.repaired.model, clean, badnet)
        if fault and not any_pair:
            raise InputError(repaired, fault, NOT_A_PAIR)
        doubts = tuple(doubt for doubt in self.doubts if doubt != self.unproven)
        settled_pair = replace(self, doubts=doubts, unproven=None)
        return settled_pair.doubted([f"{repaired} {fault}"]) if fault else settled_pair


def name_of(model: Model, name: str) -> object:
    """The name of a network in messages: its file, or the name of its argument."""
    return as_argument(name, None) if isinstance(model, Checkpoint) else model


def read_network(model: Model, asked: Asked = None, name: str = "model") -> Checkpoint:
    """As open_network, but without a check of the pixel scale: the caller checks it on images."""
    (checkpoint,), _ = _read([model], [name_of(model, name)], asked)
    return checkpoint


def open_network(model: Model, asked: Asked = None, name: str = "model") -> Opened:
    """Read a converted model or a Keras file; a Checkpoint is used as it is.

    asked: the preprocessing of a Keras file, which rarely records it; None assumes RAW. name: the
    argument that a Checkpoint was passed as, for messages.
    Raises InputError where the file is no model, or the assumed pixel scale is implausible.
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
    """Read B and B′ from converted models or Keras files; Checkpoints are used as they are.

    asked: the preprocessing of Keras files, which rarely record it. None takes it from the other
    file, if that records one, else assumes RAW.
    any_pair: accept B and B′ that do not belong together; the reasons become warnings in `doubts`.
    names: the arguments that Checkpoints were passed as, for messages.
    Raises InputError where a file is no model, the two differ in classes, input size or
    preprocessing, do not belong together, or the assumed pixel scale is implausible.
    """
    shown_names = (name_of(badnet, names[0]), name_of(repaired, names[1]))
    (first, second), scale_from = _read([badnet, repaired], shown_names, asked)
    check_same_input(first, second, *shown_names)
    fault = pair_fault(first, second, *shown_names)
    if fault and not any_pair:
        raise InputError(shown_names[1], fault, NOT_A_PAIR)
    doubt = None if fault else unproven(first, second, *shown_names)
    doubts = [f"{shown_names[1]} {fault}"] if fault else []
    doubts += [doubt] if doubt else []
    doubts += scale_doubts(first, badnet, shown_names[0], scale_from)
    return Pair(
        first,
        scale_from,
        tuple(doubts),
        repaired=second,
        names=shown_names,
        untold=doubt is not None,
        unproven=doubt,
    )


def _read(
    models: Sequence[Model], names: Sequence[object], asked: Asked
) -> tuple[list[Checkpoint], ScaleFrom]:
    """Read all models with one preprocessing. Raises InputError where they record different
    ones."""
    opened = [
        _read_if_recorded(model, name, asked) for model, name in zip(models, names, strict=True)
    ]
    recorded = [
        (name, model_or_path.provenance.preprocessing)
        for name, model_or_path in zip(names, opened, strict=True)
        if isinstance(model_or_path, Checkpoint)
    ]
    preprocessing, scale_from = _preprocessing(recorded, asked)
    return [
        model_or_path
        if isinstance(model_or_path, Checkpoint)
        else read_model(model_or_path, preprocessing)
        for model_or_path in opened
    ], scale_from


def _read_if_recorded(model: Model, name: object, asked: Asked) -> Model:
    """Read a model that records its preprocessing. A file that does not is returned as a path, to
    be read once the preprocessing is known. Raises InputError where it records another than
    asked."""
    if isinstance(model, Path):
        return read_model(model, asked) if tells_pixel_scale(model) else model
    check_asked(asked, model, name, "provenance", "read")
    return model


def _preprocessing(
    recorded: Sequence[tuple[object, Preprocessing]], asked: Asked
) -> tuple[Preprocessing, ScaleFrom]:
    """The preprocessing for all files, and its source. recorded: name and preprocessing of each
    model that records one. Raises InputError where they differ."""
    if asked is not None:
        return preprocessing_of(asked), "asked"
    if not recorded:
        return RAW, "assumed"
    (first, ours), (last, theirs) = recorded[0], recorded[-1]
    if ours != theirs:
        raise mismatch(last, f"{ours.words}, as {first} has", theirs.text)
    return ours, "file"


def scale_doubts(
    checkpoint: Checkpoint, model: Model, path: object, scale_from: ScaleFrom
) -> tuple[str, ...]:
    """A warning where another pixel scale is more plausible; none where a file records it.

    model: what was read. path: its name in messages. Raises InputError instead of warning where
    the scale was only assumed.
    """
    recorded = scale_from == "file" or isinstance(model, Checkpoint) or tells_pixel_scale(model)
    likelier = None if recorded else likelier_pixel_scale(checkpoint.model)
    if likelier is None:
        return ()
    doubt = scale_doubt(checkpoint.model, likelier)
    if scale_from == "assumed":
        remedy = f"Say which one is right with {argument('pixel_scale')}"
        raise InputError(path, f"the file records no pixel scale, and {doubt}", remedy)
    return (f"{path}: {doubt}",)


def check_same_input(
    first: Checkpoint, second: Checkpoint, badnet: object, repaired: object
) -> None:
    """Raises InputError where B and B′ differ in their number of classes or input size."""
    for expected, actual in zip(_input(first.model), _input(second.model), strict=True):
        if expected != actual:
            raise mismatch(repaired, f"{expected}, as {badnet} has", actual)


def _input(network: Network) -> tuple[str, str]:
    _, height, width = network.input_shape
    return f"{network.classes} classes", f"faces of {height}×{width} pixels"
