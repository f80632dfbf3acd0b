"""The headline table as LaTeX, for a paper or a report."""

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
# Characters with a special meaning in LaTeX, and their escapes.
SPECIAL = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "′": "$'$",
    "–": "--",
}


def latex(text: object) -> str:
    """Escape a text for LaTeX.

    >>> latex("B′, 4 % of conv_3")
    "B$'$, 4 \\\\% of conv\\\\_3"
    """
    return "".join(SPECIAL.get(character, character) for character in printable(text))


def table_tex(run: Run) -> str:
    """The content of table.tex: B, and B′ and GoodNet at each drop, in percent with 95 % intervals.

    Only columns of sets that were given. Needs no LaTeX package.
    """
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
    """The columns with at least one measured rate: heading → field of Row."""
    return {
        name: field
        for name, field in COLUMNS.items()
        if any(getattr(row, field) is not None for row in rows)
    }


def cells_of(row: Row, shown: dict[str, str], cell: Callable[[Share | None], str]) -> list[str]:
    """The cells of a row: network, number of pruned channels, and its rates formatted by `cell`.
    shown: see shown_columns."""
    if row.channels_pruned is None:
        return [f"drop {row.drop}", row.network, *[""] * len(shown)]
    figures = (cell(getattr(row, field)) for field in shown.values())
    return [network_of(row), str(row.channels_pruned), *figures]


def network_of(row: Row) -> str:
    """The name of a network in the table."""
    return row.network if row.drop is None else f"{row.network}, drop {row.drop}"


def _head(name: str) -> str:
    """A column heading with one word per line."""
    words = r"\\".join(name.split())
    return rf"\shortstack{{{words}}}"


def _row(row: Row, shown: dict[str, str]) -> str:
    network, pruned, *figures = cells_of(row, shown, _cell)
    return " & ".join([latex(network), latex(pruned), *figures]) + r" \\"


def _cell(share: Share | None) -> str:
    if share is None:
        return "--"
    return rf"{share.rate:.2f} {{\scriptsize({share.low:.1f}--{share.high:.1f})}}"
