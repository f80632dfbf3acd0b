from __future__ import annotations

import re
from pathlib import Path

from tests.made.small_run import small_run
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.report.prune.table import latex, table_tex


def cells(line: str) -> list[str]:
    """The cells of a row of a tabular."""
    assert line.endswith(r" \\")
    return [cell.strip() for cell in re.split(r"(?<!\\)&", line.removesuffix(r" \\"))]


def test_each_network_has_a_row_with_every_rate_and_its_interval(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    run, _, _ = small_run(tmp_path, checkpoint)
    lines = table_tex(run).splitlines()
    rows = [cells(line) for line in lines if line.endswith(r" \\")]
    assert lines[1] == r"\begin{tabular}{lrrrrrr}"
    assert all(len(row) == 7 for row in rows)
    assert [row[0] for row in rows[1:]] == [
        "B, as it came",
        *("B$'$, drop 2", "GoodNet, drop 2", "B$'$, drop 40", "GoodNet, drop 40"),
    ]
    share = run.defence.outcome.baseline.model.attack_success_rate
    assert share is not None
    interval = rf"{{\scriptsize({share.low:.1f}--{share.high:.1f})}}"
    assert rows[1][4] == f"{share.rate:.2f} {interval}"


def test_a_set_that_was_not_given_has_no_column_and_a_drop_not_reached_says_so(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    run, _, _ = small_run(tmp_path, checkpoint, clean_test=False, triggered=0, drops=("99",))
    lines = table_tex(run).splitlines()
    assert r"\shortstack{attack\\success\\rate}" not in table_tex(run)
    assert cells(lines[-3])[:2] == ["drop 99", "never reached"]


def test_names_from_strangers_are_text_in_latex() -> None:
    assert latex(r"\input{x} 50 % a_b") == r"\textbackslash{}input\{x\} 50 \% a\_b"
