"""Weights in the HDF5 layout of Keras 2: a group for each layer, which lists the arrays in it.

Read are weights-only files (`save_weights`) and full models (`save`) of Keras 2.2 and newer, also
those that Keras 3 writes; see keras/src/legacy/saving/legacy_h5_format.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ytf_torch.convert.keras.keras_config import QUANTISED, STRIP, KerasLayer, unwrapped_name
from ytf_torch.convert.keras.keras_network import KerasNetwork, Path, Slot
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
from ytf_torch.layers.weight import Shape

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
MASK = "mask"
OTHER = "Give the architecture of the network whose weights these are"

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
    _check_backend(group)
    return group, names


def _check_backend(group: Group) -> None:
    """Raises InputError for kernels that are stored turned by 180°, which Keras 2 turned back when
    it loaded them and later ones do not."""
    backend = text_attribute(group, "backend")
    if backend == "theano":
        remedy = "Load it with Keras 2.3 on TensorFlow, and save it there"
        raise mismatch(f"{group}@backend", "weights of TensorFlow's convolutions", backend, remedy)


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

    def read(
        self, node: Dataset, shape: Shape | None = None, place: str = ""
    ) -> NDArray[np.floating[Any]]:
        """An array of weights. shape: which it must have; place: what to name where it has not.

        Raises InputError where it is of another shape, too large, or not of finite floats.
        """
        if node.dtype.kind in "iu":
            raise InputError(node, f"quantised weights, of {node.dtype}", QUANTISED)
        if node.dtype not in FLOATS:
            raise mismatch(node, "float16, float32 or float64", node.dtype)
        if shape is not None and node.shape != shape:
            raise mismatch(place, f"shape {shape}", node.shape)
        array = read_array(node, self.left)
        self.left -= array.nbytes
        if not np.isfinite(array).all():
            raise InputError(node, "weights that are NaN or infinite")
        return array


def weights_by_name(group: Group, names: Sequence[str]) -> dict[str, Arrays]:
    """Layer name → its arrays in the order of `weight_names`, by the last part of their name: of a
    file of weights whose network is not told."""
    weights: dict[str, Arrays] = {}
    budget = Budget()
    for stored in _stored(group, names):
        arrays = weights.setdefault(stored.name, {})
        for path, part in stored.parts():
            if part in arrays:
                place = dataset(stored.group, path)
                raise InputError(place, f"{stored.name} has two weights named {part}")
            arrays[part] = budget.read(dataset(stored.group, path))
    return {name: without_mask(arrays, f"{group}/{name}") for name, arrays in weights.items()}


@dataclass(frozen=True)
class _Stored:
    """A layer of the file that has weights: its name, its group, and the arrays that it lists."""

    name: str
    group: Group
    paths: tuple[str, ...]

    def parts(self) -> list[tuple[str, str]]:
        """Path and what it is, conv_3/kernel:0 → kernel, without what a pruning wrapper counts."""
        named = [(path, path.split("/")[-1].split(":")[0]) for path in self.paths]
        return [(path, part) for path, part in named if part not in PRUNING_STATE]


def _stored(group: Group, names: Sequence[str]) -> list[_Stored]:
    found, count = [], 0
    for name in names:
        holder = subgroup(group, name)
        paths = names_attribute(holder, "weight_names") or []
        count += len(paths)
        if count > MAX_ARRAYS:
            raise mismatch(f"{holder}@weight_names", f"at most {MAX_ARRAYS} arrays in all", count)
        if paths:
            found.append(_Stored(unwrapped_name(name), holder, tuple(paths)))
    return found


def weights_by_order(
    group: Group, names: Sequence[str], network: KerasNetwork, *, own_config: bool
) -> dict[str, Arrays]:
    """Layer of the graph → its arrays, by what Keras calls them, given out as Keras does: one after
    another to the layers that it builds from the configuration.

    own_config: whether the configuration is the file's; else its layers may bear other names than
    the file's. Raises InputError where weights are missing or left over or of another shape, and
    where a name says that they belong elsewhere than where Keras puts them.
    """
    slots = network.slots()
    expected = [
        (layer.name, listed)
        for layer in network.model.in_keras_order()
        if (listed := _listed(layer, slots))
    ]
    stored = _stored(group, names)
    _check_layers([name for name, _ in expected], stored, group, slots, own_config=own_config)
    weights: dict[str, Arrays] = {}
    budget = Budget()
    for (_, listed), found in zip(expected, stored, strict=True):
        parts = [(path, part) for path, part in found.parts() if part != MASK]
        if len(parts) != len(listed):
            raise _other_count(found.name, listed, parts, group)
        for (slot, path), (at, part) in zip(listed, parts, strict=True):
            _check_owner(listed, (slot, path), (at, part), group)
            place = f"{group.file.path}:{slot.layer}/{slot.weight.keras}"
            array = budget.read(dataset(found.group, at), slot.weight.keras_shape, place)
            weights.setdefault(slot.layer, {})[slot.weight.keras] = array
        _check_mask(found, weights.get(listed[0][0].layer, {}), group, budget)
    return weights


Listed = list[tuple[Slot, Path]]


def _listed(layer: KerasLayer, slots: Mapping[Path, Sequence[Slot]]) -> Listed:
    """The weights that Keras lists of a layer, and the paths of the layers that have them: of a
    model what is trained, then all else."""
    frozen: set[Path] = set()
    listed = _within(layer, (), slots, frozen)
    if layer.inner is None:
        return listed
    return sorted(listed, key=lambda entry: not entry[0].weight.trained or entry[1] in frozen)


def _within(
    layer: KerasLayer,
    holders: tuple[str, ...],
    slots: Mapping[Path, Sequence[Slot]],
    frozen: set[Path],
) -> Listed:
    path = (*holders, layer.name)
    if layer.inner is None:
        if not layer.trainable:
            frozen.add(path)
        return [(slot, path) for slot in slots.get(path, ())]
    below = [_within(each, path, slots, frozen) for each in layer.inner.in_keras_order()]
    listed = [entry for part in below for entry in part]
    if not layer.trainable and any(at not in frozen for _, at in listed):
        expected = "a model within a model that is frozen as a whole, or not"
        remedy = "Keras 2 and Keras 3 list its weights in different orders: save it as .keras"
        raise mismatch("/".join(path), expected, "one that is frozen but for layers of it", remedy)
    return listed


def _check_layers(
    expected: Sequence[str],
    stored: Sequence[_Stored],
    group: Group,
    slots: Mapping[Path, Sequence[Slot]],
    *,
    own_config: bool,
) -> None:
    """Raises InputError where the layers that have weights in a file are not those of the network,
    or follow each other otherwise."""
    names = [found.name for found in stored]
    if not own_config and set(names) != set(expected):
        if len(names) != len(expected):
            where = f"{group}@{LAYER_NAMES}"
            raise mismatch(where, f"{len(expected)} layers with weights", len(names), OTHER)
        return
    missing = [
        f"{name} ({', '.join(slot.weight.keras for slot in slots.get((name,), ())) or 'all'})"
        for name in expected
        if name not in names
    ]
    left = [
        f"{found.name} ({', '.join(part for _, part in found.parts())[:80]})"
        for found in stored
        if found.name not in expected
    ]
    if missing or left:
        raise not_fitting(group.file.path, missing, left)
    for following, found in zip(expected, stored, strict=True):
        if found.name != following:
            part = found.parts()[0][1]
            remedy = f"Keras goes by the order, and would load {found.name}'s {part} into "
            where = f"{group}@{LAYER_NAMES}"
            next_ = f"weights of {following} next"
            raise mismatch(where, next_, f"those of {found.name}", remedy + following)


def not_fitting(file: object, missing: Sequence[str], left: Sequence[str]) -> InputError:
    """The error for weights that are missing and left over, which it names."""
    return InputError(
        file,
        f"weights that do not fit its layers: missing {', '.join(missing) or 'none'}; "
        f"left over {', '.join(left) or 'none'}",
    )


def _other_count(
    name: str, listed: Listed, parts: Sequence[tuple[str, str]], group: Group
) -> InputError:
    missing = [f"{slot.layer} ({slot.weight.keras})" for slot, _ in listed[len(parts) :]]
    left = [f"{name} ({part})" for _, part in parts[len(listed) :]]
    return not_fitting(group.file.path, missing, left)


def _check_owner(
    listed: Listed, expected: tuple[Slot, Path], found: tuple[str, str], group: Group
) -> None:
    """Raises InputError where an array's name says that it belongs to another of the layers, or is
    another of the layer's weights, than the one into which Keras loads it."""
    (slot, path), (at, part) = expected, found
    above = at.split("/")[:-1]
    owners = {own for _, own in listed if "/".join(above).endswith(own[-1])}
    told = {own for own in owners if "/".join(above[-own[-1].count("/") - 1 :]) == own[-1]}
    parts = {each.weight.keras for each, own in listed if own == path}
    if (told and path not in told) or (part in parts and part != slot.weight.keras):
        where = f"{group}@weight_names"
        remedy = f"Keras goes by the order, and would load {at} there"
        raise mismatch(where, f"{slot.layer}'s {slot.weight.keras} next", at, remedy)


def _check_mask(found: _Stored, arrays: Arrays, group: Group, budget: Budget) -> None:
    masks = [path for path, part in found.parts() if part == MASK]
    if masks:
        mask = budget.read(dataset(found.group, masks[0]))
        kernel = next(iter(arrays.values()))
        without_mask({"kernel": kernel, MASK: mask}, f"{group}/{found.name}")


def without_mask(arrays: Arrays, place: str) -> Arrays:
    """A layer's weights without the mask of a pruning wrapper around it.

    The wrapper multiplies the kernel by its mask whenever it is called, strip_pruning does not:
    where both give the same network the mask can go.
    """
    if MASK not in arrays:
        return arrays
    kept = {part: array for part, array in arrays.items() if part != MASK}
    kernel, mask = kept.get("kernel"), arrays[MASK]
    if kernel is None or kernel.shape != mask.shape or not (kernel * mask == kernel).all():
        raise InputError(
            place,
            "a PruneLowMagnitude wrapper whose mask is not applied to its kernel",
            STRIP,
        )
    return kept
