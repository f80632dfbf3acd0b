"""The lab as a notebook: it runs from top to bottom and shows what it promises."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import ytf_torch
from tests.conftest import ROOT

NOTEBOOK = ROOT / "notebooks" / "lab.ipynb"


def test_it_is_kept_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert all(not cell.get("outputs") for cell in cells)
    assert all(cell.get("execution_count") is None for cell in cells)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """The notebook after a run on drawn faces, and the folder that it ran in."""
    nbformat = pytest.importorskip("nbformat", reason="needs the extra `notebook`")
    client = pytest.importorskip("nbclient", reason="needs the extra `notebook`")
    pytest.importorskip("ipykernel", reason="needs the extra `notebook`")
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("YTF_NOTEBOOK_FACES", "drawn")
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        runner = client.NotebookClient(
            notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": folder}}
        )
        runner.execute()
    return notebook, folder


def outputs(notebook: Any, kind: str) -> list[str]:
    return [
        "".join(output["data"][kind])
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if kind in output.get("data", {})
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of the libraries that run notebooks
def test_it_runs_from_top_to_bottom(executed: tuple[Any, Path]) -> None:
    notebook, folder = executed
    assert len(outputs(notebook, "image/png")) == 3
    pages = outputs(notebook, "text/html")
    assert any("<table>" in page and "GoodNet, drop" in page for page in pages)
    assert any("<progress" in page for page in pages)
    for name in ("bd_net.safetensors", "repaired.h5", "goodnet.h5", "report-1/report.html"):
        assert (folder / name).exists(), name
    errors = [cell for cell in notebook.cells if "error" in str(cell.get("outputs", ""))[:200]]
    assert not errors


def test_bars_are_no_matter_where_no_kernel_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """IPython hands out no handle to a shown thing there."""
    display = ModuleType("IPython.display")
    shown: list[object] = []
    monkeypatch.setattr(display, "HTML", str, raising=False)
    monkeypatch.setattr(
        display, "display", lambda thing, display_id: shown.append(thing), raising=False
    )
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    advance = ytf_torch.notebook_bars("sweeping", 200)
    advance(200)
    assert len(shown) == 1
