from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.made.small_run import small_run
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.report.prune.hand_in import hand_in_pdf
from ytf_torch.run.finished import WRITTEN
from ytf_torch.run.folder import write_run


def pages(pdf: bytes) -> int:
    return len(re.findall(rb"/Type /Page\b", pdf))


@pytest.mark.parametrize("drops", [("2", "40"), tuple(map(str, range(1, 21)))])
def test_it_has_two_pages_however_many_drops_there_are(
    drops: tuple[str, ...], tmp_path: Path, checkpoint: Checkpoint
) -> None:
    run, _, _ = small_run(tmp_path, checkpoint, drops=drops)
    pdf = hand_in_pdf(run)
    assert pdf.startswith(b"%PDF-")
    assert pages(pdf) == 2


def test_equal_runs_write_equal_bytes(tmp_path: Path, checkpoint: Checkpoint) -> None:
    run, _, _ = small_run(tmp_path, checkpoint)
    once = hand_in_pdf(run)
    assert once == hand_in_pdf(run)
    assert b"CreationDate" not in once


def test_a_run_writes_it_where_it_is_asked_for(tmp_path: Path, checkpoint: Checkpoint) -> None:
    run, settings, exhibits = small_run(tmp_path / "data", checkpoint)
    for name, asked in (("without", False), ("with", True)):
        (tmp_path / name).mkdir()
        write_run(run, settings.model_copy(update={"pdf": asked}), exhibits, tmp_path / name)
        assert (tmp_path / name / "table.pdf").exists() == asked
    assert WRITTEN.fullmatch("table.pdf")


def test_a_strangers_file_name_is_no_formula(tmp_path: Path, checkpoint: Checkpoint) -> None:
    run, _, _ = small_run(tmp_path, checkpoint)
    named = replace(run.checkpoint.provenance, source_file="a$\\frac{$b.h5")
    assert pages(hand_in_pdf(replace(run, checkpoint=replace(run.checkpoint, provenance=named))))
