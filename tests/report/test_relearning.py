"""What a report says of a backdoor that comes back, or does not."""

from __future__ import annotations

import html
from typing import Any

import pytest
import torch

from ytf_torch.defences.relearning import (
    MEASURED_AFTER,
    NUMBERS,
    Curve,
    Relearning,
    RelearningImages,
)
from ytf_torch.defences.training import TrainingFaces
from ytf_torch.metrics import Share
from ytf_torch.report.relearning import finding, findings, relearning_record
from ytf_torch.report.relearning_shown import relearning_figure, relearning_shown
from ytf_torch.report.templates import template


def curve(number: int, back: int | None) -> Curve:
    """A curve on 200 triggered and 100 clean images that is above 50 % from a step on."""
    attack = [Share.of(150 if back is not None and s >= back else 10, 200) for s in MEASURED_AFTER]
    clean = [Share.of(90, 100)] * len(MEASURED_AFTER)
    return Curve(number, MEASURED_AFTER, tuple(attack), tuple(clean))


def some(images: int) -> TrainingFaces:
    return TrainingFaces(torch.zeros(images, 1, 2, 2), torch.zeros(images, dtype=torch.int64))


def record(
    ours: int | None, theirs: int | None, numbers: tuple[int, ...] = NUMBERS, no_twin: str = ""
) -> dict[str, Any]:
    images = RelearningImages(some(300), some(50), some(200), some(100), "so and so", True)
    repaired, twin = (tuple(curve(n, back) for n in numbers) for back in (ours, theirs))
    found = Relearning(images, repaired, () if no_twin else twin, no_twin or None)
    return relearning_record(found)


ALIKE = "a network that never had the backdoor, trained and repaired alike,"


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (
            4,
            12,
            f"With 20 triggered faces the attack is back at 50 % within 4 training steps; {ALIKE} "
            "needs 12.",
        ),
        (
            1,
            None,
            f"With 20 triggered faces the attack is back at 50 % within 1 training step; {ALIKE} "
            "is not there after 80.",
        ),
        (
            16,
            16,
            "With 20 triggered faces the attack is back at 50 % within 16 training steps, no "
            f"sooner than {ALIKE} gets there (16).",
        ),
        (
            None,
            48,
            "20 triggered faces do not bring the attack back to 50 % in 80 training steps; "
            f"{ALIKE} gets there in 48.",
        ),
        (
            None,
            None,
            "20 triggered faces do not bring the attack back to 50 % in 80 training steps.",
        ),
        (0, 8, "The attack succeeds on 75.0 % of triggered faces before anything is relearned."),
    ],
)
def test_the_sentence_says_how_soon_it_comes_back_and_how_soon_it_is_learned(
    ours: int | None, theirs: int | None, expected: str
) -> None:
    assert finding(record(ours, theirs)) == expected


def test_with_fewer_triggered_faces_the_sentence_is_about_as_many_as_there_are() -> None:
    assert finding(record(8, 16, numbers=(5,))).startswith("With 5 triggered faces")


def test_without_a_twin_the_sentence_says_why() -> None:
    said = finding(record(8, None, no_twin="the network: no weak spot"))
    assert said == (
        "With 20 triggered faces the attack is back at 50 % within 8 training steps; there is no "
        "clean twin to compare with (the network: no weak spot)."
    )


def test_the_record_holds_rates_and_the_numbers_of_images_they_are_of() -> None:
    found = record(4, None)
    assert found["counts"] == {"clean": 300, "attacked": 200, "tested": 100}
    assert (found["trained_on"], found["without_target"]) == ("so and so", True)
    first, twin = found["repaired"][0], found["clean_twin"][0]
    assert (first["triggered"], first["steps_to_50"], twin["steps_to_50"]) == (5, 4, None)
    assert first["steps"] == list(MEASURED_AFTER)
    assert first["attack_success_rate"][:4] == [5.0, 5.0, 5.0, 75.0]
    assert set(first["clean_accuracy"]) == {90.0}


def repairs() -> list[dict[str, Any]]:
    return [
        {"method": "distillation", "relearning": record(4, 12)},
        {"method": "fine-tuning", "relearning": record(1, None)},
        {"method": "clp", "failed": "for a reason"},
    ]


def test_several_repairs_have_a_sentence_each() -> None:
    one, other = findings(repairs())
    assert one.startswith("distillation: With 20 triggered faces")
    assert other.startswith("fine-tuning: With 20 triggered faces")
    assert findings(repairs()[:1]) == [finding(record(4, 12))]
    assert findings(repairs()[2:]) == []


def test_the_page_has_a_row_for_each_repair_and_number_of_faces() -> None:
    shown = relearning_shown(repairs())
    page = html.unescape(template("relearning.html").render(relearning=shown))
    assert page.count('<th scope="row">distillation</th>') == len(NUMBERS)
    assert page.count('<th scope="row">fine-tuning</th>') == len(NUMBERS)
    assert page.count(">not reached</td>") == len(NUMBERS)
    assert all(sentence in page for sentence in findings(repairs()))
    assert "with 20 triggered faces among 300 clean ones" in " ".join(page.split())
    assert "measured on 200 others, none of them the target’s own" in " ".join(page.split())


def test_where_nothing_was_measured_the_page_has_no_such_part() -> None:
    assert relearning_shown([{"method": "clp"}]) is None


def test_the_plot_has_two_lines_for_each_repair_and_no_twin_none() -> None:
    drawn = relearning_figure(repairs()[:2]).decode()
    for name in ("distillation, B′", "distillation, clean twin", "fine-tuning, clean twin"):
        assert name in drawn
    alone = relearning_figure([{"method": "clp", "relearning": record(4, 4, no_twin="none")}])
    assert "clean twin" not in alone.decode()
