from __future__ import annotations

from pathlib import Path

from tests.made.small_run import small_run
from ytf_torch.metrics import wilson_interval
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.report.prune.headline import headline_rows, rows_by_set


def test_the_headline_table_holds_the_counts_rates_and_intervals(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    run, _, _ = small_run(tmp_path, checkpoint, drops=("2", "100"))
    rows = headline_rows(run.defence)
    assert [row.network for row in rows[:3]] == ["B, as it came", "B′", "GoodNet"]
    goodnet, step = rows[2], run.defence.drops["2"]
    assert step is not None
    clean, attack = run.defence.clean_test, run.defence.poisoned_test
    assert clean is not None
    assert attack is not None
    assert goodnet.test_accuracy is not None
    assert goodnet.test_accuracy.rate == 100 * clean.goodnet_correct[step] / clean.images
    assert goodnet.false_positive_rate is not None
    assert goodnet.false_positive_rate.rate == 100 * clean.flagged[step] / clean.images
    assert goodnet.true_positive_rate is not None
    share = goodnet.true_positive_rate
    assert share.rate == 100 * attack.flagged[step] / attack.images
    assert (share.low, share.high) == wilson_interval(attack.flagged[step], attack.images)


def test_each_poisoned_set_is_shown_where_there_are_several(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    run, _, _ = small_run(tmp_path, checkpoint, triggered=2)
    found = rows_by_set(run)
    assert [name for name, _ in found] == list(map(str, run.files.poisoned_tests))
    for (_, rows), tally in zip(found, run.defence.poisoned_tests, strict=True):
        share = rows[0].attack_success_rate
        assert share is not None
        assert share.rate == 100 * tally.correct[0] / tally.images
    assert rows_by_set(small_run(tmp_path, checkpoint)[0]) == []
