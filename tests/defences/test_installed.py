"""Methods of other packages, found as entry points, and of one's own, given as objects."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch

import ytf_torch
from tests.conftest import ROOT
from tests.made.badnet import MadeBadNet
from tests.made.other_package import write_package
from ytf_torch.commands.repair import NO
from ytf_torch.defences.base import Candidate, Suspicions
from ytf_torch.defences.installed import check_unambiguous, installed_names, load_installed
from ytf_torch.defences.methods import repair_by
from ytf_torch.defences.names import REPAIRS, every, is_known
from ytf_torch.errors import InputError
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.progress import Track

EntryPoints = Callable[..., None]


@pytest.fixture
def other_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EntryPoints:
    """Puts an installed package on Python's path. groups: its entry points, group → name → object.
    module: the source of its module, of the same name as the package."""

    def install(package: str, groups: dict[str, dict[str, str]], module: str = "") -> None:
        site = write_package(tmp_path / f"site_{package}", package, groups, module)
        monkeypatch.syspath_prepend(site)

    return install


def test_names_of_other_packages_stand_behind_our_own(other_package: EntryPoints) -> None:
    other_package(
        "foreign",
        {
            "ytf_torch.rankings": {"peak": "foreign:Peak"},
            "ytf_torch.repairs": {"anew": "foreign:Anew"},
            "ytf_torch.scans": {"look": "foreign:Look"},
        },
    )
    assert every("repair") == (*REPAIRS, "anew", "peak")
    assert installed_names("scan") == ("look",)
    assert installed_names("detector") == ()
    assert is_known("repair", "peak")
    assert not is_known("repair", "look")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("clp", "ytf-torch itself and the package first"),
        ("twice", "the package (first and the package second|second and the package first)"),
    ],
)
def test_a_name_with_two_meanings_is_one_clear_line(
    name: str, said: str, other_package: EntryPoints
) -> None:
    other_package("first", {"ytf_torch.repairs": {"clp": "first:A", "twice": "first:A"}})
    other_package("second", {"ytf_torch.rankings": {"twice": "second:A"}})
    with pytest.raises(InputError, match=f"the name {name}: names a repair in {said}. Unins"):
        check_unambiguous("repair", name, REPAIRS)
    assert is_known("repair", "pruning")


@pytest.mark.parametrize("name", ["all", "recommended", "a,b"])
def test_a_name_that_nobody_can_ask_for_is_refused(name: str, other_package: EntryPoints) -> None:
    other_package("foreign", {"ytf_torch.repairs": {name: "foreign:A"}})
    with pytest.raises(InputError, match="is not valid for a repair of the package foreign"):
        is_known("repair", name)


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("raise RuntimeError('no luck')", r"cannot be loaded \(RuntimeError: no luck\)"),
        ("import nothing_of_this_name", "cannot be loaded .ModuleNotFoundError"),
        ("Other = 1", "cannot be loaded .AttributeError"),
        ("def Mine(): ...", "cannot be created .TypeError"),
        ("def Mine(seed): return 3", "expected an object with a method `candidates`"),
    ],
)
def test_an_entry_point_that_fails_is_one_clear_line(
    module: str, said: str, other_package: EntryPoints
) -> None:
    package = f"failing_{abs(hash(module))}"  # Python loads a module of one name once
    other_package(package, {"ytf_torch.repairs": {"mine": f"{package}:Mine"}}, module)
    with pytest.raises(InputError, match=f"the repair mine of the package {package}: {said}") as e:
        repair_by("mine", 0)
    assert "\n" not in str(e.value)


def test_nothing_is_loaded_before_it_is_asked_for(other_package: EntryPoints) -> None:
    other_package("lazy_one", {"ytf_torch.scans": {"lazy": "lazy_one:make"}}, "def make(): ...")
    assert is_known("scan", "lazy")
    assert "lazy_one" not in sys.modules
    load_installed("scan", "lazy")
    assert "lazy_one" in sys.modules


class Nothing:
    """A repair that changes one weight."""

    name = "nothing"

    def candidates(
        self, network: Network, clean_valid: ImageSet, track: Track
    ) -> Iterator[Candidate]:
        import copy

        changed = copy.deepcopy(network)
        with torch.no_grad():
            next(changed.parameters())[0] += 1e-3
        yield Candidate("changed", changed, ("changed one weight",))


class Backwards:
    """A ranking."""

    def scores(
        self, network: Network, layer: str, clean_valid: ImageSet, track: Track
    ) -> Sequence[float]:
        return [-float(channel) for channel in range(network.output_shape(layer)[0])]


class Suspects:
    """A scan."""

    def suspicions(self, network: Network, clean_valid: ImageSet, track: Track) -> Suspicions:
        return Suspicions(tuple(float(label) for label in range(network.classes)), 2.5)


class Bright:
    """A detector."""

    def scores(
        self, network: Network, candidate: Candidate | None, pixels: torch.Tensor
    ) -> torch.Tensor:
        return pixels.float().mean((1, 2, 3))


def test_objects_stand_where_names_stand(badnet: MadeBadNet, tmp_path: Path) -> None:
    files = badnet.files(tmp_path)
    inputs = (files["--model"], files["--clean-valid"])
    repaired = ytf_torch.repair(*inputs, method=Nothing())
    assert repaired.outcome.method == "nothing"
    assert repaired.checkpoint.provenance.history[-1] == "changed one weight"
    pruned = ytf_torch.repair(*inputs, method=Backwards())
    assert "pruned" in pruned.checkpoint.provenance.history[-1]
    compared = ytf_torch.compare(*inputs, methods=["kernel-norm", Nothing(), Backwards()])
    assert [row.method for row in compared.rows] == ["kernel-norm", "nothing", "Backwards"]
    assert ytf_torch.scan(*inputs, methods=Suspects()).candidates == (3, 4)
    found = ytf_torch.detect(
        files["--model"],
        repaired.checkpoint,
        [files["--poisoned-test"]],
        detector=Bright(),
        clean_valid=files["--clean-valid"],
    )
    assert len(found.answers) == len(badnet.triggered)


def blocks() -> dict[str, str]:
    """The files of the package that the document shows."""
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    found = re.findall(r"\*\*([\w.]+)\*\*:\n\n```\w+\n(.*?)```", text, re.DOTALL)
    return dict(found)


@pytest.mark.slow
def test_the_package_of_the_document_installs_and_its_methods_run(
    badnet: MadeBadNet, tmp_path: Path
) -> None:
    source, site = tmp_path / "source", tmp_path / "site"
    source.mkdir()
    for name, text in blocks().items():
        (source / name).write_text(text)
    assert {path.name for path in source.iterdir()} == {"pyproject.toml", "my_defences.py"}
    install = ["-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index"]
    run([*install, "--quiet", "--target", str(site), str(source)], {})
    environment = {"PYTHONPATH": str(site)}
    files = badnet.files(tmp_path)
    shown = [part for flag, path in files.items() for part in (flag, str(path))]
    for method in ("peak-activation", "last-layer-tuning"):
        out = tmp_path / method  # both leave the attack in place
        command("repair", [*shown, "--method", method, "--out", str(out)], environment, NO)
        assert json.loads((out / "result.json").read_text())["method"] == method
    out = tmp_path / "compared"
    methods = "kernel-norm,peak-activation,last-layer-tuning"
    command("compare", [*shown, "--methods", methods, "--out", str(out)], environment)
    compared = json.loads((out / "comparison.json").read_text())
    assert ",".join(compared["methods"]) == methods
    assert not [record for record in compared["repairs"] if "failed" in record]
    helped = command("repair", ["--help"], environment)
    assert "last-layer-tuning" in re.sub(r"[\s│]+", "", helped)


def command(
    name: str, arguments: Sequence[str], environment: dict[str, str], status: int = 0
) -> str:
    start = f"from ytf_torch.commands.start import start; start({name!r})"
    return run(["-c", start, *arguments], environment, status)


def run(arguments: Sequence[str], environment: dict[str, str], status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert "error:" not in done.stderr.lower()
    return done.stdout
