from __future__ import annotations

from typing import Any

import pytest

from ytf_torch.defences.doubts import Doubt
from ytf_torch.defences.outcome import Defence
from ytf_torch.metrics import Tally
from ytf_torch.report.verdict import judge, percent, shown_drop
from ytf_torch.sweep.passes import Sweep


def tally(images: int, *correct: int) -> Tally:
    flagged = tuple(correct[0] - count for count in correct)
    return Tally(images, correct, correct, flagged)


def defence(
    *attacks: Tally,
    drops: dict[str, int | None] | None = None,
    valid: Tally | None = None,
    test: Tally | None = None,
) -> Defence:
    """A sweep of two steps: 960 of 1,000 clean images are correct after one channel, then 810."""
    clean = tally(1000, 1000, 960, 810)
    return Defence(
        Sweep("conv_3", "pool_3", (0.5, 1.0), (0, 1), (clean,)),
        valid or clean,
        test or clean,
        attacks,
        {"4": 1, "10": 2} if drops is None else drops,
    )


@pytest.mark.parametrize(
    ("attacks", "drops", "kind", "headline"),
    [
        (
            [tally(1000, 1000, 20, 0)],
            None,
            "gone",
            "The backdoor is gone at a drop of 4: 2.0 % of the triggered faces still get the "
            "target label, and 96.0 % of the clean ones are still recognised.",
        ),
        (
            [tally(1000, 1000, 900, 0)],
            None,
            "gone",
            "The backdoor is gone at a drop of 10: none of the triggered faces still get the "
            "target label, and 81.0 % of the clean ones are still recognised.",
        ),
        (
            [tally(1000, 1000, 1000, 772)],
            None,
            "failed",
            "The defence failed: after giving up 10 points of clean accuracy, 77.2 % of the "
            "triggered faces still get the target label.",
        ),
        (
            [tally(1000, 1000, 900, 300)],
            None,
            "weakened",
            "The backdoor is weakened, not gone: at a drop of 10, 30.0 % of the triggered faces "
            "still get the target label.",
        ),
        (
            [tally(10, 10, 5, 0)],
            None,
            "unsure",
            "The backdoor may be gone at a drop of 10: none of the triggered faces still get the "
            "target label, but 10 faces leave room for up to 27.8 %.",
        ),
        (
            [tally(1000, 30, 20, 10)],
            None,
            "harmless",
            "There was hardly an attack to defend against: as it came, the network gives the "
            "target label to only 3.0 % of triggered faces.",
        ),
        (
            [],
            None,
            "unknown",
            "Nothing can be said about the attack: no triggered faces were given.",
        ),
        (
            [tally(1000, 1000, 0, 0)],
            {"4": None, "10": None},
            "nothing-pruned",
            "There is no repaired network: no step of the sweep costs 4 or 10 points.",
        ),
        (
            [tally(1000, 1000, 1000, 600)],
            {"4": 1, "10": None},
            "failed",
            "The defence failed: after giving up 4 points of clean accuracy, 100.0 % of the "
            "triggered faces still get the target label.",
        ),
    ],
)
def test_the_first_line(
    attacks: list[Tally], drops: dict[str, int | None] | None, kind: str, headline: str
) -> None:
    verdict = judge(defence(*attacks, drops=drops))
    assert (verdict.kind, verdict.headline) == (kind, headline)


@pytest.mark.parametrize(
    ("attacks", "drops", "shown"),
    [
        ([tally(1000, 1000, 20, 0)], {"10": 2, "4": 1, "20": None}, "4"),
        ([tally(1000, 1000, 900, 0)], {"10": 2, "4": 1, "20": None}, "10"),
        ([tally(1000, 1000, 900, 800)], {"10": 2, "4": 1, "20": None}, "10"),
        ([], {"10": 2, "4": 1}, "10"),
        ([tally(1000, 1000, 20, 0)], {"20": None}, None),
    ],
)
def test_the_shown_drop_is_the_first_without_backdoor_else_the_largest(
    attacks: list[Tally], drops: dict[str, int | None], shown: str | None
) -> None:
    assert shown_drop(defence(*attacks, drops=drops)) == shown


def test_one_trigger_that_still_works_is_enough_to_fail() -> None:
    verdict = judge(defence(tally(9000, 9000, 0, 0), tally(100, 100, 90, 90)))
    assert verdict.kind == "failed"
    assert "90.0 % in the set where it does worst" in verdict.headline


def test_the_price_is_told_on_the_set_that_decides_and_on_the_test_set() -> None:
    found = judge(defence(tally(1000, 1000, 20, 0), test=tally(500, 490, 400, 300)))
    assert found.detail == (
        "With 1 channel pruned, accuracy on the clean validation faces, which decide, went from "
        "100.0 % to 96.0 %, and on the clean test faces from 98.0 % to 80.0 %. GoodNet flags "
        "98.0 % of the triggered faces, and 18.0 % of the clean ones wrongly."
    )


@pytest.mark.parametrize(
    "sets",
    [
        {"valid": tally(1000, 980, 490, 100)},
        {"test": tally(1000, 980, 490, 100)},
        {"test": tally(1000, 980, 780, 100)},
    ],
)
def test_a_backdoor_that_is_gone_with_much_of_the_network_is_no_success(
    sets: dict[str, Any],
) -> None:
    assert judge(defence(tally(1000, 1000, 20, 0), **sets)).kind == "dear"


def test_what_is_too_dear_is_told_with_what_is_left() -> None:
    valid, test = tally(1000, 980, 490, 100), tally(1000, 950, 470, 90)
    assert judge(defence(tally(1000, 1000, 20, 0), valid=valid, test=test)).headline == (
        "The backdoor is gone at a drop of 4, but so is much of the network: 2.0 % of the "
        "triggered faces still get the target label, but only 47.0 % of the clean ones are still "
        "recognised, of 95.0 % before."
    )


def test_a_grave_doubt_stands_before_any_verdict() -> None:
    slight = Doubt("Few faces.", "Take more.", grave=False)
    grave = Doubt("These look like clean faces.", "Give triggered ones.")
    found = judge(defence(tally(1000, 1000, 20, 0)), [slight, grave])
    assert (found.kind, found.headline) == ("doubtful", "These look like clean faces.")
    assert found.detail.startswith("Give triggered ones. Until this is settled, the figures may")
    assert "gone" not in found.headline + found.detail
    assert judge(defence(tally(1000, 1000, 20, 0)), [slight]).kind == "gone"


def test_without_triggered_faces_the_price_is_told_all_the_same() -> None:
    found = judge(defence())
    assert found.kind == "unknown"
    assert "went from 100.0 % to 81.0 %, and on the clean test faces" in found.detail
    assert found.detail.endswith("GoodNet flags 19.0 % of the clean ones wrongly.")


@pytest.mark.parametrize(
    ("rate", "text"),
    [(100, "100.0 %"), (99.98, "99.98 %"), (77.21, "77.2 %"), (0.02, "0.02 %"), (0, "0.0 %")],
)
def test_rounding_never_makes_all_or_nothing(rate: float, text: str) -> None:
    assert percent(rate) == text
