"""Figures of a run, drawn without a display."""

from __future__ import annotations

import io
from typing import Literal

import matplotlib as mpl
from matplotlib.figure import Figure

from ytf_torch.defence import Defence

CLEAN, ATTACK, MARK = "#0072b2", "#d55e00", "#555555"


def sweep_figure(defence: Defence, kind: Literal["png", "svg"]) -> bytes:
    """Clean accuracy and attack success rate against channels pruned, as PNG or inline SVG.

    Drops are marked, and the steps that prune channels dormant on clean faces are shaded.
    """
    swept = defence.sweep
    steps = range(len(swept.order) + 1)
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot(
        xlabel=f"channels of {swept.layer} pruned, lowest mean activation at {swept.rank_at} first",
        ylabel="percent of images",
        xlim=(0, len(swept.order)),
        ylim=(-2, 104),
    )
    dormant = sum(mean == 0 for mean in swept.mean_activation)
    if dormant:
        axes.axvspan(0, dormant, color="#eeeeee", label="dormant on clean faces", zorder=0)
    curves = [("clean validation accuracy", defence.clean_valid, CLEAN, ":")]
    if defence.clean_test:
        curves.append(("clean test accuracy", defence.clean_test, CLEAN, "-"))
    if defence.poisoned_test:
        curves.append(("attack success rate", defence.poisoned_test, ATTACK, "-"))
    for label, tally, color, style in curves:
        rates = [tally.rate(tally.correct, step) for step in steps]
        axes.plot(steps, rates, style, color=color, label=label, drawstyle="steps-mid")
    for drop, step in defence.drops.items():
        if step is not None:
            axes.axvline(step, color=MARK, linewidth=0.8)
            axes.annotate(f"−{drop}", (step, 101), color=MARK, fontsize=9, ha="center")
    axes.grid(alpha=0.25)
    axes.legend(loc="lower left")
    buffer = io.BytesIO()
    # A fixed salt and no date: equal runs draw equal bytes.
    with mpl.rc_context({"svg.hashsalt": "ytf-torch"}):
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(buffer, format=kind, dpi=150, metadata=metadata)
    content = buffer.getvalue()
    return content[content.index(b"<svg") :] if kind == "svg" else content
