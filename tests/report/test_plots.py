from __future__ import annotations

import io
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from tests.made.small_run import small_run
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.report.plots import (
    NARROW,
    PAGE_COLOURS,
    WIDE,
    channel_figure,
    drops_figure,
    sweep_figure,
)
from ytf_torch.report.prune.exhibits import Exhibits
from ytf_torch.report.prune.prune_record import Run

Drawn = tuple[Run, Exhibits]


@pytest.fixture
def drawn(tmp_path: Path, checkpoint: Checkpoint) -> Drawn:
    run, _, exhibits = small_run(tmp_path, checkpoint)
    return run, exhibits


def figures(drawn: Drawn) -> list[str]:
    run, exhibits = drawn
    swept, drops = run.defence.sweep, run.defence.drops
    activation = exhibits.triggered_activation
    return [
        figure.decode()
        for size in (WIDE, NARROW)
        for figure in (
            sweep_figure(run.defence, "svg", size),
            channel_figure(swept, drops, activation, (0, 1), size),
            drops_figure(run.defence, size),
        )
    ]


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter("text")]


def test_equal_runs_draw_equal_bytes(drawn: Drawn) -> None:
    assert figures(drawn) == figures(drawn)
    assert sweep_figure(drawn[0].defence, "png") == sweep_figure(drawn[0].defence, "png")


def test_no_two_figures_share_an_id(drawn: Drawn) -> None:
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in figures(drawn)]
    assert all(ids)
    assert len(set.union(*ids)) == sum(map(len, ids))


def test_every_reference_leads_to_an_id_of_the_same_figure(drawn: Drawn) -> None:
    for svg in figures(drawn):
        referred = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg))
        assert {a or b for a, b in referred} <= set(re.findall(r'\bid="([^"]+)"', svg))
        assert referred


def test_a_figure_names_nothing_outside_and_wears_the_pages_colours(drawn: Drawn) -> None:
    for svg in figures(drawn):
        assert "http" not in svg
        assert "<script" not in svg
        assert not any(colour in svg for colour in PAGE_COLOURS)
        assert "var(--ink)" in svg
        assert "var(--attack)" in svg


def test_the_sweep_names_its_curves_and_marks_reached_drops(drawn: Drawn) -> None:
    run, _ = drawn
    found = texts(sweep_figure(run.defence, "svg").decode())
    assert {"clean validation accuracy", "clean test accuracy", "attack success rate"} <= set(found)
    marks = {mark for text in found for mark in text.split(", ") if mark in ("−2", "−40")}
    assert marks == {f"−{drop}" for drop, step in run.defence.drops.items() if step is not None}


def test_the_bars_name_b_and_reached_drops_and_both_networks(drawn: Drawn) -> None:
    run, _ = drawn
    found = texts(drops_figure(run.defence).decode())
    reached = [drop for drop, step in run.defence.drops.items() if step is not None]
    assert {"B", *(f"−{drop}" for drop in reached)} <= set(found)
    assert {"accuracy on clean faces, B and B′", "attack success rate, GoodNet"} <= set(found)


def test_the_channel_figure_names_the_channels_asked_for(drawn: Drawn) -> None:
    run, exhibits = drawn
    found = texts(
        channel_figure(
            run.defence.sweep, {}, exhibits.triggered_activation, (5,), size=WIDE
        ).decode()
    )
    assert "triggered faces" in found
    assert "5" in found


def test_without_triggered_faces_the_channel_figure_has_clean_bars_only(drawn: Drawn) -> None:
    found = texts(channel_figure(drawn[0].defence.sweep, {}, None).decode())
    assert "clean validation faces" in found
    assert "triggered faces" not in found


def test_the_sweep_as_png(drawn: Drawn) -> None:
    assert Image.open(io.BytesIO(sweep_figure(drawn[0].defence, "png"))).size == (1200, 660)
