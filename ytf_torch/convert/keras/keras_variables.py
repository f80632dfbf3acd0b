"""Weights in Keras's own format: `layers/conv2d_2/vars/0`, in .weights.h5 and in .keras.

Layers are not stored under their names but under their class and its ordinal among the model's
layers; see _load_container_state in keras/src/saving/saving_lib.py. Keras 2.13 and 2.14 call the
store `_layer_checkpoint_dependencies`, and 2.13 counts a layer that has weights twice there.

A layer in a pruning wrapper of tensorflow_model_optimization is not counted with its own class: the
wrapper is counted with the wrappers, and the layer lies in it, as `prune_low_magnitude_3/layer`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ytf_torch.convert.keras.keras_config import MODELS, QUANTISED, STRIP, KerasLayer, KerasModel
from ytf_torch.convert.keras.keras_h5 import (
    MASK,
    MAX_LAYERS,
    STORES,
    Arrays,
    Budget,
    not_fitting,
    without_mask,
)
from ytf_torch.convert.keras.keras_network import KerasNetwork, Path, Slot
from ytf_torch.disk.hdf5 import (
    Group,
    dataset,
    find_group,
    member_names,
    subgroup,
    text_attribute,
)
from ytf_torch.disk.hdf5 import kind as kind_at
from ytf_torch.errors import InputError, mismatch
from ytf_torch.layers.registry import IDENTITIES

STORE, OLD_STORE = STORES
VARIABLES = "vars"
# A part of weights that Keras saved in several files, each of so many bytes at most.
SHARD = re.compile(r"_\d{5}\.weights\.h5$")
ONE_FILE = "It is one of several files: load them in Keras, and save one with model.save('….keras')"
WRAPPER = "prune_low_magnitude"
# Models within models, which hold a store of their own.
HOLDER_KINDS = ("functional", "sequential")
ORDINAL = re.compile(r"(?P<kind>.*?)(?:_(?P<ordinal>\d+))?")


def snake_case(class_name: str) -> str:
    """A class as Keras writes it in paths: Conv2D → conv2d, MaxPooling2D → max_pooling2d."""
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", class_name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()


def variable_paths(layers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Layer name → its path below `layers`. layers: name and class of each, in Keras's order.

    >>> variable_paths([("conv_1", "Conv2D"), ("pool_1", "MaxPooling2D"), ("conv_2", "Conv2D")])
    {'conv_1': 'conv2d', 'pool_1': 'max_pooling2d', 'conv_2': 'conv2d_1'}
    """
    seen: dict[str, int] = {}
    paths = {}
    for name, class_name in layers:
        kind = snake_case(class_name)
        ordinal = seen.get(kind, 0)
        seen[kind] = ordinal + 1
        paths[name] = f"{kind}_{ordinal}" if ordinal else kind
    return paths


def find_store(group: Group) -> Group | None:
    """The group in which a model's layers lie, None where the file has another layout.

    Raises InputError for weights of the model itself, of which a functional one has none, and for
    two such groups: Keras looks for each layer in the one and then in the other.
    """
    stores = [found for name in STORES if (found := find_group(group, name)) is not None]
    if len(stores) > 1:
        raise mismatch(group, f"one of the groups {' and '.join(STORES)}", "both")
    own = find_group(group, VARIABLES)
    if stores and own is not None and member_names(own):
        raise mismatch(own, "no weights of the model itself", ", ".join(member_names(own))[:80])
    return stores[0] if stores else None


WITHOUT_WEIGHTS = {snake_case(class_name) for class_name in IDENTITIES}


@dataclass(frozen=True)
class StoredLayer:
    """The weights of one layer. path: class and ordinal. name: the layer's, told from 3.6 on."""

    path: str
    name: str | None
    arrays: Arrays


def store_of(root: Group) -> Group:
    """The store of a file. Raises InputError where it has none."""
    store = find_store(root)
    if store is None:
        expected = f"a Keras model: `layer_names`, `model_weights` or `{STORE}` at the root"
        remedy = "Save it in Keras with model.save('….keras') or model.save('….h5')"
        raise mismatch(root.file.path, expected, "none of them", remedy)
    return store


def store_inside(root: Group) -> Group:
    """The store of the one network in a file of weights alone, which may lie in that of a model
    around it. Raises InputError where there is none."""
    store = store_of(root)
    nested = {
        name: inner for name in member_names(store) if (inner := find_store(subgroup(store, name)))
    }
    if len(nested) > 1:
        found = f"several: {', '.join(list(nested)[:5])}"
        raise mismatch(store, "one network", found, "Save each network on its own")
    return next(iter(nested.values()), store)


def stored_layers(
    store: Group, budget: Budget | None = None, leave_out: Iterable[str] = ()
) -> dict[str, list[StoredLayer]]:
    """The layers that have weights, by kind in the order of their ordinals.

    budget: of the whole file, where the store is one of several. leave_out: kinds that are not
    read. arrays: by number, `0` for the first that Keras lists. Raises InputError where ordinals
    are missing.
    """
    budget = budget or Budget()
    found = {}
    for kind, paths in _paths_by_kind(store).items():
        # What layers without weights store is the state of a random generator.
        if kind in WITHOUT_WEIGHTS or kind in leave_out:
            continue
        read = _wrapped_layer if kind == WRAPPER else _stored_layer
        stored = [read(store, path, budget) for path in paths]
        if any(layer.arrays for layer in stored):
            found[kind] = stored
    return found


def _paths_by_kind(store: Group) -> dict[str, list[str]]:
    """The members of a store by kind, in the order of their ordinals."""
    ordinals: dict[str, dict[int, str]] = {}
    for path in member_names(store):
        match = ORDINAL.fullmatch(path)
        assert match is not None
        ordinals.setdefault(match["kind"], {})[int(match["ordinal"] or 0)] = path
    found = {}
    for kind, paths in ordinals.items():
        doubled = store.path.endswith(OLD_STORE) and len(paths) > 1 and 1 not in paths
        expected = [number * (2 if doubled else 1) for number in range(len(paths))]
        if len(paths) > MAX_LAYERS:
            raise mismatch(store, f"at most {MAX_LAYERS} layers", f"{len(paths):,} {kind}")
        if sorted(paths) != expected:
            listed = ", ".join(paths[number] for number in sorted(paths)[:10])
            remedy = ONE_FILE if SHARD.search(store.file.path.name) else ""
            raise mismatch(store, f"{kind}, {kind}_1 and so on, none left out", listed, remedy)
        found[kind] = [paths[number] for number in expected]
    return found


def weights_in_store(root: Group, network: KerasNetwork, *, own_config: bool) -> dict[str, Arrays]:
    """Layer of the graph → its arrays, by what Keras calls them, the layers counted as Keras counts
    those of the model, and those of each model in it.

    own_config: whether the configuration is the file's; else its layers may bear other names.
    Raises InputError where the file has others than the model, or tells other names.
    """
    weights: dict[str, Arrays] = {}
    reading = _Reading(network.slots(), Budget(), own_config, weights)
    reading.model(store_of(root), network.model, ())
    return weights


@dataclass(frozen=True)
class _Reading:
    """The weights of a network while they are read. weights: what is read so far."""

    slots: Mapping[Path, Sequence[Slot]]
    budget: Budget
    own_config: bool
    weights: dict[str, Arrays]

    def model(self, store: Group, model: KerasModel, holders: tuple[str, ...]) -> None:
        """Read the layers of a model, and of those in it."""
        found = stored_layers(store, self.budget, HOLDER_KINDS)
        layers: dict[str, list[KerasLayer]] = {}
        for layer in model.in_keras_order():
            layers.setdefault(_stored_as(layer), []).append(layer)
        for kind, stored in found.items():
            counted = layers.get(kind, [])
            if len(counted) != len(stored):
                counted = [each for each in counted if self.slots.get((*holders, each.name))]
            if len(counted) != len(stored):
                raise mismatch(store, f"{len(counted)} {kind}, as in the model", len(stored))
            for layer, one in zip(counted, stored, strict=True):
                self._take(store, layer, one, holders)
        paths = _paths_by_kind(store)
        for kind in HOLDER_KINDS:
            self._models(store, kind, paths.get(kind, []), layers.get(kind, []), holders)

    def _take(
        self, store: Group, layer: KerasLayer, stored: StoredLayer, holders: tuple[str, ...]
    ) -> None:
        place = f"{store}/{stored.path}"
        if self.own_config and stored.name not in (None, layer.name):
            raise mismatch(place, f"the weights of {layer.name}", f"those of {stored.name}")
        arrays, slots = list(stored.arrays.values()), self.slots.get((*holders, layer.name), ())
        if len(arrays) > len(slots):
            left = [f"{layer.name} ({number})" for number in list(stored.arrays)[len(slots) :]]
            raise not_fitting(store.file.path, [], left)
        for slot, array in zip(slots, arrays, strict=False):
            if array.shape != slot.weight.keras_shape:
                where = f"{store.file.path}:{slot.layer}/{slot.weight.keras}"
                raise mismatch(where, f"shape {slot.weight.keras_shape}", array.shape)
            self.weights.setdefault(slot.layer, {})[slot.weight.keras] = array

    def _models(
        self,
        store: Group,
        kind: str,
        paths: Sequence[str],
        models: Sequence[KerasLayer],
        holders: tuple[str, ...],
    ) -> None:
        if len(paths) > len(models):
            raise mismatch(store, f"{len(models)} {kind}, as in the model", len(paths))
        for path, layer in zip(paths, models, strict=False):
            inner = find_store(subgroup(store, path))
            if inner is None and _holds_arrays(subgroup(store, path)):
                raise mismatch(f"{store}/{path}", f"a group `{STORE}`", "none")
            if inner is not None and layer.inner is not None:
                self.model(inner, layer.inner, (*holders, layer.name))


def _stored_as(layer: KerasLayer) -> str:
    """The kind among which a layer is counted."""
    if layer.in_pruning_wrapper:
        return WRAPPER
    return snake_case("Functional" if layer.class_name in MODELS else layer.class_name)


def _holds_arrays(group: Group, levels: int = 4) -> bool:
    """Whether arrays lie in a group, or so deep in it that nobody looks."""
    if levels == 0:
        return True
    return any(
        kind_at(group, name) != "a group" or _holds_arrays(subgroup(group, name), levels - 1)
        for name in member_names(group)
    )


def _stored_layer(store: Group, path: str, budget: Budget) -> StoredLayer:
    variables = find_group(subgroup(store, path), VARIABLES)
    if variables is None:
        if _holds_arrays(subgroup(store, path)):
            raise mismatch(f"{store}/{path}", f"its weights in `{VARIABLES}`", "arrays elsewhere")
        return StoredLayer(path, None, {})
    numbers = sorted(member_names(variables), key=lambda number: (len(number), number))
    arrays = {number: dataset(variables, number) for number in numbers}
    if "0" in arrays and arrays["0"].dtype.kind in "iu":
        raise InputError(arrays["0"], f"quantised weights, of {arrays['0'].dtype}", QUANTISED)
    if numbers != [str(place) for place in range(len(numbers))]:
        listed = ", ".join(numbers[:10]) or "none"
        raise mismatch(variables, "`0`, `1` and so on, none left out", listed)
    for array in arrays.values():
        if (stated := text_attribute(array, "dtype")) is not None:
            found = f"{stated[:80]}, to which Keras rounds what is stored"
            raise mismatch(f"{array}@dtype", "no dtype beside the array's own", found)
    read = {number: budget.read(array) for number, array in arrays.items()}
    return StoredLayer(path, text_attribute(variables, "name"), read)


def _wrapped_layer(store: Group, path: str, budget: Budget) -> StoredLayer:
    """The layer in a pruning wrapper, where its mask changes nothing. Wrappers are also put around
    layers that have no weights.

    The wrapper's own variables are the layer's kernel once more, its mask, and two numbers.
    """
    wrapper = subgroup(store, path)
    if find_group(wrapper, "layer") is None:
        raise InputError(wrapper, "a PruneLowMagnitude wrapper around no layer", STRIP)
    if not member_names(subgroup(subgroup(wrapper, "layer"), VARIABLES)):
        return StoredLayer(path, None, {})
    inner, own = _stored_layer(wrapper, "layer", budget), subgroup(wrapper, VARIABLES)
    again, mask = (budget.read(dataset(own, number)) for number in ("0", "1"))
    if not np.array_equal(again, inner.arrays["0"]):
        raise mismatch(f"{own}/0", "the kernel of the layer inside once more", "another array")
    masked = {"kernel": inner.arrays["0"], MASK: mask}
    without_mask(masked, str(wrapper))
    return StoredLayer(path, inner.name, inner.arrays)
