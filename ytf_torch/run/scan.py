"""A scan, from its inputs to its output folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ytf_torch.defences.base import Scan, Suspicions
from ytf_torch.defences.methods import scan_by
from ytf_torch.defences.names import SCANS, name_of_method
from ytf_torch.defences.scans.twins import AmongTwins
from ytf_torch.device import exact_float32
from ytf_torch.images.image_set import ImageSet, ImageSets
from ytf_torch.network.module import Network
from ytf_torch.progress import Track, untracked
from ytf_torch.report.scan.scan_page import scan_html
from ytf_torch.run.finished import write_report
from ytf_torch.run.inputs import sets_record
from ytf_torch.run.resume import filled_folder
from ytf_torch.run.twins import TwinComparison, compare_with_twins


@dataclass(frozen=True)
class ScanOutcome:
    """The result of each scan, by its name. twins: the network among its clean twins, if it was
    compared with any."""

    suspicions: dict[str, Suspicions]
    twins: TwinComparison | None = None

    @property
    def candidates(self) -> tuple[int, ...]:
        """Classes that at least one scan reports as a possible target, by number of scans."""
        votes: dict[int, int] = {}
        for suspicions in self.suspicions.values():
            for label in suspicions.candidates:
                votes[label] = votes.get(label, 0) + 1
        return tuple(sorted(votes, key=lambda label: (-votes[label], label)))

    @property
    def among_twins(self) -> Mapping[str, AmongTwins]:
        """Name of the scan → the network among its clean twins; empty without twins."""
        return {} if self.twins is None else self.twins.by_scan

    @property
    def doubts(self) -> tuple[str, ...]:
        """Warnings about the clean twins."""
        return () if self.twins is None else self.twins.doubts


@exact_float32()
def scan(
    network: Network,
    clean_valid: ImageSet,
    out: Path,
    title: str,
    methods: tuple[str | Scan, ...] = SCANS,
    warnings: tuple[str, ...] = (),
    track: Track = untracked,
    twins: int = 0,
) -> ScanOutcome:
    """Run scans and write their folder atomically: result.json and report.html.

    title: the network's name in the report. warnings: about the network and the images, for the
    report. twins: number of clean twins to compare the network with.
    Raises InputError where `out` is taken, or the image set changes during the run.
    """
    with filled_folder(out, sets_record(ImageSets(clean_valid))) as folder:
        scans = {name_of_method(each): scan_by(each) for each in methods}
        suspicions = {
            name: method.suspicions(network, clean_valid, track) for name, method in scans.items()
        }
        compared = (
            compare_with_twins(network, clean_valid, scans, suspicions, twins, track)
            if twins
            else None
        )
        outcome = ScanOutcome(suspicions, compared)
        warnings += outcome.doubts
        page = scan_html(
            outcome.suspicions, outcome.candidates, title, warnings, outcome.among_twins
        )
        write_report(folder, scan_record(outcome, warnings), page)
    return outcome


def scan_record(outcome: ScanOutcome, warnings: tuple[str, ...] = ()) -> dict[str, Any]:
    """The content of a scan's result.json."""
    among = outcome.among_twins
    return {
        "warnings": list(warnings),
        "candidates": list(outcome.candidates),
        "scans": {
            name: {
                "candidates": list(suspicions.candidates),
                "threshold": suspicions.threshold,
                "anomaly": list(suspicions.anomaly),
                "examined": suspicions.examined and list(suspicions.examined),
                "triggers": {
                    label: {"size": float(trigger.mask.sum()), "reached": trigger.reached}
                    for label, trigger in suspicions.triggers.items()
                },
                "twins": _among_record(among[name]) if name in among else None,
            }
            for name, suspicions in outcome.suspicions.items()
        },
        "twins": None if outcome.twins is None else _twins_record(outcome.twins),
    }


def _among_record(among: AmongTwins) -> dict[str, Any]:
    """A network among its twins by one scan. Rates are in percent."""
    alarms = asdict(among.false_alarm_rate)
    alarms["twins"] = alarms.pop("images")
    return {
        "anomaly": list(among.twins),
        "as_anomalous": among.as_anomalous,
        "p_value": among.p_value,
        "false_alarm_rate": alarms,
    }


def _twins_record(twins: TwinComparison) -> dict[str, Any]:
    """p_value: of all scans together. recognised: percent of the validation images, by twin."""
    return {
        "p_value": twins.p_value,
        "seeds": [twin.seed for twin in twins.twins],
        "recognised": [100 * twin.recognised for twin in twins.twins],
    }
