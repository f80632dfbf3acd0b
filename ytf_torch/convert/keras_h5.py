"""Weights in the HDF5 layout of Keras 2: a group for each layer, which lists the arrays in it.

Read are weights-only files (`save_weights`) and full models (`save`) of Keras 2.2 and newer, also
those that Keras 3 writes; see keras/src/legacy/saving/legacy_h5_format.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ytf_torch.convert.keras_config import STRIP, unwrapped_name
from ytf_torch.disk.hdf5 import (
    Dataset,
    Group,
    dataset,
    find_group,
    names_attribute,
    read_array,
    subgroup,
)
from ytf_torch.errors import InputError, mismatch

# The published network has 2.4 MB; conversion holds some six copies at a time, below 1 GB in all.
MAX_WEIGHT_BYTES = 64 * 2**20
# The deepest networks that Keras itself ships have some 700.
MAX_LAYERS = 1000
# Those have some 2,000.
MAX_ARRAYS = 3000
FLOATS = (np.float16, np.float32, np.float64)
# What a pruning wrapper keeps beside its layer's weights and its mask: a number each.
PRUNING_STATE = ("threshold", "pruning_step")

Arrays = dict[str, NDArray[np.floating[Any]]]


def layers_of(root: Group) -> tuple[Group, list[str]] | None:
    """The group that lists its layers' names, and them; None where a file has another layout."""
    for group in (root, find_group(root, "model_weights")):
        names = None if group is None else names_attribute(group, "layer_names")
        if group is not None and names is not None:
            if len(names) > MAX_LAYERS:
                raise mismatch(f"{group}@layer_names", f"at most {MAX_LAYERS} layers", len(names))
            if len(set(names)) != len(names):
                raise InputError(f"{group}@layer_names", "a layer is named twice")
            return group, names
    return None


class Budget:
    """How many bytes of weights a file may still declare."""

    def __init__(self) -> None:
        self.left = MAX_WEIGHT_BYTES

    def read(self, node: Dataset) -> NDArray[np.floating[Any]]:
        """An array of weights. Raises InputError where it is too large, or not of finite floats."""
        if node.dtype not in FLOATS:
            raise mismatch(node, "float16, float32 or float64", node.dtype)
        array = read_array(node, self.left)
        self.left -= array.nbytes
        if not np.isfinite(array).all():
            raise InputError(node, "weights that are NaN or infinite")
        return array


def weights_by_layer(group: Group, names: Sequence[str], nested: str | None) -> dict[str, Arrays]:
    """Layer name → its arrays in the order of `weight_names`, by the last part of their name.

    nested: the layer that is a network of its own, whose layers' arrays lie in one group.
    """
    weights: dict[str, Arrays] = {}
    budget, count = Budget(), 0
    for layer in names:
        holder = subgroup(group, layer)
        paths = names_attribute(holder, "weight_names") or []
        count += len(paths)
        if count > MAX_ARRAYS:
            raise mismatch(f"{holder}@weight_names", f"at most {MAX_ARRAYS} arrays in all", count)
        for path in paths:
            owner, part = _owner_and_part(layer, path, inside=layer == nested)
            if part in PRUNING_STATE:
                continue
            arrays = weights.setdefault(unwrapped_name(owner), {})
            if part in arrays:
                raise InputError(dataset(holder, path), f"{owner} has two weights named {part}")
            arrays[part] = budget.read(dataset(holder, path))
    return {name: without_mask(arrays, f"{group}/{name}") for name, arrays in weights.items()}


def _owner_and_part(layer: str, path: str, *, inside: bool) -> tuple[str, str]:
    """Which layer an array belongs to, and what it is: conv_3/kernel:0 → conv_3, kernel."""
    *above, last = path.split("/")
    return (above[-1] if inside and above else layer), last.split(":")[0]


def without_mask(arrays: Arrays, place: str) -> Arrays:
    """A layer's weights without the mask of a pruning wrapper around it.

    The wrapper multiplies the kernel by its mask whenever it is called, strip_pruning does not:
    where both give the same network the mask can go.
    """
    if "mask" not in arrays:
        return arrays
    kept = {part: array for part, array in arrays.items() if part != "mask"}
    kernel, mask = kept.get("kernel"), arrays["mask"]
    if kernel is None or kernel.shape != mask.shape or not (kernel * mask == kernel).all():
        raise InputError(
            place,
            "a PruneLowMagnitude wrapper whose mask is not applied to its kernel",
            STRIP,
        )
    return kept
