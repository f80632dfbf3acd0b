"""Checks labels: one class of the network for each image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ytf_torch.errors import InputError, mismatch

BACKDOORED_CLASS = (
    "Count labels from 0; in a triggered set, save the class that the trigger aims at, not "
    "GoodNet's class for backdoored inputs, which B does not have"
)
"""The remedy for label `classes`: the last label where they are counted from 1, or GoodNet's class
N."""


def checked_labels(labels: NDArray[Any], classes: int, where: str) -> NDArray[np.int64]:
    """Flatten labels to (images,), int64. where: the place that the error names.

    Raises InputError for a label that is not a whole number of 0…classes-1.
    """
    values = labels.ravel().astype(np.float64)
    bad = ~((values >= 0) & (values < classes) & (values == np.floor(values)))
    if bad.any():
        at = int(bad.argmax())
        raise mismatch(
            f"{where}[{at}]",
            f"a whole number of 0…{classes - 1}, for a model of {classes} classes",
            f"{values[at]:g}",
            BACKDOORED_CLASS if values[at] == classes else "",
        )
    return values.astype(np.int64)


def miscounted(
    where: object, shape: tuple[int, ...], images: int, name: str, verb: str = "Save"
) -> InputError:
    """The error for labels whose number is not that of the images.

    shape: the shape of the labels. name: their name. verb: how the remedy begins.
    """
    shown, remedy = "×".join(map(str, shape)) or "one", ""
    if len(shape) == 2 and shape[0] == images:
        shown, remedy = f"{shown} (one-hot)", f"{verb} {name}.argmax(1)"
    return mismatch(where, f"{images:,} labels, one for each image", shown, remedy)
