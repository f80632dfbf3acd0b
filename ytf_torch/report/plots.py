"""The figures of a pruning run, drawn without a display."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from math import isfinite
from typing import Any, Literal

import numpy as np

from ytf_torch.defences.outcome import Defence
from ytf_torch.network.subject import FACES, Subject
from ytf_torch.report.drawing import Axes, Figure, Line2D, Patch, drawn_with, empty_figure, mpl
from ytf_torch.sweep.passes import Sweep

# Colours that are distinguishable with colour blindness (Okabe and Ito).
CLEAN, ATTACK = "#0072b2", "#d55e00"
INK, FAINT, SHADE, PAPER = "#333333", "#bbbbbb", "#eeeeee", "#ffffff"
# In inline SVG each colour becomes a CSS variable of the page, which has a light and a dark theme.
PAGE_COLOURS = {
    CLEAN: "var(--clean)",
    ATTACK: "var(--attack)",
    INK: "var(--ink)",
    FAINT: "var(--faint)",
    SHADE: "var(--shade)",
    PAPER: "var(--paper)",
}
STYLE: Any = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 10,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "legend.columnspacing": 1.4,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
WIDE, NARROW = (8.0, 4.4), (3.9, 4.2)
Size = tuple[float, float]


def sweep_figure(defence: Defence, kind: Literal["png", "svg"], size: Size = WIDE) -> bytes:
    """Clean accuracy and attack success rate against channels pruned, as PNG or inline SVG.

    Drops are marked. Steps that prune channels with mean activation 0 on clean images are shaded.
    size: (width, height) in inches.
    """
    with drawn_with(STYLE):
        return rendered(_sweep(defence, size), kind, f"sweep {size}")


def draw_sweep(defence: Defence, size: Size = WIDE) -> Figure:
    """As sweep_figure, but returns the matplotlib figure."""
    with drawn_with(STYLE):
        return _sweep(defence, size)


def draw_drops(defence: Defence, size: Size = WIDE) -> Figure:
    """As drops_figure, but returns the matplotlib figure."""
    with drawn_with(STYLE):
        return _drops(defence, size)


def drops_figure(defence: Defence, size: Size = WIDE) -> bytes:
    """Bar chart of B, and of B′ next to GoodNet for each drop that was reached, as inline SVG.

    size: (width, height) in inches.
    """
    with drawn_with(STYLE):
        return rendered(_drops(defence, size), "svg", f"drops {size}")


def channel_figure(
    swept: Sweep,
    drops: dict[str, int | None],
    triggered: Sequence[float] | None,
    named: Sequence[int] = (),
    size: Size = WIDE,
    subject: Subject = FACES,
) -> bytes:
    """Bar chart of the mean activation of each channel in pruning order, clean next to triggered,
    as inline SVG.

    triggered: mean activation per channel; None without triggered images. named: channels whose
    numbers are written above their bars. size: (width, height) in inches. subject: what the images
    are called.
    """
    with drawn_with(STYLE):
        figure = _channels(swept, drops, triggered, named, size, subject.images)
        return rendered(figure, "svg", f"channels {size}")


def _sweep(defence: Defence, size: Size) -> Figure:
    swept = defence.sweep
    steps = range(len(swept.order) + 1)
    figure, axes = axes_of(size)
    axes.set(
        xlabel=_order_label(swept, size),
        ylabel=f"percent of {defence.subject.images}",
        xlim=(0, len(steps) - 1),
    )
    handles: list[Line2D | Patch] = []
    curves = [("clean validation accuracy", defence.clean_valid, CLEAN, ":")]
    if defence.clean_test:
        curves.append(("clean test accuracy", defence.clean_test, CLEAN, "-"))
    if defence.poisoned_test:
        curves.append(("attack success rate", defence.poisoned_test, ATTACK, "-"))
    for label, tally, color, line in curves:
        rates = [tally.at(step).correct.rate for step in steps]
        handles += axes.plot(
            steps, rates, line, color=color, linewidth=1.8, label=label, drawstyle="steps-mid"
        )
    handles += _shade_dormant(axes, swept, 0.0)
    rows = _mark_drops(axes, defence.drops, size, top=102.0, row=7.0, shift=0.0)
    axes.set(ylim=(-2, 106 + 7 * rows), yticks=range(0, 101, 20))
    axes.grid(axis="y")
    figure.legend(handles=handles, loc="outside lower center", ncols=_columns(size, len(handles)))
    return figure


def _drops(defence: Defence, size: Size) -> Figure:
    """Filled bars show B and B′, hollow bars GoodNet."""
    clean, attack = defence.clean_test or defence.clean_valid, defence.poisoned_test
    kinds = [(f"accuracy on clean {defence.subject.images}", clean, CLEAN)]
    if attack:
        kinds.append(("attack success rate", attack, ATTACK))
    reached = {drop: step for drop, step in defence.drops.items() if step is not None}
    figure, axes = axes_of(size)
    width = 0.8 / (2 * len(kinds))
    for number, (label, tally, color) in enumerate(kinds):
        left = 2 * number * width - 0.4
        rates = [tally.at(step).correct.rate for step in (0, *reached.values())]
        goodnet = [tally.at(step).goodnet_correct.rate for step in reached.values()]
        bars: dict[str, Any] = {"align": "edge", "edgecolor": color, "linewidth": 1.2}
        positions = np.arange(len(rates))
        axes.bar(positions + left, rates, width, color=color, label=f"{label}, B and B′", **bars)
        hollow = bars | {"color": PAPER, "label": f"{label}, GoodNet"}
        axes.bar(positions[1:] + left + width, goodnet, width, **hollow)
    axes.set(ylabel=f"percent of {defence.subject.images}", ylim=(0, 104), yticks=range(0, 101, 20))
    axes.set_xticks(range(len(reached) + 1), ["B", *(f"−{drop}" for drop in reached)])
    wide = size[0] >= WIDE[0]
    long, short = "B as it came, and networks at drops of so many points", "B, and drops in points"
    axes.set_xlabel(long if wide else short)
    axes.grid(axis="y")
    columns = 2 if wide else 1
    figure.legend(loc="outside lower center", ncols=columns)
    return figure


def _channels(
    swept: Sweep,
    drops: dict[str, int | None],
    triggered: Sequence[float] | None,
    named: Sequence[int],
    size: Size,
    images: str,
) -> Figure:
    figure, axes = axes_of(size)
    order = list(swept.order)
    positions = np.arange(len(order)) + 1.0
    groups: list[tuple[str, Sequence[float], str]] = [
        (f"clean validation {images}", swept.mean_activation, CLEAN)
    ]
    if triggered is not None:
        groups.append((f"triggered {images}", triggered, ATTACK))
    handles: list[Line2D | Patch] = []
    # NaN and infinite means are drawn with the height of the highest finite one.
    highest = max(mean for _, means, _ in groups for mean in means if isfinite(mean)) or 1.0
    width = 0.8 / len(groups)
    drawn_heights: list[list[float]] = []
    for group, (label, means, color) in enumerate(groups):
        heights = [means[channel] if isfinite(means[channel]) else highest for channel in order]
        left = positions - 0.4 + group * width
        axes.bar(left, heights, width, align="edge", color=color)
        drawn_heights.append(heights)
        handles.append(Patch(color=color, label=label))
    for channel in named:
        index = order.index(channel)
        tallest = max(heights[index] for heights in drawn_heights)
        axes.annotate(
            str(channel),
            (positions[index] + 0.2, tallest),
            (0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            fontweight="bold",
            bbox=_label_background(),
        )
    handles += _shade_dormant(axes, swept, 0.5)
    axes.set_xlim(0.5, len(order) + 0.5)
    rows = _mark_drops(axes, drops, size, top=1.1 * highest, row=0.07 * highest, shift=0.5)
    axes.set(
        xlabel=_order_label(swept, size),
        ylabel=f"mean activation at {swept.rank_at}",
        ylim=(0, highest * (1.15 + 0.07 * rows)),
    )
    axes.grid(axis="y")
    figure.legend(handles=handles, loc="outside lower center", ncols=_columns(size, len(handles)))
    return figure


def axes_of(size: Size) -> tuple[Figure, Axes]:
    """An empty figure of this size, in inches, and its axes."""
    figure = empty_figure(size)
    axes = figure.add_subplot()
    axes.set_axisbelow(True)
    return figure, axes


def _label_background() -> dict[str, Any]:
    """A background for labels, so that lines do not cross their text."""
    return {"facecolor": PAPER, "edgecolor": "none", "pad": 0.5}


def _order_label(swept: Sweep, size: Size) -> str:
    if size[0] < WIDE[0]:
        return f"channels of {swept.layer} pruned"
    first = "lowest" if swept.direction == "ascending" else "highest"
    return f"channels of {swept.layer} pruned, {first} mean activation at {swept.rank_at} first"


def _columns(size: Size, entries: int) -> int:
    return entries if size[0] >= WIDE[0] else 1


def _shade_dormant(axes: Axes, swept: Sweep, shift: float) -> list[Patch]:
    dormant = sum(mean == 0 for mean in swept.mean_activation)
    if not dormant:
        return []
    start = 0 if swept.direction == "ascending" else len(swept.order) - dormant
    axes.axvspan(start + shift, start + dormant + shift, color=SHADE, linewidth=0, zorder=0)
    return [Patch(color=SHADE, label="dormant channels")]


def _mark_drops(
    axes: Axes,
    drops: dict[str, int | None],
    size: Size,
    *,
    top: float,
    row: float,
    shift: float,
) -> int:
    """Mark the steps of reached drops by dashed lines. Overlapping labels move to a higher row.

    top: y position of the lowest row of labels. row: distance between rows. shift: added to the
    step's x position. Returns the number of rows above the first.
    """
    labels: dict[int, str] = {}
    for drop, step in drops.items():
        if step is not None:
            labels[step] = f"{labels[step]}, −{drop}" if step in labels else f"−{drop}"
    left, right = axes.get_xlim()
    steps_shown = right - left
    row_ends: list[float] = []
    for step, label in sorted(labels.items()):
        half_width = 0.05 * (len(label) + 1) * steps_shown / size[0]
        level = next(
            (i for i, end in enumerate(row_ends) if step - half_width > end), len(row_ends)
        )
        row_ends[level : level + 1] = [step + half_width]
        height = top + level * row
        axes.plot([step + shift] * 2, [0, height], color=INK, linewidth=0.8, linestyle=(0, (4, 2)))
        axes.annotate(
            label,
            (step + shift, height),
            (0, 1),
            textcoords="offset points",
            ha="center",
            bbox=_label_background(),
        )
    return max(len(row_ends) - 1, 0)


def rendered(figure: Figure, kind: Literal["png", "svg"], name: str) -> bytes:
    """Encode a figure, reproducibly: a fixed hash salt and no date make equal runs' bytes equal."""
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(buffer, format=kind, dpi=150, metadata=metadata, transparent=kind == "svg")
    content = buffer.getvalue()
    return _inline(content.decode(), name).encode() if kind == "svg" else content


def _inline(svg: str, name: str) -> str:
    """Turn an SVG file into an element of a page: the page's colours, ids that are unique among
    its figures, and no external references."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    prefix = re.sub(r"\W+", "-", name)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    for colour, variable in PAGE_COLOURS.items():
        svg = svg.replace(colour, variable)
    return svg
