"""What is in a Keras HDF5 file: layers, arrays and configuration, with nothing executed.

Read are weights-only files (`save_weights`) and full models (`save`) of Keras 2.2 to tf.keras
2.x; see the legacy HDF5 format in keras/src/legacy/saving/legacy_h5_format.py.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ytf_torch.disk.hdf5 import (
    Group,
    dataset,
    find_group,
    names_attribute,
    open_hdf5,
    read_array,
    subgroup,
    text_attribute,
)
from ytf_torch.disk.reading import check_no_archive
from ytf_torch.errors import InputError, mismatch

# The published network has 2.4 MB; conversion holds some six copies at a time, below 1 GB in all.
MAX_WEIGHT_BYTES = 64 * 2**20
# The weights, and as much again twice for an optimizer, which is not read.
MAX_FILE_BYTES = 256 * 2**20
# The deepest networks that Keras itself ships have some 700.
MAX_LAYERS = 1000
# Those have some 2,000.
MAX_ARRAYS = 3000
# Classes of Keras that run code, or carry code or a path to it, when Keras loads them.
CODE_CLASSES = frozenset(
    {
        *("Lambda", "function", "__lambda__", "__typespec__"),
        *("TFSMLayer", "TorchModuleWrapper", "FlaxLayer", "JaxLayer"),
    }
)
KERAS_MODULES = ("keras", "tf_keras", "tensorflow")
FLOATS = (np.float16, np.float32, np.float64)


@dataclass(frozen=True)
class KerasLayer:
    """One layer of the configuration.

    inbound: names of the layers whose outputs it reads, in order.
    """

    name: str
    class_name: str
    config: Mapping[str, Any]
    inbound: tuple[str, ...]


@dataclass(frozen=True)
class KerasFile:
    """The content of a Keras HDF5 file.

    weights: layer name → its arrays in the order of `weight_names`, by the last part of their
    name (`kernel`, `bias`); layers without weights are left out.
    layers: the model's graph, None in a weights-only file. outputs: names of its output layers.
    """

    path: Path
    sha256: str
    keras_version: str
    weights: Mapping[str, Mapping[str, NDArray[np.floating[Any]]]]
    layers: tuple[KerasLayer, ...] | None
    outputs: tuple[str, ...]


def read_keras_file(path: Path) -> KerasFile:
    """Read a Keras HDF5 file.

    Raises InputError, naming the place in the file, where it is not one, is damaged, leads to
    other files, or declares more than MAX_WEIGHT_BYTES of weights.
    """
    check_no_archive(path)
    if path.stat().st_size > MAX_FILE_BYTES:
        raise mismatch(path, f"at most {MAX_FILE_BYTES:,} bytes", f"{path.stat().st_size:,}")
    with open_hdf5(path) as file:
        names = names_attribute(file, "layer_names")
        group = file
        if names is None:
            group = _model_weights(file)
            names = names_attribute(group, "layer_names") or []
        config = text_attribute(file, "model_config")
        layers, outputs = (None, ()) if config is None else _graph(config, f"{path}@model_config")
        return KerasFile(
            path=path,
            sha256=_sha256(path),
            keras_version=text_attribute(group, "keras_version")
            or text_attribute(file, "keras_version")
            or "unknown",
            weights=_weights(group, names),
            layers=layers,
            outputs=outputs,
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _model_weights(file: Group) -> Group:
    group = find_group(file, "model_weights")
    if group is None:
        raise mismatch(
            file.file.path,
            "a Keras model: `layer_names` at the root, or `model_weights`",
            "neither",
            "Save it with Keras's model.save('….h5') or save_weights('….h5')",
        )
    return group


def _weights(group: Group, names: list[str]) -> dict[str, dict[str, NDArray[np.floating[Any]]]]:
    if len(names) > MAX_LAYERS:
        raise mismatch(f"{group}@layer_names", f"at most {MAX_LAYERS} layers", len(names))
    if len(set(names)) != len(names):
        raise InputError(f"{group}@layer_names", "a layer is named twice")
    weights: dict[str, dict[str, NDArray[np.floating[Any]]]] = {}
    budget, count = MAX_WEIGHT_BYTES, 0
    for layer in names:
        holder = subgroup(group, layer)
        arrays: dict[str, NDArray[np.floating[Any]]] = {}
        weight_names = names_attribute(holder, "weight_names") or []
        count += len(weight_names)
        if count > MAX_ARRAYS:
            raise mismatch(f"{holder}@weight_names", f"at most {MAX_ARRAYS} arrays in all", count)
        for weight_name in weight_names:
            node = dataset(holder, weight_name)
            if node.dtype not in FLOATS:
                raise mismatch(node, "float16, float32 or float64", node.dtype)
            array = read_array(node, budget)
            budget -= array.nbytes
            key = weight_name.rsplit("/", 1)[-1].split(":")[0]
            if key in arrays:
                raise InputError(node, f"{layer} has two weights named {key}")
            if not np.isfinite(array).all():
                raise InputError(node, "weights that are NaN or infinite")
            arrays[key] = array
        if arrays:
            weights[layer] = arrays
    return weights


def _graph(text: str, place: str) -> tuple[tuple[KerasLayer, ...], tuple[str, ...]]:
    try:
        model = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise mismatch(place, "JSON", f"damaged text ({type(error).__name__})") from error
    _check_no_code(model, place)
    try:
        if model["class_name"] not in ("Model", "Functional"):
            raise mismatch(
                place, "a model of class Model or Functional", str(model["class_name"])[:80]
            )
        config = model["config"]
        layers = tuple(_layer(entry, place) for entry in config["layers"])
        outputs = tuple(_tensor_names(config["output_layers"], place))
    except (KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise mismatch(place, "Keras's model configuration", "something else") from error
    if len({layer.name for layer in layers}) != len(layers):
        raise InputError(place, "a layer is named twice")
    return layers, outputs


def _check_no_code(model: object, place: str) -> None:
    """Nothing in a configuration is ever imported or called; what asks for it is refused by name
    all the same: Lambda and other carriers of code, custom objects, modules that are not Keras's.
    """
    waiting = [model]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            class_name, module = part.get("class_name"), part.get("module")
            registered = part.get("registered_name")
            if isinstance(class_name, str) and class_name in CODE_CLASSES:
                raise InputError(place, f"refused: {class_name}, which can run code of its own")
            if module is not None and str(module)[:80].split(".")[0] not in KERAS_MODULES:
                raise InputError(place, f"refused: {class_name} of module {module}, not Keras's")
            if registered is not None and registered != class_name:
                raise InputError(place, f"refused: custom object {registered}")
        if isinstance(part, dict | list):
            waiting += part.values() if isinstance(part, dict) else part


def _layer(entry: dict[str, Any], place: str) -> KerasLayer:
    name, class_name, config = entry["config"]["name"], entry["class_name"], entry["config"]
    if not (isinstance(name, str) and isinstance(class_name, str) and isinstance(config, dict)):
        raise TypeError
    nodes = entry["inbound_nodes"]
    if len(nodes) > 1:
        raise InputError(f"{place}, {name}", f"used {len(nodes)} times, expected once")
    return KerasLayer(name, class_name, config, tuple(_tensor_names(nodes, f"{place}, {name}")))


def _tensor_names(value: Any, place: str) -> list[str]:  # noqa: ANN401
    """Layer names in Keras's references to tensors: [name, node, tensor, …], nested anyhow, or
    Keras 3's {"class_name": "__keras_tensor__", "config": {"keras_history": [name, …]}}."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            return [str(value["config"]["keras_history"][0])]
        return _tensor_names(value.get("args", []), place)
    if isinstance(value, list):
        if len(value) >= 3 and isinstance(value[0], str) and value[1:3] == [0, 0]:
            return [value[0]]
        if value and isinstance(value[0], str):
            raise mismatch(place, "a layer's first and only output", str(value[:3])[:80])
        return [name for item in value for name in _tensor_names(item, place)]
    raise mismatch(place, "a reference to a layer", str(value)[:80])
