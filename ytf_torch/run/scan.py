"""A scan from its inputs to its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ytf_torch.defences.base import Scan, Suspicions
from ytf_torch.defences.methods import scan_by
from ytf_torch.defences.names import SCANS, name_of_method
from ytf_torch.device import exact_float32
from ytf_torch.images.image_set import ImageSet, ImageSets
from ytf_torch.network.module import Network
from ytf_torch.progress import Track, untracked
from ytf_torch.report.scan.scan_page import scan_html
from ytf_torch.run.finished import write_report
from ytf_torch.run.inputs import sets_record
from ytf_torch.run.resume import filled_folder


@dataclass(frozen=True)
class ScanOutcome:
    """What the scans say of a network, by the scan's name."""

    suspicions: dict[str, Suspicions]

    @property
    def candidates(self) -> tuple[int, ...]:
        """Classes that any scan calls a possible target, those that most scans do first."""
        votes: dict[int, int] = {}
        for found in self.suspicions.values():
            for label in found.candidates:
                votes[label] = votes.get(label, 0) + 1
        return tuple(sorted(votes, key=lambda label: (-votes[label], label)))


@exact_float32()
def scan(
    network: Network,
    clean_valid: ImageSet,
    out: Path,
    title: str,
    methods: tuple[str | Scan, ...] = SCANS,
    warnings: tuple[str, ...] = (),
    track: Track = untracked,
) -> ScanOutcome:
    """Run scans and write their folder, whole or not at all: result.json and report.html.

    title: what the report calls the network. warnings: what speaks against the network and the
    faces. Raises InputError where `out` is taken, or the face set changes meanwhile.
    """
    with filled_folder(out, sets_record(ImageSets(clean_valid))) as folder:
        scans = {name_of_method(method): scan_by(method) for method in methods}
        found = {name: each.suspicions(network, clean_valid, track) for name, each in scans.items()}
        outcome = ScanOutcome(found)
        page = scan_html(outcome.suspicions, outcome.candidates, title, warnings)
        write_report(folder, scan_record(outcome, warnings), page)
    return outcome


def scan_record(outcome: ScanOutcome, warnings: tuple[str, ...] = ()) -> dict[str, Any]:
    """result.json of a scan."""
    return {
        "warnings": list(warnings),
        "candidates": list(outcome.candidates),
        "scans": {
            name: {
                "candidates": list(found.candidates),
                "threshold": found.threshold,
                "anomaly": list(found.anomaly),
                "triggers": {
                    label: {"size": float(trigger.mask.sum()), "reached": trigger.reached}
                    for label, trigger in found.triggers.items()
                },
            }
            for name, found in outcome.suspicions.items()
        },
    }
