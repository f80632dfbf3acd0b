"""Cost of a sweep of any network: `python -m benchmarks.networks MODEL.safetensors …`.

For each converted model, sweeps an early, a middle and a late convolution, and the layer that is
pruned by default. One sweep ranks the channels and masks them one by one on the same images. Its
time is given in units of a plain pass of these images through the whole network; the plain engine
would need channels + 2 passes. Prints a Markdown table.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import h5py
import numpy as np
import torch
import typer

from benchmarks.stopwatch import seconds_of, take_turns, warm_up
from ytf_torch.device import exact_float32
from ytf_torch.images.image_set import ImageSet
from ytf_torch.images.opening import open_images
from ytf_torch.network.checkpoint import load_checkpoint
from ytf_torch.network.module import Network
from ytf_torch.network.pruned_layer import default_layer, rank_points
from ytf_torch.sweep.fast import fast_engine
from ytf_torch.sweep.passes import sweep

app = typer.Typer(pretty_exceptions_enable=False)

HEADER = """| network | layer | output | channels | engine | one pass | sweep | in passes | plain |
|---|---|---|---:|---|---:|---:|---:|---:|"""


@app.command()
def networks(
    models: Annotated[list[Path], typer.Argument(help="Converted models.")],
    images: Annotated[int, typer.Option(min=1, help="Images of each sweep.")] = 512,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; the middle one counts.")] = 3,
) -> None:
    """Measure sweeps of early and late layers."""
    print(HEADER)
    for path in models:
        network = load_checkpoint(path).model
        with tempfile.TemporaryDirectory() as folder:
            faces = coarse_images(network, images, Path(folder, "images.h5"))
            for layer in measured_layers(network):
                print(row(path.stem, network, layer, faces, rounds), flush=True)


def measured_layers(network: Network) -> tuple[str, ...]:
    """An early, a middle and a late convolution, and the default layer, in order."""
    layers = network.graph.convolutions
    own = [name for name in layers if not network.graph[name].kind.channelwise] or layers
    chosen = {own[0], own[len(own) // 2], own[-1], default_layer(network.graph)}
    return tuple(name for name in layers if name in chosen)


def coarse_images(network: Network, images: int, path: Path) -> ImageSet:
    """Images of coarse random colours, which activate as many channels as natural images do."""
    channels, height, width = network.input_shape
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (images, channels, 6, 6)).astype(np.uint8)
    whole = coarse.repeat(-(-height // 6), axis=2).repeat(-(-width // 6), axis=3)
    with h5py.File(path, "w") as file:
        file["data"] = whole[:, :, :height, :width]
        file["label"] = rng.integers(0, network.classes, images)
    return open_images(path, network.input_shape, network.classes)


def row(name: str, network: Network, layer: str, faces: ImageSet, rounds: int) -> str:
    """A row of the table. The plain pass uses the sweep's batch size and parallelises each batch
    over all cores; the sweep processes one batch per core."""

    @exact_float32()
    def one_pass() -> None:
        with torch.inference_mode():
            for batch in faces.batches():
                network(batch.pixels)

    contestants = {
        "pass": seconds_of(one_pass),
        "sweep": seconds_of(lambda: sweep(network, faces, layer=layer, engine=fast_engine)),
    }
    warm_up(contestants)
    times = take_turns(contestants, rounds)
    shape = network.output_shape(layer)
    engine = type(fast_engine(network, layer, rank_points(network.graph, layer)[0])).__name__
    cells = (
        *(name, layer, "×".join(map(str, shape)), shape[0], engine.removesuffix("Engine")),
        *(f"{times[which].median:.2f} s" for which in ("pass", "sweep")),
        *(f"{times['sweep'].ratio_to(times['pass']):.1f}", shape[0] + 2),
    )
    return "| " + " | ".join(map(str, cells)) + " |"


if __name__ == "__main__":
    app()
