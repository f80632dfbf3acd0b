"""Progress bars for notebooks, one for each phase of the work."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from ytf_torch.progress import untracked


def notebook_bars(phase: str, total: int, unit: str = "faces") -> Callable[[int], None]:
    """A progress callback for notebooks: `defend(…, track=notebook_bars)`.

    Without a kernel that can update a display, for example in an exported script, the bar stays at
    its start.
    Raises ImportError where IPython is not installed.

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
    completed = 0

    def advance(done: int) -> None:
        nonlocal completed
        before, completed = completed, completed + done
        # Update once per percent: every update is sent to the browser.
        if completed == total or 100 * completed // total > 100 * before // total:
            handle.update(bar(completed))

    return advance
