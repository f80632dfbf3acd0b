from __future__ import annotations

from tests.conftest import ROOT
from tests.made.layer_cases import CASES
from ytf_torch.layers.registry import KINDS
from ytf_torch.layers.table import layers_page


def test_the_documentation_page_is_up_to_date() -> None:
    written = (ROOT / "docs" / "layers.md").read_text(encoding="utf-8")
    assert written == layers_page(), "run python -m ytf_torch.layers.table docs/layers.md"


def test_every_kind_in_it_is_compared_with_keras() -> None:
    compared = {case.class_name for case in CASES} | {"InputLayer"}
    assert {kind.class_names[0] for kind in KINDS} == compared
