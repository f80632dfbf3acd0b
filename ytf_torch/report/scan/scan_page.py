"""report.html of a scan: the classes that could be a backdoor's target."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from markupsafe import Markup

from ytf_torch.defences.base import ReversedTrigger, Suspicions
from ytf_torch.defences.scans.twins import AmongTwins, joint_p_value
from ytf_torch.network.provenance import tool_version
from ytf_torch.report.pictures import address_of, face_png
from ytf_torch.report.plots import NARROW, WIDE
from ytf_torch.report.scan.twins_plot import twins_figure
from ytf_torch.report.templates import template

# The number of reversed triggers per scan on a page, of the most suspicious classes.
SHOWN = 8
# Inches: for each scan a strip.
TWINS_SIZES = ((WIDE[0], 1.1), (NARROW[0], 1.3))
CAUTION = (
    "A scan without triggered faces can name classes to look at. It cannot say that a network is "
    "clean, nor that it is backdoored: clean networks have given stronger alarms than backdoored "
    "ones."
)
TWINS_LIMIT = (
    "The twins are of the same architecture, and learned the clean validation images alone; the "
    "network learned other images, and perhaps far more. A p-value is as good as the twins are "
    "like clean networks of its training."
)


def scan_html(
    suspicions: Mapping[str, Suspicions],
    candidates: tuple[int, ...],
    title: str,
    warnings: tuple[str, ...] = (),
    among: Mapping[str, AmongTwins] | None = None,
) -> str:
    """Render a self-contained page without scripts or external resources.

    suspicions: each scan's result, by name. candidates: the most suspicious classes. title: the
    network's name. warnings: about the network and the images. among: the network among its clean
    twins, by scan; empty without twins.
    """
    among = among or {}
    rows = [
        (name, result, sorted(range(len(result.anomaly)), key=lambda c: -result.anomaly[c])[:3])
        for name, result in suspicions.items()
    ]
    return template("scan/scan.html").render(
        title=title,
        warnings=warnings,
        headline=headline(candidates, among).replace("p = ", "p\u00a0=\u00a0"),
        examined=[examined_sentence(name, result) for name, result in suspicions.items()],
        among=among,
        smallest_p=min((1 / (len(each.twins) + 1) for each in among.values()), default=1.0),
        twins_limit=TWINS_LIMIT,
        drawings=[Markup(twins_figure(among, size).decode()) for size in TWINS_SIZES if among],
        caution=CAUTION,
        rows=rows,
        triggers=_triggers(suspicions),
        versions={"ytf-torch": tool_version(), "PyTorch": torch.__version__},
    )


def headline(candidates: tuple[int, ...], among: Mapping[str, AmongTwins] | None = None) -> str:
    """The result of all scans, in one sentence; with clean twins in two."""
    classes = _classes_sentence(candidates)
    return f"{classes} {twins_sentence(among)}" if among else classes


def _classes_sentence(candidates: tuple[int, ...]) -> str:
    if not candidates:
        return "No class stands out, which does not mean that there is no backdoor."
    named = ", ".join(map(str, candidates[:5]))
    more = f" and {len(candidates) - 5} more" if len(candidates) > 5 else ""
    noun = "Class" if len(candidates) == 1 else "Classes"
    verb = "stands" if len(candidates) == 1 else "stand"
    return f"{noun} {named}{more} {verb} out and could be a backdoor’s target, or could not."


def examined_sentence(name: str, result: Suspicions) -> str:
    """How many classes a scan examined in full; empty where all.

    >>> from ytf_torch.defences.base import Suspicions
    >>> examined_sentence("mm-bd", Suspicions((0.0, 0.0, 2.0), 1.3, examined=(1, 2)))
    'mm-bd examined 2 of 3 classes in full, after a short look at all.'
    """
    if result.examined is None:
        return ""
    number, classes = len(result.examined), len(result.anomaly)
    return f"{name} examined {number:,} of {classes:,} classes in full, after a short look at all."


def twins_sentence(among: Mapping[str, AmongTwins]) -> str:
    """The p-value of all scans together, and what it counts.

    >>> from ytf_torch.defences.scans.twins import AmongTwins
    >>> twins_sentence({"mm-bd": AmongTwins(3.0, (1.0, 2.0, 0.5), threshold=1.3)})
    'p = 0.25: none of 3 clean twins is as anomalous by mm-bd.'
    """
    name, best = min(among.items(), key=lambda item: item[1].p_value)
    p_value = f"p = {joint_p_value([each.p_value for each in among.values()]):.2g}"
    if len(among) > 1:
        p_value += f" ({best.p_value:.2g} for the best of {len(among)} scans)"
    number, count = best.as_anomalous, len(best.twins)
    verb = "are" if number > 1 else "is"
    if count == 1:
        return f"{p_value}: the one clean twin is {'' if number else 'not '}as anomalous by {name}."
    return f"{p_value}: {number or 'none'} of {count} clean twins {verb} as anomalous by {name}."


def twins_lines(among: Mapping[str, AmongTwins]) -> list[str]:
    """A line for each scan, and what limits its p-value; none without twins."""
    if not among:
        return []
    lines = [
        f"{name}: p = {each.p_value:.2g}; false alarm rate at its threshold "
        f"{each.false_alarm_rate.rate:.1f} % ({each.false_alarm_rate.low:.1f}–"
        f"{each.false_alarm_rate.high:.1f}), of {len(each.twins)} clean twins"
        for name, each in among.items()
    ]
    return [*lines, TWINS_LIMIT]


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
