"""Where imports may lead: the core knows nothing of Keras files."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def imported(path: Path) -> set[str]:
    """Top-level packages that a module imports, and ytf_torch's subpackages."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


CORE = [
    path for path in sorted((ROOT / "ytf_torch").rglob("*.py")) if path.parent.name != "commands"
]


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.stem)
def test_the_core_imports_neither_convert_nor_the_commands(path: Path) -> None:
    for name in imported(path):
        assert name.split(".")[0] != "convert"
        assert not name.startswith("ytf_torch.commands")


@pytest.mark.parametrize(
    "path", [*CORE, *sorted((ROOT / "convert").glob("*.py"))], ids=lambda path: path.stem
)
def test_one_door_reads_hdf5_and_nothing_unpickles(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    if path.name != "hdf5_reader.py":
        writes = source.count('h5py.File(temporary, "w")')
        assert source.count("h5py.File(") == writes
    assert "torch.load" not in source
    assert "pickle" not in source.replace("allow_pickle=False", "").replace("unpickle", "")
