"""What a result in Python draws of itself: its rates, and how far classes stand out."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import numpy as np

from ytf_torch.defences.base import Suspicions
from ytf_torch.metrics import Share
from ytf_torch.report.compare.comparison_plots import COLOURS
from ytf_torch.report.drawing import Figure, drawn_with, empty_figure
from ytf_torch.report.plots import ATTACK, CLEAN, INK, STYLE, WIDE, Size, axes_of

# Characters of a line below a group of bars.
LABEL = 12
# In inches, of one scan's panel.
PANEL = 2.6


def draw_rates(networks: Mapping[str, Mapping[str, Share]], size: Size = WIDE) -> Figure:
    """Rates as bars with their 95 % intervals, a group for each rate and a bar in it for each
    network that has it.

    networks: rates by their name, by the network's.
    """
    with drawn_with(STYLE):
        figure, axes = axes_of(size)
        rates = tuple(dict.fromkeys(rate for shares in networks.values() for rate in shares))
        width = 0.8 / max(len(networks), 1)
        for place, (network, shares) in enumerate(networks.items()):
            left = place * width - 0.4
            places = [rates.index(rate) + left for rate in shares]
            heights = [share.rate for share in shares.values()]
            below = [share.rate - share.low for share in shares.values()]
            above = [share.high - share.rate for share in shares.values()]
            axes.bar(
                places,
                heights,
                width,
                align="edge",
                color=COLOURS[place % len(COLOURS)],
                label=network,
                yerr=[below, above],
                error_kw={"ecolor": INK, "elinewidth": 0.8, "capsize": 2},
            )
        axes.set(ylabel="percent of images", ylim=(0, 104), yticks=range(0, 101, 20))
        axes.set_xticks(range(len(rates)), [textwrap.fill(rate, LABEL) for rate in rates])
        axes.grid(axis="y")
        figure.legend(loc="outside lower center", ncols=max(len(networks), 1))
        return figure


def draw_anomalies(suspicions: Mapping[str, Suspicions], width: float = WIDE[0]) -> Figure:
    """How far each class stands out, a panel for each scan; those above its threshold, which is the
    dashed line, in another colour. width: in inches."""
    with drawn_with(STYLE):
        figure = empty_figure((width, PANEL * len(suspicions)))
        panels = figure.subplots(len(suspicions), squeeze=False)[:, 0]
        for axes, (name, found) in zip(panels, suspicions.items(), strict=True):
            axes.set_axisbelow(True)
            heights = np.asarray(found.anomaly)
            colours = [ATTACK if height > found.threshold else CLEAN for height in heights]
            axes.bar(range(len(heights)), heights, color=colours)
            axes.axhline(found.threshold, color=INK, linewidth=0.8, linestyle=(0, (4, 2)))
            axes.set(title=name, ylabel="anomaly", xlim=(-0.6, len(heights) - 0.4))
            axes.grid(axis="y")
        panels[-1].set_xlabel("class")
        return figure
