"""Read weights in the HDF5 layout of Keras 2: one group per layer, with a list of its arrays.

Supports weights-only files (`save_weights`) and full models (`save`) of Keras 2.2 and newer,
including those of Keras 3; see keras/src/legacy/saving/legacy_h5_format.py.
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

# The published network has 2.4 MB. Conversion holds about six copies at a time: below 1 GB in all.
MAX_WEIGHT_BYTES = 64 * 2**20
# The deepest networks of keras.applications have about 700 layers and 2,000 arrays.
MAX_LAYERS = 1000
MAX_ARRAYS = 3000
FLOATS = (np.float16, np.float32, np.float64)
MODEL_WEIGHTS, LAYER_NAMES, TOP_LEVEL = "model_weights", "layer_names", "top_level_model_weights"
# Groups of layers in Keras's own format; the second is that of Keras 2.13 and 2.14.
STORES = ("layers", "_layer_checkpoint_dependencies")
# Scalars that a pruning wrapper stores in addition to its layer's weights and its mask.
PRUNING_STATE = ("threshold", "pruning_step")
MASK = "mask"
OTHER = "Give the architecture of the network whose weights these are"

Arrays = dict[str, NDArray[np.floating[Any]]]


def layers_of(root: Group) -> tuple[Group, list[str]] | None:
    """The group that contains the layers, and their names; None where the file has another layout.

    Keras's load_model reads `model_weights`; load_weights reads the root first, or `layers` in
    files that end in .weights.h5. Raises InputError where a file has more than one of them, because
    they could contain different networks.
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
    """Raises InputError for Theano kernels, which are stored rotated by 180°. Keras 2 rotated them
    when loading, later versions do not."""
    backend = text_attribute(group, "backend")
    if backend == "theano":
        remedy = "Load it with Keras 2.3 on TensorFlow, and save it there"
        raise mismatch(f"{group}@backend", "weights of TensorFlow's convolutions", backend, remedy)


def _check_top_level(group: Group) -> None:
    """Raises InputError for weights of the model itself; functional models have none."""
    top_level = find_group(group, TOP_LEVEL)
    names = None if top_level is None else names_attribute(top_level, "weight_names")
    if names:
        raise mismatch(f"{group}/{TOP_LEVEL}", "no weights", ", ".join(names)[:80])


class Budget:
    """Limits the bytes of weights that are read from one file.

    Checked before each allocation, because HDF5 can declare huge arrays in a small file.
    """

    def __init__(self) -> None:
        self.left = MAX_WEIGHT_BYTES

    def read(
        self, node: Dataset, shape: Shape | None = None, place: str = ""
    ) -> NDArray[np.floating[Any]]:
        """Read an array of weights. shape: expected shape. place: what to name if it differs.

        Raises InputError where the array has another shape, is too large, quantised or not of
        finite floats.
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
    """Layer name → its arrays in the order of `weight_names`, by the last part of their name. For a
    weights-only file without an architecture."""
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
    """A layer of the file with weights: its name, its group, and the paths of its arrays."""

    name: str
    group: Group
    paths: tuple[str, ...]

    def parts(self) -> list[tuple[str, str]]:
        """(path, part) of each array, part being `kernel` for conv_3/kernel:0; without the scalars
        of a pruning wrapper."""
        named = [(path, path.split("/")[-1].split(":")[0]) for path in self.paths]
        return [(path, part) for path, part in named if part not in PRUNING_STATE]


def _stored(group: Group, names: Sequence[str]) -> list[_Stored]:
    """The layers with weights, in the order of `names`."""
    layers, count = [], 0
    for name in names:
        holder = subgroup(group, name)
        paths = names_attribute(holder, "weight_names") or []
        count += len(paths)
        if count > MAX_ARRAYS:
            raise mismatch(f"{holder}@weight_names", f"at most {MAX_ARRAYS} arrays in all", count)
        if paths:
            layers.append(_Stored(unwrapped_name(name), holder, tuple(paths)))
    return layers


def weights_by_order(
    group: Group, names: Sequence[str], network: KerasNetwork, *, own_config: bool
) -> dict[str, Arrays]:
    """Layer of the graph → its arrays by Keras's weight name, assigned by position as Keras does.

    Keras gives the stored arrays, in order, to the layers that it builds from the configuration.
    own_config: whether the configuration is from the same file; else layer names may differ.
    Raises InputError where weights are missing, unexpected or of another shape, and where an
    array's name contradicts its position.
    """
    slots = network.slots()
    expected = [
        (layer.name, listed)
        for layer in network.model.in_keras_order()
        if (listed := _listed(layer, slots))
    ]
    stored_layers = _stored(group, names)
    _check_layers(
        [name for name, _ in expected], stored_layers, group, slots, own_config=own_config
    )
    weights: dict[str, Arrays] = {}
    budget = Budget()
    for (_, listed), stored in zip(expected, stored_layers, strict=True):
        parts = [(path, part) for path, part in stored.parts() if part != MASK]
        if len(parts) != len(listed):
            raise _other_count(stored.name, listed, parts, group)
        for (slot, path), (stored_path, part) in zip(listed, parts, strict=True):
            _check_owner(listed, (slot, path), (stored_path, part), group)
            place = f"{group.file.path}:{slot.layer}/{slot.weight.keras}"
            array = budget.read(dataset(stored.group, stored_path), slot.weight.keras_shape, place)
            weights.setdefault(slot.layer, {})[slot.weight.keras] = array
        _check_mask(stored, weights.get(listed[0][0].layer, {}), group, budget)
    return weights


Listed = list[tuple[Slot, Path]]


def _listed(layer: KerasLayer, slots: Mapping[Path, Sequence[Slot]]) -> Listed:
    """A layer's weights in the order in which Keras lists them, each with its layer's path.

    For a nested model Keras lists trainable weights first, then all others.
    """
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
    """The weights of a layer or nested model in construction order. Adds to `frozen` the paths of
    layers that are not trainable."""
    path = (*holders, layer.name)
    if layer.inner is None:
        if not layer.trainable:
            frozen.add(path)
        return [(slot, path) for slot in slots.get(path, ())]
    nested = [_within(inner, path, slots, frozen) for inner in layer.inner.in_keras_order()]
    listed = [entry for part in nested for entry in part]
    if not layer.trainable and any(owner not in frozen for _, owner in listed):
        expected = "a nested model that is frozen as a whole or not at all"
        remedy = "Keras 2 and Keras 3 list its weights in different orders: save it as .keras"
        raise mismatch(
            "/".join(path), expected, "one that is frozen except for some of its layers", remedy
        )
    return listed


def _check_layers(
    expected: Sequence[str],
    stored: Sequence[_Stored],
    group: Group,
    slots: Mapping[Path, Sequence[Slot]],
    *,
    own_config: bool,
) -> None:
    """Raises InputError where the layers with weights in a file are not those of the network, or
    are in another order.

    With a configuration from another file, other layer names are accepted if the number of layers
    fits: only positions count there, as in Keras.
    """
    names = [stored_layer.name for stored_layer in stored]
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
    unexpected = [
        f"{stored_layer.name} ({', '.join(part for _, part in stored_layer.parts())[:80]})"
        for stored_layer in stored
        if stored_layer.name not in expected
    ]
    if missing or unexpected:
        raise not_fitting(group.file.path, missing, unexpected)
    for name, stored_layer in zip(expected, stored, strict=True):
        if stored_layer.name != name:
            raise misplaced(group, name, stored_layer.name, stored_layer.parts()[0][1])


def misplaced(file: object, wanted: str, name: str, part: str) -> InputError:
    """The error for a layer whose weights are listed in the place of those of `wanted`.

    part: the weight of the layer that is named, such as "kernel".
    """
    remedy = f"Keras loads weights by position, and would load {name}'s {part} into {wanted}"
    where = f"{file}@{LAYER_NAMES}"
    return mismatch(where, f"weights of {wanted} next", f"those of {name}", remedy)


def not_fitting(file: object, missing: Sequence[str], unexpected: Sequence[str]) -> InputError:
    """The error for missing and unexpected weights. Names them all."""
    return InputError(
        file,
        f"weights that do not fit its layers: missing {', '.join(missing) or 'none'}; "
        f"unexpected {', '.join(unexpected) or 'none'}",
    )


def _other_count(
    name: str, listed: Listed, parts: Sequence[tuple[str, str]], group: Group
) -> InputError:
    missing = [f"{slot.layer} ({slot.weight.keras})" for slot, _ in listed[len(parts) :]]
    unexpected = [f"{name} ({part})" for _, part in parts[len(listed) :]]
    return not_fitting(group.file.path, missing, unexpected)


def _check_owner(
    listed: Listed, expected: tuple[Slot, Path], found: tuple[str, str], group: Group
) -> None:
    """Raises InputError where an array's name contradicts its position: it names another of the
    listed layers, or another weight of the layer, than the one into which Keras loads it.

    found: (path, part) of the array.
    """
    (slot, path), (stored_path, part) = expected, found
    parents = stored_path.split("/")[:-1]
    owners = {owner for _, owner in listed if "/".join(parents).endswith(owner[-1])}
    # Layer names may contain slashes: compare whole path components, not just the ending.
    named = {own for own in owners if "/".join(parents[-own[-1].count("/") - 1 :]) == own[-1]}
    parts = {other.weight.keras for other, owner in listed if owner == path}
    if (named and path not in named) or (part in parts and part != slot.weight.keras):
        where = f"{group}@weight_names"
        remedy = f"Keras loads weights by position, and would load {stored_path} there"
        raise mismatch(where, f"{slot.layer}'s {slot.weight.keras} next", stored_path, remedy)


def _check_mask(stored: _Stored, arrays: Arrays, group: Group, budget: Budget) -> None:
    """Raises InputError where a pruning wrapper's mask is not already applied to the kernel."""
    masks = [path for path, part in stored.parts() if part == MASK]
    if masks:
        mask = budget.read(dataset(stored.group, masks[0]))
        kernel = next(iter(arrays.values()))
        without_mask({"kernel": kernel, MASK: mask}, f"{group}/{stored.name}")


def without_mask(arrays: Arrays, place: str) -> Arrays:
    """A layer's weights without the mask of a pruning wrapper around it.

    The wrapper multiplies kernel by mask on every call; strip_pruning merely drops the mask. Both
    agree if `kernel · mask == kernel`. Raises InputError otherwise.
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
