"""Python functions give the same results as the commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer import Typer
from typer.testing import CliRunner

import ytf_torch
from tests.made.keras_files import SMALL, random_weights, write_keras_file
from tests.made.small_run import small_sets
from ytf_torch.commands import compare, detect, evaluate, repair, scan
from ytf_torch.network.checkpoint import Checkpoint

# What is called with arguments of wrong types too.
PYTHON: Any = ytf_torch
SETS = {"--clean-valid": "valid.h5", "--clean-test": "test.h5", "--poisoned-test": "bd_test0.h5"}


@pytest.fixture
def faces(tmp_path: Path, checkpoint: Checkpoint) -> Path:
    """A folder of image sets."""
    small_sets(tmp_path / "faces", checkpoint)
    return tmp_path / "faces"


@pytest.fixture
def given(faces: Path) -> tuple[Path, Path, Path]:
    """The clean validation, clean test and triggered set, as arguments of the functions."""
    return faces / "valid.h5", faces / "test.h5", faces / "bd_test0.h5"


@pytest.fixture
def in_memory(given: tuple[Path, Path, Path]) -> list[ytf_torch.ImagesInMemory]:
    """The same sets as arrays."""
    sets = [ytf_torch.open_images(path, SMALL.input_shape, SMALL.classes) for path in given]
    return [ytf_torch.images_of(one.select(range(len(one))).pixels, one.labels) for one in sets]


def run(app: Typer, *words: object, status: int = 0) -> None:
    found = CliRunner().invoke(app, list(map(str, words)))
    assert found.exit_code == status, found.output


def flags(faces: Path, *named: str) -> list[object]:
    return [word for flag in named for word in (flag, faces / SETS[flag])]


def figures(folder: Path, name: str) -> Any:
    """The files of a run, without durations."""

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: timeless(one) for key, one in value.items() if key != "seconds"}
        return list(map(timeless, value)) if isinstance(value, list) else value

    return timeless(json.loads((folder / name).read_text()))


def test_a_repair(
    tmp_path: Path,
    keras_file: Path,
    faces: Path,
    given: tuple[Path, Path, Path],
    in_memory: list[ytf_torch.ImagesInMemory],
) -> None:
    words = ["--model", keras_file, *flags(faces, *SETS), "--method", "pruning"]
    run(repair.app, *words, "--out", tmp_path / "command", status=repair.NO)
    expected = figures(tmp_path / "command", "result.json")
    for name, sets in (("files", given), ("arrays", in_memory)):
        found = ytf_torch.repair(keras_file, *sets, method="pruning")
        assert found.write_report(tmp_path / name) == tmp_path / name / "report.html"
        assert figures(tmp_path / name, "result.json") == expected
        written, made = (tmp_path / place / "repaired.safetensors" for place in (name, "command"))
        assert written.read_bytes() == made.read_bytes()
        found.save(tmp_path / "saved.safetensors")
        assert (tmp_path / "saved.safetensors").read_bytes() == made.read_bytes()
    assert found.verdict in repr(found)
    assert "GoodNet" in found._repr_html_()


def test_a_comparison(
    tmp_path: Path, keras_file: Path, faces: Path, in_memory: list[ytf_torch.ImagesInMemory]
) -> None:
    weights = random_weights(SMALL)
    weights["conv_4"][0][:] *= 1.05
    control = write_keras_file(tmp_path / "control.h5", SMALL, weights)
    words = ["--model", keras_file, *flags(faces, *SETS), "--methods", "pruning,clp"]
    words += ["--seeds", 2, "--clean-control", control]
    run(compare.app, *words, "--out", tmp_path / "command")
    expected = figures(tmp_path / "command", "comparison.json")
    found = ytf_torch.compare(
        ytf_torch.read_model(keras_file),
        *in_memory,
        methods=["pruning", "clp"],
        seeds=2,
        clean_control=control,
    )
    found.write_report(tmp_path / "python")
    assert figures(tmp_path / "python", "comparison.json") == expected
    assert [row.method for row in found.rows] == ["pruning", "clp"]
    assert found.warnings == tuple(expected["warnings"])
    assert found.verdict in repr(found)


def test_a_scan(
    tmp_path: Path, keras_file: Path, faces: Path, in_memory: list[ytf_torch.ImagesInMemory]
) -> None:
    words = ["--model", keras_file, *flags(faces, "--clean-valid"), "--methods", "last-layer"]
    run(scan.app, *words, "--out", tmp_path / "command")
    found = ytf_torch.scan(keras_file, in_memory[0], methods="last-layer")
    found.write_report(tmp_path / "python")
    texts = [(tmp_path / name / "result.json").read_bytes() for name in ("python", "command")]
    assert texts[0] == texts[1]
    assert "cannot say that a network is clean" in repr(found)


def test_a_scan_among_clean_twins(
    tmp_path: Path,
    keras_file: Path,
    faces: Path,
    in_memory: list[ytf_torch.ImagesInMemory],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("XDG_CACHE_HOME", "HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))
    words = ["--model", keras_file, *flags(faces, "--clean-valid"), "--methods", "last-layer"]
    run(scan.app, *words, "--twins", "1", "--out", tmp_path / "command")
    found = ytf_torch.scan(keras_file, in_memory[0], methods="last-layer", twins=1)
    found.write_report(tmp_path / "python")
    texts = [(tmp_path / name / "result.json").read_bytes() for name in ("python", "command")]
    assert texts[0] == texts[1]
    assert found.p_value in (0.5, 1.0)
    assert found.twins["last-layer"].p_value == found.p_value
    assert f"p = {found.p_value:.2g}" in found.verdict


def test_an_evaluation(
    tmp_path: Path,
    keras_file: Path,
    faces: Path,
    checkpoint: Checkpoint,
    given: tuple[Path, Path, Path],
) -> None:
    pruned = ytf_torch.pruned_checkpoint(checkpoint, "conv_3", "pool_3", [0, 2])
    ytf_torch.save_checkpoint(pruned, tmp_path / "pruned.safetensors")
    words = [keras_file, "--repaired", tmp_path / "pruned.safetensors"]
    words += flags(faces, "--clean-test", "--poisoned-test")
    run(evaluate.app, *words, "--json", tmp_path / "command.json")
    record = json.loads((tmp_path / "command.json").read_text())
    found = ytf_torch.evaluate(keras_file, *given[1:], repaired=pruned)
    assert record.items() >= found.record().items()
    assert record.get("warnings", []) == list(found.warnings)
    for line, name in zip(repr(found).splitlines()[1:], ("B ", "B′", "GoodNet"), strict=False):
        assert line.startswith(name)


@pytest.mark.parametrize("detector", [None, "recommended"])
def test_detection(
    tmp_path: Path,
    keras_file: Path,
    faces: Path,
    checkpoint: Checkpoint,
    in_memory: list[ytf_torch.ImagesInMemory],
    detector: str | None,
) -> None:
    pruned = ytf_torch.pruned_checkpoint(checkpoint, "conv_3", "pool_3", [0, 2])
    ytf_torch.save_checkpoint(pruned, tmp_path / "pruned.safetensors")
    words: list[Any] = ["--model", keras_file, "--repaired", tmp_path / "pruned.safetensors"]
    asked: dict[str, Any] = {}
    if detector is not None:
        words += ["--detector", detector, *flags(faces, "--clean-valid"), "--false-positives", 10]
        asked = {"detector": detector, "clean_valid": in_memory[0], "false_positives": 10}
    result = CliRunner().invoke(
        detect.app, list(map(str, [*words, "--json", faces / "bd_test0.h5"]))
    )
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    for inputs in (faces / "bd_test0.h5", in_memory[2]):
        found = ytf_torch.detect(keras_file, pruned, inputs, **asked)
        assert [answer.goodnet for answer in found.answers] == [one["goodnet"] for one in answers]
        assert found.flagged.total() == sum(one["backdoored"] for one in answers)
        assert (found.threshold is None) == (detector is None)
    assert f"{len(answers)} faces, {found.flagged.total()} flagged" in repr(found)


def test_frames(keras_file: Path, given: tuple[Path, Path, Path]) -> None:
    pandas = pytest.importorskip("pandas")
    results: list[Any] = [
        ytf_torch.evaluate(keras_file, *given[1:]),
        ytf_torch.repair(keras_file, *given, method="pruning"),
        ytf_torch.compare(keras_file, *given, methods="pruning"),
        ytf_torch.scan(keras_file, given[0], methods="last-layer"),
    ]
    for result in results:
        assert isinstance(result.to_frame(), pandas.DataFrame)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda b, v: PYTHON.repair(b, v, method="nose"), "`method`: expected one of"),
        (lambda b, v: PYTHON.repair(b, v, seed=-1), "`seed`: expected a whole number"),
        (lambda b, v: PYTHON.repair(b, v, seed="0"), "`seed`: expected a whole number"),
        (lambda b, v: PYTHON.repair(b, v, None, v), "the same faces as"),
        (lambda b, v: PYTHON.repair(b, v, target=7), "`target`: expected a class of 0…6"),
        (lambda b, v: PYTHON.repair(b, v, device="mps"), "`device`: expected auto"),
        (lambda b, v: PYTHON.repair(None, v), "`model`: expected a path or a Checkpoint"),
        (lambda b, v: PYTHON.repair("none.h5", v), "none.h5: no such file"),
        (lambda b, v: PYTHON.compare(b, v, methods=[]), "`methods`: expected all, or some"),
        (lambda b, v: PYTHON.compare(b, v, methods=3), "`methods`: expected all, or some"),
        (lambda b, v: PYTHON.compare(b, v, methods="pruning,pruning"), "each once"),
        (lambda b, v: PYTHON.compare(b, v, seeds=0), "`seeds`: expected a number of 1…"),
        (lambda b, v: PYTHON.compare(b, v, clean_control=b), "so it is no control"),
        (lambda b, v: PYTHON.scan(b, v, methods="magic"), "`methods`: expected all, or some"),
        (lambda b, v: PYTHON.scan(b, v, twins=-1), "`twins`: expected a whole number of 0…999"),
        (lambda b, v: PYTHON.scan(b, 3), "`clean_valid`: expected a path or an image set"),
        (lambda b, v: PYTHON.detect(b, b, v), "the same weights"),
        (lambda b, v: PYTHON.detect(b, "none.h5", v), "none.h5: no such file"),
    ],
)
def test_what_the_commands_refuse(
    keras_file: Path, faces: Path, call: Callable[..., Any], message: str
) -> None:
    with pytest.raises(ytf_torch.InputError, match=message):
        call(keras_file, faces / "valid.h5")


def test_inputs_of_detection_that_cannot_be_read(
    tmp_path: Path, keras_file: Path, checkpoint: Checkpoint, faces: Path
) -> None:
    pruned = ytf_torch.pruned_checkpoint(checkpoint, "conv_3", "pool_3", [0, 2])
    none = tmp_path / "none.png"
    with pytest.raises(ytf_torch.InputError, match=r"`inputs`: no face can be read .*none.png"):
        ytf_torch.detect(keras_file, pruned, none)
    found = ytf_torch.detect(keras_file, pruned, [none, faces / "test.h5"])
    assert len(found.answers) == 24
    assert "none.png" in found.unreadable[0]
    for asked in ({"detector": "nose"}, {"detector": "strip"}, {"false_positives": 5}):
        with pytest.raises(ytf_torch.InputError, match=r"^`(detector|false_positives)`: expected"):
            PYTHON.detect(keras_file, pruned, none, **asked)
