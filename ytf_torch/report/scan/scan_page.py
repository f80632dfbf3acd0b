"""report.html of a scan: which classes could be a backdoor's target."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from ytf_torch.defences.base import ReversedTrigger, Suspicions
from ytf_torch.network.provenance import tool_version
from ytf_torch.report.pictures import address_of, face_png
from ytf_torch.report.templates import template

# Reversed triggers that a page shows of each scan, the most suspicious classes' first.
SHOWN = 8
CAUTION = (
    "A scan without triggered faces can name classes to look at. It cannot say that a network is "
    "clean, nor that it is backdoored: clean networks have given stronger alarms than backdoored "
    "ones."
)


def scan_html(
    suspicions: Mapping[str, Suspicions],
    candidates: tuple[int, ...],
    title: str,
    warnings: tuple[str, ...] = (),
) -> str:
    """One self-contained page, readable without network and scripts.

    suspicions: by the scan's name. candidates: classes to look at first. title: of the network.
    warnings: what speaks against the network and the faces.
    """
    rows = [
        (name, found, sorted(range(len(found.anomaly)), key=lambda c: -found.anomaly[c])[:3])
        for name, found in suspicions.items()
    ]
    return template("scan/scan.html").render(
        title=title,
        warnings=warnings,
        headline=headline(candidates),
        caution=CAUTION,
        rows=rows,
        triggers=_triggers(suspicions),
        versions={"ytf-torch": tool_version(), "PyTorch": torch.__version__},
    )


def headline(candidates: tuple[int, ...]) -> str:
    """The scans' answer in one sentence."""
    if not candidates:
        return "No class stands out, which does not mean that there is no backdoor."
    named = ", ".join(map(str, candidates[:5]))
    more = f" and {len(candidates) - 5} more" if len(candidates) > 5 else ""
    noun = "Class" if len(candidates) == 1 else "Classes"
    verb = "stands" if len(candidates) == 1 else "stand"
    return f"{noun} {named}{more} {verb} out and could be a backdoor’s target, or could not."


def _triggers(suspicions: Mapping[str, Suspicions]) -> list[dict[str, object]]:
    """The most suspicious classes' reversed triggers, as pictures on grey."""
    shown: list[dict[str, object]] = []
    for found in suspicions.values():
        ordered = sorted(found.triggers, key=lambda label: -found.anomaly[label])
        for label in ordered[:SHOWN]:
            trigger = found.triggers[label]
            shown.append(
                {
                    "label": label,
                    "size": float(trigger.mask.sum()),
                    "reached": trigger.reached,
                    "anomaly": found.anomaly[label],
                    "picture": _picture(trigger),
                }
            )
    return shown


def _picture(trigger: ReversedTrigger) -> str:
    worn = trigger.mask * trigger.pattern + (1 - trigger.mask) * 128
    pixels = worn.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    return address_of(face_png(np.ascontiguousarray(pixels)))
