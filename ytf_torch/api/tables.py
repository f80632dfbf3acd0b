"""Results as tables: text, HTML for notebooks, and pandas DataFrames."""

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
    """A result that is displayed as a table, in a terminal and in a notebook."""

    @property
    @abstractmethod
    def _cells(self) -> Cells:
        """The rows of the table; the first row are the column headings."""

    @property
    @abstractmethod
    def _below(self) -> Sequence[str]:
        """Lines below the table."""

    def __repr__(self) -> str:
        return text_table(self._cells, self._below)

    def _repr_html_(self) -> str:
        return html_table(self._cells, self._below)


def text_table(rows: Cells, below: Sequence[str] = ()) -> str:
    """A table as text with aligned columns, followed by the lines of `below`."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, *below])


def html_table(rows: Cells, below: Sequence[str] = ()) -> str:
    """A table as HTML, followed by the lines of `below` as paragraphs. All text is escaped."""
    head, *body = rows
    lines = ["".join(f"<th>{escape(cell)}</th>" for cell in head)]
    lines += ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in body]
    table = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table>{table}</table>" + "".join(f"<p>{escape(line)}</p>" for line in below)


def percent_cell(rate: float | Share | None) -> str:
    """A rate in percent as text; "–" for None."""
    shown = rate_of(rate) if isinstance(rate, Share) else rate
    return "–" if shown is None else f"{shown:.2f} %"


def figures_rows(networks: Mapping[str, Figures | None]) -> list[list[str]]:
    """Rows for `text_table`: one per network, one column per rate that any of them has."""
    measured = {name: figures for name, figures in networks.items() if figures is not None}
    shown = [
        field
        for field in RATES
        if any(getattr(figures, field) is not None for figures in measured.values())
    ]
    rows = [["network", *(RATES[field] for field in shown)]]
    for name, figures in measured.items():
        rows.append([name, *(percent_cell(getattr(figures, field)) for field in shown)])
    return rows


def figures_frame(networks: Mapping[str, Figures | None]) -> Any:  # noqa: ANN401
    """A pandas DataFrame with one row per network; rates in percent at full precision.

    Raises ImportError where pandas is not installed.
    """
    import pandas

    measured = {name: figures for name, figures in networks.items() if figures is not None}
    rates = {
        name: {field: rate_of(getattr(figures, field)) for field in RATES}
        for name, figures in measured.items()
    }
    return pandas.DataFrame.from_dict(rates, orient="index").rename_axis("network")


def figures_plot(networks: Mapping[str, Figures | None]) -> Figure:
    """The rates of each network with confidence intervals, as a matplotlib figure."""
    measured = {name: figures for name, figures in networks.items() if figures is not None}
    rates = {
        name: {
            label: share
            for field, label in RATES.items()
            if (share := getattr(figures, field)) is not None
        }
        for name, figures in measured.items()
    }
    return draw_rates(rates)
