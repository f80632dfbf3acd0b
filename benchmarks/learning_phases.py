"""What the parts of the recommended repair cost, beside a step of a plain PyTorch training loop:
`python -m benchmarks.learning_phases --people 40`.

All take turns in one process, in one thread, whose own processor time is counted: other work on the
machine disturbs it least. A student sees each picture of a lesson four times, its teachers once, so
what is made once for a lesson counts a quarter.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Annotated

import torch
import typer
from torch.nn import functional as F

from benchmarks.learning import lab_network
from benchmarks.ordinary import BATCH, OrdinaryNetwork
from benchmarks.stopwatch import Contestant, take_turns, warm_up
from ytf_torch.commands.start import keep_memory
from ytf_torch.defences.lessons import LESSON_BATCH, TEACHER_BATCH
from ytf_torch.defences.repairs.distillation import RELIGHTING, Distillation
from ytf_torch.defences.training import seeded
from ytf_torch.defences.variations import mix, occlude, relight, warp
from ytf_torch.device import exact_float32
from ytf_torch.network.module import Network

PLAIN, STUDENT = "plain step", "student: forward, backward, Adam"
VARIED, TAUGHT = "lesson: moved, lit, mixed", "lesson: answers of two teachers"
COVERED = "student's pictures: lit, covered"

app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def benchmark(
    people: Annotated[int, typer.Option(help="Classes of the network.")] = 40,
    rounds: Annotated[int, typer.Option(min=1, help="In which all take turns.")] = 15,
) -> None:
    """Print a table of medians, for each picture that the student sees."""
    keep_memory()
    torch.set_num_threads(1)
    network, passes = lab_network(people), Distillation().passes
    contestants = {
        PLAIN: plain_step(network),
        STUDENT: student_step(network),
        VARIED: varying(network, passes),
        TAUGHT: teaching(network, passes),
        COVERED: covering(network),
    }
    warm_up(contestants)
    times = take_turns(contestants, rounds)
    load = os.getloadavg()[0]
    print(f"{people} people, one thread, medians of {rounds} rounds; load {load:.1f}.\n")
    print("| | µs a picture | × plain step |\n|---|--:|--:|")
    for name, found in times.items():
        print(f"| {name} | {1e6 * found.median:.0f} | {found.ratio_to(times[PLAIN]):.2f} |")
    ratios = sum(times[name].ratio_to(times[PLAIN]) for name in contestants if name != PLAIN)
    print(f"| all but the plain step | | {ratios:.2f} |")


def processor_seconds(work: Callable[[], object], pictures: float) -> Contestant:
    """Of this thread, for one of so many pictures."""

    @exact_float32()
    def timed() -> float:
        start = time.thread_time()
        work()
        return (time.thread_time() - start) / pictures

    return timed


def plain_step(network: Network) -> Contestant:
    """Forward, backward, Adam of the network as most people would write it."""
    ordinary = OrdinaryNetwork(network.fresh()).train()
    optimizer = torch.optim.Adam(ordinary.parameters(), 1e-4)
    pixels, labels = torch.rand(BATCH, *network.input_shape) * 255, torch.arange(BATCH)

    def step() -> None:
        optimizer.zero_grad()
        loss = F.cross_entropy(ordinary(pixels / 64), labels % network.classes)
        torch.autograd.backward(loss)
        optimizer.step()

    return processor_seconds(step, BATCH)


def student_step(network: Network) -> Contestant:
    """The same of a network of ours, to a teacher's logits."""
    student = network.fresh().train()
    optimizer = torch.optim.Adam(student.parameters(), 1e-4)
    pixels, logits = torch.rand(BATCH, *network.input_shape) * 255, torch.rand(1, network.classes)

    def step() -> None:
        optimizer.zero_grad()
        answers = student(pixels)
        torch.autograd.backward(F.mse_loss(answers, logits.expand_as(answers)))
        optimizer.step()

    return processor_seconds(step, BATCH)


def varying(network: Network, passes: int) -> Contestant:
    """What a lesson's pictures are made by."""
    pixels, generator = torch.rand(LESSON_BATCH, *network.input_shape) * 255, seeded(0)

    def vary() -> None:
        varied = relight(warp(pixels, generator), generator)
        mix(varied, generator, Distillation().mixed_share).images.round().to(torch.uint8)

    return processor_seconds(vary, LESSON_BATCH * passes)


def teaching(network: Network, passes: int) -> Contestant:
    """Two networks' answers to a lesson's pictures."""
    pixels = torch.randint(256, (LESSON_BATCH, *network.input_shape), dtype=torch.uint8)

    @torch.no_grad()
    def teach() -> None:
        for _ in range(2):
            torch.cat([network(part) for part in torch.split(pixels, TEACHER_BATCH)])

    return processor_seconds(teach, LESSON_BATCH * passes)


def covering(network: Network) -> Contestant:
    """What is done anew to a lesson's pictures each time that the student sees them."""
    pixels = torch.randint(256, (BATCH, *network.input_shape), dtype=torch.uint8)
    generator, shares = seeded(0), Distillation().covered_shares

    def cover() -> None:
        shown = relight(pixels.float(), generator, RELIGHTING)
        for share in shares:
            shown = occlude(shown, generator, share)

    return processor_seconds(cover, BATCH)


if __name__ == "__main__":
    app()
