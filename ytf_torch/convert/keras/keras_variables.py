"""Read weights in Keras's own format: `layers/conv2d_2/vars/0`, in .weights.h5 and in .keras.

Layers are stored under their class in snake case and an ordinal per class, not under their names;
see _load_container_state in keras/src/saving/saving_lib.py. Keras 2.13 and 2.14 call the store
`_layer_checkpoint_dependencies`; 2.13 increments the ordinal twice for a layer with weights.

A pruning wrapper of tensorflow_model_optimization is counted as the class of the wrapper, and
contains the layer, as `prune_low_magnitude_3/layer`.
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
# File name of one shard: Keras can split weights into several files of limited size.
SHARD = re.compile(r"_\d{5}\.weights\.h5$")
ONE_FILE = "It is one of several files: load them in Keras, and save one with model.save('….keras')"
WRAPPER = "prune_low_magnitude"
# Nested models, which contain a store of their own.
HOLDER_KINDS = ("functional", "sequential")
ORDINAL = re.compile(r"(?P<kind>.*?)(?:_(?P<ordinal>\d+))?")


def snake_case(class_name: str) -> str:
    """A class name as Keras writes it in paths: Conv2D → conv2d, MaxPooling2D → max_pooling2d."""
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", class_name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()


def variable_paths(layers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Layer name → its path below `layers`. layers: (name, class) pairs, in Keras's order.

    >>> variable_paths([("conv_1", "Conv2D"), ("pool_1", "MaxPooling2D"), ("conv_2", "Conv2D")])
    {'conv_1': 'conv2d', 'pool_1': 'max_pooling2d', 'conv_2': 'conv2d_1'}
    """
    counts: dict[str, int] = {}
    paths = {}
    for name, class_name in layers:
        kind = snake_case(class_name)
        ordinal = counts.get(kind, 0)
        counts[kind] = ordinal + 1
        paths[name] = f"{kind}_{ordinal}" if ordinal else kind
    return paths


def find_store(group: Group) -> Group | None:
    """The group that contains a model's layers; None where the file has another layout.

    Raises InputError for weights of the model itself, which functional models do not have, and for
    two such groups: Keras would look for each layer in both of them.
    """
    stores = [store for name in STORES if (store := find_group(group, name)) is not None]
    if len(stores) > 1:
        raise mismatch(group, f"one of the groups {' and '.join(STORES)}", "both")
    variables = find_group(group, VARIABLES)
    if stores and variables is not None and member_names(variables):
        found = ", ".join(member_names(variables))[:80]
        raise mismatch(variables, "no weights of the model itself", found)
    return stores[0] if stores else None


WITHOUT_WEIGHTS = {snake_case(class_name) for class_name in IDENTITIES}


@dataclass(frozen=True)
class StoredLayer:
    """The weights of one layer.

    path: class and ordinal. name: the layer's name, which Keras stores since 3.6. arrays: by their
    number in the file, `0` for the first weight.
    """

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
    """The store of the network in a weights-only file; that of a nested model where there is one.

    Raises InputError where there is no store, or there are several nested models.
    """
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
    """Kind (class in snake case) → its layers in the order of their ordinals. Kinds without weights
    are left out.

    budget: shared by all stores of a file. leave_out: kinds that are not read. Raises InputError
    where ordinals are missing.
    """
    budget = budget or Budget()
    layers = {}
    for kind, paths in _paths_by_kind(store).items():
        # Layers without weights store only the state of a random generator.
        if kind in WITHOUT_WEIGHTS or kind in leave_out:
            continue
        read = _wrapped_layer if kind == WRAPPER else _stored_layer
        stored = [read(store, path, budget) for path in paths]
        if any(layer.arrays for layer in stored):
            layers[kind] = stored
    return layers


def _paths_by_kind(store: Group) -> dict[str, list[str]]:
    """The members of a store by kind, in the order of their ordinals."""
    ordinals: dict[str, dict[int, str]] = {}
    for path in member_names(store):
        match = ORDINAL.fullmatch(path)
        assert match is not None
        ordinals.setdefault(match["kind"], {})[int(match["ordinal"] or 0)] = path
    paths_by_kind = {}
    for kind, paths in ordinals.items():
        # Keras 2.13 increments the ordinal twice per layer with weights: 0, 2, 4, …
        doubled = store.path.endswith(OLD_STORE) and len(paths) > 1 and 1 not in paths
        expected = [number * (2 if doubled else 1) for number in range(len(paths))]
        if len(paths) > MAX_LAYERS:
            raise mismatch(store, f"at most {MAX_LAYERS} layers", f"{len(paths):,} {kind}")
        if sorted(paths) != expected:
            found = ", ".join(paths[number] for number in sorted(paths)[:10])
            remedy = ONE_FILE if SHARD.search(store.file.path.name) else ""
            raise mismatch(store, f"{kind}, {kind}_1 and so on, without gaps", found, remedy)
        paths_by_kind[kind] = [paths[number] for number in expected]
    return paths_by_kind


def weights_in_store(root: Group, network: KerasNetwork, *, own_config: bool) -> dict[str, Arrays]:
    """Layer of the graph → its arrays by Keras's weight name. Layers are matched by kind and
    ordinal, counted as Keras counts them in the model and in each nested model.

    own_config: whether the configuration is from the same file; else layer names may differ.
    Raises InputError where the layers of the file and of the model differ in number or name.
    """
    weights: dict[str, Arrays] = {}
    reading = _Reading(network.slots(), Budget(), own_config, weights)
    reading.model(store_of(root), network.model, ())
    return weights


@dataclass(frozen=True)
class _Reading:
    """The state while the weights of a network are read. weights: those read so far."""

    slots: Mapping[Path, Sequence[Slot]]
    budget: Budget
    own_config: bool
    weights: dict[str, Arrays]

    def model(self, store: Group, model: KerasModel, holders: tuple[str, ...]) -> None:
        """Read the layers of a model and its nested models. holders: path of the model itself."""
        stored_by_kind = stored_layers(store, self.budget, HOLDER_KINDS)
        layers: dict[str, list[KerasLayer]] = {}
        for layer in model.in_keras_order():
            layers.setdefault(_stored_as(layer), []).append(layer)
        for kind, stored in stored_by_kind.items():
            counted = layers.get(kind, [])
            # Layers of this kind without weights may have no group in the file.
            if len(counted) != len(stored):
                counted = [one for one in counted if self.slots.get((*holders, one.name))]
            if len(counted) != len(stored):
                raise mismatch(store, f"{len(counted)} {kind}, as in the model", len(stored))
            for layer, stored_layer in zip(counted, stored, strict=True):
                self._add(store, layer, stored_layer, holders)
        paths = _paths_by_kind(store)
        for kind in HOLDER_KINDS:
            self._models(store, kind, paths.get(kind, []), layers.get(kind, []), holders)

    def _add(
        self, store: Group, layer: KerasLayer, stored: StoredLayer, holders: tuple[str, ...]
    ) -> None:
        """Assign the stored arrays of one layer to its weights, after checking names and shapes."""
        place = f"{store}/{stored.path}"
        if self.own_config and stored.name not in (None, layer.name):
            raise mismatch(place, f"the weights of {layer.name}", f"those of {stored.name}")
        arrays, slots = list(stored.arrays.values()), self.slots.get((*holders, layer.name), ())
        if len(arrays) > len(slots):
            unexpected = list(stored.arrays)[len(slots) :]
            names = [f"{layer.name} ({number})" for number in unexpected]
            raise not_fitting(store.file.path, [], names)
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
        """Read nested models of one kind. paths: their groups in the store."""
        if len(paths) > len(models):
            raise mismatch(store, f"{len(models)} {kind}, as in the model", len(paths))
        for path, layer in zip(paths, models, strict=False):
            inner = find_store(subgroup(store, path))
            if inner is None and _holds_arrays(subgroup(store, path)):
                raise mismatch(f"{store}/{path}", f"a group `{STORE}`", "none")
            if inner is not None and layer.inner is not None:
                self.model(inner, layer.inner, (*holders, layer.name))


def _stored_as(layer: KerasLayer) -> str:
    """The kind under which Keras counts a layer."""
    if layer.in_pruning_wrapper:
        return WRAPPER
    return snake_case("Functional" if layer.class_name in MODELS else layer.class_name)


def _holds_arrays(group: Group, levels: int = 4) -> bool:
    """Whether a group contains arrays, directly or in groups below.

    Groups nested deeper than `levels` are not searched and count as containing some.
    """
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
        raise mismatch(variables, "`0`, `1` and so on, without gaps", listed)
    for array in arrays.values():
        if (stated := text_attribute(array, "dtype")) is not None:
            found = f"{stated[:80]}, to which Keras rounds what is stored"
            raise mismatch(f"{array}@dtype", "no dtype other than the array's own", found)
    read = {number: budget.read(array) for number, array in arrays.items()}
    return StoredLayer(path, text_attribute(variables, "name"), read)


def _wrapped_layer(store: Group, path: str, budget: Budget) -> StoredLayer:
    """The layer inside a pruning wrapper. Layers without weights may be wrapped too.

    The wrapper's own variables are a copy of the kernel, the mask, and two scalars. Raises
    InputError where the mask is not already applied to the kernel.
    """
    wrapper = subgroup(store, path)
    if find_group(wrapper, "layer") is None:
        raise InputError(wrapper, "a PruneLowMagnitude wrapper around no layer", STRIP)
    if not member_names(subgroup(subgroup(wrapper, "layer"), VARIABLES)):
        return StoredLayer(path, None, {})
    inner, variables = _stored_layer(wrapper, "layer", budget), subgroup(wrapper, VARIABLES)
    kernel, mask = (budget.read(dataset(variables, number)) for number in ("0", "1"))
    if not np.array_equal(kernel, inner.arrays["0"]):
        raise mismatch(
            f"{variables}/0", "a copy of the kernel of the layer inside", "another array"
        )
    masked = {"kernel": inner.arrays["0"], MASK: mask}
    without_mask(masked, str(wrapper))
    return StoredLayer(path, inner.name, inner.arrays)
