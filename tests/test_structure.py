"""Where imports may lead: each room may import only what stands above it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

# The rooms in order, from what everything may import down to what nothing may; a line is a room.
ROOMS = (
    ("ytf_torch.errors",),
    ("ytf_torch.progress", "ytf_torch.metrics", "ytf_torch.distributed", "ytf_torch.device"),
    ("ytf_torch.disk",),
    ("ytf_torch.network",),
    ("ytf_torch.faces",),
    ("convert",),
    ("ytf_torch.sweep", "ytf_torch.demo"),
    ("ytf_torch.defences",),
    ("ytf_torch.report",),
    ("ytf_torch.run",),
    ("ytf_torch",),
    ("ytf_torch.commands",),
)
FILES = sorted([*(ROOT / "ytf_torch").rglob("*.py"), *(ROOT / "convert").rglob("*.py")])


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def level_of(module: str) -> int:
    """The place of a module's room among ROOMS; the longest name that fits decides."""
    fitting = [
        (len(name), level)
        for level, names in enumerate(ROOMS)
        for name in names
        if module == name or module.startswith(f"{name}.")
    ]
    return max(fitting)[1]


def imported(path: Path) -> set[str]:
    """Modules of this project that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {module_of(file) for file in FILES}
            names |= (inside & modules) or {node.module}
    return {name for name in names if name.split(".")[0] in ("ytf_torch", "convert")}


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_no_import_runs_upward(path: Path) -> None:
    level = level_of(module_of(path))
    upward = {name for name in imported(path) if level_of(name) > level}
    assert not upward


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_only_commands_know_the_command_line(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    if not module_of(path).startswith("ytf_torch.commands"):
        assert "import typer" not in source
        assert not re.search(r"\bprint\(", source)


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_one_door_each_reads_hdf5_and_photos_and_nothing_unpickles(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    if path.name != "hdf5_reader.py":
        writes = re.findall(r'h5py\.File\(\w+, "w"\)', source)
        assert source.count("h5py.File(") == len(writes)
    if path.name not in ("photo_reader.py", "orl.py"):  # orl.py reads an installed package's
        assert "Image.open(" not in source
    assert not re.search(r"torch\.load|allow_pickle=True|import (pickle|marshal|shelve)", source)
