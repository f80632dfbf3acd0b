"""`ytf_torch.audit`: the steps of ytf-audit from Python."""

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
    checked_target,
    device_given,
    image_sets_given,
    images_given,
    methods_given,
    model_given,
    optional_images,
)
from ytf_torch.api.tables import Shown, figures_frame, figures_plot, html_table
from ytf_torch.errors import InputError
from ytf_torch.metrics import Figures
from ytf_torch.network.preprocessing import asked_preprocessing
from ytf_torch.network.wrapped_module import check_layers_known
from ytf_torch.progress import Track, untracked
from ytf_torch.report.audit.audit_record import is_no, measured_networks
from ytf_torch.report.drawing import Figure
from ytf_torch.run.audit import Commands
from ytf_torch.run.audit import audit as run_audit
from ytf_torch.run.audit_settings import AuditSettings, check_audit
from ytf_torch.run.repair import open_repair

COMMAND = "run from Python, by ytf_torch.audit"
FROM_PYTHON = Commands(COMMAND, COMMAND, "FOLDER")


@dataclass(frozen=True, repr=False)
class AuditResult(Shown):
    """The result of an audit: what is known about a network, what is not, and what to do next.

    record: the content of result.json, with every figure. files: path in the report folder →
    content. Without triggered images an audit makes no statement about a backdoor.

    >>> ytf_torch.audit("bd_net.safetensors", "valid.h5")  # doctest: +SKIP
    known      The file was read as data, and nothing in it was run...
    ...
    not known  Whether the network has a backdoor...
    ...
    """

    record: Mapping[str, Any]
    files: Mapping[str, bytes] = field(repr=False)

    @property
    def known(self) -> tuple[str, ...]:
        """What is known, one sentence each, every figure with its 95 % confidence interval."""
        return tuple(self.record["known"])

    @property
    def not_known(self) -> tuple[str, ...]:
        """What cannot be decided from the images and the file, one sentence each."""
        return tuple(self.record["not_known"])

    @property
    def next(self) -> tuple[str, ...]:
        """Recommended next steps, one sentence each."""
        return tuple(self.record["next"])

    @property
    def not_done(self) -> tuple[str, ...]:
        """Skipped steps and the reasons, one sentence each."""
        return tuple(self.record["not_done"])

    @property
    def verdict(self) -> str:
        """The headline of the report."""
        return str(self.record["headline"])

    @property
    def good(self) -> bool:
        """Whether parity with Keras held where it was checked, a repaired network is fit for use,
        no attack that was measured succeeds on it, and exported files predict its classes."""
        return not is_no(self.record)

    def write_report(self, folder: str | Path) -> Path:
        """Write the folder of ytf-audit, with a subfolder for each step. Returns the report's path.

        Raises InputError where the folder exists already or cannot be written.
        """
        return write_folder(self.files, folder)

    def to_frame(self) -> Any:  # noqa: ANN401
        """The figures of B, B′ and GoodNet as a pandas DataFrame; empty without a repaired network.

        Raises ImportError where pandas is not installed.
        """
        return figures_frame(self._networks)

    def plot(self) -> Figure:
        """The figures of B, B′ and GoodNet with confidence intervals, as a matplotlib figure.

        Raises InputError where no network was repaired, see `not_done`.
        """
        if not self._networks:
            raise InputError("the audit", f"has no figures to draw: {'; '.join(self.not_done)}")
        return figures_plot(self._networks)

    @property
    def _networks(self) -> dict[str, Figures | None]:
        return dict(measured_networks(self.record["steps"].get("repair", {})))

    @property
    def _cells(self) -> list[tuple[str, ...]]:
        parts = {"known": self.known, "not known": self.not_known, "next": self.next}
        return [(name, line) for name, lines in parts.items() for line in lines]

    @property
    def _below(self) -> list[str]:
        return [*(f"Warning: {warning}" for warning in self.record["warnings"]), self.verdict]

    def _repr_html_(self) -> str:
        return html_table([("", ""), *self._cells], self._below)  # without column headings


def audit(
    model: Model,
    clean_valid: Images,
    clean_test: Images | None = None,
    poisoned_tests: Images | Sequence[Images] = (),
    *,
    scans: str | Sequence[str] = "all",
    target: int | None = None,
    pixel_scale: float | str | None = None,
    preprocessing: PreprocessingForm | None = None,
    device: str = "auto",
    track: Track = untracked,
) -> AuditResult:
    """Audit an untrusted network: convert, scan and repair it, calibrate a detector, and export the
    result.

    scans: "all", or names of scans of ytf-scan. For the other arguments see `defend`. An audit
    takes minutes and cannot be resumed if it is interrupted; for that use `ytf-audit --resume`.
    Raises InputError where a file, an array or an argument is invalid, as ytf-audit does.

    >>> result = ytf_torch.audit("bd_net.safetensors", "valid.h5", scans=["last-layer"])
    >>> result
    known      The file was read as data, and nothing in it was run...
    ...
    not known  Whether the network has a backdoor...
    ...
    >>> result.write_report("audited").name
    'report.html'
    """
    with temporary_run() as folder:
        settings = AuditSettings(
            model=model_given(model),
            clean_valid=images_given(clean_valid, "clean_valid"),
            out=folder,
            clean_test=optional_images(clean_test, "clean_test"),
            poisoned_test=image_sets_given(poisoned_tests, "poisoned_tests"),
            target=checked_target(target),
            scans=methods_given(scans, "scans", "scan"),
            device=device_given(device),
            preprocessing=asked_preprocessing(pixel_scale, preprocessing),
        )
        check_audit(settings)
        opened, sets = open_repair(settings)
        problem, remedy = "it cannot be audited", "Call ytf_torch.scan, repair and detect instead"
        check_layers_known(opened.badnet, problem, remedy)
        record = run_audit(settings, opened, sets, FROM_PYTHON, track=track)
        assert record is not None
        return AuditResult(record, files_of(folder))
