"""`ytf_torch.scan`: the steps of ytf-scan from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ytf_torch.api.folders import files_of, temporary_run, write_folder
from ytf_torch.api.inputs import (
    Images,
    Model,
    PreprocessingForm,
    device_given,
    images_given,
    methods_given,
    model_given,
    twins_given,
)
from ytf_torch.api.tables import Shown
from ytf_torch.defences.base import Scan, Suspicions
from ytf_torch.defences.names import name_of_method
from ytf_torch.defences.scans.twins import AmongTwins
from ytf_torch.device import resolve_device
from ytf_torch.errors import printable
from ytf_torch.network.preprocessing import asked_preprocessing
from ytf_torch.progress import Track, untracked
from ytf_torch.report.drawing import Figure
from ytf_torch.report.result_plots import draw_anomalies
from ytf_torch.report.scan.scan_page import CAUTION, TWINS_LIMIT, headline
from ytf_torch.run.learning import learning_names, open_learned
from ytf_torch.run.pair import open_network
from ytf_torch.run.scan import ScanOutcome
from ytf_torch.run.scan import scan as run_scan

COLUMNS = ("scan", "candidates", "highest anomaly", "threshold")


@dataclass(frozen=True, repr=False)
class ScanResult(Shown):
    """The result of scans for a backdoor's target; scans cannot show that a network is clean.

    warnings: about the network and the image set. files: path in the report folder → content.

    >>> ytf_torch.scan("bd_net.h5", "valid.h5", methods="last-layer")
    scan        candidates  highest anomaly  threshold
    last-layer  –           ...
    ...
    """

    outcome: ScanOutcome
    warnings: tuple[str, ...]
    files: Mapping[str, bytes] = field(repr=False)

    @property
    def candidates(self) -> tuple[int, ...]:
        """Classes to examine first: the candidate targets."""
        return self.outcome.candidates

    @property
    def suspicions(self) -> Mapping[str, Suspicions]:
        """Name of the scan → its anomaly scores per class, threshold and candidates."""
        return self.outcome.suspicions

    @property
    def verdict(self) -> str:
        """The scans' result and its limits, in sentences."""
        limits = f"{CAUTION} {TWINS_LIMIT}" if self.twins else CAUTION
        return f"{headline(self.candidates, self.outcome.among_twins)} {limits}"

    @property
    def twins(self) -> Mapping[str, AmongTwins]:
        """Name of the scan → the network's largest anomaly among those of its clean twins, with
        p-value and false alarm rate; empty without twins."""
        return self.outcome.among_twins

    @property
    def p_value(self) -> float | None:
        """Of all scans together, by Bonferroni's bound; None without twins."""
        return None if self.outcome.twins is None else self.outcome.twins.p_value

    def write_report(self, folder: str | Path) -> Path:
        """Write the folder of ytf-scan: result.json and report.html. Returns the path of
        report.html.

        Raises InputError where the folder exists already or cannot be written.
        """
        return write_folder(self.files, folder)

    def to_frame(self) -> Any:  # noqa: ANN401
        """Anomaly score of each class (rows) by each scan (columns), as a pandas DataFrame.

        Raises ImportError where pandas is not installed.
        """
        import pandas

        anomalies = {name: result.anomaly for name, result in self.suspicions.items()}
        return pandas.DataFrame(anomalies).rename_axis("class")

    def plot(self) -> Figure:
        """Anomaly scores of all classes and the threshold of each scan, as a matplotlib figure."""
        return draw_anomalies(self.suspicions)

    @property
    def _cells(self) -> list[tuple[str, ...]]:
        return [COLUMNS, *(_row(name, result) for name, result in self.suspicions.items())]

    @property
    def _below(self) -> list[str]:
        return [*(f"Warning: {warning}" for warning in self.warnings), self.verdict]


def _row(name: str, result: Suspicions) -> tuple[str, ...]:
    candidates = ", ".join(map(str, result.candidates)) or "–"
    return (name, candidates, f"{max(result.anomaly):.1f}", f"{result.threshold:.1f}")


def scan(
    model: Model,
    clean_valid: Images,
    *,
    methods: str | Scan | Sequence[str | Scan] = "all",
    pixel_scale: float | str | None = None,
    preprocessing: PreprocessingForm | None = None,
    twins: int = 0,
    device: str = "auto",
    track: Track = untracked,
) -> ScanResult:
    """Search for a backdoor's target class without triggered images.

    methods: "all", names of scans of ytf-scan, or your own: objects with `suspicions`. twins:
    number of clean networks of the same architecture that are trained on `clean_valid` for a
    p-value of at least 1 / (twins + 1); they are cached. For the other arguments see `defend`.
    Raises InputError where a file, an array or an argument is invalid, as ytf-scan does.

    >>> ytf_torch.scan("bd_net.h5", "valid.h5", methods=["last-layer"]).candidates
    ()
    """
    names = methods_given(methods, "methods", "scan")
    count = twins_given(twins)
    source, images = model_given(model), images_given(clean_valid, "clean_valid")
    resolved = resolve_device(device_given(device))
    opened = open_network(source, asked_preprocessing(pixel_scale, preprocessing))
    network = opened.badnet.model.to(resolved)
    learned, doubts = open_learned(
        network, images, learning_names(map(name_of_method, names), count)
    )
    opened = opened.doubted(doubts)
    title = source.name if isinstance(source, Path) else opened.badnet.provenance.source_file
    with temporary_run() as folder:
        shown = printable(title)
        outcome = run_scan(network, learned, folder, shown, names, opened.doubts, track, count)
        return ScanResult(outcome, (*opened.doubts, *outcome.doubts), files_of(folder))
