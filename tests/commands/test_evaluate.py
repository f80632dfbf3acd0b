"""ytf-evaluate from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from tests.made.keras_files import (
    SMALL,
    WIDE,
    random_images,
    random_weights,
    write_faces,
    write_keras_file,
)
from tests.made.overflowing import overflowing
from tests.made.small_run import small_sets
from ytf_torch.commands.evaluate import app
from ytf_torch.defences.repairs.pruning import pruned_checkpoint
from ytf_torch.network.checkpoint import Checkpoint, save_checkpoint

KEYS = [
    "clean_accuracy",
    "attack_success_rate",
    "attack_success_rate_without_target",
    "robust_accuracy",
]


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def repaired_file(tmp_path: Path, checkpoint: Checkpoint) -> Path:
    save_checkpoint(
        pruned_checkpoint(checkpoint, "conv_3", "pool_3", [0, 1, 2]),
        tmp_path / "repaired.safetensors",
    )
    return tmp_path / "repaired.safetensors"


def test_a_model_alone(tmp_path: Path, keras_file: Path, checkpoint: Checkpoint) -> None:
    small_sets(tmp_path / "faces", checkpoint)
    sets = (
        "--clean-test",
        tmp_path / "faces/test.h5",
        "--poisoned-test",
        tmp_path / "faces/bd_test0.h5",
    )
    result = evaluate(keras_file, *sets, "--json", tmp_path / "found.json")
    assert result.exit_code == 0, result.output
    assert "100.00 %" in result.output
    record = json.loads((tmp_path / "found.json").read_text())
    assert list(record) == ["model", "pixel_scale", *KEYS, "intervals", "pairs"]
    assert record["pairs"] == {"paired": 24, "triggered": 24}
    assert "24 of 24 triggered images paired with a clean one" in result.output
    assert record["clean_accuracy"] == 100
    interval = record["intervals"]["clean_accuracy"]
    assert interval["count"] == interval["images"] == 24
    assert 80 < interval["low"] < interval["high"] == 100


def test_with_a_repaired_copy(
    tmp_path: Path, keras_file: Path, checkpoint: Checkpoint, repaired_file: Path
) -> None:
    small_sets(tmp_path / "faces", checkpoint, triggered=2)
    sets: tuple[str | Path, ...] = ("--clean-test", tmp_path / "faces/test.h5")
    for number in (0, 1):
        sets += ("--poisoned-test", tmp_path / f"faces/bd_test{number}.h5")
    options = ("--repaired", repaired_file, "--json", tmp_path / "found.json")
    result = evaluate(keras_file, *sets, *options)
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "found.json").read_text())
    assert list(record["goodnet"]) == [
        *KEYS,
        "false_positive_rate",
        "true_positive_rate",
        "intervals",
    ]
    assert list(record["repaired"]) == [*KEYS, "intervals"]
    assert record["goodnet"]["clean_accuracy"] <= record["repaired"]["clean_accuracy"] < 100
    rates = [part["goodnet"]["attack_success_rate"] for part in record["poisoned_tests"]]
    assert record["goodnet"]["attack_success_rate"] == pytest.approx(sum(rates) / 2)
    assert "bd_test1.h5" in result.output


def test_every_figure_is_whole_in_a_narrow_terminal(
    tmp_path: Path,
    keras_file: Path,
    checkpoint: Checkpoint,
    repaired_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    small_sets(tmp_path / "faces", checkpoint)
    sets: list[str | Path] = ["--clean-test", tmp_path / "faces/test.h5"]
    sets += ["--poisoned-test", tmp_path / "faces/bd_test0.h5"]
    result = evaluate(keras_file, *sets, "--repaired", repaired_file)
    assert result.exit_code == 0, result.output
    intervals = [line.split() for line in result.stdout.splitlines() if line.strip()[:1].isdigit()]
    assert [len(row) for row in intervals] == [4, 4, 6]
    assert intervals[0][0] == "86.2–100.0"
    assert "…" not in result.stdout


@pytest.mark.parametrize(
    ("flags", "columns", "said"),
    [
        (["--clean-test"], ["clean"], "95 % interval"),
        (["--poisoned-test"], ["ASR"], "Who is on them is not known"),
        (["--clean-test", "--poisoned-test"], ["clean", "ASR", "ASR"], "robust: triggered faces"),
    ],
)
def test_columns_are_shown_and_explained_where_something_is_known(
    tmp_path: Path,
    keras_file: Path,
    checkpoint: Checkpoint,
    flags: list[str],
    columns: list[str],
    said: str,
) -> None:
    small_sets(tmp_path / "faces", checkpoint)
    files = {"--clean-test": "test.h5", "--poisoned-test": "bd_test0.h5"}
    given = [part for flag in flags for part in (flag, tmp_path / "faces" / files[flag])]
    shown = evaluate(keras_file, *given).stdout
    heading = shown.split("Below each rate")[0].split()
    assert sorted(word for word in heading if word in ("clean", "ASR")) == sorted(columns)
    assert said in shown
    assert "FPR" not in shown


@pytest.mark.parametrize("flag", [[], ["--clean-test"]], ids=["argument", "instead of a set"])
def test_a_photo_gives_its_class(
    tmp_path: Path, keras_file: Path, checkpoint: Checkpoint, repaired_file: Path, flag: list[str]
) -> None:
    photo = tmp_path / "face.png"
    pixels = random_images(SMALL, 1, seed=5)[0].transpose(1, 2, 0)
    Image.fromarray(np.ascontiguousarray(pixels)).save(photo)
    result = evaluate(keras_file, *flag, photo)
    assert result.exit_code == 0, result.output
    import torch

    batch = torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None]
    own = int(checkpoint.model(batch).argmax())
    assert result.stdout.splitlines()[-1] == f"{photo}: {own}"
    both = evaluate(keras_file, *flag, photo, "--repaired", repaired_file, "--json", tmp_path / "j")
    record = json.loads((tmp_path / "j").read_text())["photos"][0]
    assert record["class"] == (SMALL.classes if record["backdoored"] else own)
    assert f"{photo}: {record['class']}" in both.stdout


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["nothing to evaluate", "--clean-test"]),
        (["none.png"], ["none.png", "no such file"]),
        (["--clean-test", "none.h5"], ["none.h5", "no such file"]),
        (["{model}"], ["expected a photo, found an HDF5 file", "--clean-test"]),
        (["--true-labels", "{model}"], ["--true-labels", "--poisoned-test"]),
    ],
)
def test_errors_are_one_clear_line(
    keras_file: Path, arguments: list[str], parts: list[str]
) -> None:
    result = evaluate(keras_file, *(word.format(model=keras_file) for word in arguments))
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    for part in parts:
        assert part in result.stderr


def test_a_repaired_network_of_other_classes_is_refused(tmp_path: Path, keras_file: Path) -> None:
    other = write_keras_file(tmp_path / "wide.h5", WIDE, random_weights(WIDE))
    (tmp_path / "face.png").touch()
    result = evaluate(keras_file, "--repaired", other, tmp_path / "face.png")
    assert result.exit_code == 2
    assert "wide.h5" in result.stderr
    assert "1283" in result.stderr


def test_a_wrong_pixel_scale_is_noticed(
    tmp_path: Path, keras_file: Path, checkpoint: Checkpoint
) -> None:
    small_sets(tmp_path / "faces", checkpoint)
    clean = tmp_path / "faces/test.h5"
    result = evaluate(keras_file, "--clean-test", clean, "--pixel-scale", "1/255")
    assert result.exit_code == 2
    assert "--pixel-scale 1" in result.stderr


def test_mixed_up_sets_are_said_before_the_figures_and_in_the_record(
    tmp_path: Path, keras_file: Path, checkpoint: Checkpoint
) -> None:
    small_sets(tmp_path / "faces", checkpoint)
    clean, record = tmp_path / "faces/test.h5", tmp_path / "found.json"
    result = evaluate(keras_file, "--poisoned-test", clean, "--json", record)
    assert result.exit_code == 0, result.output
    (warning,) = json.loads(record.read_text())["warnings"]
    assert "B answers 100.0 % of them with their label. They look like clean faces" in warning
    assert result.output.index(f"Warning: {warning}") < result.output.index("95 % interval")
    twice = evaluate(keras_file, "--clean-test", clean, "--poisoned-test", clean)
    assert twice.exit_code == 2
    assert "the same faces" in twice.stderr


def test_a_stated_target_is_the_label_of_all_triggered_faces(
    tmp_path: Path, keras_file: Path, checkpoint: Checkpoint
) -> None:
    sets = small_sets(tmp_path / "faces", checkpoint)
    assert sets.clean_test is not None
    target = int(sets.clean_test.labels[0])
    given = ("--poisoned-test", sets.clean_test.path, "--json", tmp_path / "found.json")
    assert evaluate(keras_file, *given, "--target", target).exit_code == 0
    share = 100 * float((sets.clean_test.labels == target).mean())
    found = json.loads((tmp_path / "found.json").read_text())["attack_success_rate"]
    assert found == pytest.approx(share)
    refused = evaluate(keras_file, *given, "--target", SMALL.classes)
    assert refused.exit_code == 2
    assert "a class of 0…6" in refused.stderr


def test_triggered_faces_with_their_true_labels_are_not_said_to_be_unknown(
    tmp_path: Path, keras_file: Path, checkpoint: Checkpoint
) -> None:
    """Then `robust` is known, and there is no other target to count without."""
    test = small_sets(tmp_path, checkpoint).clean_test
    assert test is not None
    pixels = test.select(range(len(test))).pixels.numpy().copy()
    pixels[:, :, 40:50, 20:30] = 255
    triggered = write_faces(tmp_path / "worn.h5", pixels, test.labels)
    shown = evaluate(keras_file, "--clean-test", test.path, "--poisoned-test", triggered).stdout
    assert "robust: triggered faces that get their own class" in shown
    assert "not known" not in shown


def test_a_photo_on_which_a_network_overflows_has_no_class(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    save_checkpoint(overflowing(checkpoint), tmp_path / "b.safetensors")
    photo, report = tmp_path / "None.png", tmp_path / "report.json"
    Image.new("RGB", (47, 55), "white").save(photo)
    shown = evaluate(tmp_path / "b.safetensors", photo, "--json", report)
    assert shown.exit_code == 0, shown.output
    assert f"{photo}: no class: logits are NaN or infinite" in shown.stdout
    (record,) = json.loads(report.read_text())["photos"]
    assert record == {"input": str(photo), "class": None, "not_finite": True}
