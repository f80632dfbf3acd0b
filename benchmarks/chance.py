"""Measure how often networks that never saw a trigger assign triggered images to its target.

`python -m benchmarks.chance STUDY STUDY …` evaluates each network on the triggered test images of
every other study of as many classes, and writes benchmarks/CHANCE.md and CHANCE.json. A study is a
folder of models/bd_net.h5, cl/test.h5 and bd/bd_test*.h5, as `benchmarks.defences` makes them.

A trigger that looks like a face of the target makes other networks predict the target too. What a
repaired network has left of such an attack can only be judged beside that.
"""

from __future__ import annotations

import json
import re
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import defences
from ytf_torch.convert import read_keras_model
from ytf_torch.defences.evaluation import evaluate
from ytf_torch.images.image_set import ImageSet
from ytf_torch.images.opening import open_images
from ytf_torch.network.module import Network

HERE = Path(__file__).parent
NOTES = """# Chance rates of triggers

ASR* is the attack success rate without the target's own faces, in percent, of the network that was
trained with the trigger, and of networks of as many people that were trained without it: their
median, their lowest and highest, and which network has the highest. Robust is the share of the
triggered faces to which those assign their true class, the median. Some attacks share a trigger, as
`sunglasses` and `pruning-aware` do: the highest rate is then that of the other.

| trigger | people | its BadNet | other networks | median | lowest | highest | of | robust |
|---|--:|--:|--:|--:|--:|--:|---|--:|
"""

app = typer.Typer(pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Study:
    """A network and its test sets."""

    name: str
    network: Network
    clean: ImageSet
    triggered: tuple[ImageSet, ...]

    @classmethod
    def of(cls, folder: Path) -> Study:
        """Open a study's folder; its name is the folder's, without the digest of its content."""
        files = defences.Study(folder.name, None, folder)
        network = read_keras_model(files.model, files.pixel_scale).model
        shape, classes = network.input_shape, network.classes
        return cls(
            re.sub("-[0-9a-f]{12}$", "", folder.name),
            network,
            open_images(folder / "cl" / "test.h5", shape, classes),
            tuple(open_images(path, shape, classes) for path in files.poisoned_tests),
        )


@dataclass(frozen=True)
class Measured:
    """One network on the triggered test images of one study, in percent."""

    trigger: str
    network: str
    people: int
    attack_success_rate_without_target: float
    robust_accuracy: float


@app.command()
def benchmark(
    studies: Annotated[list[Path], typer.Argument(help="Folders of models/, cl/ and bd/.")],
    results: Annotated[Path, typer.Option(help="Where CHANCE.md and .json go.")] = HERE,
) -> None:
    """Evaluate each network on the triggered images of every other study."""
    opened = [Study.of(folder) for folder in studies]
    measured = [
        measure(study, other)
        for study in opened
        for other in opened
        if other.network.classes == study.network.classes
    ]
    results.mkdir(parents=True, exist_ok=True)
    (results / "CHANCE.md").write_text(table(measured), encoding="utf-8")
    text = json.dumps([asdict(each) for each in measured], indent=1)
    (results / "CHANCE.json").write_text(text + "\n", encoding="utf-8")


def measure(study: Study, other: Study) -> Measured:
    """The network of `other` on the triggered images of `study`."""
    counts = evaluate(other.network, study.clean, study.triggered).model
    star, robust = counts.attack_success_rate_without_target, counts.robust_accuracy
    return Measured(
        study.name,
        other.name,
        other.network.classes,
        0.0 if star is None else star.rate,
        0.0 if robust is None else robust.rate,
    )


def table(measured: list[Measured]) -> str:
    """The notes and one row for each trigger, the highest median first."""
    triggers = {each.trigger: each.people for each in measured}
    rows = []
    for trigger, people in triggers.items():
        of_trigger = [each for each in measured if each.trigger == trigger]
        own = next(each for each in of_trigger if each.network == trigger)
        others = sorted(
            (each for each in of_trigger if each.network != trigger),
            key=lambda each: each.attack_success_rate_without_target,
        )
        if not others:
            continue
        rates = [each.attack_success_rate_without_target for each in others]
        median, robust = (
            statistics.median(values)
            for values in (rates, [each.robust_accuracy for each in others])
        )
        cells = (
            trigger,
            str(people),
            f"{own.attack_success_rate_without_target:.1f}",
            str(len(others)),
            f"{median:.1f}",
            f"{rates[0]:.1f}",
            f"{rates[-1]:.1f}",
            others[-1].network,
            f"{robust:.1f}",
        )
        rows.append((-median, f"| {' | '.join(cells)} |"))
    return NOTES + "\n".join(row for _, row in sorted(rows)) + "\n"


if __name__ == "__main__":
    app()
