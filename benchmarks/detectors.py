"""Measure the detectors that need no repaired copy on BadNets.

`python -m benchmarks.detectors SCRATCH STUDY…` measures them on each study: a folder of models/,
cl/ and bd/, with the BadNet's pixel scale in a file `scale` where it is not 1. All figures are
written to benchmarks/DETECTORS.md and DETECTORS.json. It can be interrupted and resumed: each
figure is kept in SCRATCH, and measured again if the code of the defences has changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.defences import HERE, code_digest
from ytf_torch.defences.detectors.figures import measure_detector
from ytf_torch.defences.evaluation import evaluate
from ytf_torch.defences.methods import detector_by
from ytf_torch.disk.writing import whole_file
from ytf_torch.errors import CannotDetectError
from ytf_torch.images.arrays import images_of
from ytf_torch.images.image_set import ImageSet
from ytf_torch.images.opening import open_images
from ytf_torch.network.module import Network
from ytf_torch.network.preprocessing import asked_preprocessing
from ytf_torch.progress import untracked
from ytf_torch.report.repair.repair_record import detector_record
from ytf_torch.run.pair import open_network

DETECTORS = ("scale-up", "ibd-psc", "ted", "strip")
HEADER = "| BadNet | classes | ASR | detector | FPR at 1 % | TPR | AUROC |"
RULE = "|---|--:|--:|---|--:|--:|--:|"
NOTES = """# Detectors without a repaired copy, measured

One run each with seed 0. FPR is measured on clean test images, TPR on triggered images, at the
threshold that flags at most 1 % of the clean validation images. All validation images are used,
and at most `--images` of every other set, evenly spaced; DETECTORS.json has the numbers. ASR is
that of the BadNet on the triggered images that were measured, the target's own among them where
the set has any; TPR counts triggered images on which the attack fails too. `·` stands for a
detector that refuses.
"""

app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def benchmark(
    scratch: Annotated[Path, typer.Argument(help="Folder for figures; kept.")],
    studies: Annotated[
        list[Path], typer.Argument(help="BadNets: folders of models/, cl/ and bd/.")
    ],
    detectors: Annotated[str, typer.Option(help="Names, with commas.")] = ",".join(DETECTORS),
    images: Annotated[int, typer.Option(min=1, help="Of each test set, evenly spaced.")] = 1200,
    results: Annotated[Path, typer.Option(help="Where DETECTORS.md and .json go.")] = HERE,
) -> None:
    """Measure detectors on BadNets of many kinds; all figures are from test sets."""
    cells = scratch / "cells" / code_digest()
    cells.mkdir(parents=True, exist_ok=True)
    for study in studies:
        for name in detectors.split(","):
            path = cells / f"{study.name}-{name}-{images}.json"
            if not path.is_file():
                record = measure(study, name, images)
                with whole_file(path) as temporary:
                    temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
                print(row(record), flush=True)
            texts = (path.read_text(encoding="utf-8") for path in sorted(cells.glob("*.json")))
            write(list(map(json.loads, texts)), results)


def measure(study: Path, name: str, images: int) -> dict[str, Any]:
    """The figures of one detector on one BadNet."""
    (model,) = (study / "models").glob("bd_net.h*5")
    scale = study / "scale"
    asked = asked_preprocessing(scale.read_text() if scale.is_file() else None, None)
    network = open_network(model, asked).badnet.model
    clean_valid = open_images(study / "cl" / "valid.h5", network.input_shape, network.classes)
    clean_test = opened(network, study / "cl" / "test.h5", images)
    triggered = [opened(network, path, images) for path in sorted((study / "bd").glob("bd_test*"))]
    attack = evaluate(network, clean_test, triggered).model
    assert attack.attack_success_rate is not None
    record = {
        "badnet": study.name,
        "classes": network.classes,
        "images": {"clean_valid": len(clean_valid), "clean_test": len(clean_test)},
        "attack_success_rate": attack.attack_success_rate.rate,
        "detector": name,
    }
    try:
        detector = detector_by(name, network, clean_valid, 0, untracked)
    except CannotDetectError as error:
        return record | {"refused": error.line()}
    figures = measure_detector(detector, network, None, clean_valid, clean_test, triggered)
    found = detector_record(figures)
    del found["curve"]
    return record | found


def opened(network: Network, path: Path, images: int) -> ImageSet:
    """At most so many images of a file, evenly spaced."""
    whole = open_images(path, network.input_shape, network.classes)
    if len(whole) <= images:
        return whole
    batch = whole.select([place * len(whole) // images for place in range(images)])
    return images_of(batch.pixels, batch.labels)


def write(records: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Write the table as Markdown, failures first within a detector, and all records as JSON."""
    ordered = sorted(records, key=_worst_first)
    lines = [NOTES, HEADER, RULE, *map(row, ordered)]
    (folder / "DETECTORS.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "DETECTORS.json").write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")


def _worst_first(record: Mapping[str, Any]) -> tuple[int, float]:
    place = DETECTORS.index(record["detector"]) if record["detector"] in DETECTORS else 99
    if "refused" in record:
        return place, -1000.0
    return place, record["true_positive_rate"]["1"] - record["false_positive_rate"]["1"]


def row(record: Mapping[str, Any]) -> str:
    """One row of the table."""

    def cells() -> Iterable[str]:
        yield record["badnet"]
        yield f"{record['classes']:,}"
        yield f"{record['attack_success_rate']:.1f}"
        yield f"`{record['detector']}`"
        if "refused" in record:
            yield from "···"
            return
        yield f"{record['false_positive_rate']['1']:.1f}"
        yield f"{record['true_positive_rate']['1']:.1f}"
        yield f"{record['auroc']:.3f}"

    return f"| {' | '.join(cells())} |"


if __name__ == "__main__":
    app()
