"""What a notebook shows while it waits: one progress bar for each phase of the work."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from ytf_torch.progress import untracked


def notebook_bars(phase: str, total: int, unit: str = "faces") -> Callable[[int], None]:
    """A Track for notebooks: `defend(…, track=notebook_bars)` shows how far it is.

    Where no kernel runs that could change what it shows, as in a notebook that was made a script,
    nothing is shown after the start.
    Raises ImportError where IPython is not installed, as it is wherever notebooks run.

    >>> defence = ytf_torch.defend("bd_net.h5", "valid.h5", track=notebook_bars)
    <IPython.core.display.HTML object>...
    """
    from IPython.display import HTML, display

    def bar(done: int) -> HTML:
        return HTML(
            f"<progress value='{done}' max='{total}'></progress> "
            f"{escape(phase)}: {done:,} of {total:,} {escape(unit)}"
        )

    handle = display(bar(0), display_id=True)
    if handle is None:
        return untracked(phase, total, unit)
    seen = 0

    def advance(done: int) -> None:
        nonlocal seen
        before, seen = seen, seen + done
        # A hundred steps are enough for the eye, and for the notebook's file.
        if seen == total or 100 * seen // total > 100 * before // total:
            handle.update(bar(seen))

    return advance
