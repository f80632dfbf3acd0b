"""Measure repairs on BadNets: attacks × seeds × methods, failures included.

`python -m benchmarks.defences SCRATCH` trains missing BadNets, runs missing repairs, and writes all
figures to benchmarks/DEFENCES.md and DEFENCES.json. It can be interrupted and resumed, because
everything is kept in SCRATCH: a study per BadNet and a JSON file per repair. Repairs are measured
again if the code of the defences has changed. The table contains everything that was measured with
the current code, including by earlier runs.
"""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

import ytf_torch.defences
from benchmarks.face_folder import study_of_folder
from ytf_torch.convert.keras.keras_writer import write_keras_h5
from ytf_torch.defences.names import RECOMMENDED_DETECTOR, RECOMMENDED_REPAIR, REPAIRS
from ytf_torch.defences.repairing import repair_and_measure
from ytf_torch.demo.attacks import ATTACK_NAMES
from ytf_torch.demo.badnet import PIXEL_SCALE
from ytf_torch.demo.study import EPOCHS, best_source, make_study, study_key
from ytf_torch.disk.writing import whole_file
from ytf_torch.network.preprocessing import Preprocessing
from ytf_torch.report.repair.repair_record import repair_record
from ytf_torch.run.repair import open_repair
from ytf_torch.run.repair_settings import RepairSettings

HERE = Path(__file__).parent
HEADER = (
    "| BadNet | people | method | runs | before: clean | ASR* | after: clean points lost | ASR* "
    "| robust | detector FPR | TPR | seconds | code |"
)
RULE = "|---|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|"
NOTES = """# Defences, measured

Each row is the median over the seeds of a repair, with the worst seed behind it in brackets. Points
lost are of clean test accuracy; fewer than 0 is a gain. ASR* is the attack success rate without the
target's own faces, robust the share of triggered faces that get their true class, all in percent.
The detector is `{detector}` with the repaired copy, its threshold set on clean validation
faces for a nominal rate of 1 %; FPR is measured on clean test faces. Its two columns leave out runs
whose repair was measured before the detector took its present form. Seconds are of the machine's
clock, which other work may have shared. `clean` has no backdoor: its ASR* is how often faces that
wear the trigger are taken for the target anyway. BadNets of 40 people are of the ORL faces; those
of more are of frames made of photos of Labeled Faces in the Wild, repaired by `ytf-repair` on one
core. "Code" is the digest of the defences' code that a row was measured with; the code that wrote
this table has {digest}. Rows of other digests were measured with earlier code.
"""

app = typer.Typer(pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Study:
    """A BadNet and its image sets, in the folder layout of `ytf-demo`. A file `scale` holds the
    pixel scale where it is not 1.

    attack, seed: with which it was trained; seed is None for a folder given by the user. faces:
    the name of the faces where they are not the demo's.
    """

    attack: str
    seed: int | None
    folder: Path
    faces: str = ""

    @property
    def name(self) -> str:
        attack = f"{self.attack}, {self.faces}" if self.faces else self.attack
        return attack if self.seed is None else f"{attack} {self.seed}"

    @property
    def pixel_scale(self) -> float:
        """What the file `scale` in the folder says, 1 without one."""
        scale = self.folder / "scale"
        return float(Fraction(scale.read_text().strip())) if scale.is_file() else PIXEL_SCALE

    @property
    def model(self) -> Path:
        """The file of the BadNet; the folder where there is none."""
        return min((self.folder / "models").glob("bd_net.*"), default=self.folder)

    @property
    def poisoned_tests(self) -> tuple[Path, ...]:
        """The triggered test sets."""
        return tuple(sorted((self.folder / "bd").glob("bd_test*.h5")))

    def settings(self, method: str, seed: int, out: Path) -> RepairSettings:
        return RepairSettings(
            model=self.model,
            clean_valid=self.folder / "cl" / "valid.h5",
            out=out,
            clean_test=self.folder / "cl" / "test.h5",
            poisoned_test=self.poisoned_tests,
            method=method,
            seed=seed,
            device="cpu",
            preprocessing=Preprocessing(self.pixel_scale),
        )


@app.command()
def benchmark(
    scratch: Annotated[Path, typer.Argument(help="Folder for BadNets and figures; kept.")],
    attacks: Annotated[str, typer.Option(help="Names, with commas.")] = ",".join(ATTACK_NAMES),
    attack_seeds: Annotated[int, typer.Option(min=0, help="BadNets of each attack.")] = 1,
    methods: Annotated[str, typer.Option(help=f"Of {', '.join(REPAIRS)}.")] = RECOMMENDED_REPAIR,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each repair.")] = 3,
    study: Annotated[
        list[Path] | None,
        typer.Option(help="Another BadNet: a folder of models/, cl/ and bd/. Repeat for more."),
    ] = None,
    faces: Annotated[
        Path | None,
        typer.Option(
            help="Faces to train BadNets of: cl/train.h5, cl/valid.h5 and cl/test.h5.",
            show_default="the demo's",
        ),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Of training on --faces.")] = 30,
    results: Annotated[Path, typer.Option(help="Where DEFENCES.md and .json go.")] = HERE,
) -> None:
    """Measure repairs on BadNets of many kinds; all figures are from test sets."""
    cells = scratch / "cells" / code_digest()
    cells.mkdir(parents=True, exist_ok=True)
    attacked = attacks.split(",") if attacks else []
    given = given_studies(study or [])
    if faces is None:
        trained = studies(scratch, attacked, attack_seeds)
    else:
        trained = studies_of(faces, scratch, attacked, attack_seeds, epochs)
    for one in chain(given, trained):
        for method in methods.split(","):
            for seed in range(seeds):
                measure(one, method, seed, cells)
                write(known(cells), results)


def given_studies(folders: Iterable[Path]) -> Iterator[Study]:
    """Studies of the user."""
    return (Study(folder.name, None, folder) for folder in folders)


def studies_of(
    faces: Path, scratch: Path, attacks: Sequence[str], seeds: int, epochs: int
) -> Iterator[Study]:
    """Those of attacks × seeds on the faces of a folder, trained on demand."""
    for seed in range(seeds):
        for attack in attacks:
            folder = study_of_folder(faces, attack, seed, epochs, scratch / "studies")
            yield Study(attack, seed, folder, faces.name)


def studies(scratch: Path, attacks: Sequence[str], seeds: int) -> Iterator[Study]:
    """Those of attacks × seeds on the demo's faces, trained on demand."""
    source = best_source()
    epochs = EPOCHS[source.name]
    for seed in range(seeds):
        for attack in attacks:
            key = study_key(source, seed, write_keras_h5, epochs, attack)
            folder = scratch / "studies" / key
            if not folder.is_dir():
                print(f"training {attack} {seed}", flush=True)
                make_study(source, seed, folder, write_keras_h5, epochs, lambda *_: None, attack)
            yield Study(attack, seed, folder)


def measure(study: Study, method: str, seed: int, cells: Path) -> None:
    """Measure one repair of one BadNet and write the figures to a file, unless it exists
    already."""
    path = cells / f"{study.folder.name}-{method}-{seed}.json"
    if path.is_file():
        return
    opened, sets = open_repair(study.settings(method, seed, cells / "unused"))
    outcome = repair_and_measure(opened.badnet.model, sets, method, seed)
    record = repair_record(outcome, opened.badnet.provenance)
    for detector in record["detectors"].values():
        del detector["curve"]
    record |= {"attack": study.attack, "attack_seed": study.seed, "badnet": study.name}
    record["code"] = code_digest()
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(row([record]), flush=True)


def code_digest() -> str:
    """A hash of the source code of the defences: cached figures are valid for one digest only."""
    code = sorted(Path(ytf_torch.defences.__path__[0]).rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in code)).hexdigest()[:12]


def known(cells: Path) -> list[dict[str, Any]]:
    """All measured records, ordered by method, the recommended repair first."""
    texts = (path.read_text(encoding="utf-8") for path in sorted(cells.glob("*.json")))
    return sorted(map(json.loads, texts), key=lambda record: REPAIRS.index(record["method"]))


def write(records: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Write the table as Markdown and all records as JSON."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for record in records:
        groups.setdefault((record["badnet"], record["method"]), []).append(record)
    notes = NOTES.format(detector=RECOMMENDED_DETECTOR, digest=code_digest())
    lines = [notes, HEADER, RULE, *map(row, groups.values())]
    (folder / "DEFENCES.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "DEFENCES.json").write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


def row(records: Sequence[Mapping[str, Any]]) -> str:
    """One row of the table, from runs that differ only in the repair's seed."""
    first = records[0]
    clean, star = "clean_test_accuracy", "attack_success_rate_without_target"
    measured = (record["detectors"] for record in records)
    detectors = [found[RECOMMENDED_DETECTOR] for found in measured if found]

    def spread(values: Iterable[float | None], worst: Any = max) -> str:  # noqa: ANN401
        known = [value for value in values if value is not None]
        if not known:
            return "–"
        return f"{statistics.median(known):.1f} ({worst(known):.1f})"

    cells = (
        first["badnet"],
        str(first["model"]["classes"]),
        first["method"],
        str(len(records)),
        f"{first['baseline'][clean]:.1f}",
        "–" if first["baseline"][star] is None else f"{first['baseline'][star]:.1f}",
        spread(record["baseline"][clean] - record["repaired"][clean] for record in records),
        spread(record["repaired"][star] for record in records),
        spread((record["repaired"]["robust_accuracy"] for record in records), min),
        spread(each["false_positive_rate"]["1"] for each in detectors),
        spread((each["true_positive_rate"]["1"] for each in detectors), min),
        spread(record["seconds"] for record in records),
        ", ".join(sorted({record["code"] for record in records})),
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    app()
