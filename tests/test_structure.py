"""Where imports may lead: each room may import only what stands above it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from ytf_torch.layers.registry import KINDS

# The rooms in order, from what everything may import down to what nothing may; a line is a room.
ROOMS = (
    ("ytf_torch.errors",),
    (
        "ytf_torch.progress",
        "ytf_torch.predicted_class",
        "ytf_torch.distributed",
        "ytf_torch.device",
    ),
    ("ytf_torch.metrics",),
    ("ytf_torch.disk",),
    ("ytf_torch.layers",),
    ("ytf_torch.network",),
    ("ytf_torch.images",),
    ("ytf_torch.convert",),
    ("ytf_torch.sweep", "ytf_torch.demo"),
    ("ytf_torch.defences",),
    ("ytf_torch.report",),
    ("ytf_torch.run",),
    ("ytf_torch",),
    ("ytf_torch.commands",),
)
TESTS = sorted([*(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")])
FILES = sorted((ROOT / "ytf_torch").rglob("*.py"))


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
    return {name for name in names if name.split(".")[0] == "ytf_torch"}


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
        writes = re.findall(r'h5py\.File\(\w+, "w"[,)]', source)
        assert source.count("h5py.File(") == len(writes)
    if path.name not in ("photo_reader.py", "orl.py"):  # orl.py reads an installed package's
        assert "Image.open(" not in source
    assert not re.search(r"allow_pickle=True|import (pickle|marshal|shelve)", source)
    # Errors and examples may name it.
    attributes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute))
    assert "torch.load" not in map(ast.unparse, attributes)


# Layers of a network that the project knows; `input` and `output` are words for much else too.
LAYER_NAME = re.compile(r"(conv|pool|fc|flatten|add|activation)_\d")
FLAG = re.compile(r"(^|[\s`]|(?<!var)\()--[a-z]")
MOST_LINES = 60


def texts(tree: ast.AST) -> dict[int, str]:
    """The texts in a module but for its docstrings, by the id of their node."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return {
        id(node): node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docstrings
    }


def defaults(tree: ast.AST) -> set[int]:
    """What parameters and fields are by default."""
    values: list[ast.expr | None] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.arguments):
            values += [*node.defaults, *node.kw_defaults]
        elif isinstance(node, ast.ClassDef):
            values += [field.value for field in node.body if isinstance(field, ast.AnnAssign)]
    return {id(value) for value in values}


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_only_networks_and_their_files_know_a_layer_by_name(path: Path) -> None:
    """Elsewhere a name is a setting's default, or the lab's published result; the demo builds a
    network of its own."""
    rooms = (
        "ytf_torch.network",
        "ytf_torch.convert",
        "ytf_torch.demo",
        "ytf_torch.report.prune.published",
    )
    if module_of(path).startswith(rooms):
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    known = defaults(tree)
    others = [text for place, text in texts(tree).items() if place not in known]
    assert not [text for text in others if LAYER_NAME.fullmatch(text)]


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_only_the_demo_builds_a_network_of_one_kind(path: Path) -> None:
    rooms = ("ytf_torch.network", "ytf_torch.convert", "ytf_torch.demo", "ytf_torch.api")
    if not module_of(path).startswith(rooms):
        assert "ytf_torch.network.deepid" not in imported(path)


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_only_commands_speak_of_flags(path: Path) -> None:
    """Others speak of arguments, see errors.argument; a whole command may be told anywhere."""
    if not module_of(path).startswith("ytf_torch.commands"):
        found = texts(ast.parse(path.read_text(encoding="utf-8"))).values()
        flags = [text for text in found if FLAG.search(text)]
        assert not [text for text in flags if "ytf-" not in text and "h5clear" not in text]


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_functions_fit_on_a_screen(path: Path) -> None:
    """Options of a command are not counted, which are documented where they stand."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            is_command = module_of(path).startswith("ytf_torch.commands")
            first = node.body[0].lineno if is_command else node.lineno
            assert (node.end_lineno or first) - first < MOST_LINES, node.name


DOCUMENTS = [
    path for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")) if path.stem != "CHANGELOG"
]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_modules_that_documents_name_are_there(path: Path) -> None:
    named = re.findall(r"`([\w/]+\.py)`", path.read_text(encoding="utf-8"))
    there = [f"/{file.relative_to(ROOT)}" for file in (*FILES, *TESTS, ROOT / "bootstrap.py")]
    assert not [name for name in named if not any(file.endswith(f"/{name}") for file in there)]


def private_names() -> set[str]:
    """What the product's modules and classes keep to themselves: names that begin with one _."""
    names: set[str] = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.attr if isinstance(node, ast.Attribute) else node.id)
    return {name for name in names if re.fullmatch(r"_[a-z]\w*", name)}


PRIVATE = private_names() - {"_repr_html_"}  # which notebooks ask for


@pytest.mark.parametrize("path", TESTS, ids=module_of)
def test_tests_know_no_private_name(path: Path) -> None:
    """Nor do they replace one: what a test must vary is an argument, what it looks at public."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    used = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    used |= {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and not (isinstance(node.value, ast.Name) and node.value.id == "self")
    }
    used |= {name for text in texts(tree).values() for name in re.findall(r"\b_\w+", text)}
    assert not (used & PRIVATE) - own


# Where a kind of layer may be named: it itself, the lab's network, the demo's, GoodNet's rule.
KNOW_KINDS = (
    "ytf_torch.layers",
    "ytf_torch.network.deepid",
    "ytf_torch.demo",
    "ytf_torch.convert.keras.keras_goodnet",
    "ytf_torch.convert.keras.keras_oracle",  # what else Keras may be given
)
# Of a file's models and what stands around them.
AROUND_LAYERS = {"InputLayer", "Softmax"}


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_a_kind_of_layer_is_named_in_its_own_file_alone(path: Path) -> None:
    if module_of(path).startswith(KNOW_KINDS):
        return
    named = {name for kind in KINDS for name in kind.class_names}
    found = texts(ast.parse(path.read_text(encoding="utf-8"))).values()
    assert not (named - AROUND_LAYERS) & set(found)
