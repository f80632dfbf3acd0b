"""Weights in the HDF5 layout of Keras 2: a group for each layer, which lists the arrays in it.

Read are weights-only files (`save_weights`) and full models (`save`) of Keras 2.2 and newer, also
those that Keras 3 writes; see keras/src/legacy/saving/legacy_h5_format.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ytf_torch.convert.keras_config import QUANTISED, STRIP, KerasModel, unwrapped_name
from ytf_torch.disk.hdf5 import (
    Dataset,
    Group,
    dataset,
    find_group,
    names_attribute,
    read_array,
    subgroup,
    text_attribute,
)
from ytf_torch.errors import InputError, mismatch

# The published network has 2.4 MB; conversion holds some six copies at a time, below 1 GB in all.
MAX_WEIGHT_BYTES = 64 * 2**20
# The deepest networks that Keras itself ships have some 700.
MAX_LAYERS = 1000
# Those have some 2,000.
MAX_ARRAYS = 3000
FLOATS = (np.float16, np.float32, np.float64)
MODEL_WEIGHTS, LAYER_NAMES, TOP_LEVEL = "model_weights", "layer_names", "top_level_model_weights"
# Where Keras's own format keeps layers; the second of Keras 2.13 and 2.14.
STORES = ("layers", "_layer_checkpoint_dependencies")
# What a pruning wrapper keeps beside its layer's weights and its mask: a number each.
PRUNING_STATE = ("threshold", "pruning_step")
# Weights that are not trained, in Keras's names.
UNTRAINED = ("moving_mean", "moving_variance")

Arrays = dict[str, NDArray[np.floating[Any]]]


def layers_of(root: Group) -> tuple[Group, list[str]] | None:
    """The group that lists its layers' names, and them; None where a file has another layout.

    Keras's load_model looks into `model_weights`, its load_weights at the root first, and for
    files that end in .weights.h5 into `layers`. Raises InputError where a file has more than one of
    them, which could be different networks.
    """
    inside = find_group(root, MODEL_WEIGHTS)
    at_root = names_attribute(root, LAYER_NAMES)
    places = [name for name in STORES if find_group(root, name) is not None]
    if inside is not None:
        places.append(MODEL_WEIGHTS)
    elif text_attribute(root, "model_config") is not None:
        expected = f"weights in `{MODEL_WEIGHTS}`, where Keras's load_model looks"
        raise mismatch(root.file.path, expected, f"`model_config` without `{MODEL_WEIGHTS}`")
    if at_root is not None:
        places.append(f"{LAYER_NAMES} at the root")
    if len(places) > 1:
        found = f"several: {', '.join(places)}"
        remedy = "Keras loads one or another of them: save the network in Keras again"
        raise mismatch(root.file.path, "one set of weights", found, remedy)
    group = root if inside is None else inside
    names = at_root if inside is None else names_attribute(inside, LAYER_NAMES)
    if names is None:
        return None
    if len(names) > MAX_LAYERS:
        raise mismatch(f"{group}@{LAYER_NAMES}", f"at most {MAX_LAYERS} layers", len(names))
    if len(set(names)) != len(names):
        raise InputError(f"{group}@{LAYER_NAMES}", "a layer is named twice")
    _check_top_level(group)
    return group, names


def _check_top_level(group: Group) -> None:
    """Raises InputError for weights of the model itself, of which a functional one has none."""
    top_level = find_group(group, TOP_LEVEL)
    found = None if top_level is None else names_attribute(top_level, "weight_names")
    if found:
        raise mismatch(f"{group}/{TOP_LEVEL}", "no weights", ", ".join(found)[:80])


class Budget:
    """How many bytes of weights a file may still declare."""

    def __init__(self) -> None:
        self.left = MAX_WEIGHT_BYTES

    def read(self, node: Dataset) -> NDArray[np.floating[Any]]:
        """An array of weights. Raises InputError where it is too large, or not of finite floats."""
        if node.dtype.kind in "iu":
            raise InputError(node, f"quantised weights, of {node.dtype}", QUANTISED)
        if node.dtype not in FLOATS:
            raise mismatch(node, "float16, float32 or float64", node.dtype)
        array = read_array(node, self.left)
        self.left -= array.nbytes
        if not np.isfinite(array).all():
            raise InputError(node, "weights that are NaN or infinite")
        return array


def weights_by_layer(
    group: Group, names: Sequence[str], nested: str | None, model: KerasModel | None
) -> dict[str, Arrays]:
    """Layer name → its arrays in the order of `weight_names`, by the last part of their name.

    nested: the layer that is a network of its own, whose layers' arrays lie in one group. model:
    the network, where the file tells it. Raises InputError where the weights stand in another order
    than the layers to which their names belong: Keras goes by the order.
    """
    weights: dict[str, Arrays] = {}
    listed: list[tuple[str, str]] = []
    budget, count = Budget(), 0
    for layer in names:
        holder = subgroup(group, layer)
        paths = names_attribute(holder, "weight_names") or []
        count += len(paths)
        if count > MAX_ARRAYS:
            raise mismatch(f"{holder}@weight_names", f"at most {MAX_ARRAYS} arrays in all", count)
        for path in paths:
            owner, part = _owner_and_part(layer, path, inside=layer == nested)
            owner = unwrapped_name(owner)
            if part in PRUNING_STATE:
                continue
            arrays = weights.setdefault(owner, {})
            if part in arrays:
                raise InputError(dataset(holder, path), f"{owner} has two weights named {part}")
            arrays[part] = budget.read(dataset(holder, path))
            listed.append((owner, part))
    if model is not None:
        _check_order(model, listed, f"{group}@{LAYER_NAMES}", nested=nested is not None)
    return {name: without_mask(arrays, f"{group}/{name}") for name, arrays in weights.items()}


def _check_order(
    model: KerasModel, listed: Sequence[tuple[str, str]], place: str, *, nested: bool
) -> None:
    """Raises InputError where the weights listed in a file do not follow each other as the layers
    do that Keras builds from the configuration, to which it gives them one after another.

    nested: of a model within a model Keras lists first what is trained, then all else.
    """
    layers = model.in_keras_order()
    if nested:
        frozen = {layer.name for layer in layers if layer.config.get("trainable") is False}
        rest = {entry for entry in listed if entry[0] in frozen or entry[1] in UNTRAINED}
    else:
        rest = set()
    positions = {layer.name: number for number, layer in enumerate(layers)}
    known = [entry for entry in listed if entry[0] in positions]
    expected = sorted(known, key=lambda entry: (entry in rest, positions[entry[0]]))
    for (owner, part), (following, _) in zip(known, expected, strict=True):
        if owner != following:
            remedy = f"Keras goes by the order, and would load {owner}'s {part} into {following}"
            raise mismatch(place, f"weights of {following} next", f"those of {owner}", remedy)


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
