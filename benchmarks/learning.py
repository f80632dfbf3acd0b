"""The recommended repair beside a plain PyTorch training loop over as many pictures:
`python -m benchmarks.learning --people 40`.

The plain loop computes forward, backward and Adam for the same network in batches of 64, without
augmentation, teachers or covers: what learning costs whatever the method. Both take turns, each in
a process of its own whose threads do not spin, as commands start it. What a repair learns is not
measured here, so faces and weights are drawn at random; it then takes its first second teacher and
ends after its first cycle. A part of the pictures is computed, the same of every phase.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch.nn import functional as F

from benchmarks.ordinary import BATCH, OrdinaryNetwork
from benchmarks.stopwatch import Times
from ytf_torch.defences.repairs.distillation import Distillation
from ytf_torch.device import exact_float32
from ytf_torch.faces.in_memory import faces_of
from ytf_torch.network.deepid import DeepIDSizes, deepid
from ytf_torch.network.module import Network
from ytf_torch.progress import untracked

KERNELS = ((4, 4), (3, 3), (3, 3), (2, 2))
# Clean validation faces: of the demo, of a small world, and of the lab.
FACES = {40: 1200, 196: 1764, 1283: 11_547}
REPAIR, PLAIN, SPINNING = "recommended repair", "plain training loop", "repair, threads spin"
WAITING = {REPAIR: "PASSIVE", PLAIN: "PASSIVE", SPINNING: "ACTIVE"}

app = typer.Typer(pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Cost:
    """Of one contestant in one round; load: of the machine, when it ended."""

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
            lines += _rows(count, part, rounds, [REPAIR, PLAIN, *([SPINNING] if busy else [])])
    text = "\n".join(lines) + "\n"
    print(text)
    if results is not None:
        results.write_text(text, encoding="utf-8")


def _rows(people: int, part: int, rounds: int, contestants: list[str]) -> Iterator[str]:
    costs: dict[str, list[Cost]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name in contestants:
            costs[name].append(_in_own_process(name, people, part))
    wall = {name: Times(tuple(c.seconds for c in found)) for name, found in costs.items()}
    processor = {
        name: Times(tuple(c.processor_seconds for c in found)) for name, found in costs.items()
    }
    for name, found in costs.items():
        yield (
            f"| {people:,} | {pictures_of(people, part):,} | {name} | {wall[name].median:.1f} "
            f"| {processor[name].median:.1f} | {wall[name].ratio_to(wall[PLAIN]):.2f} "
            f"| {processor[name].ratio_to(processor[PLAIN]):.2f} "
            f"| {max(cost.peak_megabytes for cost in found):.0f} |"
        )


def _in_own_process(name: str, people: int, part: int) -> Cost:
    code = f"from benchmarks.learning import print_cost; print_cost({name!r}, {people}, {part})"
    environment = os.environ | {"OMP_WAIT_POLICY": WAITING[name]}
    told = subprocess.check_output(
        [sys.executable, "-c", code], cwd=Path(__file__).parent.parent, text=True, env=environment
    )
    return Cost(**json.loads(told))


def print_cost(name: str, people: int, part: int) -> None:
    """Run a contestant here, and print its cost as JSON."""
    sizes = DeepIDSizes((55, 47), (20, 40, 60, 80), KERNELS, features=160, classes=people)
    torch.manual_seed(0)
    network = deepid(sizes, 1 / 64).fresh().eval()
    work = plain_loop if name == PLAIN else repair
    began, processor = time.perf_counter(), time.process_time()
    work(network, part)
    cost = Cost(
        time.perf_counter() - began,
        time.process_time() - processor,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        os.getloadavg()[0],
    )
    print(json.dumps(asdict(cost)))


def shorter(part: int) -> Distillation:
    """The recommended repair with lessons of a part of the pictures."""
    return Distillation(lesson=Distillation().lesson // part)


def pictures_of(people: int, part: int) -> int:
    """How many pictures a repair trains on: those of the second teacher, and of the student."""
    method, faces = shorter(part), FACES[people] // part
    student = method.rounds_for(faces) * method.passes * method.lesson
    return method.fine_tuning.epochs * faces + student


@exact_float32()
def repair(network: Network, part: int) -> None:
    """The recommended repair of a network, with a part of the faces and of each lesson."""
    faces = FACES[network.classes] // part
    pixels = torch.randint(256, (faces, *network.input_shape), dtype=torch.uint8)
    labels = torch.arange(faces) % network.classes
    list(shorter(part).candidates(network, faces_of(pixels, labels), untracked))


def plain_loop(network: Network, part: int) -> None:
    """Forward, backward, Adam over as many pictures."""
    pixels = torch.randint(256, (FACES[network.classes] // part, *network.input_shape)).byte()
    labels = torch.arange(len(pixels)) % network.classes
    ordinary = OrdinaryNetwork(network).train()
    optimizer = torch.optim.Adam(ordinary.parameters(), 1e-4)
    for _ in range(-(-pictures_of(network.classes, part) // BATCH)):
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
