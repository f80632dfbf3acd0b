"""Whether repaired backdoors come back: the records, a sentence about each, the plot, and what
relearning.html shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ytf_torch.defences.relearning import (
    BACK,
    BATCH,
    LEARNING_RATE,
    MEASURED_AFTER,
    NUMBERS,
    STEPS,
    Curve,
    Relearning,
)
from ytf_torch.report.compare.comparison_plots import COLOURS
from ytf_torch.report.drawing import Line2D, drawn_with
from ytf_torch.report.pictures import drawings
from ytf_torch.report.plots import FAINT, STYLE, WIDE, Size, axes_of, rendered
from ytf_torch.report.verdict import percent

Record = Mapping[str, Any]

STEPS_KEY = f"steps_to_{BACK:g}"
NUMBER_SHOWN = NUMBERS[1]
"""The number of triggered images that the sentence and the plot are about, if there were enough."""
TWIN = "a network that never had the backdoor, trained and repaired alike,"


def relearning_record(found: Relearning) -> dict[str, Any]:
    """The record of one repair's relearning. Rates are 0–100, of the numbers of images in `counts`;
    the attack success rate is without the target's own images if `without_target`."""
    images = found.images
    return {
        "trained_on": images.source,
        "without_target": images.without_target,
        "training": {"optimizer": "Adam", "learning_rate": LEARNING_RATE, "batch": BATCH},
        "counts": {
            "clean": len(images.clean),
            "attacked": len(images.attacked),
            "tested": len(images.tested),
        },
        "repaired": [_curve_record(curve) for curve in found.repaired],
        "clean_twin": [_curve_record(curve) for curve in found.twin],
        **({"no_clean_twin": found.no_twin} if found.no_twin else {}),
    }


def _curve_record(curve: Curve) -> dict[str, Any]:
    return {
        "triggered": curve.triggered,
        STEPS_KEY: curve.steps_to_back,
        "steps": list(curve.steps),
        "attack_success_rate": [share.rate for share in curve.attack],
        "clean_accuracy": [share.rate for share in curve.clean],
    }


def shown(record: Record) -> tuple[Record, Record | None]:
    """The curves of B′ and of its twin that the sentence and the plot are about."""
    return (
        next((pair for pair in _pairs(record) if pair[0]["triggered"] == NUMBER_SHOWN), None)
        or (_pairs(record)[-1])
    )


def _pairs(record: Record) -> list[tuple[Record, Record | None]]:
    """The curves of B′ and of its clean twin, None without one, for each number of images."""
    twins = record["clean_twin"] or [None] * len(record["repaired"])
    return list(zip(record["repaired"], twins, strict=True))


def finding(record: Record) -> str:
    """Whether the backdoor comes back, and sooner than in the clean twin, in one sentence."""
    repaired, twin = shown(record)
    ours = repaired[STEPS_KEY]
    few, back = f"{repaired['triggered']} triggered faces", f"{BACK:g} %"
    if ours == 0:
        rate = percent(repaired["attack_success_rate"][0])
        return f"The attack succeeds on {rate} of triggered faces before anything is relearned."
    if ours is None:
        sentence = f"{few} do not bring the attack back to {back} in {STEPS} training steps"
    else:
        steps = "1 training step" if ours == 1 else f"{ours} training steps"
        sentence = f"With {few} the attack is back at {back} within {steps}"
    if twin is None:
        return f"{sentence}; there is no clean twin to compare with ({record['no_clean_twin']})."
    theirs = twin[STEPS_KEY]
    if theirs is None:
        return f"{sentence}." if ours is None else f"{sentence}; {TWIN} is not there after {STEPS}."
    if ours is None:
        return f"{sentence}; {TWIN} gets there in {theirs}."
    if ours < theirs:
        return f"{sentence}; {TWIN} needs {theirs}."
    return f"{sentence}, no sooner than {TWIN} gets there ({theirs})."


def findings(records: Sequence[Record]) -> list[str]:
    """The finding of each repair's measurement, after the method's name if there are several.
    records: of repairs, of which some have an entry `relearning`."""
    measured = _measured(records)
    if len(measured) == 1:
        return [finding(record["relearning"]) for record in measured]
    return [f"{record['method']}: {finding(record['relearning'])}" for record in measured]


def _measured(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if "relearning" in record]


def relearning_shown(records: Sequence[Record]) -> dict[str, Any] | None:
    """What relearning.html shows; None where nothing was measured. records: of repairs."""
    measured = _measured(records)
    if not measured:
        return None
    first = measured[0]["relearning"]
    return {
        "findings": findings(measured),
        "rows": [
            (record["method"], *pair)
            for record in measured
            for pair in _pairs(record["relearning"])
        ],
        "figure": drawings(lambda size: relearning_figure(measured, size)),
        "key": STEPS_KEY,
        "back": BACK,
        "steps": STEPS,
        "number": shown(first)[0]["triggered"],
        "measured": first,
    }


def relearning_figure(records: Sequence[Record], size: Size = WIDE) -> bytes:
    """Attack success rate against training steps, a colour for each method: solid for B′, dotted
    for its clean twin. records: of repairs, all with an entry `relearning`. Inline SVG."""
    with drawn_with(STYLE):
        figure, axes = axes_of(size)
        handles: list[Line2D] = []
        for index, record in enumerate(records):
            curves = zip(shown(record["relearning"]), ("-", ":"), ("B′", "clean twin"), strict=True)
            for curve, line, network in curves:
                if curve is None:
                    continue
                # Evenly spaced, since the steps are dense at first, where backdoors come back.
                handles += axes.plot(
                    range(len(curve["steps"])),
                    curve["attack_success_rate"],
                    line,
                    color=COLOURS[index % len(COLOURS)],
                    linewidth=1.8,
                    label=f"{record['method']}, {network}",
                )
        axes.axhline(BACK, color=FAINT, linewidth=0.8, zorder=0)
        axes.set_xticks(range(len(MEASURED_AFTER)), [str(step) for step in MEASURED_AFTER])
        axes.set(xlabel="training steps", ylabel="attack success rate, percent", ylim=(-3, 103))
        axes.grid(axis="y")
        columns = 2 if size[0] >= WIDE[0] else 1
        figure.legend(handles=handles, loc="outside lower center", ncols=columns)
        return rendered(figure, "svg", f"relearning {size}")
