"""Strip plot of a network among its clean twins."""

from __future__ import annotations

from collections.abc import Mapping

from ytf_torch.defences.scans.twins import AmongTwins
from ytf_torch.report.drawing import Figure, drawn_with, empty_figure
from ytf_torch.report.plots import ATTACK, CLEAN, INK, STYLE, Size, rendered

# Inches for the axis labels and the legend.
AROUND = 0.6


def twins_figure(among: Mapping[str, AmongTwins], size: Size) -> bytes:
    """The largest anomaly of the network and of each twin, a strip for each scan, as inline SVG.

    size: (width, height of a strip) in inches.
    """
    with drawn_with(STYLE):
        return rendered(draw_twins(among, size), "svg", f"twins {size}")


def draw_twins(among: Mapping[str, AmongTwins], size: Size) -> Figure:
    """The figure of twins_figure, to be shown or changed."""
    with drawn_with(STYLE):
        figure = empty_figure((size[0], AROUND + size[1] * len(among)))
        panels = figure.subplots(len(among), squeeze=False)[:, 0]
        for axes, (name, each) in zip(panels, among.items(), strict=True):
            twins = axes.plot(
                each.twins, [0] * len(each.twins), "|", color=CLEAN, markersize=18, label="a twin"
            )
            network = axes.plot(
                each.anomaly, 0, "D", color=ATTACK, markersize=8, label="the network"
            )
            threshold = axes.axvline(
                each.threshold,
                color=INK,
                linewidth=0.8,
                linestyle=(0, (4, 2)),
                label="the scan’s threshold",
            )
            axes.set_title(name, loc="left", fontsize=10)
            axes.set(ylim=(-1, 1), yticks=[])
            axes.spines["left"].set_visible(False)
        panels[-1].set_xlabel("largest anomaly of a class")
        handles = [*twins, *network, threshold]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
        return figure
