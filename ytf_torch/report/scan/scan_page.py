"""report.html of a scan: the classes that could be a backdoor's target."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from ytf_torch.defences.base import ReversedTrigger, Suspicions
from ytf_torch.network.provenance import tool_version
from ytf_torch.report.pictures import address_of, face_png
from ytf_torch.report.templates import template

# The number of reversed triggers per scan on a page, of the most suspicious classes.
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
    """Render a self-contained page without scripts or external resources.

    suspicions: each scan's result, by name. candidates: the most suspicious classes. title: the
    network's name. warnings: about the network and the images.
    """
    rows = [
        (name, result, sorted(range(len(result.anomaly)), key=lambda c: -result.anomaly[c])[:3])
        for name, result in suspicions.items()
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
    """The result of all scans in one sentence."""
    if not candidates:
        return "No class stands out, which does not mean that there is no backdoor."
    named = ", ".join(map(str, candidates[:5]))
    more = f" and {len(candidates) - 5} more" if len(candidates) > 5 else ""
    noun = "Class" if len(candidates) == 1 else "Classes"
    verb = "stands" if len(candidates) == 1 else "stand"
    return f"{noun} {named}{more} {verb} out and could be a backdoor’s target, or could not."


def _triggers(suspicions: Mapping[str, Suspicions]) -> list[dict[str, object]]:
    """The reversed triggers of the most suspicious classes, as images on a grey background."""
    shown: list[dict[str, object]] = []
    for result in suspicions.values():
        ordered = sorted(result.triggers, key=lambda label: -result.anomaly[label])
        for label in ordered[:SHOWN]:
            trigger = result.triggers[label]
            shown.append(
                {
                    "label": label,
                    "size": float(trigger.mask.sum()),
                    "reached": trigger.reached,
                    "anomaly": result.anomaly[label],
                    "picture": _picture(trigger),
                }
            )
    return shown


def _picture(trigger: ReversedTrigger) -> str:
    blended = trigger.mask * trigger.pattern + (1 - trigger.mask) * 128
    pixels = blended.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    return address_of(face_png(np.ascontiguousarray(pixels)))
