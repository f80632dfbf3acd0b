"""What the labels of a file have to be: a class of the network for each image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ytf_torch.errors import InputError, mismatch

BACKDOORED_CLASS = (
    "That is the class that says backdoored, which B does not know: save the class that the "
    "trigger aims at"
)


def checked_labels(labels: NDArray[Any], classes: int, where: str) -> NDArray[np.int64]:
    """Labels of any shape, one an image, as (images,), int64. where: what to name in an error.

    Raises InputError where one is not a whole number of 0…classes-1.
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
    """The error for labels that are not one an image.

    shape: of the labels. name: what they are called. verb: what to do with them.
    """
    found, remedy = "×".join(map(str, shape)) or "one", ""
    if len(shape) == 2 and shape[0] == images:
        found, remedy = f"{found} (one-hot)", f"{verb} {name}.argmax(1)"
    return mismatch(where, f"{images:,} labels, one for each image", found, remedy)
