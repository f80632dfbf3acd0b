"""What Python gives for a network or for faces, as the flows of `run` take it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.data import DataLoader, Dataset

from ytf_torch.defences.names import every, is_known, repair_called
from ytf_torch.errors import argument, mismatch
from ytf_torch.images.datasets import Samples, images_of_samples
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.module import Network
from ytf_torch.network.preprocessing import Preprocessing

Model = str | Path | Checkpoint
Images = str | Path | ImageSet | Samples
PreprocessingForm = Preprocessing | str | Mapping[str, Any]
"""A Preprocessing, or what preprocessing_from makes one of."""


def model_given(model: Model, name: str = "model") -> Path | Checkpoint:
    """A model's file, or the Checkpoint as it is. name: of the argument.

    Raises InputError for anything else.
    """
    if isinstance(model, str | Path):
        return Path(model)
    if not isinstance(model, Checkpoint):
        remedy = "read_model gives a Checkpoint"
        if isinstance(model, nn.Module) and not isinstance(model, Network):
            remedy = "ytf_torch.wrap makes a Checkpoint of a PyTorch module"
        raise mismatch(argument(name), "a path or a Checkpoint", kind_of(model), remedy)
    return model


def optional_model(model: Model | None, name: str) -> Path | Checkpoint | None:
    """The same of what need not be given."""
    return None if model is None else model_given(model, name)


def images_given(faces: Images, name: str) -> Path | ImageSet:
    """A face set's file, or the set as it is; a dataset or loader of PyTorch is read into memory.
    name: of the argument.

    Raises InputError for anything else, such as an array without labels.
    """
    if isinstance(faces, str | Path):
        return Path(faces)
    if isinstance(faces, Dataset | DataLoader):
        return images_of_samples(faces, name)
    if not isinstance(faces, ImageSet):
        remedy = "images_of(pixels, labels) gives a face set of arrays"
        raise mismatch(argument(name), "a path or a face set", kind_of(faces), remedy)
    return faces


def optional_images(faces: Images | None, name: str) -> Path | ImageSet | None:
    """The same of what need not be given."""
    return None if faces is None else images_given(faces, name)


def image_sets_given(faces: Images | Sequence[Images], name: str) -> tuple[Path | ImageSet, ...]:
    """Several face sets, of which a single one may be given alone."""
    if isinstance(faces, list | tuple):
        return tuple(images_given(one, name) for one in faces)
    if isinstance(faces, str | Path | ImageSet | Dataset | DataLoader):
        return (images_given(faces, name),)
    raise mismatch(argument(name), "a path, a face set or a list of them", kind_of(faces))


def shape_given(input_shape: object) -> tuple[int, int, int]:
    """The shape of an image. Raises InputError for anything but three whole numbers above 0."""
    sides = list(input_shape) if isinstance(input_shape, Sequence) else []
    whole = all(hasattr(side, "__index__") and side > 0 for side in sides)
    if len(sides) != 3 or not whole:
        expected = "(channels, height, width) of an image"
        raise mismatch(argument("input_shape"), expected, repr(input_shape)[:80])
    channels, height, width = (int(side.__index__()) for side in sides)
    return channels, height, width


def checked_target(target: object) -> int | None:
    """The attacker's target. Raises InputError where it is no whole number; whether a network
    knows that class is checked with the network."""
    if target is None:
        return None
    if isinstance(target, bool) or not hasattr(target, "__index__"):
        raise mismatch(argument("target"), "a class, a whole number", repr(target)[:80])
    return int(target.__index__())


def device_given(device: object) -> str:
    """auto, cpu or cuda, which may be given as a torch.device too; resolve_device checks it."""
    return str(device)


def seed_given(seed: object) -> int:
    """A seed as ytf-repair takes one. Raises InputError for anything else."""
    number = -1 if isinstance(seed, bool) or not hasattr(seed, "__index__") else seed.__index__()
    if not 0 <= number < 2**63:
        raise mismatch(argument("seed"), "a whole number of 0…2⁶³−1", repr(seed)[:80])
    return int(number)


def methods_given(methods: object, name: str, use: str) -> tuple[Any, ...]:
    """Methods: "all", a name, several as a list or as the flag is written, "pruning,clp"; or
    objects of the user's own among them.

    use: repair or scan. Raises InputError where there are none, or a name is not known.
    """
    if isinstance(methods, str):
        parts: list[Any] = [part.strip() for part in methods.split(",")]
    elif isinstance(methods, list | tuple):
        parts = [part.strip() if isinstance(part, str) else part for part in methods]
    else:
        parts = [methods]
    known = f"all, or some of {', '.join(every(use))}"
    plain = (type(None), bool, int, float, bytes, dict, set)
    if not parts or any(isinstance(part, plain) for part in parts):
        raise mismatch(argument(name), known, repr(methods)[:80])
    if parts == ["all"]:
        parts = list(every(use))
    if use == "repair":
        parts = [repair_called(part) if isinstance(part, str) else part for part in parts]
    for part in parts:
        if isinstance(part, str) and not is_known(use, part):
            raise mismatch(argument(name), known, part or "nothing")
    return tuple(parts)


def kind_of(value: object) -> str:
    """What something is, in words."""
    return f"a {type(value).__name__}"
