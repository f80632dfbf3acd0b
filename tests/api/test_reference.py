from __future__ import annotations

import pytest

from tests.conftest import ROOT
from ytf_torch import api
from ytf_torch.api.reference import reference_page

PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


def test_the_python_reference_is_up_to_date() -> None:
    assert reference_page() == PAGE, "run python -m ytf_torch.api.reference docs/api.md"


@pytest.mark.parametrize("name", api.__all__)
def test_it_has_a_section_for_each_name(name: str) -> None:
    headings = {f"### {name}", f"### class {name}"}
    assert len(headings & set(PAGE.splitlines())) == 1


def test_every_default_is_shown_as_it_is_written() -> None:
    assert "    track: Track = untracked,\n" in PAGE
    assert " at 0x" not in PAGE
