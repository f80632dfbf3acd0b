"""docs/defences.md names every method of the tool, and benchmarks/ holds the figures it quotes."""

from __future__ import annotations

import pytest

from tests.conftest import ROOT
from ytf_torch.defences.names import DETECTORS, REPAIRS, SCANS

PAGE = (ROOT / "docs" / "defences.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("heading", "names"), [("Repairs", REPAIRS), ("Detectors", DETECTORS), ("Scans", SCANS)]
)
def test_every_method_has_a_row_with_its_source(heading: str, names: tuple[str, ...]) -> None:
    table = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0].splitlines()
    rows = [line.split(" | ") for line in table if line.startswith("| `")]
    first = [row[0].removeprefix("| `").split("`")[0] for row in rows[: len(names)]]
    assert first == list(names)
    assert all(row[-1].strip(" |") for row in rows[: len(names)])
