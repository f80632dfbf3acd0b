"""Print a pruning run's results: warnings, tables and verdict."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table
from rich.text import Text

from ytf_torch.commands.pairs import print_pairs
from ytf_torch.commands.terminal import out, say
from ytf_torch.errors import printable
from ytf_torch.metrics import Share
from ytf_torch.report.prune.headline import Row, headline_rows, rows_by_set
from ytf_torch.report.prune.prune_record import Run
from ytf_torch.report.verdict import judge

ABBREVIATIONS = (
    "validation, test: accuracy on clean {images}. ASR: attack success rate. FPR, TPR: clean and "
    "triggered {images} that GoodNet flags."
)
SWAPPED = "If they were made from the validation set, the two clean sets are swapped."


def print_run(run: Run, folder: Path) -> None:
    """Print warnings, the headline table, the rates of each triggered set, and the verdict."""
    for doubt in run.doubts:
        say(f"Warning: {doubt}")
    out.print(_headline_table(run))
    say(ABBREVIATIONS.format(images=run.defence.subject.images))
    for pairing in run.pairings or ():
        print_pairs(pairing)
        if not pairing.is_enough:
            say(SWAPPED)
    by_set = rows_by_set(run)
    if by_set:
        out.print(_table_by_set(by_set))
    verdict = judge(run.defence, run.doubts)
    say("")
    say(verdict.headline)
    say(verdict.detail)
    say(f"Report: {folder / 'report.html'}")


def _headline_table(run: Run) -> Table:
    """B, and B′ and GoodNet at each drop, in percent, with columns only for the given sets."""
    defence, swept = run.defence, run.defence.sweep
    columns = {
        "validation": True,
        "test": defence.clean_test is not None,
        "ASR": defence.poisoned_test is not None,
        "FPR": True,
        "TPR": defence.poisoned_test is not None,
    }
    table = Table(
        "network", title=f"Pruning {swept.layer}, ranked at {swept.rank_at}: figures in percent"
    )
    table.add_column("pruned", justify="right", no_wrap=True)
    for name in (name for name, shown in columns.items() if shown):
        table.add_column(name, justify="right", no_wrap=True)
    for row in headline_rows(defence):
        if row.channels_pruned is None:
            table.add_row(f"drop {row.drop}", "never reached")
            continue
        name = "BadNet B" if row.drop is None else f"{row.network}, drop {row.drop}"
        shares = dict(zip(columns, row.shares, strict=True))
        figures = (_figure(shares[name]) for name, shown in columns.items() if shown)
        table.add_row(name, str(row.channels_pruned), *figures)
    return table


def _table_by_set(by_set: list[tuple[str, list[Row]]]) -> Table:
    table = Table("triggered set", "network", title="Each triggered set alone: figures in percent")
    for column in ("ASR", "TPR"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, rows in by_set:
        table.add_section()
        for row in rows:
            network = "BadNet B" if row.drop is None else f"{row.network}, drop {row.drop}"
            figures = map(_figure, (row.attack_success_rate, row.true_positive_rate))
            table.add_row(Text(printable(Path(name).name)), network, *figures)
    return table


def _figure(share: Share | None) -> str:
    return "–" if share is None else f"{share.rate:.2f}"
