"""Check the arguments of the Python functions and convert them for `ytf_torch.run`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.data import DataLoader, Dataset

from ytf_torch.defences.names import MOST_TWINS, every, is_known, repair_called
from ytf_torch.errors import argument, mismatch
from ytf_torch.images.datasets import Samples, images_of_samples
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.module import Network
from ytf_torch.network.preprocessing import Preprocessing

Model = str | Path | Checkpoint
Images = str | Path | ImageSet | Samples
PreprocessingForm = Preprocessing | str | Mapping[str, Any]
"""A Preprocessing, or anything that preprocessing_from accepts."""


def model_given(model: Model, name: str = "model") -> Path | Checkpoint:
    """The path of a model's file, or the Checkpoint itself. name: of the argument, for errors.

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
    """As `model_given`; None for None."""
    return None if model is None else model_given(model, name)


def images_given(faces: Images, name: str) -> Path | ImageSet:
    """The path of an image set's file, or the set itself; a PyTorch Dataset or DataLoader is read
    into memory. name: of the argument, for errors.

    Raises InputError for anything else, such as an array without labels.
    """
    if isinstance(faces, str | Path):
        return Path(faces)
    if isinstance(faces, Dataset | DataLoader):
        return images_of_samples(faces, name)
    if not isinstance(faces, ImageSet):
        remedy = "images_of(pixels, labels) gives an image set of arrays"
        raise mismatch(argument(name), "a path or an image set", kind_of(faces), remedy)
    return faces


def optional_images(faces: Images | None, name: str) -> Path | ImageSet | None:
    """As `images_given`; None for None."""
    return None if faces is None else images_given(faces, name)


def image_sets_given(faces: Images | Sequence[Images], name: str) -> tuple[Path | ImageSet, ...]:
    """A tuple of image sets, from a list of them or a single one. Raises InputError otherwise."""
    if isinstance(faces, list | tuple):
        return tuple(images_given(item, name) for item in faces)
    if isinstance(faces, str | Path | ImageSet | Dataset | DataLoader):
        return (images_given(faces, name),)
    raise mismatch(argument(name), "a path, an image set or a list of them", kind_of(faces))


def shape_given(input_shape: object) -> tuple[int, int, int]:
    """The shape of an image. Raises InputError unless it is three integers above 0."""
    sizes = list(input_shape) if isinstance(input_shape, Sequence) else []
    valid = all(hasattr(size, "__index__") and size > 0 for size in sizes)
    if len(sizes) != 3 or not valid:
        expected = "(channels, height, width) of an image"
        raise mismatch(argument("input_shape"), expected, repr(input_shape)[:80])
    channels, height, width = (int(size.__index__()) for size in sizes)
    return channels, height, width


def checked_target(target: object) -> int | None:
    """The attacker's target class. Raises InputError where it is no integer; whether it is a class
    of the network is checked with the network."""
    if target is None:
        return None
    if isinstance(target, bool) or not hasattr(target, "__index__"):
        raise mismatch(argument("target"), "a class, a whole number", repr(target)[:80])
    return int(target.__index__())


def device_given(device: object) -> str:
    """The device as text, also from a torch.device; resolve_device checks it."""
    return str(device)


def seed_given(seed: object) -> int:
    """A random seed. Raises InputError unless it is an integer of 0…2⁶³−1."""
    return _whole_number(seed, "seed", 2**63 - 1, "2⁶³−1")


def twins_given(twins: object) -> int:
    """A number of clean twins. Raises InputError unless it is an integer of 0…MOST_TWINS."""
    return _whole_number(twins, "twins", MOST_TWINS, str(MOST_TWINS))


def _whole_number(value: object, name: str, most: int, written: str) -> int:
    """Raises InputError unless the argument is an integer of 0…most. written: `most` in words."""
    number = -1 if isinstance(value, bool) or not hasattr(value, "__index__") else value.__index__()
    if not 0 <= number <= most:
        raise mismatch(argument(name), f"a whole number of 0…{written}", repr(value)[:80])
    return int(number)


def methods_given(methods: object, name: str, use: str) -> tuple[Any, ...]:
    """Methods as a tuple of names and objects.

    methods: "all", one name, several names as a list or as text such as "pruning,clp"; a list may
    also contain user-defined methods. name: of the argument, for errors. use: "repair" or "scan".
    Raises InputError where there are none, or a name is unknown.
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
    """The type of a value, for error messages."""
    return f"a {type(value).__name__}"
