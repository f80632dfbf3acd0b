"""The headline of a comparison names the methods that remove the backdoor, and what remains."""

from __future__ import annotations

import pytest

from ytf_torch.report.compare.comparison import COLUMNS, MethodRow
from ytf_torch.report.compare.comparison_page import headline


def row(method: str, *verdicts: str, **figures: float) -> MethodRow:
    measured: dict[str, float | None] = dict.fromkeys(COLUMNS)
    good = {"points_lost": 1.0, "attack_success_rate_without_target": 0.0, "robust_accuracy": 90.0}
    return MethodRow(method, len(verdicts), measured | good | figures, (), verdicts)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row("distillation", "gone")], "distillation removes the backdoor."),
        (
            [row("distillation", "gone"), row("fine-tuning", "unrecognised", robust_accuracy=11.0)],
            "distillation removes the backdoor. After fine-tuning the triggered faces have lost "
            "the target, but only 11.0 % of them get their true class (robust accuracy).",
        ),
        (
            [row("fine-tuning", "unrecognised", robust_accuracy=11.0)],
            "No method removes the backdoor at a bearable price; fine-tuning leaves the attack "
            "the least success, 0.0 %, and costs 1.0 points of clean test accuracy. After "
            "fine-tuning the triggered faces have lost the target, but only 11.0 % of them get "
            "their true class (robust accuracy).",
        ),
        (
            [row("distillation", "unfit", points_lost=31.3)],
            "No method removes the backdoor at a bearable price; distillation leaves the attack "
            "the least success, 0.0 %, and costs 31.3 points of clean test accuracy.",
        ),
        (
            [row("distillation", "weakened", attack_success_rate_without_target=1.5)],
            "No method removes the backdoor at a bearable price; distillation leaves the attack "
            "the least success, 1.5 %, and costs 1.0 points of clean test accuracy.",
        ),
        (
            [row("distillation", "gone", "gone", "weakened")],
            "distillation removes the backdoor.",
        ),
        (
            [row("distillation", "gone", validation_points_lost=4.5)],
            "No method removes the backdoor at a bearable price; distillation leaves the attack "
            "the least success, 0.0 %, and costs 1.0 points of clean test accuracy.",
        ),
        (
            [row("distillation", "doubtful"), row("fine-tuning", "doubtful")],
            "Which method removes the backdoor cannot be said before the warnings about the image "
            "sets are settled.",
        ),
    ],
)
def test_a_method_succeeds_only_where_the_faces_are_regained_at_a_bearable_price(
    rows: list[MethodRow], expected: str
) -> None:
    assert headline(rows) == expected
