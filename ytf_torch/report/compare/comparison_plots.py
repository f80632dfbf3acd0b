"""Plots of a comparison, as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ytf_torch.report.compare.comparison import MethodRow
from ytf_torch.report.drawing import Figure, drawn_with
from ytf_torch.report.plots import ATTACK, CLEAN, FAINT, STYLE, WIDE, Size, axes_of, rendered
from ytf_torch.report.thresholds import SUCCESS

MARKERS = "osD^vPX*hp<>"
COLOURS = (CLEAN, ATTACK, "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")


def trade_off_figure(rows: Sequence[MethodRow], size: Size = WIDE) -> bytes | None:
    """Scatter plot of attack success rate against clean accuracy lost, one marker per method, as
    inline SVG; None where no method has both."""
    with drawn_with(STYLE):
        figure = draw_trade_off(rows, size)
        return None if figure is None else rendered(figure, "svg", f"trade-off {size}")


def draw_trade_off(rows: Sequence[MethodRow], size: Size = WIDE) -> Figure | None:
    """The figure of trade_off_figure, to be shown or changed."""
    points = []
    for row in rows:
        lost, attack = row.figures["points_lost"], attack_of(row)
        if lost is not None and attack is not None:
            points.append((row.method, lost, attack))
    if not points:
        return None
    with drawn_with(STYLE):
        figure, axes = axes_of(size)
        handles = []
        for index, (method, lost, attack) in enumerate(points):
            handles += axes.plot(
                lost,
                attack,
                MARKERS[index % len(MARKERS)],
                color=COLOURS[index % len(COLOURS)],
                markersize=8,
                linestyle="none",
                label=method,
            )
        axes.axhline(SUCCESS, color=FAINT, linewidth=0.8, zorder=0)
        axes.set(
            xlabel="points of clean test accuracy lost",
            ylabel="attack success rate, percent",
            ylim=(-3, 103),
        )
        axes.grid(axis="both")
        columns = 4 if size[0] >= WIDE[0] else 2
        figure.legend(handles=handles, loc="outside lower center", ncols=columns)
        return figure


def attack_of(row: MethodRow) -> float | None:
    """The attack success rate without images of the target class if known, else over all images."""
    without = row.figures["attack_success_rate_without_target"]
    return row.figures["attack_success_rate"] if without is None else without


def roc_figure(curves: Mapping[str, Sequence[Sequence[float]]], size: Size = WIDE) -> bytes | None:
    """ROC curves of detectors, by name: points of (false, true positive rate) in percent."""
    if not curves:
        return None
    with drawn_with(STYLE):
        figure, axes = axes_of(size)
        handles = []
        for index, (name, curve) in enumerate(curves.items()):
            false_positive, true_positive = zip(*curve, strict=True)
            colour = COLOURS[index % len(COLOURS)]
            handles += axes.plot(
                false_positive, true_positive, color=colour, linewidth=1.8, label=name
            )
        axes.set(
            xlabel="false positive rate, percent",
            ylabel="true positive rate, percent",
            xlim=(0, 20),
            ylim=(0, 102),
        )
        axes.grid(axis="both")
        columns = 4 if size[0] >= WIDE[0] else 2
        figure.legend(handles=handles, loc="outside lower center", ncols=columns)
        return rendered(figure, "svg", f"roc {size}")
