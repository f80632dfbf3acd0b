"""Run real Keras in a subprocess: it loads a file itself and returns what it computes.

Keras's own `load_model` gets the unchanged file, so that the comparison covers Keras's reading of
it. load_model builds whatever the configuration names, which in an untrusted file may be code
(CVE-2025-9905: HDF5 files are loaded without `safe_mode`). Callers must therefore pass only files
of stock layers: keras_oracle.py checks this, export.py passes files that it has just written.

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
# Log only errors; no GPU, because its results are not reproducible.
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
SECONDS = 600


# Dictionary keys that no layer name can equal.
LOGITS, READS, HOLDER = "(logits)", "(reads)", "(read by) "


@dataclass(frozen=True)
class Logits:
    """Where a model computes its logits: the model's output if `path` is empty, else a layer's
    output.

    path: the containing models, outermost first, and the layer's name. without_activation: take the
    value before the layer's activation; for a pure activation layer, its input.
    """

    path: tuple[str, ...] = ()
    without_activation: bool = False


@dataclass(frozen=True)
class KerasAnswer:
    """What Keras computed with one file, concatenated over all batches.

    by: library and version. outputs: output of the model as loaded. logits: output of the last
    layer before its activation. layers: outputs of the requested layers, channels first.
    """

    by: str
    outputs: NDArray[Any]
    logits: NDArray[Any]
    layers: Mapping[str, NDArray[Any]]


def installed_libraries() -> list[str]:
    """The installed Keras libraries. Raises InputError where there is none."""
    installed = [name for name in LIBRARIES if importlib.util.find_spec(name)]
    if not installed:
        raise InputError(
            argument("against_keras"),
            "real Keras is not installed",
            how_to_install("keras"),
        )
    return installed


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
    """Have one Keras library load a file and run it, in a subprocess.

    path: with the extension by which Keras recognises the format. batches: preprocessed, (batch,
    height, width, channels). architecture: Keras's JSON of the model for a weights-only file; None
    for a full model. logits: where they are computed. layers: requested outputs; name → path of the
    layer in Keras. called: the user's path of the file, for errors. Raises InputError where Keras
    cannot load or run it.
    """
    layers = {} if layers is None else layers
    wanted = {"architecture": architecture, "logits": asdict(logits), "layers": layers}
    with tempfile.TemporaryDirectory() as folder:
        request, answer = Path(folder, "request.npz"), Path(folder, "answer.npz")
        images = {f"batch_{number}": batch for number, batch in enumerate(batches)}
        np.savez(request, wanted=json.dumps(wanted), allow_pickle=False, **images)
        process = run_program(library, path, request, answer)
        if process.returncode:
            reason = (process.stderr.strip().splitlines() or ["no message"])[-1]
            raise InputError(called or path, f"{library} cannot run it ({reason[:200]})")
        with np.load(answer) as archive:
            outputs = {name: archive[f"layer/{name}"] for name in layers}
            by = f"{library} {archive['version']}"
            return KerasAnswer(by, archive["outputs"], archive["logits"], outputs)


def run_program(
    library: str, path: Path, request: Path, answer: Path
) -> subprocess.CompletedProcess[str]:
    """Run this module as a program, which answers a request about a file in a new process."""
    python, environment = python_command()
    # -P: do not import from the working folder, which may hold a file named keras.py.
    program = [python, "-P", "-m", "ytf_torch.convert.keras.keras_process"]
    return subprocess.run(
        [*program, library, str(path), str(request), str(answer)],
        env=os.environ | environment | ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def _answer(library: str, path: str, request: str, answer: str) -> None:
    """The subprocess: load and run a file, and save all outputs as .npz in `answer`."""
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
        # Changes the loaded model in place, so only after `outputs` has been computed.
        if without and hasattr(last, "activation"):
            last.activation = keras.activations.linear
        reads_logits = without and not hasattr(last, "activation")
        paths[LOGITS] = (*holders, name, *([READS] if reads_logits else []))
    by_name = _outputs(keras, model, batches, paths)
    by_name.setdefault(LOGITS, outputs)
    channels_first = {
        f"layer/{name}": array.transpose(0, 3, 1, 2) if array.ndim == 4 else array
        for name, array in by_name.items()
        if name != LOGITS
    }
    arrays = {"outputs": outputs, "logits": by_name[LOGITS], **channels_first}
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
    """Outputs of layers, concatenated over all batches.

    Layers of nested models are not part of the outer graph. Their model's input is computed first,
    and the nested model is then run on it.
    """
    tensors: dict[str, Any] = {}
    inner: dict[str, dict[str, tuple[str, ...]]] = {}
    for name, path in paths.items():
        layer = model.get_layer(path[0])
        if path[1:] == (READS,):
            tensors[name] = layer.input
        elif len(path) == 1:
            tensors[name] = layer.output
        else:
            inner.setdefault(path[0], {})[name] = path[1:]
    for holder in inner:
        tensors[f"{HOLDER}{holder}"] = _read_by(model, holder)
    outputs = _predicted(keras.Model(model.inputs, tensors), batches) if tensors else {}
    for holder, inner_paths in inner.items():
        inputs = outputs.pop(f"{HOLDER}{holder}")
        ends = np.cumsum([len(batch) for batch in batches])[:-1]
        outputs |= _outputs(keras, model.get_layer(holder), np.split(inputs, ends), inner_paths)
    return outputs


def _read_by(model: Any, holder: str) -> Any:  # noqa: ANN401
    """The input tensor of a nested model in the outer graph; its `input` is that of its own
    graph."""
    tensors = model.get_layer(holder)._inbound_nodes[-1].input_tensors
    return tensors[0] if isinstance(tensors, list | tuple) else tensors


def _predicted(model: Any, batches: Sequence[NDArray[Any]]) -> Any:  # noqa: ANN401
    """A model's outputs, concatenated over all batches: an array, or a dictionary of arrays."""
    outputs = [model.predict(batch, batch_size=len(batch), verbose=0) for batch in batches]
    if isinstance(outputs[0], dict):
        return {name: np.concatenate([batch[name] for batch in outputs]) for name in outputs[0]}
    return np.concatenate(outputs)


def _loaded(keras: Any, path: str, architecture: str | None) -> Any:  # noqa: ANN401
    """The model as Keras itself loads it. Exits with a message where weights are missing."""
    if architecture is None:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    config = json.loads(architecture)
    if "module" in config:  # the JSON format of Keras 3
        model = keras.models.model_from_json(architecture)
    else:
        kind = keras.Sequential if config["class_name"] == "Sequential" else keras.Model
        model = kind.from_config(config["config"])
    # Keras silently skips some weights that it does not find: those would stay NaN.
    model.set_weights([np.full(array.shape, np.nan) for array in model.get_weights()])
    model.load_weights(path)
    if any(np.isnan(array).any() for array in model.get_weights()):
        sys.exit("it does not find the weights of every layer")
    return model


if __name__ == "__main__":
    _answer(*sys.argv[1:5])
