"""Write networks as Keras files (.h5, .weights.h5 and .keras) with h5py and zipfile, without Keras.

Each function writes to the given path; callers make the write atomic (ytf_torch/disk/writing.py).
Output is deterministic: equal networks give equal bytes. Files record the pixel scale, or the
preprocessing, where Keras ignores it: in an attribute of the HDF5 root, or in metadata.json. Both
use one key, so that versions that know only a pixel scale refuse any other preprocessing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZipFile, ZipInfo

import h5py
import numpy as np
from numpy.typing import NDArray

from ytf_torch.convert.keras.keras_variables import STORE, variable_paths
from ytf_torch.errors import InputError
from ytf_torch.network.graph import Layer
from ytf_torch.network.module import Network
from ytf_torch.network.pixel_scale import RECORDED_AS
from ytf_torch.network.preprocessing import Preprocessing
from ytf_torch.network.provenance import ORIGIN, tool_version

# Keras versions whose layouts are written. tf.keras 2.4 and newer load the .h5, 2.15 and newer the
# other two.
LAYOUT_OF = "2.14.0"
ARCHIVE_LAYOUT_OF = "2.15.0"
# Largest HDF5 attribute in bytes; the constant that Keras itself uses.
MAX_ATTRIBUTE = 64_512


Config = dict[str, Any]
Arrays = Mapping[str, Mapping[str, NDArray[np.generic]]]


def write_keras_h5(path: Path, network: Network, origin: str = "") -> None:
    """Write a network in the layout of Keras's model.save("….h5"): configuration and weights.

    Loaded by load_model and load_weights of tf.keras 2.4 to 2.21 and Keras 3. `keras_version` is
    the version whose layout it follows, `writer` the program that wrote it. read_keras_model
    restores the weights bit for bit. Text is stored as bytes, because tf.keras up to 2.4 decodes
    it.
    origin: from `origin_text`, stored where Keras ignores it.
    """
    config, arrays = functional_config(network), keras_arrays(network)
    write_h5_model(path, config, arrays, network.pixel_preprocessing, origin)


def write_h5_model(
    path: Path, config: Config, arrays: Arrays, preprocessing: Preprocessing, origin: str = ""
) -> None:
    """Write any functional model as .h5.

    config: its `config`, with layers in Keras's order. arrays: layer → weight → values, weights in
    Keras's order. origin: see write_keras_h5.
    """
    names = [layer["name"] for layer in config["layers"]]
    # Built in memory, because the HDF5 library crashes the process when the disk is full.
    with h5py.File(path, "w", driver="core", backing_store=False) as file:
        group = file.create_group("model_weights")
        for node in (file, group):
            node.attrs["keras_version"] = np.bytes_(LAYOUT_OF)
            node.attrs["backend"] = np.bytes_("tensorflow")
        file.attrs["writer"] = _writer()
        file.attrs[RECORDED_AS] = preprocessing.text
        if origin:
            file.attrs[ORIGIN] = np.bytes_(origin.encode())
        model = {"class_name": "Functional", "config": config}
        file.attrs["model_config"] = _text(json.dumps(model))
        _list_names(group, "layer_names", names)
        for name in names:
            holder = group.create_group(name)
            weights = arrays.get(name, {})
            _list_names(holder, "weight_names", [f"{name}/{part}:0" for part in weights])
            for part, array in weights.items():
                holder[f"{name}/{part}:0"] = array
        group.create_group("top_level_model_weights").attrs["weight_names"] = []
        file.flush()
        content = file.id.get_file_image()
    path.write_bytes(content)


def _text(text: str) -> np.bytes_ | bytes:
    """A text as an attribute value: a fixed-length string if it fits into an attribute, because
    h5py returns variable-length strings as str, and tf.keras up to 2.4 calls decode on them."""
    content = text.encode()
    return np.bytes_(content) if len(content) <= MAX_ATTRIBUTE else content


def _list_names(group: h5py.Group, attribute: str, names: list[str]) -> None:
    """Store names in an attribute, split as Keras does if too long: layer_names0, layer_names1,
    …"""
    listed = np.array(names, "S")
    if listed.nbytes <= MAX_ATTRIBUTE:
        group.attrs[attribute] = listed
        return
    parts = np.array_split(listed, -(-listed.nbytes // MAX_ATTRIBUTE) + 1)
    for number, part in enumerate(parts):
        group.attrs[f"{attribute}{number}"] = part


def write_keras_weights(path: Path, network: Network, origin: str = "") -> None:
    """Write only the weights, in the layout of Keras 3's model.save_weights("….weights.h5").

    Loaded by load_weights of tf.keras 2.15 and newer and of Keras 3 into a model of the same
    layers.
    origin: see write_keras_h5.
    """
    config, arrays = functional_config(network), keras_arrays(network)
    path.write_bytes(_variables(config, arrays, network.pixel_preprocessing, origin))


def write_keras_archive(path: Path, network: Network, origin: str = "") -> None:
    """Write a network in the layout of Keras's model.save("….keras"): a zip of three members.

    Loaded by load_model of tf.keras 2.15 and newer and of Keras 3. They name the class of
    functional models differently; `Model` of the module `keras` is the one that all of them know.
    origin: see write_keras_h5.
    """
    config, arrays = functional_config(network), keras_arrays(network)
    write_archive_model(path, config, arrays, network.pixel_preprocessing, origin)


def write_archive_model(
    path: Path, config: Config, arrays: Arrays, preprocessing: Preprocessing, origin: str = ""
) -> None:
    """Write any functional model as .keras. config, arrays, origin: see write_h5_model."""
    named = {"module": "keras.layers", "registered_name": None}
    registered = config | {"layers": [layer | named for layer in config["layers"]]}
    model = {
        "module": "keras",
        "class_name": "Model",
        "config": registered,
        "registered_name": None,
    }
    metadata = {"keras_version": ARCHIVE_LAYOUT_OF, "writer": _writer()}
    metadata[RECORDED_AS] = preprocessing.text
    metadata |= {ORIGIN: origin} if origin else {}
    members = {
        "metadata.json": json.dumps(metadata).encode(),
        "config.json": json.dumps(model).encode(),
        "model.weights.h5": _variables(config, arrays, preprocessing, ""),
    }
    with ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(ZipInfo(name), content)  # dated 1980, so that output is reproducible


def keras_arrays(network: Network) -> dict[str, dict[str, NDArray[np.generic]]]:
    """Layer → weight → array, in Keras's order and memory layout, bit for bit."""
    return {name: _arrays(network, name) for name in network.graph.weighted}


def _writer() -> str:
    return f"ytf-torch {tool_version()}"


def _arrays(network: Network, name: str) -> dict[str, NDArray[np.generic]]:
    tensors = network.weights_of(name)
    return {
        weight.keras: weight.to_keras(tensors[weight.name].cpu().numpy())
        for weight in network.graph.weights(name)
    }


def _variables(config: Config, arrays: Arrays, preprocessing: Preprocessing, origin: str) -> bytes:
    """The content of a .weights.h5; groups record their layer's name, as Keras does since 3.6."""
    layers = config["layers"]
    paths = variable_paths([(layer["name"], layer["class_name"]) for layer in layers])
    content: BinaryIO = BytesIO()
    with h5py.File(content, "w") as file:
        file.attrs[RECORDED_AS] = preprocessing.text
        if origin:
            file.attrs[ORIGIN] = np.bytes_(origin.encode())
        file.create_group("vars").attrs["name"] = config["name"]
        for name, path in paths.items():
            group = file.create_group(f"{STORE}/{path}/vars")
            group.attrs["name"] = name
            for number, array in enumerate(arrays.get(name, {}).values()):
                group[str(number)] = array
    content.seek(0)
    return content.read()


def _check_one_meaning(layer: Layer) -> None:
    """Raises InputError for an activation that Keras 2 and Keras 3 compute differently."""
    if layer.kind.activation.name.startswith("hard_sigmoid"):
        problem = "has hard_sigmoid, which Keras 2 and Keras 3 compute differently"
        remedy = "Write the network as .onnx, .pt2 or .safetensors"
        raise InputError(f"a Keras file, {layer.name}", problem, remedy)


def model_config(network: Network) -> Config:
    """A network as Keras's JSON configuration of a full model."""
    return {"class_name": "Functional", "config": functional_config(network)}


def functional_config(network: Network) -> Config:
    """A network as the `config` of a functional model, with layers in Keras's order. Raises
    InputError for layers that Keras 2 and Keras 3 compute differently."""
    dtype, graph = str(network.dtype).removeprefix("torch."), network.graph
    layers = []
    for layer in graph.by_depth():
        _check_one_meaning(layer)
        settings = layer.kind.keras_settings()
        config: Config = {"name": layer.name, "trainable": True, "dtype": dtype, **settings}
        if layer.name == graph.input:
            shape = {"batch_input_shape": settings.pop("batch_input_shape"), "dtype": dtype}
            config = shape | {"name": layer.name, **settings}
        layers.append(
            {
                "class_name": layer.kind.keras_class,
                "config": config,
                "name": layer.name,
                "inbound_nodes": [[[source, 0, 0, {}] for source in layer.inputs]]
                if layer.inputs
                else [],
            }
        )
    ends = {f"{end}_layers": [[getattr(graph, end), 0, 0]] for end in ("input", "output")}
    return {"name": "model_1", "trainable": True, "layers": layers, **ends}
