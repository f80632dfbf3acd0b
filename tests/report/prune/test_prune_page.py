from __future__ import annotations

import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tests.made.small_run import small_page, small_run
from ytf_torch.commands.prune import command_line
from ytf_torch.defences.doubts import Doubt
from ytf_torch.images.arrays import images_of
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.report.prune import published
from ytf_torch.report.prune.prune_page import report_html
from ytf_torch.run.settings import PruneSettings, read_settings

HOSTILE = "<script>alert('x')</script>\"&'.h5"
MAX_BYTES = 2_000_000


class Page(HTMLParser):
    """A page's elements, its visible text, and its unclosed elements."""

    VOID = frozenset({"meta", "link", "img", "br"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)


def test_the_verdict_is_the_first_line(tmp_path: Path, checkpoint: Checkpoint) -> None:
    page = Page(small_page(tmp_path, checkpoint, triggered=0))
    body = page.text.split("Pruning defence of bd_net.h5", 1)[1].strip()
    assert body.startswith("Nothing can be said about the attack")


def test_doubts_stand_before_everything_but_their_gravest(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    run, _, exhibits = small_run(tmp_path, checkpoint)
    doubts = (
        Doubt("These look like <b>clean</b> faces.", "Give triggered ones."),
        Doubt("Few faces.", "Take more.", grave=False),
    )
    page = Page(report_html(replace(run, doubts=doubts), exhibits))
    body = page.text.split("Pruning defence of bd_net.h5", 1)[1].strip()
    assert body.startswith("These look like <b>clean</b> faces. Give triggered ones. Until this is")
    assert (
        body.index("Few faces.") < body.index("Take more.") < body.index("What the defence costs")
    )
    assert body.count("These look like") == 1


@pytest.mark.parametrize(
    ("clean_test", "triggered", "columns"),
    [
        (True, 1, ["validation accuracy", "test accuracy", "attack success", "false", "true"]),
        (False, 1, ["validation accuracy", "attack success", "false", "true"]),
        (True, 0, ["validation accuracy", "test accuracy", "false"]),
        (False, 0, ["validation accuracy", "false"]),
    ],
)
def test_the_headline_table_has_columns_for_the_sets_that_were_given(
    tmp_path: Path, checkpoint: Checkpoint, clean_test: bool, triggered: int, columns: list[str]
) -> None:
    html = small_page(tmp_path, checkpoint, clean_test=clean_test, triggered=triggered)
    table = html[html.index("<thead>") : html.index("</thead>")]
    found = re.findall(r'scope="col">([^<]+)<', table)
    assert found[:2] == ["network", "channels pruned"]
    assert [name.startswith(start) for name, start in zip(found[2:], columns, strict=True)]
    rows = html[html.index("</thead>") : html.index("</table>")].split("<tr")[1:]
    assert {row.count("<td") for row in rows if "colspan" not in row} == {len(found) - 1}


@pytest.mark.parametrize("triggered", [0, 1, 2])
@pytest.mark.parametrize("clean_test", [True, False])
def test_every_page_is_well_formed_self_contained_and_small(
    tmp_path: Path, checkpoint: Checkpoint, triggered: int, clean_test: bool
) -> None:
    html = small_page(tmp_path, checkpoint, clean_test=clean_test, triggered=triggered)
    page = Page(html)
    assert page.open == []
    assert "\\x" not in page.text
    assert len(html.encode()) < MAX_BYTES
    assert "http:" not in html
    assert "https:" not in html
    for tag, attributes in page.elements:
        assert tag not in ("script", "iframe", "object", "embed")
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith(("data:", "#"))
        if tag == "img":
            assert attributes["alt"]
        assert not any(name.startswith("on") for name in attributes)
    pictures = [a for _, a in page.elements if a.get("role") == "img"]
    assert len(pictures) == 6
    assert all(picture["aria-label"] for picture in pictures)


def test_names_from_files_are_escaped(tmp_path: Path, checkpoint: Checkpoint) -> None:
    provenance = replace(
        checkpoint.provenance, source_file=HOSTILE, keras_version=HOSTILE, converter_version=HOSTILE
    )
    run, settings, exhibits = small_run(
        tmp_path, Checkpoint(checkpoint.model, provenance), triggered=2
    )
    settings = settings.model_copy(
        update={"model": Path(HOSTILE), "poisoned_test": (Path(HOSTILE), Path("b.h5"))}
    )
    files = replace(run.files, poisoned_tests=settings.poisoned_test)
    run = replace(run, files=files, command=command_line(settings))
    sheets = tuple(
        replace(sheet, faces=images_of(np.zeros((1, 3, 55, 47)), [0]).called(Path("<script>.h5")))
        for sheet in exhibits.triggered
    )
    html = report_html(run, replace(exhibits, triggered=sheets))
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 5


def test_equal_runs_give_equal_pages(tmp_path: Path, checkpoint: Checkpoint) -> None:
    once, again = (small_page(tmp_path, checkpoint) for _ in range(2))
    assert once == again


def test_a_drop_that_is_never_reached_is_said_to_be(tmp_path: Path, checkpoint: Checkpoint) -> None:
    run, _, exhibits = small_run(tmp_path, checkpoint)
    run = replace(run, defence=replace(run.defence, drops={"2": None}))
    assert "never reached" in Page(report_html(run, replace(exhibits, drop=None))).text


def test_the_published_result_stands_beside_the_labs_network_only(
    tmp_path: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = small_run(tmp_path, checkpoint)
    assert "published lab result" not in Page(report_html(run[0], run[2])).text
    digest = published.weights_sha256(checkpoint.model)
    monkeypatch.setattr(published, "LAB_WEIGHTS_SHA256", digest)
    text = Page(report_html(run[0], run[2])).text
    assert "published lab result" in text
    assert "these are not the lab’s face sets" in text
    assert "77.21" in text


@pytest.mark.shared_files
@pytest.mark.parametrize(
    ("file", "is_lab"), [("bd_weights.h5", True), ("sunglasses_bd_weights.h5", False)]
)
def test_the_labs_network_is_recognised_by_its_weights(
    shared: Path, file: str, is_lab: bool
) -> None:
    from ytf_torch.convert.model_file import read_model

    assert published.is_the_labs(read_model(shared / "zoo" / file).model) == is_lab


def test_the_command_line_repeats_the_run(tmp_path: Path) -> None:
    settings = PruneSettings(
        model=Path("my models/bd net.h5"),
        clean_valid=Path("v.h5"),
        poisoned_test=(Path("a.h5"), Path("b.h5")),
        drops=("1", "2.5"),
        pixel_scale=1 / 255,
        out=Path("o"),
    )
    words = shlex.split(command_line(settings).replace("\\\n", ""))
    assert words[0] == "ytf-prune"
    flags: dict[str, list[str]] = {}
    for flag, value in zip(words[1::2], words[2::2], strict=True):
        flags.setdefault(flag.removeprefix("--").replace("-", "_"), []).append(value)
    lists = {"poisoned_test"}
    values = {key: list_ if key in lists else list_[0] for key, list_ in flags.items()}
    assert read_settings(None, values) == settings.model_copy(update={"out": Path("NEW")})


def test_a_page_has_a_caption_for_every_figure(tmp_path: Path, checkpoint: Checkpoint) -> None:
    html = small_page(tmp_path, checkpoint)
    assert html.count("<figure>") == html.count("<figcaption>") == 3
    assert len(re.findall("How to read it", html)) == 5


@pytest.mark.parametrize("drop", ["2", "10"])
def test_the_network_to_hand_in_is_the_one_that_the_verdict_speaks_of(
    tmp_path: Path, checkpoint: Checkpoint, drop: str
) -> None:
    run, _, exhibits = small_run(tmp_path, checkpoint)
    text = Page(report_html(run, replace(exhibits, drop=drop))).text
    commands = text.split("How to hand the networks in")[1].split("B stands for")[0]
    assert set(re.findall(r"pruned_drop\d+", commands)) == {f"pruned_drop{drop}"}
