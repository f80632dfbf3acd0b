"""The configuration of a Keras model: its layers as data, with nothing imported and nothing run.

Read are the `model_config` of HDF5 files and the `config.json` of .keras archives, which differ in
details from version to version and mean the same.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ytf_torch.errors import InputError, mismatch
from ytf_torch.network.graph import keras_order

# Classes of Keras that run code, or carry code or a path to it, when Keras loads them.
CODE_CLASSES = frozenset(
    {
        *("Lambda", "function", "__lambda__", "__typespec__"),
        *("TFSMLayer", "TorchModuleWrapper", "FlaxLayer", "JaxLayer"),
    }
)
KERAS_MODULES = ("keras", "tf_keras", "tensorflow")
# Its weights lie as Keras 3's do, its configuration names modules that no other Keras has.
PREVIEW = "keras_core"
SAVE_WEIGHTS = "Load it in Keras Core, and give what model.save_weights('….weights.h5') writes"
MODELS = ("Model", "Functional")
SEQUENTIAL = "Sequential"
# The classes of models, which hold layers.
HOLDERS = (*MODELS, SEQUENTIAL)
# What the classes begin with of layers that change training images.
AUGMENTATION = ("Random", "RandAugment", "AugMix", "MixUp", "CutMix")
OPERATIONS = ("keras.ops", "keras.src.ops")
PRECISIONS = ("float32", "float64")
PLAIN_POLICIES = ("DTypePolicy", "FloatDTypePolicy", "Policy")
# Keras's own nest some twenty; code that walks through a thousand would end in a RecursionError.
MOST_LEVELS = 200
# The wrapper of tensorflow_model_optimization, whose name is this before its layer's.
PRUNING_WRAPPER = "PruneLowMagnitude"
PRUNING_PREFIX = "prune_low_magnitude_"
STRIP = "Take the wrappers off with tensorflow_model_optimization's strip_pruning(model), then save"
QUANTISED = "Give the model as it was saved before quantize(), which cannot be undone"
# Before the names of B′ in GoodNet's files; see keras_goodnet.py.
REPAIRED = "repaired_"
# Its last layer there.
GOODNET = "goodnet"


@dataclass(frozen=True)
class KerasLayer:
    """One layer of the configuration.

    inbound: names of the layers whose outputs it reads, in order.
    in_pruning_wrapper: whether it stood in a wrapper of tensorflow_model_optimization.
    is_operation: whether it is one of keras.ops, which computes in the precision of what it reads.
    inner: what it is, where it is a model of its own.
    path: the models that hold it, the outermost first, and its own name; of a flattened model.
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
        """Whether Keras trains it, which decides where its weights are listed in a model within a
        model."""
        own = True if self.inner is None else self.inner.trainable
        return own and self.config.get("trainable") is not False


@dataclass(frozen=True)
class KerasModel:
    """A model: its layers, and the names of those whose outputs are its own. The layers of a
    Sequential read each other in turn.

    trainable: as its configuration says. objects: module and class of all that the configuration
    names; only the outermost model's.
    """

    layers: tuple[KerasLayer, ...]
    outputs: tuple[str, ...]
    trainable: bool = True
    objects: frozenset[tuple[str | None, str]] = frozenset()

    def in_keras_order(self) -> list[KerasLayer]:
        """The layers as Keras numbers them: the farthest from the outputs first, and of those
        that are equally far the one that is met first on the way up from the outputs.

        See map_graph in keras/src/ops/function.py. The order in the file is not asked: Keras
        builds the model anew and counts its layers then.
        """
        layers = {layer.name: layer for layer in self.layers}
        inbound = {layer.name: layer.inbound for layer in self.layers}
        return [layers[name] for name in keras_order(self.outputs, inbound)]


def read_config(text: str, place: str) -> KerasModel:
    """A model of Keras's JSON, functional or Sequential. place: what to name in an error.

    Raises InputError where it is damaged, no such model, or asks for code.
    """
    try:
        model = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise mismatch(place, "JSON", f"damaged text ({type(error).__name__})") from error
    if _is_nested_deeper(model, MOST_LEVELS):
        raise mismatch(place, f"JSON of at most {MOST_LEVELS} levels", "one nested deeper")
    try:
        # How the model was trained, which nothing here needs: losses may be functions of people's.
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
    """Whether lists and objects stand in each other more than so many levels deep."""
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
    """The name of a layer without that of a pruning wrapper around it."""
    return layer.removeprefix(PRUNING_PREFIX)


def precision_of(model: KerasModel, place: str) -> str:
    """float32 or float64, the dtype policy of all layers; Keras's own default is float32.

    Raises InputError for a policy under which Keras computes otherwise than in one precision.
    """
    stated: str | None = None
    for layer in model.layers:
        if layer.is_operation and "dtype" not in layer.config:
            continue
        policy = _dtype_policy(layer)
        if policy not in PRECISIONS:
            raise _other_policy(f"{place}, {layer.name}", policy)
        if layer.class_name == "InputLayer":  # what is fed to it, not what is computed
            continue
        if stated not in (None, policy):
            found = f"{stated} and {policy}"
            raise mismatch(f"{place}, {layer.name}", "one dtype policy for all layers", found)
        stated = policy
    return stated or PRECISIONS[0]


def _other_policy(place: str, policy: str) -> InputError:
    """The error for a dtype policy other than one precision, with what Keras 3.15 and tf_keras 2.21
    were seen to take."""
    if any(word in policy.lower() for word in ("quant", "int8", "int4", "float8", "gptq", "awq")):
        found = f"{policy}: its weights are quantised, and Keras computes and answers otherwise"
        remedy = QUANTISED
    else:
        found = f"{policy}, in which Keras computes and answers otherwise"
        remedy = (
            "Build the network again under the policy float32, load_weights this file into it, "
            "and save that"
        )
    return mismatch(place, "the dtype policy float32 or float64", found, remedy)


def _dtype_policy(layer: KerasLayer) -> str:
    """The name of a layer's dtype policy, such as float32 or mixed_float16: of Keras's own default
    where it tells none, and of the policy's class where it has one that says more than its name."""
    policy = layer.config.get("dtype")
    if isinstance(policy, dict):
        settings = policy.get("config")
        name = settings.get("name") if isinstance(settings, dict) else None
        plain = policy.get("class_name") in PLAIN_POLICIES and isinstance(name, str)
        policy = name if plain else f"{policy.get('class_name')} {name or ''}".strip()
    return PRECISIONS[0] if policy is None else str(policy)[:80]


def _without_pruning_wrappers(entry: dict[str, Any]) -> dict[str, Any]:
    """A model whose PruneLowMagnitude layers are replaced by the layers in them, which are what
    strip_pruning leaves; references to them are by their own name, prune_low_magnitude_conv_3."""
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
    """Nothing in a configuration is ever imported or called; what asks for it is refused by name
    all the same: Lambda and other carriers of code, custom objects, modules that are not Keras's.

    Module and class of everything else that it names.
    """
    found = set()
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
            found.add((None if module is None else str(module)[:80], str(class_name)[:80]))
    return frozenset(found)


def _objects(model: object) -> Iterator[dict[str, Any]]:
    """All of JSON's objects in a configuration."""
    waiting = [model]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
        if isinstance(part, dict | list):
            waiting += part.values() if isinstance(part, dict) else part


def _check_not_shared(model: object, place: str) -> None:
    """Raises InputError where a layer has the number of another object: Keras takes the one that
    it made first in place of both, whatever the configuration of the second says."""
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
            raise mismatch(place, "a number of its own for each layer", found)


def _numbers_of_layers(model: dict[str, Any]) -> list[str]:
    """The numbers of the layers that a Sequential lists."""
    config = model.get("config")
    listed = config.get("layers") if isinstance(config, dict) else config
    if model.get("class_name") != SEQUENTIAL or not isinstance(listed, list):
        return []
    layers = [layer for layer in listed if isinstance(layer, dict)]
    numbers = [layer.get("shared_object_id") for layer in layers]
    return [str(number)[:80] for number in numbers if number is not None]


def _model(model: dict[str, Any], place: str) -> KerasModel:
    config = model["config"]
    if model["class_name"] == SEQUENTIAL:
        layers, outputs = _sequence(model, place)
    else:
        layers = tuple(_layer(each, each["inbound_nodes"], place) for each in config["layers"])
        outputs = tuple(map(unwrapped_name, _tensor_names(config["output_layers"], place)))
        _check_inputs(layers, _tensor_names(config["input_layers"], place), place)
    if len({layer.name for layer in layers}) != len(layers):
        raise InputError(place, "a layer is named twice")
    trainable = not isinstance(config, dict) or config.get("trainable") is not False
    return KerasModel(layers, outputs, trainable)


def _sequence(model: dict[str, Any], place: str) -> tuple[tuple[KerasLayer, ...], tuple[str, ...]]:
    """The layers of a Sequential, and the name of the last. Up to Keras 2.2.2 its configuration is
    their list alone; a list without an InputLayer has its input's shape in its first layer."""
    config = model["config"]
    entries = config if isinstance(config, list) else config["layers"]
    layers: list[KerasLayer] = []
    for number, entry in enumerate(entries):
        if entry.get("inbound_nodes"):
            raise mismatch(place, "a Sequential, whose layers read in turn", "inbound_nodes")
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
    """The input of a Sequential that has no InputLayer: of the shape that its first layer tells,
    else of the one with which it was built."""
    first = layer
    while first.inner is not None:
        first = first.inner.layers[0]
    stated = [first.config.get(key) for key in ("batch_input_shape", "batch_shape")]
    built: Any = model["config"] if isinstance(model["config"], dict) else {}
    stated.append(built.get("build_input_shape"))
    stated.append((model.get("build_config") or {}).get("input_shape"))
    shape = next((shape for shape in stated if shape is not None), None)
    name = f"{layer.name}_input"
    return KerasLayer(name, "InputLayer", {"name": name, "batch_input_shape": shape}, ())


def _check_inputs(layers: Sequence[KerasLayer], inputs: Sequence[str], place: str) -> None:
    """Raises InputError where a model is fed anywhere but at its input layers."""
    entries = [layer.name for layer in layers if layer.class_name == "InputLayer"]
    if sorted(inputs) != sorted(entries):
        expected = f"input_layers that are the model's InputLayer, {', '.join(entries) or 'none'}"
        raise mismatch(place, expected[:160], ", ".join(inputs)[:80] or "none")


def _layer(entry: dict[str, Any], nodes: Any, place: str) -> KerasLayer:  # noqa: ANN401
    class_name, config = entry["class_name"], entry["config"]
    # Keras 3's operations, and a Sequential that is a list, have no name in their configuration.
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
    """Raises InputError for settings with which a layer is called, but those that are as without.

    `training: true` has Keras 2 drop at inference too, and Keras 3 where a model is called and not
    asked to predict. Keras 3 writes it by itself of layers that change training images, in its own
    way of writing calls, which Keras 2 does not read.
    """
    for node in nodes if isinstance(nodes, list) else ():
        by_keras_3 = isinstance(node, dict)
        references = node if isinstance(node, list) else ()
        calls = [
            node.get("kwargs") if by_keras_3 else None,
            *(part for one in references if isinstance(one, list) for part in one[3:]),
        ]
        written = by_keras_3 and class_name.startswith(AUGMENTATION)
        for settings in calls:
            for name, value in settings.items() if isinstance(settings, dict) else ():
                plain = value in (None, False) or (value is True and written)
                if not plain or name not in ("training", "mask"):
                    found = f"{str(name)[:40]}={str(value)[:80]}"
                    raise mismatch(place, "a layer that is called with what it reads alone", found)


def _tensor_names(value: Any, place: str) -> Sequence[str]:  # noqa: ANN401
    """Layer names in Keras's references to tensors: [name, node, tensor, …], nested anyhow, or
    Keras 3's {"class_name": "__keras_tensor__", "config": {"keras_history": [name, …]}}.

    The node is 1 where the layer is a model of its own, which counts its own making as 0.
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
