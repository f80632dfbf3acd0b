"""Candidate targets of a backdoor from Python: the flow of ytf-scan."""

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
)
from ytf_torch.api.tables import Shown
from ytf_torch.defences.base import Scan, Suspicions
from ytf_torch.defences.names import name_of_method
from ytf_torch.device import resolve_device
from ytf_torch.errors import printable
from ytf_torch.network.preprocessing import asked_preprocessing
from ytf_torch.progress import Track, untracked
from ytf_torch.report.drawing import Figure
from ytf_torch.report.result_plots import draw_anomalies
from ytf_torch.report.scan.scan_page import CAUTION, headline
from ytf_torch.run.learning import open_learned
from ytf_torch.run.pair import open_network
from ytf_torch.run.scan import ScanOutcome
from ytf_torch.run.scan import scan as run_scan

COLUMNS = ("scan", "candidates", "highest anomaly", "threshold")


@dataclass(frozen=True, repr=False)
class ScanResult(Shown):
    """What scans say of a network; they never say that it is clean.

    warnings: what speaks against the network and the face set.

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
        """Classes to look at first."""
        return self.outcome.candidates

    @property
    def suspicions(self) -> Mapping[str, Suspicions]:
        """What each scan says of each class, by the scan's name."""
        return self.outcome.suspicions

    @property
    def verdict(self) -> str:
        """The scans' answer, and what it is worth."""
        return f"{headline(self.candidates)} {CAUTION}"

    def write_report(self, folder: str | Path) -> Path:
        """Write the folder that ytf-scan writes: result.json and report.html, whose path it gives.

        Raises InputError where the folder is there already, or cannot be written.
        """
        return write_folder(self.files, folder)

    def to_frame(self) -> Any:  # noqa: ANN401
        """How far each class stands out by each scan, as a pandas DataFrame indexed by the class.

        Raises ImportError where pandas is not installed.
        """
        import pandas

        anomalies = {name: found.anomaly for name, found in self.suspicions.items()}
        return pandas.DataFrame(anomalies).rename_axis("class")

    def plot(self) -> Figure:
        """How far each class stands out by each scan, and its threshold, a matplotlib figure."""
        return draw_anomalies(self.suspicions)

    @property
    def _cells(self) -> list[tuple[str, ...]]:
        return [COLUMNS, *(_row(name, found) for name, found in self.suspicions.items())]

    @property
    def _below(self) -> list[str]:
        return [*(f"Warning: {warning}" for warning in self.warnings), self.verdict]


def _row(name: str, found: Suspicions) -> tuple[str, ...]:
    named = ", ".join(map(str, found.candidates)) or "–"
    return (name, named, f"{max(found.anomaly):.1f}", f"{found.threshold:.1f}")


def scan(
    model: Model,
    clean_valid: Images,
    *,
    methods: str | Scan | Sequence[str | Scan] = "all",
    pixel_scale: float | str | None = None,
    preprocessing: PreprocessingForm | None = None,
    device: str = "auto",
    track: Track = untracked,
) -> ScanResult:
    """Look for a backdoor's target without triggered faces.

    methods: "all", names that ytf-scan knows, or scans of your own: objects with
    `suspicions`. The others are as for `defend`.
    Raises InputError where a file, an array or an argument cannot be used, as ytf-scan does.

    >>> ytf_torch.scan("bd_net.h5", "valid.h5", methods=["last-layer"]).candidates
    ()
    """
    names = methods_given(methods, "methods", "scan")
    given, faces = model_given(model), images_given(clean_valid, "clean_valid")
    placed = resolve_device(device_given(device))
    opened = open_network(given, asked_preprocessing(pixel_scale, preprocessing))
    network = opened.badnet.model.to(placed)
    learned, doubts = open_learned(network, faces, map(name_of_method, names))
    opened = opened.doubted(doubts)
    title = given.name if isinstance(given, Path) else opened.badnet.provenance.source_file
    with temporary_run() as folder:
        shown = printable(title)
        outcome = run_scan(network, learned, folder, shown, names, opened.doubts, track)
        return ScanResult(outcome, opened.doubts, files_of(folder))
