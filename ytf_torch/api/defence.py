"""`ytf_torch.defend`: the pruning defence of ytf-prune from Python."""

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
    """B′ at one accuracy drop, and its GoodNet. Rates are in percent, None where not measured.

    drop: accepted loss of clean validation accuracy, in percentage points. channels: the pruned
    channels, in order. badnet, checkpoint: B and B′.

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
        """B′: pixel values 0–255, (batch, channels, height, width) → logits (batch, classes)."""
        return self.checkpoint.model

    @property
    def goodnet(self) -> GoodNet:
        """GoodNet: the class of B where B and B′ agree, class N where they differ."""
        return GoodNet(self.badnet.model, self.network)

    @property
    def figures(self) -> Figures:
        """Figures of B′ with confidence intervals."""
        assert self.evaluation.repaired is not None
        return self.evaluation.repaired

    @property
    def goodnet_figures(self) -> Figures:
        """Figures of GoodNet with confidence intervals."""
        assert self.evaluation.goodnet is not None
        return self.evaluation.goodnet

    @property
    def clean_valid_accuracy(self) -> float | None:
        """Percentage of clean validation images that B′ assigns their label."""
        return rate_of(self.figures.clean_valid_accuracy)

    @property
    def clean_test_accuracy(self) -> float | None:
        """Percentage of clean test images that B′ assigns their label."""
        return rate_of(self.figures.clean_accuracy)

    @property
    def attack_success_rate(self) -> float | None:
        """Percentage of triggered images that B′ assigns the attacker's target class."""
        return rate_of(self.figures.attack_success_rate)

    def save(self, path: str | Path) -> None:
        """Write B′ as a safetensors file; for other formats see ytf_torch.export."""
        save_checkpoint(self.checkpoint, Path(path))

    def __repr__(self) -> str:
        parts = {
            "validation accuracy": self.clean_valid_accuracy,
            "test accuracy": self.clean_test_accuracy,
            "ASR": self.attack_success_rate,
        }
        rates = ", ".join(
            f"{name} {rate:.2f} %" for name, rate in parts.items() if rate is not None
        )
        return f"B′ at a drop of {self.drop}: {len(self.channels)} channels pruned, {rates}"


@dataclass(frozen=True, repr=False)
class PruningDefence(Shown):
    """The result of a pruning defence; displayed as its main table.

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
        """The counts of every pruning step, from which all figures are computed."""
        return self.run.defence

    @property
    def verdict(self) -> str:
        """The effect on the backdoor, in one or two sentences."""
        verdict = judge(self.outcome, self.run.doubts)
        return f"{verdict.headline} {verdict.detail}"

    @property
    def warnings(self) -> tuple[str, ...]:
        """Suspected problems of the image sets, one sentence each."""
        return tuple(map(str, self.run.doubts))

    def drop(self, points: float | str) -> Repaired:
        """B′ at the first pruning step that costs this many percentage points of clean validation
        accuracy.

        Raises ValueError where the drop was not requested, or no step reaches it.
        """
        defence = self.outcome
        names = {Fraction(name): name for name in defence.drops}
        name = names.get(Fraction(str(points)))
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
        repaired = pruned_checkpoint(badnet, swept.layer, swept.rank_at, channels)
        return Repaired(name, channels, evaluation, badnet, repaired)

    def to_frame(self) -> Any:  # noqa: ANN401
        """All pruning steps as a pandas DataFrame, indexed by the number of pruned channels.

        Raises ImportError where pandas is not installed.
        """
        import pandas

        return pandas.read_csv(io.StringIO(trace_csv(self.run)), index_col="pruned")

    def steps(self) -> list[dict[str, str]]:
        """All pruning steps as dictionaries, column of trace.csv → text."""
        return list(csv.DictReader(io.StringIO(trace_csv(self.run))))

    def plot(self) -> Figure:
        """Clean accuracy and attack success rate against pruned channels, as a matplotlib
        figure."""
        return draw_sweep(self.outcome)

    def plot_drops(self) -> Figure:
        """B′ and GoodNet at each drop, as a matplotlib figure."""
        return draw_drops(self.outcome)

    def write_report(self, folder: str | Path) -> Path:
        """Write a run folder as ytf-prune does, with report.html and every B′. Returns the path of
        report.html.

        Raises InputError where the folder exists already or cannot be written.
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

    model: a file of ytf-convert, a Keras file, or a Checkpoint. clean_valid: the images on which
    all choices are made. clean_test, poisoned_tests: images for measurement only. Triggered images
    are labelled with the attacker's target; if they have their true labels, give `target`. Image
    sets are files in the lab's format, or arrays by images_of. drops: accepted losses of clean
    validation accuracy, in percentage points. layer: the layer to prune, by default
    the last suitable convolution. order: whether the least or the most active channels are pruned
    first. pixel_scale, preprocessing: of a Keras file, see `read_model`. device: "auto", "cpu" or
    "cuda". track: shows progress.
    Raises InputError where a file, an array or an argument is invalid, as ytf-prune does.

    >>> defence = ytf_torch.defend("bd_net.h5", "valid.h5", "test.h5", "bd_test.h5", drops=[2, 4])
    >>> defence.drop(4).clean_test_accuracy
    58.333333333333336
    """
    source, target_class = model_given(model), checked_target(target)
    valid = images_given(clean_valid, "clean_valid")
    test = optional_images(clean_test, "clean_test")
    triggered = image_sets_given(poisoned_tests, "poisoned_tests")
    device = device_given(device)
    resolved = resolve_device(device)
    checkpoint = read_network(source, asked_preprocessing(pixel_scale, preprocessing))
    sets = open_sets(checkpoint.model, valid, test, triggered, target_class)
    files = FaceFiles(
        sets.clean_valid.path,
        None if sets.clean_test is None else sets.clean_test.path,
        tuple(faces.path for faces in sets.poisoned_tests),
    )
    options: dict[str, object] = {
        "drops": _as_setting(drops),
        "layer": layer,
        "order": order,
        "device": device,
    }
    file = source if isinstance(source, Path) else Path(checkpoint.provenance.source_file)
    settings = _settings(file, files, options, checkpoint, target_class)
    on_device = replace(checkpoint, model=checkpoint.model.to(resolved))
    outcome = run_defence(
        on_device, sets, settings.drops, settings.layer, settings.rank_at, track=track, order=order
    )
    doubts = find_doubts(on_device.model, sets, outcome)
    command = "run from Python, by ytf_torch.defend"
    run = Run(on_device, outcome, resolved.type, files, command, doubts, pairings=sets.pairings)
    return PruningDefence(replace(run, class_names=sets.class_names), sets, settings)


def _settings(
    model: Path,
    files: FaceFiles,
    options: dict[str, object],
    checkpoint: Checkpoint,
    target: int | None,
) -> PruneSettings:
    """The equivalent settings of ytf-prune; the report shows the command that repeats the run."""
    inputs: dict[str, object] = {
        "model": model,
        "clean_valid": files.clean_valid,
        "clean_test": files.clean_test,
        "poisoned_test": files.poisoned_tests,
        "target": target,
        "out": Path("NEW"),
        **dict([checkpoint.provenance.preprocessing.asked_by]),
    }
    settings = checked_settings(inputs | options)
    return settings.of_network(checkpoint.model.graph)


def _as_setting(drops: float | str | Iterable[float | str]) -> object:
    """Drops in the form that the settings accept: a tuple, or text such as "2,4"."""
    if isinstance(drops, int | float):
        return (drops,)
    return drops if isinstance(drops, str) or not isinstance(drops, Iterable) else tuple(drops)


def _row(row: Row) -> tuple[str, ...]:
    pruned = "" if row.channels_pruned is None else str(row.channels_pruned)
    return (network_of(row), pruned, *map(percent_cell, row.shares))
