"""`ytf_torch.compare`: the steps of ytf-compare from Python."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ytf_torch.api.folders import files_of, temporary_run, write_folder
from ytf_torch.api.inputs import (
    Images,
    Model,
    PreprocessingForm,
    checked_target,
    device_given,
    image_sets_given,
    images_given,
    methods_given,
    model_given,
    optional_images,
    optional_model,
)
from ytf_torch.api.tables import Shown, percent_cell
from ytf_torch.defences.base import Ranking, Repair
from ytf_torch.errors import InputError, argument
from ytf_torch.network.preprocessing import asked_preprocessing
from ytf_torch.progress import Track, untracked
from ytf_torch.report.compare.comparison import MethodRow, method_rows
from ytf_torch.report.compare.comparison_page import headline
from ytf_torch.report.compare.comparison_plots import draw_trade_off
from ytf_torch.report.drawing import Figure
from ytf_torch.report.relearning import findings
from ytf_torch.run.compare import compare as run_compare
from ytf_torch.run.compare import open_control
from ytf_torch.run.repair import open_repair
from ytf_torch.run.repair_settings import CompareSettings, check_comparison

RATES = {
    "attack_success_rate": "ASR",
    "attack_success_rate_without_target": "ASR without target",
    "robust_accuracy": "robust accuracy",
}
COLUMNS = ("method", "points lost", *RATES.values(), "seconds")


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """A comparison of repairs: medians over seeds for each method, and a record of each repair.

    record: the content of comparison.json. warnings: about the network and the image sets. files:
    path in the report folder → content.

    >>> ytf_torch.compare("bd_net.h5", "valid.h5", "test.h5", "bd_test.h5", methods="pruning")
    method   points lost  ASR      ASR without target  robust accuracy  seconds
    pruning  41.67        41.67 %  25.00 %             54.17 %          ...
    ...
    """

    record: Mapping[str, Any]
    warnings: tuple[str, ...]
    files: Mapping[str, bytes] = field(repr=False)

    @property
    def rows(self) -> list[MethodRow]:
        """One row per method."""
        return method_rows(self.record["repairs"], self.record["clean_control"])

    @property
    def verdict(self) -> str:
        """Which methods succeed, in one sentence."""
        return headline(self.rows)

    @property
    def relearning(self) -> list[str]:
        """Whether each backdoor comes back, in one sentence; empty where that was not measured."""
        return findings(self.record["repairs"])

    def write_report(self, folder: str | Path) -> Path:
        """Write the folder of ytf-compare: comparison.csv, comparison.json and report.html. Returns
        the path of report.html.

        Raises InputError where the folder exists already or cannot be written.
        """
        return write_folder(self.files, folder)

    def to_frame(self) -> Any:  # noqa: ANN401
        """One row per repair as a pandas DataFrame, with the columns of comparison.csv.

        Raises ImportError where pandas is not installed.
        """
        import pandas

        return pandas.read_csv(io.BytesIO(self.files["comparison.csv"]))

    def plot(self) -> Figure:
        """Lost accuracy against remaining attack success rate of each method, as a matplotlib
        figure.

        Raises InputError without clean test images and triggered images, on which they are
        measured.
        """
        figure = draw_trade_off(self.rows)
        if figure is None:
            names = f"{argument('clean_test')} and {argument('poisoned_tests')}"
            raise InputError("the comparison", "no method has figures to draw", f"Give {names}")
        return figure

    @property
    def _cells(self) -> list[tuple[str, ...]]:
        return [COLUMNS, *map(_row, self.rows)]

    @property
    def _below(self) -> list[str]:
        warnings = [f"Warning: {warning}" for warning in self.warnings]
        return [*warnings, self.verdict, *self.relearning]


def _row(row: MethodRow) -> tuple[str, ...]:
    plain = [row.figures[name] for name in ("points_lost", "seconds")]
    lost, seconds = ("–" if value is None else f"{value:.2f}" for value in plain)
    rates = (percent_cell(row.figures[name]) for name in RATES)
    return (row.method, lost, *rates, seconds)


def compare(
    model: Model,
    clean_valid: Images,
    clean_test: Images | None = None,
    poisoned_tests: Images | Sequence[Images] = (),
    *,
    methods: str | Repair | Ranking | Sequence[str | Repair | Ranking] = "all",
    seeds: int = 1,
    clean_control: Model | None = None,
    relearning: bool = False,
    poisoned_valid: Images | Sequence[Images] = (),
    target: int | None = None,
    pixel_scale: float | str | None = None,
    preprocessing: PreprocessingForm | None = None,
    device: str = "auto",
    track: Track = untracked,
) -> Comparison:
    """Compare repairs of a backdoored network: lost accuracy and remaining attack success rate.

    methods: "all", names of methods of ytf-repair, or your own repairs and rankings. seeds: number
    of runs per method. clean_control: a network without a backdoor, repaired for comparison.
    relearning: whether to measure if backdoors come back, from the triggered validation images
    `poisoned_valid`, or else from some of `poisoned_tests`; it makes two more repairs per method.
    For the other arguments see `defend`. Each run takes a minute or more. Runs are made side by
    side, one on each core (`torch.get_num_threads()`), if all inputs are files and all methods
    names. An interrupted comparison cannot be resumed; for that use `ytf-compare --resume`.
    Raises InputError where a file, an array or an argument is invalid, as ytf-compare does.

    >>> result = ytf_torch.compare("bd_net.h5", "valid.h5", methods=["pruning", "clp"])
    >>> [row.method for row in result.rows], result.write_report("compared").name
    (['pruning', 'clp'], 'report.html')
    """
    with temporary_run() as folder:
        settings = CompareSettings(
            model=model_given(model),
            clean_valid=images_given(clean_valid, "clean_valid"),
            out=folder,
            clean_test=optional_images(clean_test, "clean_test"),
            poisoned_test=image_sets_given(poisoned_tests, "poisoned_tests"),
            target=checked_target(target),
            device=device_given(device),
            preprocessing=asked_preprocessing(pixel_scale, preprocessing),
            methods=methods_given(methods, "methods", "repair"),
            seeds=seeds,
            clean_control=optional_model(clean_control, "clean_control"),
            relearning=relearning,
            poisoned_valid=image_sets_given(poisoned_valid, "poisoned_valid"),
        )
        check_comparison(settings)
        opened, sets = open_repair(settings)
        control = open_control(settings, opened, sets.clean_valid)
        if control is not None:
            opened = opened.doubted(control.doubts)
        command = "run from Python, by ytf_torch.compare"
        clean_network = None if control is None else control.badnet
        run_compare(settings, opened, sets, clean_network, command, track=track)
        files = files_of(folder)
    return Comparison(json.loads(files["comparison.json"]), opened.doubts, files)
