"""The lab's network in ordinary PyTorch code, run in a new process: its passes are the unit in
which the cost of a defence is given.

`python -m benchmarks.ordinary KERAS_MODEL DEVICE FACES…` prints seconds. In a process that has
computed before, a pass may take half the time, because its memory has already been allocated by the
system. `ytf-prune`, to which it is compared, starts in a new process too.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.forward_pass import forward_pass
from benchmarks.lab_files import in_memory
from benchmarks.stopwatch import seconds_of
from ytf_torch.convert import read_keras_model
from ytf_torch.network.module import Network

BATCH = 64


class OrdinaryNetwork(nn.Module):
    """DeepID of nn.Conv2d and nn.MaxPool2d, channels_last, with the weights of `network`."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(one.in_channels, one.out_channels, one.kernel_size)  # type: ignore[arg-type]
            for one in map(network.convolution, network.graph.convolutions)
        )
        for mine, other in zip(self.convolutions, network.graph.convolutions, strict=True):
            mine.load_state_dict(network.convolution(other).state_dict())
        self.pool = nn.MaxPool2d(2)
        self.fc_1, self.fc_2, self.output = network.fc_1, network.fc_2, network.output
        self.to(network.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        """(batch, 3, height, width), pixel values 0–255 → logits (batch, classes)."""
        maps = pixels.to(torch.float32, memory_format=torch.channels_last)
        *pooled, last = self.convolutions
        for convolution in pooled:
            maps = self.pool(F.relu(convolution(maps)))
        hidden = self.fc_1(maps.flatten(1)) + self.fc_2(F.relu(last(maps)).flatten(1))
        logits: Tensor = self.output(F.relu(hidden))
        return logits


def ordinary_passes(keras_model: Path, sets: Sequence[Path], device: torch.device) -> float:
    """Total seconds of one pass over each set from memory, without loading network and images."""
    arguments = map(str, (keras_model, device.type, *sets))
    command = [sys.executable, "-m", "benchmarks.ordinary", *arguments]
    return float(subprocess.check_output(command, cwd=Path(__file__).parent.parent, text=True))


def main(keras_model: str, device: str, *sets: str) -> None:
    """Print the seconds."""
    model = read_keras_model(keras_model, 1.0).model.to(device)
    ordinary, seconds = OrdinaryNetwork(model), 0.0
    for path in sets:
        seconds += seconds_of(
            partial(forward_pass, ordinary, in_memory(Path(path), model), BATCH)
        )()
    print(seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
