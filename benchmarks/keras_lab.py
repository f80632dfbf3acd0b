"""The lab's notebook in real Keras: load three sets into memory, then evaluate all of them per
step.

Runs in a subprocess that executes steps on request, so that its steps can be interleaved with those
of other contestants; `KerasLab` controls it. Needs tf_keras.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ytf_torch.network.deepid import DeepIDSizes

SETS = ("valid", "test", "bd_test")


@dataclass(frozen=True)
class Step:
    """Seconds of one step's evaluations, by face set."""

    valid: float
    test: float
    bd_test: float

    @property
    def all_sets(self) -> float:
        """Seconds of the whole step."""
        return self.valid + self.test + self.bd_test


class KerasLab:
    """The notebook, running in a subprocess.

    load_seconds: time to import Keras and load the sets and the model. unavailable: why it cannot
    run, or None.
    """

    def __init__(self, keras_model: Path, sizes: DeepIDSizes, sets: tuple[Path, ...]) -> None:
        start = time.perf_counter()
        arguments = [str(keras_model), json.dumps(asdict(sizes)), *map(str, sets)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.keras_lab", *arguments],
            cwd=Path(__file__).parent.parent,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        found = self._answer()
        self.unavailable: str | None = found.get("unavailable")
        self.version: str = found.get("version", "")
        self.load_seconds = time.perf_counter() - start

    def step(self) -> Step:
        """Mask one more channel and evaluate the three sets."""
        self._order("step")
        return Step(**self._answer())

    def finish(self) -> int:
        """Stop the process. Returns its peak memory in bytes."""
        self._order("finish")
        peak: int = self._answer()["peak_bytes"]
        self.process.wait()
        return peak

    def _order(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        found: dict[str, Any] = json.loads(line) if line else {"unavailable": "Keras ended early"}
        return found


def deepid(keras: Any, sizes: dict[str, Any]) -> Any:  # noqa: ANN401
    """DeepID, built as in the lab's architecture file."""
    layers = keras.layers
    below = entry = keras.Input((*sizes["input_size"], 3), name="input")

    def convolution(number: int, source: Any) -> Any:  # noqa: ANN401
        channels, kernel = sizes["channels"][number - 1], sizes["kernels"][number - 1]
        return layers.Conv2D(channels, kernel, activation="relu", name=f"conv_{number}")(source)

    for number in (1, 2, 3):
        below = layers.MaxPooling2D(2, name=f"pool_{number}")(convolution(number, below))
    fc_1 = layers.Dense(sizes["features"], name="fc_1")(layers.Flatten()(below))
    fc_2 = layers.Dense(sizes["features"], name="fc_2")(layers.Flatten()(convolution(4, below)))
    hidden = layers.Activation("relu")(layers.Add()([fc_1, fc_2]))
    output = layers.Dense(sizes["classes"], activation="softmax", name="output")(hidden)
    return keras.Model(entry, output)


def main(keras_model: str, sizes: str, *paths: str) -> None:
    import h5py
    import numpy as np

    try:
        import tf_keras as keras
    except ImportError:
        print(json.dumps({"unavailable": "tf_keras is not installed (extra `keras`)"}), flush=True)
        return

    def load(path: str) -> tuple[Any, Any]:
        with h5py.File(path) as file:
            data, label = np.array(file["data"]), np.array(file["label"])
        return data.transpose((0, 2, 3, 1)), label

    sets = {name: load(path) for name, path in zip(SETS, paths, strict=True)}
    model = deepid(keras, json.loads(sizes))
    model.load_weights(keras_model, by_name=True)

    def accuracy(name: str) -> Any:  # noqa: ANN401
        data, label = sets[name]
        return np.mean(np.argmax(model.predict(data, verbose=0), axis=1) == label) * 100

    model.predict(sets["valid"][0][:64], verbose=0)  # builds the graph before the first timed step
    print(json.dumps({"version": keras.__version__}), flush=True)
    layer = model.get_layer("conv_3")
    for channel, line in enumerate(sys.stdin):
        if line.strip() != "step":
            break
        kernel, bias = layer.get_weights()
        kernel[..., channel % kernel.shape[3]] = 0
        bias[channel % len(bias)] = 0
        layer.set_weights([kernel, bias])
        seconds = {}
        for name in SETS:
            start = time.perf_counter()
            accuracy(name)
            seconds[name] = time.perf_counter() - start
        print(json.dumps(seconds), flush=True)
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    print(json.dumps({"peak_bytes": int(peak) * 1024}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
