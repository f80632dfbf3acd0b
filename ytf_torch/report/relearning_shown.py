"""Whether repaired backdoors come back: what relearning.html shows, and its plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ytf_torch.defences.relearning import BACK, MEASURED_AFTER, STEPS
from ytf_torch.report.compare.comparison_plots import COLOURS
from ytf_torch.report.drawing import Line2D, drawn_with
from ytf_torch.report.pictures import drawings
from ytf_torch.report.plots import FAINT, STYLE, WIDE, Size, axes_of, rendered
from ytf_torch.report.relearning import STEPS_KEY, Record, findings, measured_of, pairs, shown


def relearning_shown(records: Sequence[Record]) -> dict[str, Any] | None:
    """What relearning.html shows; None where nothing was measured. records: of repairs."""
    measured = measured_of(records)
    if not measured:
        return None
    first = measured[0]["relearning"]
    return {
        "findings": findings(measured),
        "rows": [
            (record["method"], *pair) for record in measured for pair in pairs(record["relearning"])
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
