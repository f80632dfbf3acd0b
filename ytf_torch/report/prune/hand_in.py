"""table.pdf, to be handed in: one page with the verdict and the table, one with the plot."""

from __future__ import annotations

import io
import textwrap

from ytf_torch.errors import printable
from ytf_torch.metrics import Share
from ytf_torch.report.drawing import Bbox, Figure, drawn_with, empty_figure, pdf_pages
from ytf_torch.report.plots import FAINT, INK, STYLE, draw_sweep
from ytf_torch.report.prune.headline import headline_rows
from ytf_torch.report.prune.prune_record import Run
from ytf_torch.report.prune.table import cells_of, shown_columns
from ytf_torch.report.verdict import judge

A4 = (8.27, 11.69)
# The table's upper edge and the largest row height, as fractions of the page height. The 41 rows of
# the largest allowed number of drops fit below.
TOP, ROW = 0.78, 0.03
# Characters per line of the verdict.
CHARACTERS = 88


def hand_in_pdf(run: Run) -> bytes:
    """The content of table.pdf: verdict, headline table with 95 % intervals, and plot of the sweep.

    Without a creation date, so that equal runs write equal files.
    """
    buffer = io.BytesIO()
    metadata = {"Title": f"Pruning of {_name(run)}", "CreationDate": None, "Producer": "ytf-torch"}
    with drawn_with(STYLE | {"pdf.fonttype": 42}), pdf_pages(buffer, metadata) as pages:
        pages.savefig(_first_page(run))
        pages.savefig(draw_sweep(run.defence, (A4[0], 4.6)))
    return buffer.getvalue()


def _name(run: Run) -> str:
    return printable(run.checkpoint.provenance.source_file)


def _first_page(run: Run) -> Figure:
    verdict = judge(run.defence, run.doubts)
    swept = run.defence.sweep
    figure = empty_figure(A4)
    figure.set_layout_engine("none")
    title = f"Pruning {swept.layer} of {_name(run)}, ranked at {swept.rank_at}"
    figure.text(0.08, 0.94, _plain(title[:80]), size=14, weight="bold", va="top")
    lines = [part for text in (verdict.headline, verdict.detail) for part in _wrapped(text)]
    figure.text(0.08, 0.91, "\n".join(lines), size=9.5, va="top", linespacing=1.4)
    cells = _cells(run)
    height = min(ROW, (TOP - 0.1) / len(cells))
    axes = figure.add_axes((0.06, TOP - height * len(cells), 0.88, height * len(cells)))
    axes.axis("off")
    rates = len(cells[0]) - 2
    widths = [0.16, 0.08, *[0.76 / max(rates, 3)] * rates]
    box = Bbox.from_bounds(0, 0, sum(widths), 1)
    table = axes.table(cells, colWidths=widths, cellLoc="right", bbox=box, edges="horizontal")
    table.auto_set_font_size(False)
    for (row, column), cell in table.get_celld().items():
        cell.set(edgecolor=INK if row == 0 else FAINT, linewidth=0.5)
        cell.get_text().set(size=6.2, weight="bold" if row == 0 else "normal")
        if column == 0:
            cell.get_text().set_horizontalalignment("left")
    caption_y = TOP - height * len(cells) - 0.012
    figure.text(0.08, caption_y, "In percent; in brackets 95 % Wilson intervals.", size=8, va="top")
    return figure


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(_plain(text), CHARACTERS)


def _plain(text: str) -> str:
    """Escape dollar signs, which matplotlib would take for math mode."""
    return text.replace("$", r"\$")


def _cells(run: Run) -> list[list[str]]:
    rows = headline_rows(run.defence)
    shown = shown_columns(rows)
    head = ["network", "channels\npruned", *(name.replace(" ", "\n", 1) for name in shown)]
    return [head, *(cells_of(row, shown, _cell) for row in rows)]


def _cell(share: Share | None) -> str:
    return "–" if share is None else f"{share.rate:.2f} ({share.low:.1f}–{share.high:.1f})"
