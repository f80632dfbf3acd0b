"""What real Keras answers from a file of ours that it loads itself. Runs in a process of its own.

load_model builds what the file's configuration says, so only files that this package has just
written come here.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ytf_torch.convert.keras_writer import functional_config
from ytf_torch.disk.interpreter import python_command
from ytf_torch.errors import InputError, argument, how_to_install
from ytf_torch.network.module import Network

LIBRARIES = ("tf_keras", "keras")
SECONDS = 600


def run_keras(
    path: Path, networks: tuple[Network, ...], batches: list[NDArray[np.floating[Any]]]
) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """Run a file in every Keras that is installed; its name and its outputs, end to end.

    networks: the network that was written, whose logits it gives; or B and B′ of a GoodNet, whose
    softmax it gives. batches: (batch, 3, height, width), pixel values 0–255.
    Raises InputError where no Keras is installed, or one cannot run the file.
    """
    installed = [name for name in LIBRARIES if importlib.util.find_spec(name)]
    if not installed:
        raise InputError(
            argument("against_keras"),
            "real Keras is not installed",
            how_to_install("keras"),
        )
    scale = networks[0].pixel_scale
    images = {
        f"batch_{number}": np.multiply(batch, scale, dtype=batch.dtype).transpose(0, 2, 3, 1)
        for number, batch in enumerate(batches)
    }
    built = functional_config(networks[0])
    for library in installed:
        with tempfile.TemporaryDirectory() as folder:
            request, answer = Path(folder, "request.npz"), Path(folder, "answer.npz")
            alone = np.array(len(networks) == 1)
            np.savez(request, architecture=json.dumps(built), alone=alone, **images)
            _run(path, library, request, answer)
            with np.load(answer) as archive:
                outputs = [archive[name] for name in images]
                yield f"{library} {archive['version']}", np.concatenate(outputs)


def _run(path: Path, library: str, request: Path, answer: Path) -> None:
    python, surroundings = python_command()
    command = [python, "-P", "-m", "ytf_torch.convert.keras_loader"]
    done = subprocess.run(
        [*command, library, str(path), str(request), str(answer)],
        env=os.environ | surroundings | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(path, f"{library} cannot run it ({reason[:200]})")


def _answer(library: str, path: str, request: str, answer: str) -> None:
    keras = importlib.import_module(library)
    with np.load(request) as archive:
        batches = {name: archive[name] for name in archive.files if name.startswith("batch")}
        architecture, alone = json.loads(str(archive["architecture"])), bool(archive["alone"])
    if path.endswith(".weights.h5"):
        model = keras.Model.from_config(architecture)
        model.load_weights(path)
    else:
        model = keras.models.load_model(path, compile=False)
    if alone:  # its logits, before the softmax
        model.layers[-1].activation = keras.activations.linear
    outputs = {name: model.predict(batch, verbose=0) for name, batch in batches.items()}
    np.savez(answer, version=keras.__version__, **outputs)


if __name__ == "__main__":
    _answer(*sys.argv[1:5])
