"""Parse the configuration of a Keras model into data, without importing or running anything.

Accepts the `model_config` of HDF5 files and the `config.json` of .keras archives, whose formats
differ in details between Keras versions.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ytf_torch.errors import InputError, mismatch
from ytf_torch.network.graph import keras_order

# Keras classes that run code, or carry code or a path to code, when Keras loads them.
CODE_CLASSES = frozenset(
    {
        *("Lambda", "function", "__lambda__", "__typespec__"),
        *("TFSMLayer", "TorchModuleWrapper", "FlaxLayer", "JaxLayer"),
    }
)
KERAS_MODULES = ("keras", "tf_keras", "tensorflow")
# It stores weights as Keras 3 does, but its configuration names modules that only it has.
PREVIEW = "keras_core"
SAVE_WEIGHTS = "Load it in Keras Core, and give what model.save_weights('….weights.h5') writes"
MODELS = ("Model", "Functional")
SEQUENTIAL = "Sequential"
# Model classes, which contain layers.
HOLDERS = (*MODELS, SEQUENTIAL)
# Prefixes of the class names of augmentation layers, which change training images only.
AUGMENTATION = ("Random", "RandAugment", "AugMix", "MixUp", "CutMix")
OPERATIONS = ("keras.ops", "keras.src.ops")
PRECISIONS = ("float32", "float64")
PLAIN_POLICIES = ("DTypePolicy", "FloatDTypePolicy", "Policy")
# Keras's own models nest about twenty levels; recursion over a thousand would end in a
# RecursionError.
MOST_LEVELS = 200
# The wrapper class of tensorflow_model_optimization, and its prefix to the layer's name.
PRUNING_WRAPPER = "PruneLowMagnitude"
PRUNING_PREFIX = "prune_low_magnitude_"
STRIP = "Take the wrappers off with tensorflow_model_optimization's strip_pruning(model), then save"
QUANTISED = "Give the model as it was saved before quantize(), which cannot be undone"
# Prefix of the layers of B′ in GoodNet files; see keras_goodnet.py.
REPAIRED = "repaired_"
# The last layer of a GoodNet file.
GOODNET = "goodnet"


@dataclass(frozen=True)
class KerasLayer:
    """One layer of the configuration.

    inbound: names of the layers whose outputs it reads, in order.
    in_pruning_wrapper: whether it was wrapped by tensorflow_model_optimization.
    is_operation: whether it is a function of keras.ops, which computes in its input's dtype.
    inner: the nested model, where the layer is one.
    path: in a flattened model, the names of the models that contain it, outermost first, and its
    own name.
    """

    name: str
    class_name: str
    config: Mapping[str, Any]
    inbound: tuple[str, ...]
    in_pruning_wrapper: bool = False
    is_operation: bool = False
    inner: KerasModel | None = None
    path: tuple[str, ...] = ()

    @property
    def trainable(self) -> bool:
        """Whether Keras trains it. Decides where its weights are listed in a nested model."""
        inner_trainable = True if self.inner is None else self.inner.trainable
        return inner_trainable and self.config.get("trainable") is not False


@dataclass(frozen=True)
class KerasModel:
    """A model: its layers, and the names of its output layers.

    Each layer of a Sequential reads the one before it. trainable: as configured. objects: (module,
    class) of every object that the configuration names; set for the outermost model only.
    """

    layers: tuple[KerasLayer, ...]
    outputs: tuple[str, ...]
    trainable: bool = True
    objects: frozenset[tuple[str | None, str]] = frozenset()

    def in_keras_order(self) -> list[KerasLayer]:
        """The layers in the order in which Keras numbers them, see `keras_order`.

        The order in the file is ignored, because Keras rebuilds the model and numbers its layers
        then.
        """
        layers = {layer.name: layer for layer in self.layers}
        inbound = {layer.name: layer.inbound for layer in self.layers}
        return [layers[name] for name in keras_order(self.outputs, inbound)]


def read_config(text: str, place: str) -> KerasModel:
    """Parse Keras's JSON of a functional or Sequential model. place: what to name in an error.

    Raises InputError where the JSON is damaged, describes another kind of model, or names code.
    """
    try:
        model = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise mismatch(place, "JSON", f"damaged text ({type(error).__name__})") from error
    if _is_nested_deeper(model, MOST_LEVELS):
        raise mismatch(place, f"JSON of at most {MOST_LEVELS} levels", "one nested deeper")
    try:
        # Training settings are not needed, and may name custom loss functions, which are no reason
        # to refuse the model.
        model.pop("compile_config", None)
        if model["class_name"] not in HOLDERS:
            found = str(model["class_name"])[:80]
            raise mismatch(place, "a model of class Model, Functional or Sequential", found)
        without_wrappers = _without_pruning_wrappers(model)
        objects = _check_no_code(without_wrappers, place)
        _check_not_shared(without_wrappers, place)
        return replace(_model(without_wrappers, place), objects=objects)
    except (KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise mismatch(place, "Keras's model configuration", "something else") from error


def _is_nested_deeper(value: object, levels: int) -> bool:
    """Whether lists and objects are nested deeper than `levels`. Breadth-first, so that it cannot
    exceed Python's recursion limit itself."""
    level = [value]
    for _ in range(levels + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True


def unwrapped_name(layer: str) -> str:
    """The name of a layer without the prefix of a pruning wrapper."""
    return layer.removeprefix(PRUNING_PREFIX)


def precision_of(model: KerasModel, place: str) -> str:
    """The dtype policy of all layers, float32 or float64; Keras's default is float32.

    Raises InputError for mixed precision, quantisation and other policies, and where layers differ.
    """
    stated: str | None = None
    for layer in model.layers:
        if layer.is_operation and "dtype" not in layer.config:
            continue
        policy = _dtype_policy(layer)
        if policy not in PRECISIONS:
            raise _other_policy(f"{place}, {layer.name}", policy)
        if layer.class_name == "InputLayer":  # the dtype of the fed data, not of a computation
            continue
        if stated not in (None, policy):
            found = f"{stated} and {policy}"
            raise mismatch(f"{place}, {layer.name}", "one dtype policy for all layers", found)
        stated = policy
    return stated or PRECISIONS[0]


def _other_policy(place: str, policy: str) -> InputError:
    """The error for an unsupported dtype policy, with a remedy that was tried with Keras 3.15 and
    tf_keras 2.21."""
    if any(word in policy.lower() for word in ("quant", "int8", "int4", "float8", "gptq", "awq")):
        found = f"{policy}: its weights are quantised, and Keras computes differently"
        remedy = QUANTISED
    else:
        found = f"{policy}, in which Keras computes differently"
        remedy = (
            "Build the network again under the policy float32, load_weights this file into it, "
            "and save that"
        )
    return mismatch(place, "the dtype policy float32 or float64", found, remedy)


def _dtype_policy(layer: KerasLayer) -> str:
    """The name of a layer's dtype policy, such as float32 or mixed_float16.

    Keras's default where none is set; class and name where the class is not a plain policy.
    """
    policy = layer.config.get("dtype")
    if isinstance(policy, dict):
        settings = policy.get("config")
        name = settings.get("name") if isinstance(settings, dict) else None
        plain = policy.get("class_name") in PLAIN_POLICIES and isinstance(name, str)
        policy = name if plain else f"{policy.get('class_name')} {name or ''}".strip()
    return PRECISIONS[0] if policy is None else str(policy)[:80]


def _without_pruning_wrappers(entry: dict[str, Any]) -> dict[str, Any]:
    """A model whose PruneLowMagnitude layers are replaced by the layers inside, as strip_pruning
    does.

    References in `inbound_nodes` keep the wrapper's name, such as prune_low_magnitude_conv_3; see
    `unwrapped_name`.
    """
    if entry["class_name"] == PRUNING_WRAPPER:
        inner = entry["config"]["layer"]
        rest = {name: entry[name] for name in ("inbound_nodes",) if name in entry}
        plain = {"class_name": inner["class_name"], "config": inner["config"]}
        return plain | rest | {"in_pruning_wrapper": True}
    if entry["class_name"] not in HOLDERS:
        return entry
    config = entry["config"]
    if isinstance(config, list):
        return entry | {"config": [_without_pruning_wrappers(layer) for layer in config]}
    layers = [_without_pruning_wrappers(layer) for layer in config["layers"]]
    return entry | {"config": config | {"layers": layers}}


def _check_no_code(model: object, place: str) -> frozenset[tuple[str | None, str]]:
    """Raises InputError for a configuration that names code; returns (module, class) of all else.

    Nothing in a configuration is ever imported or called. Code is refused by name nevertheless:
    Lambda and other carriers of code, custom objects, modules outside Keras.
    """
    objects = set()
    for part in _objects(model):
        class_name, module = part.get("class_name"), part.get("module")
        registered = part.get("registered_name")
        if isinstance(class_name, str) and class_name in CODE_CLASSES:
            raise InputError(place, f"refused: {class_name}, which can run code of its own")
        if str(module).split(".")[0] == PREVIEW:
            raise InputError(place, "a model of Keras Core, the preview of Keras 3", SAVE_WEIGHTS)
        if module is not None and str(module)[:80].split(".")[0] not in KERAS_MODULES:
            raise InputError(place, f"refused: {class_name} of module {module}, not Keras's")
        if registered is not None and registered != class_name:
            raise InputError(place, f"refused: custom object {registered}")
        if class_name is not None:
            objects.add((None if module is None else str(module)[:80], str(class_name)[:80]))
    return frozenset(objects)


def _objects(model: object) -> Iterator[dict[str, Any]]:
    """All JSON objects in a configuration, at any depth."""
    waiting = [model]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
        if isinstance(part, dict | list):
            waiting += part.values() if isinstance(part, dict) else part


def _check_not_shared(model: object, place: str) -> None:
    """Raises InputError where a layer shares its shared_object_id with another object: Keras uses
    the object that it built first for both, whatever the configuration of the second says."""
    numbers: Counter[str] = Counter()
    of_layers: list[str] = []
    for part in _objects(model):
        if part.get("shared_object_id") is not None:
            number = str(part["shared_object_id"])[:80]
            numbers[number] += 1
            of_layers += [number] if "inbound_nodes" in part else []
        of_layers += _numbers_of_layers(part)
    for number in of_layers:
        if numbers[number] > 1:
            found = f"{numbers[number]} objects of shared_object_id {number}"
            raise mismatch(place, "a unique shared_object_id for each layer", found)


def _numbers_of_layers(model: dict[str, Any]) -> list[str]:
    """The shared_object_ids of the layers of a Sequential."""
    config = model.get("config")
    entries = config.get("layers") if isinstance(config, dict) else config
    if model.get("class_name") != SEQUENTIAL or not isinstance(entries, list):
        return []
    layers = [layer for layer in entries if isinstance(layer, dict)]
    numbers = [layer.get("shared_object_id") for layer in layers]
    return [str(number)[:80] for number in numbers if number is not None]


def _model(model: dict[str, Any], place: str) -> KerasModel:
    config = model["config"]
    if model["class_name"] == SEQUENTIAL:
        layers, outputs = _sequence(model, place)
    else:
        layers = tuple(_layer(entry, entry["inbound_nodes"], place) for entry in config["layers"])
        outputs = tuple(map(unwrapped_name, _tensor_names(config["output_layers"], place)))
        _check_inputs(layers, _tensor_names(config["input_layers"], place), place)
    if len({layer.name for layer in layers}) != len(layers):
        raise InputError(place, "a layer is named twice")
    trainable = not isinstance(config, dict) or config.get("trainable") is not False
    return KerasModel(layers, outputs, trainable)


def _sequence(model: dict[str, Any], place: str) -> tuple[tuple[KerasLayer, ...], tuple[str, ...]]:
    """The layers of a Sequential, and the name of the last one.

    Up to Keras 2.2.2 the configuration is merely the list of layers. Without an InputLayer, the
    input shape is in the first layer.
    """
    config = model["config"]
    entries = config if isinstance(config, list) else config["layers"]
    layers: list[KerasLayer] = []
    for number, entry in enumerate(entries):
        if entry.get("inbound_nodes"):
            raise mismatch(place, "a Sequential, whose layers follow one another", "inbound_nodes")
        unnamed = isinstance(entry["config"], list)  # a Sequential of Keras up to 2.2.2
        name = f"sequential_{number + 1}" if unnamed else None
        layer = _layer({"name": name} | entry if unnamed else entry, [], place)
        if layer.class_name == "InputLayer" and layers:
            raise InputError(f"{place}, {layer.name}", "an input behind the first layer")
        if not layers and layer.class_name != "InputLayer":
            layers.append(_input_before(layer, model))
        layers.append(replace(layer, inbound=(layers[-1].name,) if layers else ()))
    if not layers:
        raise mismatch(place, "a Sequential with layers", "none")
    return tuple(layers), (layers[-1].name,)


def _input_before(layer: KerasLayer, model: dict[str, Any]) -> KerasLayer:
    """An input layer for a Sequential without one: of the input shape of its first layer, else of
    the shape with which it was built."""
    first = layer
    while first.inner is not None:
        first = first.inner.layers[0]
    candidates = [first.config.get(key) for key in ("batch_input_shape", "batch_shape")]
    config: Any = model["config"] if isinstance(model["config"], dict) else {}
    candidates.append(config.get("build_input_shape"))
    candidates.append((model.get("build_config") or {}).get("input_shape"))
    shape = next((shape for shape in candidates if shape is not None), None)
    name = f"{layer.name}_input"
    return KerasLayer(name, "InputLayer", {"name": name, "batch_input_shape": shape}, ())


def _check_inputs(layers: Sequence[KerasLayer], inputs: Sequence[str], place: str) -> None:
    """Raises InputError where the input_layers of a model are not exactly its InputLayers."""
    entries = [layer.name for layer in layers if layer.class_name == "InputLayer"]
    if sorted(inputs) != sorted(entries):
        expected = f"input_layers that are the model's InputLayer, {', '.join(entries) or 'none'}"
        raise mismatch(place, expected[:160], ", ".join(inputs)[:80] or "none")


def _layer(entry: dict[str, Any], nodes: Any, place: str) -> KerasLayer:  # noqa: ANN401
    class_name, config = entry["class_name"], entry["config"]
    # Operations of Keras 3, and a Sequential that is a list, have their name outside `config`.
    name = config["name"] if isinstance(config, dict) and "name" in config else entry["name"]
    if entry.get("name") not in (None, name):
        called = str(entry["name"])[:80]
        raise mismatch(f"{place}, {name}", "one name for a layer", f"{called} too")
    if not (isinstance(name, str) and isinstance(class_name, str)):
        raise TypeError
    where = f"{place}, {name}"
    if len(nodes) > 1:
        raise InputError(where, f"used {len(nodes)} times, expected once")
    _check_calls(nodes, where, class_name)
    sources = tuple(map(unwrapped_name, _tensor_names(nodes, where)))
    wrapped = entry.get("in_pruning_wrapper") is True
    operation = str(entry.get("module")).startswith(OPERATIONS)
    inner = None
    if class_name in HOLDERS:
        inner, config = _model(entry, where), {}
    if not isinstance(config, dict):
        raise TypeError
    return KerasLayer(name, class_name, config, sources, wrapped, operation, inner)


def _check_calls(nodes: object, place: str, class_name: str) -> None:
    """Raises InputError for call arguments of a layer that change its result.

    With `training: true`, Keras 2 applies dropout at inference too, and Keras 3 does when a model
    is called instead of predict. Keras 3 itself writes it for augmentation layers, in its own
    format of calls, which Keras 2 does not read; there it is accepted.
    """
    for node in nodes if isinstance(nodes, list) else ():
        by_keras_3 = isinstance(node, dict)  # Keras 2 writes lists
        references = node if isinstance(node, list) else ()
        calls = [
            node.get("kwargs") if by_keras_3 else None,
            *(part for item in references if isinstance(item, list) for part in item[3:]),
        ]
        written = by_keras_3 and class_name.startswith(AUGMENTATION)
        for settings in calls:
            for name, value in settings.items() if isinstance(settings, dict) else ():
                plain = value in (None, False) or (value is True and written)
                if not plain or name not in ("training", "mask"):
                    found = f"{str(name)[:40]}={str(value)[:80]}"
                    raise mismatch(place, "a layer that is called with its inputs alone", found)


def _tensor_names(value: Any, place: str) -> Sequence[str]:  # noqa: ANN401
    """Layer names in Keras's references to tensors: [name, node, tensor, …], nested anyhow, or
    Keras 3's {"class_name": "__keras_tensor__", "config": {"keras_history": [name, …]}}.

    node is 0, or 1 where the layer is a nested model: its node 0 is from its own construction.
    """
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            return [str(value["config"]["keras_history"][0])]
        return _tensor_names(value.get("args", []), place)
    if isinstance(value, list):
        if len(value) >= 3 and isinstance(value[0], str) and value[1:3] in ([0, 0], [1, 0]):
            return [value[0]]
        if value and isinstance(value[0], str):
            raise mismatch(place, "a layer's first and only output", str(value[:3])[:80])
        return [name for item in value for name in _tensor_names(item, place)]
    raise mismatch(place, "a reference to a layer", str(value)[:80])
