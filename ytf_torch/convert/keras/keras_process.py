"""Real Keras in a process of its own: it loads a file itself and says what it computes.

A model's file goes to Keras's own `load_model` as it is, so that what Keras makes of it is what is
compared. That builds what the configuration says, which in a stranger's file could ask for code
(CVE-2025-9905: HDF5 files are loaded without `safe_mode`); so callers hand over only files of stock
layers: keras_oracle.py looks, export.py has just written them.

    python -m ytf_torch.convert.keras.keras_process tf_keras network.h5 request.npz answer.npz
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ytf_torch.disk.interpreter import python_command
from ytf_torch.errors import InputError, argument, how_to_install

# tf_keras is Keras 2, keras is Keras 3.
LIBRARIES = ("tf_keras", "keras")
# Only errors in the log, and no GPU, whose results vary.
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
SECONDS = 600


# Names that no layer has.
LOGITS, READS, HOLDER = "(logits)", "(reads)", "(read by) "


@dataclass(frozen=True)
class Logits:
    """Where a model's logits are: its answer where `path` is empty, else the output of a layer.

    path: the models that hold the layer, and its name. without_activation: whether what it reads,
    or computes before its activation, is meant.
    """

    path: tuple[str, ...] = ()
    without_activation: bool = False


@dataclass(frozen=True)
class KerasAnswer:
    """What Keras computed from one file, for all images end to end.

    outputs: what the model as it was loaded answers. logits: what its last layer gives before its
    activation. layers: the outputs of the layers that were asked for, channels first.
    """

    by: str
    outputs: NDArray[Any]
    logits: NDArray[Any]
    layers: Mapping[str, NDArray[Any]]


def installed_libraries() -> list[str]:
    """The Keras libraries that are here. Raises InputError where there is none."""
    found = [name for name in LIBRARIES if importlib.util.find_spec(name)]
    if not found:
        raise InputError(
            argument("against_keras"),
            "real Keras is not installed",
            how_to_install("keras"),
        )
    return found


def ask_keras(
    library: str,
    path: Path,
    batches: Sequence[NDArray[np.floating[Any]]],
    *,
    architecture: str | None = None,
    logits: Logits,
    layers: Mapping[str, Sequence[str]] | None = None,
    called: Path | None = None,
) -> KerasAnswer:
    """Have one Keras load a file and run it.

    path: named with the ending by which Keras tells what the file is. batches: as the network
    reads them, (batch, height, width, channels). architecture: Keras's JSON of the model into which
    it loads a file of weights; without one it loads a whole model. logits: where they are. layers:
    whose outputs are wanted; name → the models that hold the layer, and Keras's name. called: what
    the user calls the file. Raises InputError where Keras cannot load or run it.
    """
    layers = {} if layers is None else layers
    wanted = {"architecture": architecture, "logits": asdict(logits), "layers": layers}
    with tempfile.TemporaryDirectory() as folder:
        request, answer = Path(folder, "request.npz"), Path(folder, "answer.npz")
        images = {f"batch_{number}": batch for number, batch in enumerate(batches)}
        np.savez(request, wanted=json.dumps(wanted), allow_pickle=False, **images)
        python, surroundings = python_command()
        program = [python, "-P", "-m", "ytf_torch.convert.keras.keras_process"]
        done = subprocess.run(
            [*program, library, str(path), str(request), str(answer)],
            env=os.environ | surroundings | ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise InputError(called or path, f"{library} cannot run it ({reason[:200]})")
        with np.load(answer) as archive:
            found = {name: archive[f"layer/{name}"] for name in layers}
            by = f"{library} {archive['version']}"
            return KerasAnswer(by, archive["outputs"], archive["logits"], found)


def _answer(library: str, path: str, request: str, answer: str) -> None:
    keras = importlib.import_module(library)
    with np.load(request) as archive:
        wanted = json.loads(str(archive["wanted"]))
        batches = [archive[f"batch_{number}"] for number in range(len(archive.files) - 1)]
    model = _loaded(keras, path, wanted["architecture"])
    outputs = _predicted(model, batches)
    logits = wanted["logits"]
    paths = {name: tuple(path) for name, path in wanted["layers"].items()}
    if logits["path"]:
        *holders, name = logits["path"]
        last = _layer(model, [*holders, name])
        without = logits["without_activation"]
        if without and hasattr(last, "activation"):
            last.activation = keras.activations.linear
        reads = without and not hasattr(last, "activation")
        paths[LOGITS] = (*holders, name, *([READS] if reads else []))
    found = _outputs(keras, model, batches, paths)
    found.setdefault(LOGITS, outputs)
    channels_first = {
        f"layer/{name}": array.transpose(0, 3, 1, 2) if array.ndim == 4 else array
        for name, array in found.items()
        if name != LOGITS
    }
    arrays = {"outputs": outputs, "logits": found[LOGITS], **channels_first}
    np.savez(answer, version=keras.__version__, allow_pickle=False, **arrays)


def _layer(model: Any, path: Sequence[str]) -> Any:  # noqa: ANN401
    for name in path:
        model = model.get_layer(name)
    return model


def _outputs(
    keras: Any,  # noqa: ANN401
    model: Any,  # noqa: ANN401
    batches: Sequence[NDArray[Any]],
    paths: Mapping[str, tuple[str, ...]],
) -> dict[str, NDArray[Any]]:
    """The outputs of layers for all batches end to end; of layers in models within, from what the
    models read."""
    own: dict[str, Any] = {}
    inner: dict[str, dict[str, tuple[str, ...]]] = {}
    for name, path in paths.items():
        layer = model.get_layer(path[0])
        if path[1:] == (READS,):
            own[name] = layer.input
        elif len(path) == 1:
            own[name] = layer.output
        else:
            inner.setdefault(path[0], {})[name] = path[1:]
    for holder in inner:
        own[f"{HOLDER}{holder}"] = _read_by(model, holder)
    found = _predicted(keras.Model(model.inputs, own), batches) if own else {}
    for holder, below in inner.items():
        read = found.pop(f"{HOLDER}{holder}")
        ends = np.cumsum([len(batch) for batch in batches])[:-1]
        found |= _outputs(keras, model.get_layer(holder), np.split(read, ends), below)
    return found


def _read_by(model: Any, holder: str) -> Any:  # noqa: ANN401
    """What a model within a model reads, in the graph of the outer one; its `input` is its own."""
    read = model.get_layer(holder)._inbound_nodes[-1].input_tensors
    return read[0] if isinstance(read, list | tuple) else read


def _predicted(model: Any, batches: Sequence[NDArray[Any]]) -> Any:  # noqa: ANN401
    """A model's outputs for all batches end to end: an array, or a dictionary of arrays."""
    found = [model.predict(batch, batch_size=len(batch), verbose=0) for batch in batches]
    if isinstance(found[0], dict):
        return {name: np.concatenate([one[name] for one in found]) for name in found[0]}
    return np.concatenate(found)


def _loaded(keras: Any, path: str, architecture: str | None) -> Any:  # noqa: ANN401
    """A file as Keras itself loads it."""
    if architecture is None:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    told = json.loads(architecture)
    if "module" in told:
        model = keras.models.model_from_json(architecture)
    else:
        kind = keras.Sequential if told["class_name"] == "Sequential" else keras.Model
        model = kind.from_config(told["config"])
    # Keras passes over some of what it does not find in silence.
    model.set_weights([np.full(array.shape, np.nan) for array in model.get_weights()])
    model.load_weights(path)
    if any(np.isnan(array).any() for array in model.get_weights()):
        sys.exit("it does not find the weights of every layer")
    return model


if __name__ == "__main__":
    _answer(*sys.argv[1:5])
