"""The one door to matplotlib: with its own defaults, whatever the user's settings are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ytf_torch.report.surroundings import importing_matplotlib

with importing_matplotlib():
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_pdf import PdfPages
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
    "PdfPages",
    "drawn_with",
    "empty_figure",
    "mpl",
]


@contextmanager
def drawn_with(style: dict[str, Any]) -> Iterator[None]:
    """While this lasts figures have matplotlib's built-in settings, and `style` on top; then the
    process's own are back."""
    # The backend is no matter of a picture's, and to set one could open a window.
    # Read as a plain dict, they warn of no setting that is about to go.
    built_in = dict.items(mpl.rcParamsDefault)
    settings: Any = {name: value for name, value in built_in if name != "backend"}
    with mpl.rc_context(settings | style):
        yield


def empty_figure(size: tuple[float, float]) -> Figure:
    """A figure of this size, in inches, that no window shows."""
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure
