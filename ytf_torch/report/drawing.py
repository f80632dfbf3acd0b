"""The only module that imports matplotlib. Figures use its defaults, not the user's settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

from ytf_torch.report.surroundings import importing_matplotlib

with importing_matplotlib():
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.transforms import Bbox

__all__ = [
    "Axes",
    "Bbox",
    "Figure",
    "Line2D",
    "Patch",
    "drawn_with",
    "empty_figure",
    "mpl",
    "pdf_pages",
]


@contextmanager
def drawn_with(style: dict[str, Any]) -> Iterator[None]:
    """Within this context, matplotlib's settings are its built-in ones updated with `style`."""
    # The backend is left out: it does not affect these figures, and setting it may open a window.
    # dict.items, because rcParamsDefault's own method warns about deprecated settings.
    built_in = dict.items(mpl.rcParamsDefault)
    settings: Any = {name: value for name, value in built_in if name != "backend"}
    with mpl.rc_context(settings | style):
        yield


def empty_figure(size: tuple[float, float]) -> Figure:
    """An off-screen figure of this size in inches."""
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


@contextmanager
def pdf_pages(buffer: BytesIO, metadata: dict[str, Any]) -> Iterator[Any]:
    """matplotlib's PdfPages, whose methods have no types; the PDF is written to `buffer`."""
    # Imported here: few runs write a PDF, and this loads fontTools.subset too.
    with importing_matplotlib():
        from matplotlib.backends.backend_pdf import PdfPages
    with PdfPages(buffer, metadata=metadata) as pages:
        yield pages
