"""The whole way for an owner from Python: the flow of ytf-audit."""

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
from ytf_torch.network.wrapped import check_layers_known
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
    """An audit: what is known of a network, what is not, and what to do next.

    record: result.json, every figure. Without triggered images nothing is said of a backdoor.

    >>> ytf_torch.audit("bd_net.safetensors", "valid.h5", scans="last-layer")
    known      The file was read as data, and nothing in it was run...
    ...
    not known  Whether the network has a backdoor...
    ...
    """

    record: Mapping[str, Any]
    files: Mapping[str, bytes] = field(repr=False)

    @property
    def known(self) -> tuple[str, ...]:
        """What is known, a sentence each, every figure with its 95 % interval."""
        return tuple(self.record["known"])

    @property
    def not_known(self) -> tuple[str, ...]:
        """What the images and the file cannot tell."""
        return tuple(self.record["not_known"])

    @property
    def next(self) -> tuple[str, ...]:
        """What to do next."""
        return tuple(self.record["next"])

    @property
    def not_done(self) -> tuple[str, ...]:
        """Which steps were not done, and why."""
        return tuple(self.record["not_done"])

    @property
    def verdict(self) -> str:
        """The headline of the report."""
        return str(self.record["headline"])

    @property
    def good(self) -> bool:
        """Whether parity held where it was looked at, and a repaired network is fit for use."""
        return not is_no(self.record)

    def write_report(self, folder: str | Path) -> Path:
        """Write the folder that ytf-audit writes, with a folder for each step; its report's path.

        Raises InputError where the folder is there already, or cannot be written.
        """
        return write_folder(self.files, folder)

    def to_frame(self) -> Any:  # noqa: ANN401
        """The figures of B, B′ and GoodNet as a pandas DataFrame; empty where none was repaired.

        Raises ImportError where pandas is not installed.
        """
        return figures_frame(self._networks)

    def plot(self) -> Figure:
        """The same with their intervals, a matplotlib figure.

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
        return html_table([("", ""), *self._cells], self._below)  # without heads


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
    """Convert, scan and repair a stranger's network, set a detector's threshold, and export what to
    use from now on.

    scans: "all", or names that ytf-scan knows. The others are as for `defend`. It takes minutes,
    and nothing is kept where it is stopped: ytf-audit goes on with --resume.
    Raises InputError where a file, an array or an argument cannot be used, as ytf-audit does.

    >>> found = ytf_torch.audit("bd_net.safetensors", "valid.h5", scans=["last-layer"])
    >>> found.write_report("audited").name
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
