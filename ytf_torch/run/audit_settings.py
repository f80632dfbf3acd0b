"""What decides an audit, checked before anything heavy is loaded."""

from __future__ import annotations

from dataclasses import dataclass

from ytf_torch.defences.names import QUICK_DETECTORS, RECOMMENDED_REPAIR, SCANS
from ytf_torch.disk.reading import checked_source
from ytf_torch.errors import argument, mismatch
from ytf_torch.run.places import check_inputs_are_elsewhere
from ytf_torch.run.repair_settings import MeasuredInputs


@dataclass(frozen=True, kw_only=True)
class AuditSettings(MeasuredInputs):
    """Everything that decides an audit. scans: names of SCANS, in the order of the report."""

    scans: tuple[str, ...] = SCANS

    @property
    def used(self) -> tuple[str, ...]:
        """See MeasuredInputs. Scans are left out: one that takes too much is not done, see
        run.audit."""
        return (RECOMMENDED_REPAIR, *QUICK_DETECTORS)


def check_audit(settings: AuditSettings) -> None:
    """Raises InputError where a scan is not known or named twice, or a file cannot be read."""
    for name in settings.scans:
        if name not in SCANS:
            raise mismatch(argument("scans"), f"all, or some of {', '.join(SCANS)}", name or "none")
    if len(set(settings.scans)) != len(settings.scans):
        raise mismatch(argument("scans"), "each once", ", ".join(settings.scans))
    for file in settings.files:
        checked_source(file)
    check_inputs_are_elsewhere(settings.out, settings.files)
