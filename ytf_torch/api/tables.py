"""Results as tables: as text, as HTML in a notebook, and as a pandas DataFrame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ytf_torch.metrics import Figures, Share, rate_of
from ytf_torch.report.drawing import Figure
from ytf_torch.report.result_plots import draw_rates

Cells = Sequence[Sequence[str]]
RATES = {
    "clean_valid_accuracy": "validation accuracy",
    "clean_accuracy": "test accuracy",
    "attack_success_rate": "ASR",
    "attack_success_rate_without_target": "ASR without target",
    "clean_target_rate": "clean to target",
    "robust_accuracy": "robust accuracy",
    "false_positive_rate": "FPR",
    "true_positive_rate": "TPR",
}


class Shown(ABC):
    """A result that looks like its table, in a terminal and in a notebook."""

    @property
    @abstractmethod
    def _cells(self) -> Cells:
        """The table, its first row the heads of the columns."""

    @property
    @abstractmethod
    def _below(self) -> Sequence[str]:
        """Lines below it."""

    def __repr__(self) -> str:
        return text_table(self._cells, self._below)

    def _repr_html_(self) -> str:
        return html_table(self._cells, self._below)


def text_table(rows: Cells, below: Sequence[str] = ()) -> str:
    """Aligned columns, the first row as their heads, with some lines below."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, *below])


def html_table(rows: Cells, below: Sequence[str] = ()) -> str:
    """The same for a notebook."""
    head, *body = rows
    lines = ["".join(f"<th>{escape(cell)}</th>" for cell in head)]
    lines += ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in body]
    table = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table>{table}</table>" + "".join(f"<p>{escape(line)}</p>" for line in below)


def percent_cell(rate: float | Share | None) -> str:
    """A rate in percent, – where nothing was measured."""
    shown = rate_of(rate) if isinstance(rate, Share) else rate
    return "–" if shown is None else f"{shown:.2f} %"


def figures_rows(networks: Mapping[str, Figures | None]) -> list[list[str]]:
    """A row for each network and a column for each rate that any of them has."""
    known = {name: figures for name, figures in networks.items() if figures is not None}
    shown = [
        field
        for field in RATES
        if any(getattr(figures, field) is not None for figures in known.values())
    ]
    rows = [["network", *(RATES[field] for field in shown)]]
    for name, figures in known.items():
        rows.append([name, *(percent_cell(getattr(figures, field)) for field in shown)])
    return rows


def figures_frame(networks: Mapping[str, Figures | None]) -> Any:  # noqa: ANN401
    """The same as a pandas DataFrame, percentages at full precision.

    Raises ImportError where pandas is not installed.
    """
    import pandas

    known = {name: figures for name, figures in networks.items() if figures is not None}
    rates = {
        name: {field: rate_of(getattr(figures, field)) for field in RATES}
        for name, figures in known.items()
    }
    return pandas.DataFrame.from_dict(rates, orient="index").rename_axis("network")


def figures_plot(networks: Mapping[str, Figures | None]) -> Figure:
    """The same as a matplotlib figure, each rate with its interval."""
    known = {name: figures for name, figures in networks.items() if figures is not None}
    rates = {
        name: {
            called: share
            for field, called in RATES.items()
            if (share := getattr(figures, field)) is not None
        }
        for name, figures in known.items()
    }
    return draw_rates(rates)
