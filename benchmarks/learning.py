"""The recommended repair beside a plain PyTorch training loop over as many pictures:
`python -m benchmarks.learning --people 40`.

The plain loop computes forward, backward and Adam for the same network in batches of 64, without
augmentation, teachers or covers: what learning costs whatever the method. All take turns, each in
a process of its own whose threads do not spin; the repair keeps its memory, as commands do, and the
plain loop runs once as anybody would run it and once with its memory kept.

What a repair learns is not measured here, so faces and weights are drawn at random, and each face
is labelled with a class that the network does not answer. So the repair has nothing to keep: it
never starts a phase anew, and ends after its first cycle. A part of the pictures is computed, the
same of every phase. The repair tells how many it has trained on, and the plain loop takes as many.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor
from torch.nn import functional as F

from benchmarks.ordinary import BATCH, OrdinaryNetwork
from benchmarks.stopwatch import Times
from ytf_torch.commands.start import keep_memory
from ytf_torch.defences.repairs.distillation import Distillation
from ytf_torch.device import exact_float32
from ytf_torch.images.arrays import images_of
from ytf_torch.network.deepid import DeepIDSizes, deepid
from ytf_torch.network.module import Network

KERNELS = ((4, 4), (3, 3), (3, 3), (2, 2))
# Clean validation faces: of the demo, of a small world, and of the lab.
FACES = {40: 1200, 196: 1764, 1283: 11_547}
REPAIR, SPINNING = "recommended repair", "repair, threads spin"
PLAIN, PLAIN_KEPT = "plain training loop", "plain training loop, memory kept"

app = typer.Typer(pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Cost:
    """Of one contestant in one round. pictures: that it trained on. load: of the machine, when it
    ended."""

    pictures: int
    seconds: float
    processor_seconds: float
    peak_megabytes: float
    load: float


@app.command()
def benchmark(
    people: Annotated[list[int], typer.Option(help="40, 196 or 1283; repeat for more.")],
    part: Annotated[int, typer.Option(min=1, help="One of so many pictures is computed.")] = 20,
    rounds: Annotated[int, typer.Option(min=1, help="In which all take turns.")] = 3,
    busy: Annotated[bool, typer.Option(help="Beside a process that keeps one core busy.")] = False,
    results: Annotated[Path | None, typer.Option(help="A file to write the table to.")] = None,
) -> None:
    """Print a table of medians; what is asked of the repair is at most 1.6 plain loops."""
    load = os.getloadavg()[0]
    lines = [
        f"{os.cpu_count()} cores, load {load:.1f} when it began"
        f"{', one core kept busy' if busy else ''}; torch {torch.__version__}; medians of "
        f"{rounds} rounds; 1/{part} of the pictures computed.",
        "",
        "| people | pictures | | seconds | processor | × plain | × plain, processor | peak MB |",
        "|--:|--:|---|--:|--:|--:|--:|--:|",
    ]
    with a_busy_core() if busy else _nothing():
        for count in people:
            lines += _rows(count, part, rounds, spinning=busy)
    text = "\n".join(lines) + "\n"
    print(text)
    if results is not None:
        results.write_text(text, encoding="utf-8")


def _rows(people: int, part: int, rounds: int, *, spinning: bool) -> Iterator[str]:
    costs: dict[str, list[Cost]] = defaultdict(list)
    for _ in range(rounds):
        costs[REPAIR].append(_in_own_process(REPAIR, people, part))
        pictures = costs[REPAIR][0].pictures
        for name in (PLAIN, PLAIN_KEPT):
            costs[name].append(_in_own_process(name, people, part, pictures))
        if spinning:
            costs[SPINNING].append(_in_own_process(SPINNING, people, part))
    wall = {name: Times(tuple(c.seconds for c in found)) for name, found in costs.items()}
    processor = {
        name: Times(tuple(c.processor_seconds for c in found)) for name, found in costs.items()
    }
    for name, found in costs.items():
        yield (
            f"| {people:,} | {found[0].pictures:,} | {name} | {wall[name].median:.1f} "
            f"| {processor[name].median:.1f} | {wall[name].ratio_to(wall[PLAIN]):.2f} "
            f"| {processor[name].ratio_to(processor[PLAIN]):.2f} "
            f"| {max(cost.peak_megabytes for cost in found):.0f} |"
        )


def _in_own_process(name: str, people: int, part: int, pictures: int = 0) -> Cost:
    call = f"print_cost({name!r}, {people}, {part}, {pictures})"
    environment = os.environ | {"OMP_WAIT_POLICY": "ACTIVE" if name == SPINNING else "PASSIVE"}
    told = subprocess.check_output(
        [sys.executable, "-c", f"from benchmarks.learning import print_cost; {call}"],
        cwd=Path(__file__).parent.parent,
        text=True,
        env=environment,
    )
    return Cost(**json.loads(told))


def print_cost(name: str, people: int, part: int, pictures: int) -> None:
    """Run a contestant here, and print its cost as JSON. pictures: for a plain loop."""
    if name != PLAIN:
        keep_memory()
    network = lab_network(people)
    began, processor = time.perf_counter(), time.process_time()
    if name in (PLAIN, PLAIN_KEPT):
        plain_loop(network, part, pictures)
    else:
        pictures = repair(network, part)
    cost = Cost(
        pictures,
        time.perf_counter() - began,
        time.process_time() - processor,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        os.getloadavg()[0],
    )
    print(json.dumps(asdict(cost)))


def lab_network(people: int) -> Network:
    """DeepID of the lab's size with random weights."""
    sizes = DeepIDSizes((55, 47), (20, 40, 60, 80), KERNELS, features=160, classes=people)
    torch.manual_seed(0)
    return deepid(sizes, 1 / 64).fresh().eval()


class Part(Distillation):
    """The recommended repair with lessons of a part of the pictures, and a part of the mixtures
    that tell dominant classes, otherwise as it is with all of them."""

    def __init__(self, part: int) -> None:
        super().__init__(lesson=Distillation().lesson // part)
        self.part = part

    def starts_fresh(self, faces: int, classes: int) -> bool:
        """As with all faces."""
        return Distillation().starts_fresh(FACES[classes], classes)

    def mixtures_for(self, classes: int) -> int:
        """A part of them."""
        return super().mixtures_for(classes) // self.part


@exact_float32()
def repair(network: Network, part: int) -> int:
    """The recommended repair of a network, with a part of the faces and of each lesson. How many
    pictures it trained on."""
    pixels = random_faces(network, part)
    with torch.inference_mode():
        answers = network(pixels).argmax(1)
    images, trained = images_of(pixels, (answers + 1) % network.classes), Trained()
    list(Part(part).candidates(network, images, trained))
    return trained.pictures


def random_faces(network: Network, part: int) -> Tensor:
    """A part of the clean validation faces, uint8, drawn anew at every call."""
    faces = FACES[network.classes] // part
    return torch.randint(256, (faces, *network.input_shape), dtype=torch.uint8)


@dataclass
class Trained:
    """A Track that counts the pictures of all phases: each is trained on once it is done."""

    pictures: int = 0

    def __call__(self, phase: str, total: int, unit: str = "faces") -> Callable[[int], None]:
        """See Track."""

        def done(more: int) -> None:
            self.pictures += more

        return done


def plain_loop(network: Network, part: int, pictures: int) -> None:
    """Forward, backward, Adam over so many pictures."""
    pixels = random_faces(network, part)
    labels = torch.arange(len(pixels)) % network.classes
    ordinary = OrdinaryNetwork(network).train()
    optimizer = torch.optim.Adam(ordinary.parameters(), 1e-4)
    for _ in range(-(-pictures // BATCH)):
        chosen = torch.randint(len(pixels), (BATCH,))
        optimizer.zero_grad()
        loss = F.cross_entropy(ordinary(pixels[chosen] / 64), labels[chosen])
        torch.autograd.backward(loss)
        optimizer.step()


@contextmanager
def a_busy_core() -> Iterator[None]:
    """Beside a process that never waits."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def _nothing() -> Iterator[None]:
    yield


if __name__ == "__main__":
    app()
