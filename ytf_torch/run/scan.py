"""A scan, from its inputs to its output folder."""

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
    """The result of each scan, by its name."""

    suspicions: dict[str, Suspicions]

    @property
    def candidates(self) -> tuple[int, ...]:
        """Classes that at least one scan reports as a possible target, by number of scans."""
        votes: dict[int, int] = {}
        for suspicions in self.suspicions.values():
            for label in suspicions.candidates:
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
    """Run scans and write their folder atomically: result.json and report.html.

    title: the network's name in the report. warnings: about the network and the images, for the
    report. Raises InputError where `out` is taken, or the image set changes during the run.
    """
    with filled_folder(out, sets_record(ImageSets(clean_valid))) as folder:
        scans = {name_of_method(each): scan_by(each) for each in methods}
        suspicions = {
            name: method.suspicions(network, clean_valid, track) for name, method in scans.items()
        }
        outcome = ScanOutcome(suspicions)
        page = scan_html(outcome.suspicions, outcome.candidates, title, warnings)
        write_report(folder, scan_record(outcome, warnings), page)
    return outcome


def scan_record(outcome: ScanOutcome, warnings: tuple[str, ...] = ()) -> dict[str, Any]:
    """The content of a scan's result.json."""
    return {
        "warnings": list(warnings),
        "candidates": list(outcome.candidates),
        "scans": {
            name: {
                "candidates": list(suspicions.candidates),
                "threshold": suspicions.threshold,
                "anomaly": list(suspicions.anomaly),
                "triggers": {
                    label: {"size": float(trigger.mask.sum()), "reached": trigger.reached}
                    for label, trigger in suspicions.triggers.items()
                },
            }
            for name, suspicions in outcome.suspicions.items()
        },
    }
