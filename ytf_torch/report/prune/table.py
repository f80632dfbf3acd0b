"""The headline table as LaTeX, to be put into a paper or handed in."""

from __future__ import annotations

from collections.abc import Callable

from ytf_torch.errors import printable
from ytf_torch.metrics import Share
from ytf_torch.report.prune.headline import Row, headline_rows
from ytf_torch.report.prune.prune_record import Run

COLUMNS = {
    "validation accuracy": "validation_accuracy",
    "test accuracy": "test_accuracy",
    "attack success rate": "attack_success_rate",
    "false positive rate": "false_positive_rate",
    "true positive rate": "true_positive_rate",
}
# What LaTeX gives a meaning of its own.
SPECIAL = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "′": "$'$",
    "–": "--",
}


def latex(text: object) -> str:
    """A text as LaTeX prints it.

    >>> latex("B′, 4 % of conv_3")
    "B$'$, 4 \\\\% of conv\\\\_3"
    """
    return "".join(SPECIAL.get(character, character) for character in printable(text))


def table_tex(run: Run) -> str:
    """table.tex: B, and B′ and GoodNet at each drop, in percent, each with its 95 % interval;
    columns only for sets that were given. It needs no package of LaTeX's."""
    rows = headline_rows(run.defence)
    shown = shown_columns(rows)
    swept = run.defence.sweep
    head = ["network", "channels pruned", *shown]
    lines = [
        f"% {latex(run.checkpoint.provenance.source_file)}: {latex(swept.layer)} pruned, ranked at "
        f"{latex(swept.rank_at)}; percent, with 95 % Wilson intervals",
        rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
        r"\hline",
        " & ".join(map(_head, head)) + r" \\",
        r"\hline",
        *(_row(row, shown) for row in rows),
        r"\hline",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def shown_columns(rows: list[Row]) -> dict[str, str]:
    """The columns in which anything was measured: their heads, and what they show of a Row."""
    return {
        name: field
        for name, field in COLUMNS.items()
        if any(getattr(row, field) is not None for row in rows)
    }


def cells_of(row: Row, shown: dict[str, str], cell: Callable[[Share | None], str]) -> list[str]:
    """A network's row: what it is called, how many channels are pruned, and its figures as `cell`
    writes them. shown: see shown_columns."""
    if row.channels_pruned is None:
        return [f"drop {row.drop}", row.network, *[""] * len(shown)]
    figures = (cell(getattr(row, field)) for field in shown.values())
    return [network_of(row), str(row.channels_pruned), *figures]


def network_of(row: Row) -> str:
    """What the table calls a network."""
    return row.network if row.drop is None else f"{row.network}, drop {row.drop}"


def _head(name: str) -> str:
    """A column's head, a line a word."""
    words = r"\\".join(name.split())
    return rf"\shortstack{{{words}}}"


def _row(row: Row, shown: dict[str, str]) -> str:
    network, pruned, *figures = cells_of(row, shown, _cell)
    return " & ".join([latex(network), latex(pruned), *figures]) + r" \\"


def _cell(share: Share | None) -> str:
    if share is None:
        return "--"
    return rf"{share.rate:.2f} {{\scriptsize({share.low:.1f}--{share.high:.1f})}}"
