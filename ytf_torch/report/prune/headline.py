"""The rows of the headline table, shown in the terminal, the report and notebooks."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ytf_torch.defences.outcome import Defence
from ytf_torch.metrics import Figures, Share
from ytf_torch.report.prune.prune_record import Run, both


@dataclass(frozen=True)
class Row:
    """A row of the headline table: B, B′ or GoodNet, and its rates; None where not measured."""

    network: str
    drop: str | None
    channels_pruned: int | None
    validation_accuracy: Share | None = None
    test_accuracy: Share | None = None
    attack_success_rate: Share | None = None
    false_positive_rate: Share | None = None
    true_positive_rate: Share | None = None

    @property
    def shares(self) -> tuple[Share | None, ...]:
        """The rates, in the order of the fields."""
        return (
            self.validation_accuracy,
            self.test_accuracy,
            self.attack_success_rate,
            self.false_positive_rate,
            self.true_positive_rate,
        )


def headline_rows(defence: Defence) -> list[Row]:
    """Rows for B, and for B′ and GoodNet of each drop.

    GoodNet's false positive rate is measured on the clean test set if given, else on the clean
    validation set.
    """
    outcome = defence.outcome
    rows = [_row("B, as it came", None, 0, outcome.baseline.model)]
    for drop, evaluation in outcome.candidates.items():
        if evaluation is None:
            rows.append(Row("never reached", drop, None))
            continue
        step = len(defence.channels_of(drop))
        repaired, goodnet = both(evaluation)
        rows += [_row("B′", drop, step, repaired), _row("GoodNet", drop, step, goodnet)]
    return rows


def _row(network: str, drop: str | None, step: int, figures: Figures) -> Row:
    return Row(
        network,
        drop,
        step,
        validation_accuracy=figures.clean_valid_accuracy,
        test_accuracy=figures.clean_accuracy,
        attack_success_rate=figures.attack_success_rate,
        false_positive_rate=figures.false_positive_rate or figures.clean_valid_flagged,
        true_positive_rate=figures.true_positive_rate,
    )


def rows_by_set(run: Run) -> list[tuple[str, list[Row]]]:
    """The rows of each poisoned set alone, with its path; empty if there is only one set."""
    outcome = run.defence.outcome
    files = run.files.poisoned_tests
    if len(files) < 2:
        return []
    rows_of_sets = []
    for index, file in enumerate(files):
        baseline = outcome.baseline.of_set(outcome.baseline.triggered[index]).model
        rows = [_row("B, as it came", None, 0, baseline)]
        for drop, evaluation in outcome.candidates.items():
            if evaluation is not None:
                repaired, goodnet = both(evaluation.of_set(evaluation.triggered[index]))
                row = _row("B′", drop, len(run.defence.channels_of(drop)), repaired)
                rows.append(replace(row, true_positive_rate=goodnet.true_positive_rate))
        rows_of_sets.append((str(file), rows))
    return rows_of_sets
