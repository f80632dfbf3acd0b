"""The page of a scan: its sentences, and what it shows of many classes and of clean twins."""

from __future__ import annotations

import html

import pytest

from ytf_torch.defences.base import Suspicions
from ytf_torch.defences.scans.twins import AmongTwins
from ytf_torch.report.scan.scan_page import headline, scan_html, twins_lines, twins_sentence

MANY = Suspicions(tuple([0.0] * 60), threshold=2.0, examined=tuple(range(32)))


@pytest.mark.parametrize(
    ("anomaly", "sentence"),
    [
        (9.0, "p = 0.25: none of 3 clean twins is as anomalous by mm-bd."),
        (2.5, "p = 0.5: 1 of 3 clean twins is as anomalous by mm-bd."),
        (0.0, "p = 1: 3 of 3 clean twins are as anomalous by mm-bd."),
    ],
)
def test_a_p_value_says_what_it_counts(anomaly: float, sentence: str) -> None:
    assert twins_sentence({"mm-bd": AmongTwins(anomaly, (1.0, 2.0, 3.0), 1.3)}) == sentence


def test_of_one_twin_a_p_value_says_which_way() -> None:
    assert twins_sentence({"mm-bd": AmongTwins(9.0, (1.0,), 1.3)}) == (
        "p = 0.5: the one clean twin is not as anomalous by mm-bd."
    )


def test_of_several_scans_the_best_counts_for_as_many_chances() -> None:
    among = {
        "last-layer": AmongTwins(1.0, (0.5,) * 10 + (2.0,) * 9, 3.5),
        "mm-bd": AmongTwins(9.0, (1.0,) * 19, 1.3),
    }
    assert twins_sentence(among) == (
        "p = 0.1 (0.05 for the best of 2 scans): none of 19 clean twins is as anomalous by mm-bd."
    )
    assert headline((), among).startswith("No class stands out, which does not mean")


def test_a_line_of_each_scan_has_its_false_alarm_rate() -> None:
    lines = twins_lines({"mm-bd": AmongTwins(9.0, (1.0, 2.0), 1.3)})
    assert lines[0] == (
        "mm-bd: p = 0.33; false alarm rate at its threshold 50.0 % (9.5–90.5), of 2 clean twins"
    )
    assert "learned the clean validation images alone" in lines[1]
    assert twins_lines({}) == []


def test_the_page_says_how_many_of_many_classes_were_examined() -> None:
    page = html.unescape(scan_html({"neural-cleanse": MANY}, (), "network"))
    sentence = "neural-cleanse examined 32 of 60 classes in full, after a short look at all."
    assert sentence in page
    assert "in full" not in scan_html({"mm-bd": Suspicions((0.0, 1.0), 2.0)}, (), "network")


def test_a_network_among_twins_is_drawn_for_wide_and_narrow_screens() -> None:
    among = {"mm-bd": AmongTwins(9.0, (1.0, 2.0), 1.3)}
    page = scan_html({"mm-bd": Suspicions((9.0, 0.0), 1.3)}, (0,), "network", among=among)
    assert page.count("<svg") == 2
    assert "cannot be smaller than\n0.33." in page
    assert "is clean" not in page.replace("that a network is clean", "")
