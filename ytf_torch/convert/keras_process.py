"""Real Keras in a process of its own: it loads a file itself and says what it computes.

A model's file goes to Keras's own `load_model` as it is, so that what Keras makes of it is what is
compared. That builds what the configuration says, which in a stranger's file could ask for code
(CVE-2025-9905: HDF5 files are loaded without `safe_mode`); so callers hand over only files of stock
layers: keras_oracle.py looks, export.py has just written them.

    python -m ytf_torch.convert.keras_process tf_keras network.h5 request.npz answer.npz
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
from dataclasses import dataclass
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
    architecture: Mapping[str, Any] | None = None,
    holder: str | None = None,
    layers: Sequence[str] = (),
    called: Path | None = None,
) -> KerasAnswer:
    """Have one Keras load a file and run it.

    path: named with the ending by which Keras tells what the file is. batches: as the network
    reads them, (batch, height, width, channels). architecture: the `config` of the functional
    model into which Keras loads a file of weights; without one it loads a whole model.
    holder: the layer that is the network, where a model is around it. layers: whose outputs are
    wanted. called: what the user calls the file. Raises InputError where Keras cannot load or run
    it.
    """
    wanted = {"architecture": architecture, "holder": holder, "layers": list(layers)}
    with tempfile.TemporaryDirectory() as folder:
        request, answer = Path(folder, "request.npz"), Path(folder, "answer.npz")
        images = {f"batch_{number}": batch for number, batch in enumerate(batches)}
        np.savez(request, wanted=json.dumps(wanted), allow_pickle=False, **images)
        python, surroundings = python_command()
        program = [python, "-P", "-m", "ytf_torch.convert.keras_process"]
        done = subprocess.run(
            [*program, library, str(path), str(request), str(answer)],
            env=os.environ
            | surroundings
            | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
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
    model = _loaded(keras, path, wanted["architecture"], wanted["holder"])
    outputs = _predicted(model, batches)
    network = model if wanted["holder"] is None else model.get_layer(wanted["holder"])
    last = network.layers[-1]
    before_softmax = last.input if type(last).__name__ == "Softmax" else last.output
    if hasattr(last, "activation"):
        last.activation = keras.activations.linear
    asked = {name: network.get_layer(name).output for name in wanted["layers"]}
    whole = keras.Model(network.inputs, {"logits": before_softmax, **_prefixed(asked)})
    found = _predicted(whole, batches)
    logits = found.pop("logits")
    channels_first = {
        name: array.transpose(0, 3, 1, 2) if array.ndim == 4 else array
        for name, array in found.items()
    }
    np.savez(answer, version=keras.__version__, outputs=outputs, logits=logits, **channels_first)


def _prefixed(named: Mapping[str, Any]) -> dict[str, Any]:
    return {f"layer/{name}": value for name, value in named.items()}


def _predicted(model: Any, batches: Sequence[NDArray[Any]]) -> Any:  # noqa: ANN401
    """A model's outputs for all batches end to end: an array, or a dictionary of arrays."""
    found = [model.predict(batch, batch_size=len(batch), verbose=0) for batch in batches]
    if isinstance(found[0], dict):
        return {name: np.concatenate([one[name] for one in found]) for name in found[0]}
    return np.concatenate(found)


def _loaded(
    keras: Any,  # noqa: ANN401
    path: str,
    architecture: dict[str, Any] | None,
    holder: str | None,
) -> Any:  # noqa: ANN401
    """A file as Keras itself loads it."""
    if architecture is None:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    model = keras.Model.from_config(architecture)
    if holder is not None:
        outer = keras.Input(model.input_shape[1:])
        model = keras.Model(outer, model(outer))
    # Keras passes over some of what it does not find in silence.
    model.set_weights([np.full(array.shape, np.nan) for array in model.get_weights()])
    model.load_weights(path)
    if any(np.isnan(array).any() for array in model.get_weights()):
        sys.exit("it does not find the weights of every layer")
    return model


if __name__ == "__main__":
    _answer(*sys.argv[1:5])
