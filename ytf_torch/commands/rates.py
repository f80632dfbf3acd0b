"""The table of the rates of B, B′ and GoodNet, and what its columns mean."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

if TYPE_CHECKING:
    from ytf_torch.defences.evaluation import Evaluation
    from ytf_torch.metrics import Share

# Column headings of fields of Figures, with line breaks, so that the table fits into the 80 columns
# of a terminal.
HEADINGS = {
    "clean_valid_accuracy": "validation\naccuracy",
    "clean_accuracy": "clean\naccuracy",
    "attack_success_rate": "ASR",
    "attack_success_rate_without_target": "ASR\nwithout\ntarget",
    "clean_target_rate": "clean\nto\ntarget",
    "robust_accuracy": "robust",
    "false_positive_rate": "FPR",
    "true_positive_rate": "TPR",
}


def measured(evaluation: Evaluation, fields: Iterable[str]) -> tuple[str, ...]:
    """Those of the fields of Figures that have a rate."""
    networks = [each for each in (evaluation.model, evaluation.goodnet) if each is not None]
    return tuple(
        field for field in fields if any(getattr(each, field) is not None for each in networks)
    )


def rates_table(
    evaluation: Evaluation,
    fields: Sequence[str],
    cell: Callable[[Share | None], str],
    *,
    title: str | None = None,
) -> Table:
    """A row for each network, and a column for each of the fields of Figures."""
    table = Table("network", title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for field in fields:
        table.add_column(HEADINGS[field], justify="right", no_wrap=True)
    rows = {"B": evaluation.model, "B′": evaluation.repaired, "GoodNet": evaluation.goodnet}
    for name, figures in rows.items():
        if figures is not None:
            shares = (getattr(figures, field) for field in fields)
            table.add_row(name if evaluation.with_repaired else "network", *map(cell, shares))
    return table


def legend(
    evaluation: Evaluation,
    fields: Collection[str],
    remedy: str = "A clean test set of the same photos can tell.",
) -> Iterator[str]:
    """What the columns of these fields mean, in sentences; nothing of accuracy.

    remedy: what to give where the true classes of the triggered faces are not known.
    """
    if "attack_success_rate" in fields:
        if evaluation.model.attack_success_rate_without_target:
            yield (
                "ASR: attack success rate, over all triggered faces; without target: over those "
                "who are not the target themselves. robust: triggered faces that get their own "
                "class."
            )
        elif evaluation.model.robust_accuracy:
            yield (
                "ASR: attack success rate, over all triggered faces, each of whom carries its own "
                "class as the target. robust: triggered faces that get their own class."
            )
        else:
            yield (
                "ASR: attack success rate, over all triggered faces. Who is on them is not known. "
                f"{remedy}"
            )
    if "clean_target_rate" in fields:
        yield "clean to target: clean faces of others that get the target."
    if "false_positive_rate" in fields or "true_positive_rate" in fields:
        yield "FPR, TPR: clean and triggered faces that GoodNet flags."
