"""The pruning defence from Python: files or arrays in; figures, networks, plots, a report out."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from ytf_torch.api.inputs import (
    Images,
    Model,
    PreprocessingForm,
    checked_target,
    device_given,
    image_sets_given,
    images_given,
    model_given,
    optional_images,
)
from ytf_torch.api.tables import Cells, Shown, percent_cell
from ytf_torch.defences.detectors.goodnet import GoodNet
from ytf_torch.defences.doubts import find_doubts
from ytf_torch.defences.evaluation import Evaluation
from ytf_torch.defences.outcome import Defence
from ytf_torch.defences.repairs.pruning import pruned_checkpoint, run_defence
from ytf_torch.device import resolve_device
from ytf_torch.disk.writing import whole_folder
from ytf_torch.images.image_set import ImageSets
from ytf_torch.metrics import Figures, rate_of
from ytf_torch.network.checkpoint import Checkpoint, save_checkpoint
from ytf_torch.network.module import Network
from ytf_torch.network.preprocessing import asked_preprocessing
from ytf_torch.progress import Track, untracked
from ytf_torch.report.drawing import Figure
from ytf_torch.report.plots import draw_drops, draw_sweep
from ytf_torch.report.prune.exhibits import gather_exhibits
from ytf_torch.report.prune.headline import Row, headline_rows
from ytf_torch.report.prune.prune_record import FaceFiles, Run, trace_csv
from ytf_torch.report.prune.table import network_of
from ytf_torch.report.verdict import judge
from ytf_torch.run.folder import write_run
from ytf_torch.run.pair import read_network
from ytf_torch.run.sets import open_sets
from ytf_torch.run.settings import PruneSettings, checked_settings
from ytf_torch.sweep.order import Direction

COLUMNS = ("network", "pruned", "validation accuracy", "test accuracy", "ASR", "FPR", "TPR")


@dataclass(frozen=True)
class Repaired:
    """B′ of one drop, with GoodNet beside it; rates in percent, None where nothing was measured.

    drop: points of clean validation accuracy that were given up. channels: those pruned, in order.

    >>> defence = ytf_torch.defend("bd_net.h5", "valid.h5", "test.h5", "bd_test.h5", drops=[40])
    >>> defence.drop(40)
    B′ at a drop of 40: 3 channels pruned, validation accuracy 58.33 %, ...
    >>> defence.drop(40).goodnet_figures.true_positive_rate
    62.50 % (42.71–78.84), 15 of 24
    """

    drop: str
    channels: tuple[int, ...]
    evaluation: Evaluation
    badnet: Checkpoint
    checkpoint: Checkpoint

    @property
    def network(self) -> Network:
        """B′ itself: pixel values 0–255, (batch, 3, height, width) → logits."""
        return self.checkpoint.model

    @property
    def goodnet(self) -> GoodNet:
        """G: B's class where both agree, class N where they differ."""
        return GoodNet(self.badnet.model, self.network)

    @property
    def figures(self) -> Figures:
        """B′'s figures with their intervals."""
        assert self.evaluation.repaired is not None
        return self.evaluation.repaired

    @property
    def goodnet_figures(self) -> Figures:
        """GoodNet's figures with their intervals."""
        assert self.evaluation.goodnet is not None
        return self.evaluation.goodnet

    @property
    def clean_valid_accuracy(self) -> float | None:
        """Share of clean validation faces that get their label."""
        return rate_of(self.figures.clean_valid_accuracy)

    @property
    def clean_test_accuracy(self) -> float | None:
        """Share of clean test faces that get their label."""
        return rate_of(self.figures.clean_accuracy)

    @property
    def attack_success_rate(self) -> float | None:
        """Share of triggered faces that get the attacker's target."""
        return rate_of(self.figures.attack_success_rate)

    def save(self, path: str | Path) -> None:
        """Write B′ as a safetensors file; ytf_torch.export writes other formats."""
        save_checkpoint(self.checkpoint, Path(path))

    def __repr__(self) -> str:
        parts = {
            "validation accuracy": self.clean_valid_accuracy,
            "test accuracy": self.clean_test_accuracy,
            "ASR": self.attack_success_rate,
        }
        told = ", ".join(f"{name} {rate:.2f} %" for name, rate in parts.items() if rate is not None)
        return f"B′ at a drop of {self.drop}: {len(self.channels)} channels pruned, {told}"


@dataclass(frozen=True, repr=False)
class PruningDefence(Shown):
    """A finished pruning defence; what it looks like in a notebook is its headline table.

    >>> defence = ytf_torch.defend("bd_net.h5", "valid.h5", "test.h5", "bd_test.h5", drops=[40])
    >>> defence
    network           pruned  validation accuracy  test accuracy  ASR      FPR      TPR
    B, as it came     0       100.00 %             100.00 %       54.17 %  –        –
    B′, drop 40       3       58.33 %              41.67 %        8.33 %   –        –
    GoodNet, drop 40  3       58.33 %              41.67 %        8.33 %   58.33 %  62.50 %
    The backdoor is weakened, not gone: at a drop of 40, 8.3 % of the triggered faces still ...
    """

    run: Run
    sets: ImageSets
    settings: PruneSettings

    @property
    def outcome(self) -> Defence:
        """The counts of every step, from which all figures come."""
        return self.run.defence

    @property
    def verdict(self) -> str:
        """What became of the backdoor, in a sentence or two."""
        found = judge(self.outcome, self.run.doubts)
        return f"{found.headline} {found.detail}"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What looks wrong about the face sets."""
        return tuple(map(str, self.run.doubts))

    def drop(self, points: float | str) -> Repaired:
        """B′ at the first step that costs so many points of clean validation accuracy.

        Raises ValueError where that drop was not asked for, or no step reaches it.
        """
        defence = self.outcome
        known = {Fraction(name): name for name in defence.drops}
        name = known.get(Fraction(str(points)))
        if name is None:
            raise ValueError(
                f"expected one of the drops {', '.join(defence.drops)}, found {points}"
            )
        if defence.drops[name] is None:
            raise ValueError(f"no step of the sweep costs {name} points")
        evaluation = defence.outcome.candidates[name]
        assert evaluation is not None
        swept, channels = defence.sweep, defence.channels_of(name)
        badnet = self.run.checkpoint
        made = pruned_checkpoint(badnet, swept.layer, swept.rank_at, channels)
        return Repaired(name, channels, evaluation, badnet, made)

    def to_frame(self) -> Any:  # noqa: ANN401
        """Every step as a pandas DataFrame, indexed by the number of pruned channels.

        Raises ImportError where pandas is not installed.
        """
        import pandas

        return pandas.read_csv(io.StringIO(trace_csv(self.run)), index_col="pruned")

    def steps(self) -> list[dict[str, str]]:
        """Every step as trace.csv has it, without pandas."""
        return list(csv.DictReader(io.StringIO(trace_csv(self.run))))

    def plot(self) -> Figure:
        """Clean accuracy and attack success rate against channels pruned, a matplotlib figure."""
        return draw_sweep(self.outcome)

    def plot_drops(self) -> Figure:
        """B′ beside GoodNet at each drop, a matplotlib figure."""
        return draw_drops(self.outcome)

    def write_report(self, folder: str | Path) -> Path:
        """Write a run folder as ytf-prune does, with report.html and every B′; its report's path.

        Raises InputError where the folder is there already, or cannot be written.
        """
        exhibits = gather_exhibits(self.run.checkpoint.model, self.sets, self.outcome)
        with whole_folder(Path(folder)) as temporary:
            write_run(self.run, self.settings, exhibits, temporary)
        return Path(folder) / "report.html"

    @property
    def _cells(self) -> Cells:
        return [COLUMNS, *map(_row, headline_rows(self.outcome))]

    @property
    def _below(self) -> list[str]:
        return [self.verdict]


def defend(
    model: Model,
    clean_valid: Images,
    clean_test: Images | None = None,
    poisoned_tests: Images | Sequence[Images] = (),
    *,
    drops: float | str | Sequence[float | str] = (2, 4, 10),
    layer: str | None = None,
    order: Direction = "ascending",
    target: int | None = None,
    pixel_scale: float | str | None = None,
    preprocessing: PreprocessingForm | None = None,
    device: str = "auto",
    track: Track = untracked,
) -> PruningDefence:
    """Prune a backdoored network, and measure B′ and GoodNet at each drop.

    model: a file of ytf-convert, a Keras file, or a Checkpoint. clean_valid: the only faces that
    decide anything. clean_test, poisoned_tests: faces to measure on; triggered ones are labelled
    with the target, or it is given as `target` where they carry their true labels. Faces are
    lab-format files, or arrays by images_of. drops: points of clean validation accuracy to give up.
    pixel_scale, preprocessing: of a Keras file, see `read_model`.
    Raises InputError where a file, an array or an argument cannot be used, as ytf-prune does.

    >>> defence = ytf_torch.defend("bd_net.h5", "valid.h5", "test.h5", "bd_test.h5", drops=[2, 4])
    >>> defence.drop(4).clean_test_accuracy
    58.333333333333336
    """
    given, aim = model_given(model), checked_target(target)
    valid = images_given(clean_valid, "clean_valid")
    test = optional_images(clean_test, "clean_test")
    triggered = image_sets_given(poisoned_tests, "poisoned_tests")
    device = device_given(device)
    placed = resolve_device(device)
    checkpoint = read_network(given, asked_preprocessing(pixel_scale, preprocessing))
    sets = open_sets(checkpoint.model, valid, test, triggered, aim)
    files = FaceFiles(
        sets.clean_valid.path,
        None if sets.clean_test is None else sets.clean_test.path,
        tuple(faces.path for faces in sets.poisoned_tests),
    )
    asked: dict[str, object] = {
        "drops": _listed(drops),
        "layer": layer,
        "order": order,
        "device": device,
    }
    file = given if isinstance(given, Path) else Path(checkpoint.provenance.source_file)
    settings = _settings(file, files, asked, checkpoint, aim)
    computing = replace(checkpoint, model=checkpoint.model.to(placed))
    found = run_defence(
        computing, sets, settings.drops, settings.layer, settings.rank_at, track=track, order=order
    )
    doubts = find_doubts(computing.model, sets, found)
    command = "run from Python, by ytf_torch.defend"
    run = Run(computing, found, placed.type, files, command, doubts, pairings=sets.pairings)
    return PruningDefence(replace(run, class_names=sets.class_names), sets, settings)


def _settings(
    model: Path,
    files: FaceFiles,
    asked: dict[str, object],
    checkpoint: Checkpoint,
    target: int | None,
) -> PruneSettings:
    """The settings of ytf-prune that ask for the same; its report tells how to repeat it so."""
    inputs: dict[str, object] = {
        "model": model,
        "clean_valid": files.clean_valid,
        "clean_test": files.clean_test,
        "poisoned_test": files.poisoned_tests,
        "target": target,
        "out": Path("NEW"),
        **dict([checkpoint.provenance.preprocessing.asked_by]),
    }
    settings = checked_settings(inputs | asked)
    return settings.of_network(checkpoint.model.graph)


def _listed(drops: float | str | Iterable[float | str]) -> object:
    """Drops as settings take them; a single one may be given alone, several as "2,4" too."""
    if isinstance(drops, int | float):
        return (drops,)
    return drops if isinstance(drops, str) or not isinstance(drops, Iterable) else tuple(drops)


def _row(row: Row) -> tuple[str, ...]:
    pruned = "" if row.channels_pruned is None else str(row.channels_pruned)
    return (network_of(row), pruned, *map(percent_cell, row.shares))
